"""The script that applies a self-calibration, in plain CASA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_HEAD: Final = '''\
"""Apply a self-calibration: makes CORRECTED_DATA of DATA, which do not change.

Run it with a Python that has casatasks, in the run folder: the paths start there.
"""
'''


def apply_script(
    target: str, calls: Sequence[Mapping[str, Any]], dead: Mapping[str, Sequence[str]]
) -> str:
    """Return a Python script that applies the tables of a self-calibration.

    Names come from data; none of them is written but as a Python literal of ASCII characters.

    Parameters
    ----------
    target : str
        The target's name.
    calls : sequence of mapping
        Parameters of applycal, one an MS.
    dead : mapping of str to sequence of str
        By MS the antennas without signal, as CASA selects them, which are flagged before.

    Returns
    -------
    str
        The script.
    """
    lines = [_HEAD, f"# Target: {target!a}"]
    if not calls:
        lines += ["# No round of the self-calibration was accepted: there is nothing to apply."]
        return "\n".join(lines) + "\n"
    lines.append(f"from casatasks import applycal{', flagdata' if any(dead.values()) else ''}")
    for call in calls:
        for antenna in dead.get(call["vis"], ()):
            flag = {"vis": call["vis"], "mode": "manual", "antenna": antenna, "flagbackup": False}
            lines += ["", *_call("flagdata", flag)]
        lines += ["", *_call("applycal", call)]
    return "\n".join(lines) + "\n"


def _call(task: str, params: Mapping[str, Any]) -> list[str]:
    return [f"{task}(", *(f"    {key}={value!a}," for key, value in params.items()), ")"]
