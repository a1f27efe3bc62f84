"""Parameters of a CASA task held against its definition, without calling it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from ..errors import did_you_mean
from .tasks import VECTORS, Condition, ParameterSpec, task, task_names

_IN_WORDS = {
    "string": "a string",
    "path": "a path",
    "int": "a whole number",
    "double": "a number",
    "bool": "true or false",
    "record": "a table",
    "stringVec": "a list of strings",
    "pathVec": "a list of paths",
    "intVec": "a list of whole numbers",
    "doubleVec": "a list of numbers",
    "boolVec": "a list of true and false",
}

_BARE = {
    "cell": ("radians", "arcsec"),
    "reffreq": ("", "GHz"),
    "restfreq": ("", "GHz"),
    "solint": ("seconds", "s"),
    "threshold": ("Jy", "Jy"),
    "timebin": ("seconds", "s"),
}
"""Parameters that want a unit: what CASA takes a bare number for, where measured, and the unit
that is likely meant."""

_ATOMS = frozenset({str, int, float, bool})

_BARE_NUMBERS = ("threshold",)
"""Those in which a number that is no text is as bare; ``cell=8`` is arcsec to CASA."""


def check_parameters(name: str, params: Mapping[str, Any]) -> list[str]:
    """Check parameters against a task's definition.

    Parameters
    ----------
    name : str
        The task.
    params : mapping
        Its parameters. A value ``{"$late": ...}`` is not known yet and passes.

    Returns
    -------
    list of str
        What is wrong, a sentence each; empty if nothing is.
    """
    if name not in task_names():
        return [f"the installed CASA has no task '{name}'{did_you_mean(name, task_names())}"]
    return list(wrong(name, params).values())


def wrong(name: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return what CASA would refuse of a call, by parameter.

    Parameters
    ----------
    name : str
        The task.
    params : mapping
        Its parameters; late values pass.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    known = task(name).by_name
    found = {}
    for key, value in params.items():
        spec, kind = known.get(key), type(value)
        if spec is None:
            found[key] = f"{name} has no parameter '{key}'{did_you_mean(key, known)}"
        elif kind in spec.plain or (kind in _ATOMS and (kind, value) in spec.passed):
            continue  # most of them, of many datasets
        elif _is_plain_list(spec, value) or _late(value):
            continue
        elif problem := check_value(spec, value):
            found[key] = f"{name}: {problem}"
        elif kind in _ATOMS:
            spec.passed.add((kind, value))
    return found


def _is_plain_list(spec: ParameterSpec, value: Any) -> bool:
    """Tell whether a value is a list of one type of which the parameter takes all lists."""
    if type(value) is not list or not spec.plain_items:
        return False
    kinds = set(map(type, value))
    return len(kinds) < 2 and kinds <= spec.plain_items


def idle(name: str, params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters of a call that have no effect, each with the reason.

    Subparameters count with some values of another parameter only; CASA says nothing of one
    that is given in vain. One that is given its default value is passed over.

    Parameters
    ----------
    name : str
        The task.
    params : mapping
        All parameters that are given.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    known = task(name).by_name
    found = {}
    for key, value in params.items():
        spec = known.get(key)
        if spec is None or not spec.conditions or _late(value) or value == spec.default:
            continue
        parents = {c.parent: params.get(c.parent, known[c.parent].default) for c in spec.conditions}
        if any(_late(parent) for parent in parents.values()):
            continue
        if not any(condition.holds(parents[condition.parent]) for condition in spec.conditions):
            now = " and ".join(f"{parent}={_show(is_)}" for parent, is_ in parents.items())
            found[key] = f"has no effect with {now}: it counts with {when(spec.conditions)}"
    return found


def when(conditions: Sequence[Condition]) -> str:
    """Say with which values of other parameters a subparameter counts."""
    words: dict[tuple[str, bool], list[str]] = {}
    for condition in conditions:
        shown = condition.value if condition.value in ("True", "False") else f"'{condition.value}'"
        values = words.setdefault((condition.parent, condition.equal), [])
        if shown not in values:
            values.append(shown)
    return " or ".join(
        f"{parent}{'=' if equal else ' other than '}{' or '.join(values)}"
        for (parent, equal), values in words.items()
    )


def without_unit(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters whose numbers lack the unit that they want, each with a sentence."""
    found = {}
    for key, (taken_for, meant) in _BARE.items():
        for item in _items(params.get(key)):
            if isinstance(item, bool) or not (isinstance(item, str) or key in _BARE_NUMBERS):
                continue
            text = str(item).strip()
            if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", text) and float(text):
                why = f"CASA takes it for {taken_for}" if taken_for else "it needs one"
                found[key] = f'{_show(item)} has no unit and {why}; write "{text}{meant}"'
    return found


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else (value,)


def _late(value: Any) -> bool:
    """Tell whether a value is known only when the step runs."""
    if isinstance(value, (list, tuple)):
        return any(_late(item) for item in value)
    return isinstance(value, Mapping) and "$late" in value


def check_value(spec: ParameterSpec, value: Any) -> str:
    """Return what is wrong with a value of a parameter, or an empty string."""
    if not any(_is(value, kind) for kind in spec.types):
        wanted = " or ".join(_IN_WORDS.get(kind, kind) for kind in spec.types)
        return f"'{spec.name}' must be {wanted}, not {_show(value)}"
    for item in _items(value):
        if spec.allowed and not _allowed(spec, item):
            choices = ", ".join(f"'{choice}'" for choice in spec.allowed)
            hint = did_you_mean(str(item), filter(None, spec.allowed))
            return f"'{spec.name}' must be one of {choices}, not {_show(item)}{hint}"
        if _is(item, "double"):
            if spec.minimum is not None and item < spec.minimum:
                return f"'{spec.name}' must be at least {spec.minimum:g}, not {_show(item)}"
            if spec.maximum is not None and item > spec.maximum:
                return f"'{spec.name}' must be at most {spec.maximum:g}, not {_show(item)}"
    return ""


def _is(value: Any, kind: str) -> bool:
    """Tell whether CASA takes a value as one of its types (a single item goes for a list)."""
    if kind == "variant":
        return True
    if kind in VECTORS:
        items = value if isinstance(value, (list, tuple)) else [value]
        return all(_is(item, VECTORS[kind]) for item in items)
    if isinstance(value, bool):
        return kind == "bool"
    if kind in {"string", "path"}:
        return isinstance(value, str)
    if kind == "record":
        return isinstance(value, Mapping)
    return isinstance(value, {"int": Integral, "double": Real}.get(kind, ()))


def _allowed(spec: ParameterSpec, value: Any) -> bool:
    """Tell whether a value is among those that a parameter may have."""
    text = str(value)
    if spec.ignore_case:
        return text.casefold() in {choice.casefold() for choice in spec.allowed}
    return text in spec.allowed


def _show(value: Any) -> str:
    """Write a value as a recipe would."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else repr(value)
