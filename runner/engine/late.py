"""Parameters that are known only when a step runs: numbers that an earlier step measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..errors import Cause, DataError, StepFailedError
from ..files import read_json
from ..plan import Json

_KEY = "$late"


def resolve(value: Json, work: Path) -> Json:
    """Replace each late value in a parameter, at any depth.

    Parameters
    ----------
    value : Json
        The parameters; ``{"$late": {"path", "key", "times", "unit"}}`` is replaced by the
        number at the dotted `key` of the JSON file `path`, times `times`, as text with `unit`
        if there is one.
    work : Path
        Where relative paths start.

    Raises
    ------
    StepFailedError
        If the file or the key is not there, or holds no number to be multiplied.
    """
    if isinstance(value, Mapping):
        if set(value) == {_KEY}:
            return _late(value[_KEY], work)
        return {key: resolve(item, work) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(item, work) for item in value]
    return value


def _late(spec: Mapping[str, Json], work: Path) -> Json:
    path, key = str(spec["path"]), str(spec["key"])
    try:
        found = read_json(work / path)
    except (OSError, DataError) as error:
        raise StepFailedError(Cause.LOST_INPUT, f"cannot read {key} from {path}: {error}") from None
    for part in key.split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise StepFailedError(Cause.LOST_INPUT, f"{path} has no {key}") from None
    times, unit = spec.get("times", 1), spec.get("unit") or ""
    if times == 1 and not unit:
        return found
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise StepFailedError(Cause.LOST_INPUT, f"{key} in {path} is no number: {found!r}")
    scaled = float(found) * float(times)
    return f"{scaled:.9g}{unit}" if unit else scaled
