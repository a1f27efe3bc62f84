"""The script that applies a self-calibration, in plain CASA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

_HEAD: Final = '''\
"""Apply a self-calibration: makes CORRECTED_DATA of DATA, which do not change.

Run it with a Python that has casatasks, in the run folder: the paths start there.
"""
'''


def apply_script(target: str, called: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Return a Python script that applies the tables of a self-calibration.

    Names come from data; none of them is written but as a Python literal of ASCII characters.

    Parameters
    ----------
    target : str
        The target's name.
    called : sequence of (str, mapping)
        Tasks and their parameters, in order: flagdata of antennas without signal, and applycal.

    Returns
    -------
    str
        The script.
    """
    lines = [_HEAD, f"# Target: {target!a}"]
    if not called:
        lines += ["# No round of the self-calibration was accepted: there is nothing to apply."]
        return "\n".join(lines) + "\n"
    lines.append(f"from casatasks import {', '.join(sorted({task for task, _ in called}))}")
    for task, params in called:
        lines += ["", *_call(task, params)]
    return "\n".join(lines) + "\n"


def _call(task: str, params: Mapping[str, Any]) -> list[str]:
    return [f"{task}(", *(f"    {key}={value!a}," for key, value in params.items()), ")"]
