"""A JSON Schema of any CASA task, made from the installed CASA's own definition of it."""

from __future__ import annotations

from typing import Any

from .task_checks import when
from .tasks import VECTORS, ParameterSpec, task

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {
    "string": "string",
    "path": "string",
    "int": "integer",
    "double": "number",
    "bool": "boolean",
    "record": "object",
}


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a task's parameters.

    Parameters
    ----------
    name : str
        The task: ``gaincal``.

    Returns
    -------
    dict
        Of an object with the task's parameters; those that count only with a value of another
        say so in their description, and nothing is required, for CASA has defaults.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task.
    """
    spec = task(name)
    return {
        "$schema": DIALECT,
        "title": name,
        "description": spec.shortdescription,
        "type": "object",
        "additionalProperties": False,
        "properties": {parameter.name: _property(parameter) for parameter in spec.parameters},
    }


def _property(spec: ParameterSpec) -> dict[str, Any]:
    """Return the schema of one parameter."""
    words = [spec.description.rstrip(".") + "." if spec.description else ""]
    if spec.conditions:
        words.append(f"Counts with {when(spec.conditions)}.")
    if spec.allowed and spec.ignore_case:
        words.append(f"One of {', '.join(repr(a) for a in spec.allowed)}, in any letter case.")
    alternatives = [_alternative(spec, kind) for kind in spec.types if kind != "variant"]
    node: dict[str, Any] = {"description": " ".join(word for word in words if word)}
    if "variant" in spec.types:
        pass  # anything goes
    elif len(alternatives) == 1:
        node |= alternatives[0]
    else:
        node["anyOf"] = alternatives
    return node | {"default": spec.default}


def _alternative(spec: ParameterSpec, kind: str) -> dict[str, Any]:
    """Return the schema of one type that a parameter may be."""
    if kind not in VECTORS:
        return _item(spec, kind)
    item = _item(spec, VECTORS[kind])
    # CASA takes a single value for a list of one.
    return {"anyOf": [{"type": "array", "items": item}, item]}


def _item(spec: ParameterSpec, kind: str) -> dict[str, Any]:
    node: dict[str, Any] = {"type": _TYPES[kind]}
    if spec.allowed and not spec.ignore_case:
        node["enum"] = [_value(text, kind) for text in spec.allowed]
    if kind in ("int", "double"):
        limits = {"minimum": spec.minimum, "maximum": spec.maximum}
        node |= {key: limit for key, limit in limits.items() if limit is not None}
    return node


def _value(text: str, kind: str) -> Any:
    """Return an allowed value, which definitions write as text, as one of its type."""
    if kind == "bool":
        return text.casefold() == "true"
    try:
        return {"int": int, "double": float}.get(kind, str)(text)
    except ValueError:
        return text
