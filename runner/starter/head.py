"""The head of a starter recipe: the run's name, and the datasets."""

from __future__ import annotations

from ..observation import Observation
from ..quantities import human_frequency
from .page import Page
from .toml import comment, string


def head(page: Page) -> list[str]:
    """Return the lines of ``[project]``, and what comes before."""
    first = page.observations[0]
    fields = [one.name for found in page.guesses for one in found.targets]
    targets = ", ".join(dict.fromkeys(fields))
    title = f"{targets if len(targets) <= 60 else f'{len(set(fields))} targets'}, {first.telescope}"
    return [
        *comment(
            "Written by `casarun init` from the data's own metadata. Read the lines marked "
            "UNSURE first; every key is explained in the reference of the recipe language."
        ),
        "casarun = 1",
        "",
        "[project]",
        f"name  = {string(page.name)}",
        f"title = {string(title)}",
    ]


def datasets(page: Page) -> list[list[str]]:
    """Return the lines of each ``[[dataset]]``."""
    found = []
    for observation, vis, name, one in zip(
        page.observations, page.vis, page.names, page.guesses, strict=True
    ):
        lines = [*comment(_summary(observation)), *comment(_what_was_seen(observation))]
        lines += ["[[dataset]]", f"name = {string(name)}", f"vis  = {string(vis)}"]
        if one.calibrated:
            lines += comment(one.reasons["calibrated"])
            if "calibrated" in one.doubts:
                lines += page.doubt(f"{name}: {one.doubts['calibrated']}")
            lines.append("calibrated = true")
        elif "CORRECTED_DATA" in observation.columns:
            lines += comment(
                "the data have a column CORRECTED_DATA, but calibrators, too: they are "
                "calibrated anew from DATA; calibrated = true would take them as they are"
            )
        found.append(lines)
    return found


def _summary(observation: Observation) -> str:
    days = len({scan.obs_id for scan in observation.scans})
    said = f" in {days} observations" if days > 1 else ""
    antennas = observation.antennas
    low = min(min(spw.first_hz, spw.last_hz) for spw in observation.spws)
    high = max(spw.highest_hz for spw in observation.spws)
    return (
        f"{observation.telescope}: {len(antennas)} antennas of {antennas[0].diameter_m:g} m, "
        f"baselines up to {observation.longest_baseline_m:.0f} m, "
        f"{len(observation.spws)} spw, {human_frequency(low)} to {human_frequency(high)}, "
        f"{len(observation.scans)} scans{said}"
    ).replace("1 scans", "1 scan")


def _what_was_seen(observation: Observation) -> str:
    names = [string(one.name) for one in observation.fields if one.n_rows > 0]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"fields: {', '.join(names[:12])}{more}"
