"""What is wrong with a selection, said for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..observation import Observation
from ..quantities import human_frequency

_MOST = 20


class SelectionError(ValueError):
    """A selection that CASA cannot read, or that selects nothing.

    Its text is a sentence for a person; it says what is there, and does not name the dataset.
    """


def listed(names: Iterable[str]) -> str:
    """Write names with commas, the first twenty of them."""
    names = list(names)
    more = f", ... ({len(names)} in all)" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more


def numbers(found: Iterable[int]) -> str:
    """Write numbers as CASA does: ``1~4, 20``."""
    runs: list[list[int]] = []
    for number in sorted(set(found)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return listed(str(a) if a == b else f"{a}~{b}" for a, b in runs)


def fields_there(observation: Observation) -> str:
    """Say which fields there are, those with data first of all."""
    with_data = [field for field in observation.fields if field.n_rows > 0]
    return "fields: " + listed(field.name for field in with_data or observation.fields)


def spws_there(observation: Observation) -> str:
    """Say which spectral windows there are, with their channels."""
    spws = observation.spws
    sizes = {spw.n_chan for spw in spws}
    if len(sizes) == 1 and len(spws) > 1:
        return f"spws: {numbers(spw.id for spw in spws)} ({channels(sizes.pop())} each)"
    return "spws: " + listed(f"{spw.id} ({channels(spw.n_chan)})" for spw in spws)


def frequencies_there(observation: Observation) -> str:
    """Say which frequencies the spectral windows cover."""
    return "spws: " + listed(
        f"{spw.id} ({human_frequency(min(spw.first_hz, spw.last_hz))} to "
        f"{human_frequency(spw.highest_hz)})"
        for spw in observation.spws
    )


def channels(count: int) -> str:
    """Write a number of channels."""
    return f"{count} channel" if count == 1 else f"{count} channels"


def antennas_there(observation: Observation) -> str:
    """Say which antennas have data."""
    return "antennas: " + listed(antenna.name for antenna in observation.antennas)


def scans_there(observation: Observation) -> str:
    """Say which scans there are."""
    return "scans: " + (numbers(scan.number for scan in observation.scans) or "none")


def quoted_hint(text: str, names: Sequence[str]) -> str:
    """Say how to write a name that CASA does not take as it is, where `text` is one."""
    if text.strip().strip("'\"") not in names:
        return ""
    return "; in a selection write this name in double quotes: '\"{}\"'".format(
        text.strip().strip("'\"")
    )
