"""What the installed CASA's tasks are called and which parameters they take.

casatasks ships a definition of every task in XML. Reading that takes milliseconds and does
not import CASA, so recipes can be checked against the CASA that will run them.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from ..errors import did_you_mean, refuse

_NS = "{http://casa.nrao.edu/schema/psetTypes.html}"
_VECTORS = {
    "stringVec": "string",
    "pathVec": "path",
    "intVec": "int",
    "doubleVec": "double",
    "boolVec": "bool",
}
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
_SPELLINGS = {
    "any": "variant",
    "float": "double",
    "floatVec": "doubleVec",
    "doubleArray": "doubleVec",
    "intArray": "intVec",
}


@dataclass(frozen=True)
class ParameterSpec:
    """One parameter of a task.

    Attributes
    ----------
    name : str
        As CASA spells it.
    types : tuple of str
        What it may be: ``string``, ``path``, ``int``, ``double``, ``bool``, ``record``, any of
        the first five with ``Vec`` for a list, or ``variant`` for anything.
    default : object
        What CASA takes where it is left out.
    allowed : tuple of str
        The values that it may have; empty where any goes.
    minimum, maximum : float or None
        Limits of a number.
    ignore_case : bool
        Whether `allowed` is compared without regard to case.
    must_exist : bool
        Whether it names something that must be there: an input.
    description : str
        CASA's own one-line description.
    subparameter_of : str
        The parameter whose value makes this one count; empty for top-level ones.
    """

    name: str
    types: tuple[str, ...]
    default: Any = ""
    allowed: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    ignore_case: bool = False
    must_exist: bool = False
    description: str = ""
    subparameter_of: str = ""


@dataclass(frozen=True)
class TaskSpec:
    """A task of the installed CASA, with its parameters in CASA's order."""

    name: str
    shortdescription: str
    parameters: tuple[ParameterSpec, ...]
    by_name: Mapping[str, ParameterSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the parameters by name."""
        object.__setattr__(self, "by_name", {spec.name: spec for spec in self.parameters})


def definitions_folder() -> Path:
    """Return the folder of the installed CASA's task definitions.

    Raises
    ------
    RefusedError
        If casatasks is not installed.
    """
    found = importlib.util.find_spec("casatasks")
    if found is None or found.origin is None:
        raise refuse("CASA is not installed: Python finds no package 'casatasks'")
    return Path(found.origin).parent / "__xml__"


@lru_cache(maxsize=1)
def task_names() -> tuple[str, ...]:
    """Return the names of all tasks of the installed CASA, sorted."""
    return tuple(sorted(path.stem for path in definitions_folder().glob("*.xml")))


@lru_cache(maxsize=256)
def task(name: str) -> TaskSpec:
    """Read the definition of a task.

    Parameters
    ----------
    name : str
        The task's name: ``gaincal``.

    Raises
    ------
    RefusedError
        If the installed CASA has no such task, or its definition cannot be read.
    """
    if name not in task_names():
        raise refuse(f"the installed CASA has no task '{name}'{did_you_mean(name, task_names())}")
    try:
        root = ET.parse(definitions_folder() / f"{name}.xml").getroot()  # noqa: S314
    except (ET.ParseError, OSError) as error:
        raise refuse(f"CASA's definition of the task '{name}' cannot be read: {error}") from None
    inputs = root.find(f"{_NS}task/{_NS}input")
    if inputs is None:
        return TaskSpec(name, _text(root, f"{_NS}task/{_NS}shortdescription"), ())
    parents = _parents(inputs)
    return TaskSpec(
        name,
        _text(root, f"{_NS}task/{_NS}shortdescription"),
        tuple(_parameter(node, parents) for node in inputs.findall(f"{_NS}param")),
    )


def _text(node: ET.Element, path: str) -> str:
    """Return the text at a path below a node, with its white space folded."""
    return " ".join((node.findtext(path) or "").split())


def _parents(inputs: ET.Element) -> dict[str, str]:
    """Map each subparameter to the parameter on whose value it depends."""
    parents: dict[str, str] = {}
    for when in inputs.iter(f"{_NS}when"):
        for default in when.iter(f"{_NS}default"):
            parents.setdefault(default.get("param", ""), when.get("param", ""))
    return parents


def _parameter(node: ET.Element, parents: Mapping[str, str]) -> ParameterSpec:
    """Read a ``<param>``."""
    name = node.get("name", "")
    types = _types(node)
    allowed = node.find(f"{_NS}allowed")
    limits: dict[str, float] = {}
    choices: tuple[str, ...] = ()
    if allowed is not None and allowed.get("kind") == "range":
        for value in allowed.findall(f"{_NS}value"):
            limits[value.get("range", "")] = float(value.text or 0)
    elif allowed is not None:
        choices = tuple((value.text or "").strip() for value in allowed.findall(f"{_NS}value"))
    return ParameterSpec(
        name,
        types,
        _default(node, types),
        choices,
        limits.get("min"),
        limits.get("max"),
        allowed is not None and allowed.get("ignorecase", "").lower() == "true",
        "true"
        in {node.get("mustexist", "").lower()}
        | {kind.get("mustexist", "").lower() for kind in node.findall(f"{_NS}type")},
        _text(node, f"{_NS}shortdescription"),
        parents.get(name, "") if node.get("subparam") else "",
    )


def _types(node: ET.Element) -> tuple[str, ...]:
    """Return what a parameter may be."""
    listed = [(kind.text or "").strip() for kind in node.findall(f"{_NS}type")]
    if node.find(f"{_NS}any") is not None or "any" in listed:
        return ("variant",)
    if node.get("type") != "any" or not listed:
        listed = [node.get("type", "any")]
    return tuple(dict.fromkeys(_SPELLINGS.get(kind, kind) for kind in listed))


def _default(node: ET.Element, types: tuple[str, ...]) -> Any:
    """Return a parameter's default value, of its type where the text allows it."""
    value = node.find(f"{_NS}value")
    if value is None:
        return ""
    kind = _SPELLINGS.get(value.get("type", ""), value.get("type", ""))
    if kind not in _IN_WORDS:
        declared = node.get("type", "")
        kind = declared if declared in _VECTORS else types[0]
    text = (value.text or "").strip()
    if kind in _VECTORS:
        items = [(item.text or "").strip() for item in value.findall(f"{_NS}value")] or [text]
        return [_convert(item, _VECTORS[kind]) for item in items if item]
    return {} if kind == "record" else _convert(text, kind)


def _convert(text: str, kind: str) -> Any:
    """Turn a default's text into a value; what does not convert stays text."""
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text)
        return float(text) if kind == "double" else text.strip("\"'")
    except ValueError:
        return text


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
    known = task(name).by_name
    problems = []
    for key, value in params.items():
        if key not in known:
            problems.append(f"{name} has no parameter '{key}'{did_you_mean(key, known)}")
        elif not (isinstance(value, Mapping) and "$late" in value):
            problem = check_value(known[key], value)
            if problem:
                problems.append(f"{name}: {problem}")
    return problems


def check_value(spec: ParameterSpec, value: Any) -> str:
    """Return what is wrong with a value of a parameter, or an empty string."""
    if not any(_is(value, kind) for kind in spec.types):
        wanted = " or ".join(_IN_WORDS.get(kind, kind) for kind in spec.types)
        return f"'{spec.name}' must be {wanted}, not {_show(value)}"
    for item in value if isinstance(value, (list, tuple)) else [value]:
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
    if kind in _VECTORS:
        items = value if isinstance(value, (list, tuple)) else [value]
        return all(_is(item, _VECTORS[kind]) for item in items)
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
