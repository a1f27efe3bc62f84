"""What the installed CASA's tasks are called and which parameters they take.

casatasks ships a definition of every task in XML. Reading that takes milliseconds and does
not import CASA, so recipes can be checked against the CASA that will run them.
"""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final

from ..errors import did_you_mean, refuse

_NS = "{http://casa.nrao.edu/schema/psetTypes.html}"
VECTORS = {
    "stringVec": "string",
    "pathVec": "path",
    "intVec": "int",
    "doubleVec": "double",
    "boolVec": "bool",
}
"""Types of lists, and of their items."""

KINDS = ("string", "path", "int", "double", "bool", "record", *VECTORS)
"""The types of parameters; `variant` is any of them."""

_SPELLINGS = {
    "any": "variant",
    "float": "double",
    "floatVec": "doubleVec",
    "doubleArray": "doubleVec",
    "intArray": "intVec",
}


@dataclass(frozen=True)
class Condition:
    """A value of another parameter with which a subparameter counts.

    Attributes
    ----------
    parent : str
        The other parameter.
    value : str
        Its value, as the definition writes it: ``cube``, ``True``, ``0``.
    equal : bool
        False where the subparameter counts with any value but this one.
    """

    parent: str
    value: str
    equal: bool = True

    def holds(self, value: Any) -> bool:
        """Tell whether the parent's value makes the subparameter count."""
        return _same(value, self.value) is self.equal


_PLAIN: Final[Mapping[type, frozenset[str]]] = {
    str: frozenset({"string", "path", "variant"}),
    bool: frozenset({"bool", "variant"}),
    int: frozenset({"int", "double", "variant"}),
    float: frozenset({"double", "variant"}),
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
    conditions : tuple of Condition
        A subparameter counts where one of them holds; empty for what always counts.
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
    conditions: tuple[Condition, ...] = ()

    @cached_property
    def plain(self) -> frozenset[type]:
        """Types of Python whose values all pass."""
        if self.allowed or self.minimum is not None or self.maximum is not None:
            return frozenset()
        known = {*self.types, *(VECTORS[kind] for kind in self.types if kind in VECTORS)}
        return frozenset(kind for kind, names in _PLAIN.items() if not names.isdisjoint(known))

    @cached_property
    def passed(self) -> set[tuple[type, Any]]:
        """Values that passed already, each with its type; for who checks them."""
        return set()

    @cached_property
    def plain_items(self) -> frozenset[type]:
        """Types of Python of which lists all pass."""
        if not self.plain:
            return frozenset()
        known = {VECTORS[kind] for kind in self.types if kind in VECTORS}
        known |= {"variant"} & {*self.types}
        return frozenset(kind for kind, names in _PLAIN.items() if not names.isdisjoint(known))

    @property
    def subparameter_of(self) -> str:
        """The parameter whose value makes this one count; empty for top-level ones."""
        return self.conditions[0].parent if self.conditions else ""


@dataclass(frozen=True)
class TaskSpec:
    """A task of the installed CASA, with its parameters in CASA's order.

    `categories` are CASA's own: ``calibration``, ``imaging``.
    """

    name: str
    shortdescription: str
    parameters: tuple[ParameterSpec, ...]
    categories: tuple[str, ...] = ()
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
    node = root.find(f"{_NS}task")
    inputs = None if node is None else node.find(f"{_NS}input")
    found = () if inputs is None else tuple(inputs.findall(f"{_NS}param"))
    conditions: dict[str, tuple[Condition, ...]] = {}
    for child, condition in () if inputs is None else _conditions(inputs):
        conditions[child] = (*conditions.get(child, ()), condition)
    return TaskSpec(
        name,
        _text(root, f"{_NS}task/{_NS}shortdescription"),
        tuple(_parameter(param, conditions) for param in found),
        tuple(
            word.strip() for word in ("" if node is None else node.get("category", "")).split(",")
        ),
    )


def _text(node: ET.Element, path: str) -> str:
    """Return the text at a path below a node, with its white space folded."""
    return " ".join((node.findtext(path) or "").split())


def _conditions(inputs: ET.Element) -> Iterator[tuple[str, Condition]]:
    """Yield each subparameter with a value of its parent with which it counts."""
    known = {param.get("name", "") for param in inputs.findall(f"{_NS}param")}
    for when in inputs.iter(f"{_NS}when"):
        parent = when.get("param", "")
        for case in when:
            if not isinstance(case.tag, str) or parent not in known:
                continue
            condition = Condition(parent, case.get("value", ""), case.tag == f"{_NS}equals")
            for default in case.iter(f"{_NS}default"):
                yield default.get("param", ""), condition


def _same(value: Any, text: str) -> bool:
    """Tell whether a value is the one that a definition writes as text."""
    if isinstance(value, (list, tuple)):
        return not value and not text
    if str(value).casefold() == text.casefold():
        return True
    try:
        return not isinstance(value, (bool, Mapping)) and float(value) == float(text)
    except (TypeError, ValueError):
        return False


def _parameter(node: ET.Element, conditions: Mapping[str, tuple[Condition, ...]]) -> ParameterSpec:
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
        conditions.get(name, ()) if node.get("subparam", "").lower() == "true" else (),
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
    if kind not in KINDS:
        declared = node.get("type", "")
        kind = declared if declared in VECTORS else types[0]
    text = (value.text or "").strip()
    if kind in VECTORS:
        items = [(item.text or "").strip() for item in value.findall(f"{_NS}value")] or [text]
        return [_convert(item, VECTORS[kind]) for item in items if item]
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
