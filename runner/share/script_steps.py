"""What the steps of a plan are in a CASA script: each action as lines of Python."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ..engine.results import SKIPPED
from ..plan import Step, written
from . import script_ranges, script_selfcal
from .late_source import is_late, late, late_words, unresolved
from .python_source import Variables, call, comment, from_run, literal, quoted

Lines = list[str]

_LONGEST_TOLD: Final = 600
_TELLING: Final = ("noise", "ranges.gather", "ranges.settle")
_SILENT: Final = ("observe", "measure.", "selfcal.plots", *_TELLING)


@dataclass(frozen=True)
class Steps:
    """Steps as lines of Python.

    Attributes
    ----------
    names : mapping
        Variables that stand for the paths of inputs.
    results : mapping
        Result of each step's last attempt, by step id.
    known : bool
        Whether the run took place.
    cubes : Cubes
        The variables of cubes that are imaged by ranges.
    """

    names: Variables
    results: Mapping[str, Mapping[str, Any]]
    known: bool
    cubes: script_ranges.Cubes = field(default_factory=script_ranges.Cubes)

    @property
    def inputs(self) -> Lines:
        """The inputs as variables."""
        return [f"{name} = {quoted(path)}" for path, name in self.names.items()]

    def repeats(self, step: Step) -> bool:
        """Say whether the script does what a step did, or nothing because that is not for CASA."""
        return step.action.startswith(("casa:", *_SILENT)) or step.action in _ACTIONS

    def is_silent(self, step: Step) -> bool:
        """Say whether a step makes nothing that CASA could make."""
        return step.action.startswith(_SILENT)

    def of(self, step: Step) -> Lines:
        """Return the lines of a step; none where there is nothing to do for CASA."""
        if self.is_silent(step):
            return self._measured(step)
        if step.action.startswith("casa:"):
            return self._task(step, step.action.removeprefix("casa:"))
        if step.action in _ACTIONS:
            return _ACTIONS[step.action](self, step)
        told = json.dumps(step.params, default=str)
        told = told if len(told) <= _LONGEST_TOLD else f"{told[:_LONGEST_TOLD]} ..."
        return comment(f"NOT REPEATED: made by casarun's own code: {step.action} {told}")

    def outcome(self, step: Step) -> Mapping[str, Any]:
        """Return what came of a step; nothing where it is not known."""
        return self._result(step).get("outcome") or {}

    def _result(self, step: Step) -> Mapping[str, Any]:
        return self.results.get(step.id) or {}

    def params(self, step: Step) -> Mapping[str, Any]:
        """Return a step's parameters as they were used, and calls for what is not known."""
        if not is_late(step.params) and not step.fallbacks:
            return step.params
        used = self._result(step).get("params")
        found: Mapping[str, Any] = used or unresolved(step.params)
        return found

    def fallback(self, step: Step) -> Lines:
        """Say, as a comment, that a step went on with other parameters after it had diverged."""
        laid = self._result(step).get("fallback") if step.fallbacks else None
        return comment(f"It diverged, and was done with {written(laid)}") if laid else []

    def call(self, function: str, params: Mapping[str, Any]) -> Lines:
        """Return the lines of a call."""
        return call(function, params, self.names)

    def _task(self, step: Step, task: str) -> Lines:
        params = self.params(step)
        if task == "exportfits" and (name := self.outcome(step).get("object")):
            return self._export_as(name, params)
        return [*late_words(step.params), *self.call(task, params)]

    def _export_as(self, name: str, params: Mapping[str, Any]) -> Lines:
        """Export a copy of an image whose object has a name that is too long for FITS."""
        copy = {"imagename": "short-object.image"}
        return [
            *comment("The object's name is too long for FITS: a copy has a shorter one."),
            f"shutil.copytree({literal(params['imagename'])}, {literal(copy['imagename'])})",
            *self.call(
                "casatasks.imhead", {**copy, "mode": "put", "hdkey": "object", "hdvalue": name}
            ),
            *self.call("exportfits", {**params, **copy}),
            f"shutil.rmtree({literal(copy['imagename'])})",
        ]

    def _measured(self, step: Step) -> Lines:
        """Return what was measured and counts for what follows, as a comment."""
        if step.action not in _TELLING:
            return []
        told = self.outcome(step)
        if "rms_jy_per_beam" in told:
            return comment(f"rms_jy_per_beam = {told['rms_jy_per_beam']!r}")
        if told and SKIPPED not in told:
            return comment(f"{told['reason']}: {told['iterations']} iterations so far")
        return []

    def _copy(self, step: Step) -> Lines:
        source, target = (literal(step.params[key], self.names) for key in ("source", "target"))
        return [f"shutil.copytree({source}, {target})"]

    def _unpack(self, step: Step) -> Lines:
        """Unpack an archive, and make an MS of what is in it."""
        told, vis = self.outcome(step), step.params["vis"]
        archive = literal(step.params["archive"], self.names)
        lines = [
            f"with tarfile.open({archive}) as archive:",
            "    # Python has the filter since 3.11.4.",
            '    plain = getattr(tarfile, "data_filter", lambda member, path: member)',
            "    archive.extraction_filter = plain",
            '    archive.extractall("unpacked")',
        ]
        known = f"unpacked/{told['member']}" if told else ""
        member = known or late("the dataset in the archive")
        if not told or told["found"] == "ms":
            lines += [f"shutil.move({literal(member)}, {literal(vis)})"]
        elif told["found"] == "asdm":
            lines += self.call("importasdm", {"asdm": member, "vis": vis})
        else:
            lines += self.call("importuvfits", {"fitsfile": member, "vis": vis})
        return [*lines, 'shutil.rmtree("unpacked")']

    def _mask(self, step: Step) -> Lines:
        """Take a mask that casarun has drawn from the run."""
        return from_run(step.params["out"]) if self.known else [late("the mask as drawn").text]

    def _opacity(self, step: Step) -> Lines:
        """Say which opacities there were; what follows has them as numbers."""
        told = self.outcome(step)
        if not told:
            return comment("CASA's plotweather says what they are: known at run time.")
        values = ", ".join(f"{value:.4g}" for value in told["opacity"])
        return comment(f"CASA's plotweather, {told['origin']}: {values} nepers at the zenith.")

    def _fluxscale(self, step: Step) -> Lines:
        return self._task(step, "fluxscale")

    def _begun(self, step: Step, began: str, imagename: str) -> Lines:
        """Take the model that a clean began with from a round's image."""
        if "selfcal" in step.params and not self.known:
            return comment("It begins with the model of the best round: known at run time.")
        models = [p.removeprefix(f"{began}.") for p in step.reads if p.startswith(f"{began}.model")]
        if not began:
            return []
        given = f"{literal(began)}, {literal(imagename)}, {literal(models)}"
        return [*comment("It began with the model of the best round."), f"copy_images({given})"]

    def _clean(self, step: Step) -> Lines:
        """Go on from the dirty image, and on again where the noise of what was left had fallen."""
        params, told = self.params(step), self.outcome(step)
        dirty, tclean = params["dirty"], params["tclean"]
        kinds = sorted(p.removeprefix(f"{dirty}.") for p in step.reads if p.startswith(f"{dirty}."))
        source, target = literal(dirty), literal(tclean["imagename"])
        began = str(told.get("began", ""))
        first = {**tclean, "calcres": True} if began else tclean
        lines = [*self.fallback(step), f"copy_images({source}, {target}, {literal(kinds)})",
                 *self._begun(step, began, str(tclean["imagename"])),
                 *late_words(step.params["tclean"]), *self.call("tclean", first)]  # fmt: skip
        if "until" in params and not self.known:
            lines += comment(
                f"And on, down to {params['until']['sigmas']:g} times the noise of what is left, "
                "until that falls by less than a fifth: known at run time."
            )
        for more in told.get("called", ()):
            again = {**tclean, **more}
            if again.get("usemask") == "user":  # there is an image of the mask by now
                again.pop("mask", None)
            lines += [*comment("The noise of what is left has fallen: on from there."),
                      *self.call("tclean", again)]  # fmt: skip
        return lines


_ACTIONS: Final[Mapping[str, Callable[[Steps, Step], Lines]]] = {
    "clean": Steps._clean,
    "copy": Steps._copy,
    "fluxscale": Steps._fluxscale,
    "mask": Steps._mask,
    "opacity": Steps._opacity,
    "unpack": Steps._unpack,
    **script_ranges.ACTIONS,
    **script_selfcal.ACTIONS,
}
