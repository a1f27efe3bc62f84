"""What is known of antennas and air, where it matters and is not applied."""

from __future__ import annotations

from collections.abc import Sequence

from .. import heuristics
from ..errors import Problem
from ..recipe.model import Priors
from ..stages.draft import Draft, Subject


def check(draft: Draft, subjects: Sequence[Subject]) -> None:
    """Say how to apply what is known, where data of the VLA need it and nothing is applied.

    Parameters
    ----------
    draft : Draft
        Takes the warning.
    subjects : sequence of Subject
        The datasets.
    """
    calibrate = draft.recipe.calibrate
    _in_vain(draft, subjects)
    if calibrate.tables or calibrate.priors.gaincurve != "no" or calibrate.priors.opacity != "no":
        return
    for subject in draft.each("dataset", subjects):
        highest = max((spw.highest_hz for spw in subject.observation.spws), default=0.0)
        if (
            highest >= heuristics.OPAQUE_FROM_HZ
            and not subject.dataset.calibrated
            and heuristics.is_vla(subject.observation.telescope)
        ):
            draft.warn(
                f"dataset {subject.name} was observed at up to {highest / 1e9:.4g} GHz, where "
                "the air absorbs and the antennas' gain changes with elevation; neither is taken "
                'out: calibrate.priors = { gaincurve = "auto", opacity = "auto" } does it',
                ("calibrate",),
            )


def _in_vain(draft: Draft, subjects: Sequence[Subject]) -> None:
    """Warn that nothing is applied to data that come calibrated."""
    if not subjects or not all(subject.dataset.calibrated for subject in subjects):
        return
    calibrate = draft.recipe.calibrate
    for name, wanted in (("priors", calibrate.priors != Priors()), ("tables", calibrate.tables)):
        if wanted:
            message = "has no effect: all data come calibrated"
            draft.take(Problem(message, ("calibrate", name), "warning", at_key=True))
