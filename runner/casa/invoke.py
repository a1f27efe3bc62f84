"""The one place that calls CASA tasks, with parameters as data."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import Cause, StepFailedError
from .config import configure


def use_log(log_file: Path) -> None:
    """Send CASA's log to a file of its own from now on.

    Parameters
    ----------
    log_file : Path
        Made where it is not there.
    """
    configure()
    from casatasks import casalog

    casalog.setlogfile(str(log_file))
    casalog.showconsole(False)


def task(name: str, params: Mapping[str, Any]) -> Any:
    """Call a CASA task.

    Parameters
    ----------
    name : str
        The task's name: ``gaincal``.
    params : mapping
        Its parameters by CASA's own names.

    Returns
    -------
    object
        What the task returned, as data that JSON can hold.

    Raises
    ------
    StepFailedError
        If there is no such task or it has no such parameter; exceptions of the task itself
        pass through.
    """
    configure()
    import casatasks

    function = getattr(casatasks, name, None) if name.isidentifier() else None
    if function is None or name.startswith("_"):
        raise StepFailedError(Cause.PARAMETER, f"the installed CASA has no task '{name}'")
    known = inspect.signature(type(function).__call__).parameters
    unknown = sorted(set(params) - set(known) - {"self"})
    if unknown:
        raise StepFailedError(
            Cause.PARAMETER, f"{name} of the installed CASA has no parameter '{unknown[0]}'"
        )
    return plain(function(**params))


def imager_parts() -> tuple[Any, Any, dict[str, Any]]:
    """Return what tclean is made of: its imager, the imager's parameters, tclean's defaults.

    Returns
    -------
    tuple
        Classes ``PySynthesisImager`` and ``ImagerParameters`` of casatasks, and the defaults of
        tclean's parameters by name.
    """
    configure()
    import casatasks
    from casatasks.private.imagerhelpers.imager_base import PySynthesisImager
    from casatasks.private.imagerhelpers.input_parameters import ImagerParameters

    task = inspect.signature(type(casatasks.tclean).__call__).parameters
    defaults = {name: one.default for name, one in task.items() if name != "self"}
    return PySynthesisImager, ImagerParameters, defaults


def plain(value: Any) -> Any:
    """Turn what CASA returns (NumPy types, arrays, nested dicts) into plain data."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return str(value)
