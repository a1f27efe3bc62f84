"""A document against ``schemas/recipe.schema.json``: every problem, in the words of TOML.

The schema is plain JSON Schema, so that editors complete recipes with it. `check` finds the
words for what is wrong: jsonschema's own for alternatives (``anyOf``) say nothing to an
author, and its import alone takes longer than a static check may. `judge` is jsonschema
itself, asked before anything is planned or run; a test holds the two to the same verdicts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

from ..errors import KeyPath, Problem, did_you_mean
from .formats import FORMATS, format_checker

Schema = Mapping[str, Any]

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_WORDS: Final = {
    "string": "a string",
    "boolean": "a boolean (true or false)",
    "integer": "an integer",
    "number": "a number",
    "array": "an array",
    "object": "a table",
}


@cache
def schema() -> dict[str, Any]:
    """Return the schema of the recipe language. It is shared: leave it as it is."""
    text = files(__package__.partition(".")[0]).joinpath("schemas/recipe.schema.json")
    loaded: dict[str, Any] = json.loads(text.read_text(encoding="utf-8"))
    return loaded


def check(document: Mapping[str, Any]) -> list[Problem]:
    """Return all that is wrong with a recipe by itself, against the schema.

    Parameters
    ----------
    document : mapping
        As read from TOML.

    Returns
    -------
    list of Problem
        With the keys they are about; empty for a recipe that fits.
    """
    return list(_check(document, schema(), ()))


def against(value: Any, node: Schema, key: KeyPath) -> list[Problem]:
    """Return what is wrong with one value, against a part of the schema."""
    return list(_check(value, node, key))


def judge(document: Mapping[str, Any]) -> list[Problem]:
    """Return what jsonschema has against a document; empty for a recipe that fits."""
    from jsonschema import Draft202012Validator

    validator = Draft202012Validator(schema(), format_checker=format_checker())
    return [
        Problem(error.message, tuple(error.absolute_path))
        for error in validator.iter_errors(document)
    ]


def resolved(node: Schema) -> Schema:
    """Return a schema node with its ``$ref`` replaced; its own keywords come first."""
    while "$ref" in node:
        target = schema()["$defs"][node["$ref"].removeprefix("#/$defs/")]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    return node


def shown(value: object, limit: int = 60) -> str:
    """Write a value for a message, as TOML would and not longer than `limit` characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    if len(text) <= limit:
        return text
    return f"{text[: limit - 2]}…{text[-1]}"


def kind(value: object) -> str:
    """Name the TOML type of a value: ``a string``."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    names |= {list: "an array", dict: "a table"}
    return names.get(type(value), "a date or time")


def _check(value: Any, node: Schema, key: KeyPath) -> Iterator[Problem]:
    """Yield the problems of a value and of all below it."""
    node = resolved(node)
    if "anyOf" in node:
        yield from _any_of(value, node["anyOf"], key)
        return
    if "enum" in node or "const" in node:
        yield from _enum(value, node.get("enum", [node.get("const")]), key)
        return
    wanted = node["type"]
    if not _TYPES[wanted](value):
        way_out = _heading(node, key) or _instead(value, node)
        yield Problem(f"expected {_WORDS[wanted]}, found {kind(value)}{way_out}", key)
        return
    scalars: dict[str, Callable[[Any, Schema], str]] = {
        "string": _string,
        "integer": _number,
        "number": _number,
    }
    if wanted in scalars and (message := scalars[wanted](value, node)):
        yield Problem(message, key)
    elif wanted == "array":
        yield from _array(value, node, key)
    elif wanted == "object":
        yield from _table(value, node, key)


def _heading(node: Schema, key: KeyPath) -> str:
    """Say how to head a table, where ``[x]`` and ``[[x]]`` were mistaken for each other."""
    if len(key) != 1:
        return ""
    if node["type"] == "object":
        return f": write [{key[0]}]"
    rows = node["type"] == "array" and resolved(node["items"])["type"] == "object"
    return f": write [[{key[0]}]] for each" if rows else ""


def _instead(value: Any, node: Schema) -> str:
    """Say what to write in place of a value of the wrong type: itself unquoted, or an example."""
    wanted = node["type"]
    if isinstance(value, str) and wanted in ("integer", "number"):
        plain = re.fullmatch(r"[+-]?\d{1,15}(\.\d{1,15})?", value.strip())
        if plain and (wanted == "number" or not plain[1]):
            return f": write {value.strip()}"
    examples = [one for one in node.get("examples", ()) if _TYPES[wanted](one)]
    if wanted == "string" and examples:
        return f': write for example "{examples[0]}"'
    return ""


def _enum(value: Any, allowed: Sequence[Any], key: KeyPath) -> Iterator[Problem]:
    if any(type(value) is type(choice) and value == choice for choice in allowed):
        return
    if type(value) not in {type(choice) for choice in allowed}:
        yield Problem(f"expected {_choices(allowed)}, found {kind(value)}", key)
        return
    near = did_you_mean(value, allowed) if isinstance(value, str) else ""
    if len(allowed) == 1:
        yield Problem(f"{shown(value)} is not {_choices(allowed)}{near}", key)
    else:
        yield Problem(f"{shown(value)} is not one of {_choices(allowed)}{near}", key)


def _choices(allowed: Sequence[Any]) -> str:
    return ", ".join(shown(choice) for choice in allowed)


def _string(value: str, node: Schema) -> str:
    if len(value) < node.get("minLength", 0):
        return "must not be empty"
    if "format" not in node:
        return ""
    if len(value) > 200:  # no number with a unit, no name; and messages stay short
        return f"{shown(value)} is too long"
    try:
        FORMATS[node["format"]](value)
    except ValueError as error:
        return str(error).replace(f"'{value}'", shown(value))
    return ""


def _number(value: float, node: Schema) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"expected a finite number, found {value}"
    low, above, high = (node.get(k) for k in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and value < low:
        return f"must be at least {low}, found {shown(value)}"
    if above is not None and value <= above:
        return f"must be more than {above}, found {shown(value)}"
    if high is not None and value > high:
        return f"must be at most {high}, found {shown(value)}"
    return ""


def _array(value: list[Any], node: Schema, key: KeyPath) -> Iterator[Problem]:
    low, high = node.get("minItems", 0), node.get("maxItems", math.inf)
    if not low <= len(value) <= high:
        amount = f"{low}" if low == high else f"at least {low}" if low else f"at most {high}"
        word = "value" if amount.endswith(" 1") else "values"
        yield Problem(f"expected {amount} {word}, found {len(value)}", key)
    for index, item in enumerate(value):
        if index >= high:  # what is too many needs no words of its own
            break
        yield from _check(item, node["items"], (*key, index))
        if node.get("uniqueItems") and item in value[:index]:
            yield Problem(f"{shown(item)} stands here twice", (*key, index))


def _table(value: dict[str, Any], node: Schema, key: KeyPath) -> Iterator[Problem]:
    known: Mapping[str, Schema] = node.get("properties", {})
    for name in node.get("required", ()):
        if name not in value:
            only = resolved(known[name]).get("const") if name in known else None
            way_out = "" if only is None else f": write {name} = {only}"
            yield Problem(f"this key is required{way_out}", (*key, name))
    others = node.get("additionalProperties", True)
    for name, item in value.items():
        if name in known:
            yield from _check(item, known[name], (*key, name))
        elif others is False:
            hint = did_you_mean(name, known) or _hint(name, known)
            yield Problem(f"unknown key{hint}", (*key, name), at_key=True)
        elif others is True:
            yield from _data(item, (*key, name))
        else:
            yield from _check(item, others, (*key, name))


def _hint(name: str, known: Mapping[str, Schema]) -> str:
    """Say where a key could belong, else which there are."""
    for table, node in _tables():
        if name in node.get("properties", {}):
            return f"; it belongs to {table}"
    passed = [k for k, node in known.items() if node.get("$ref") == "#/$defs/parameters"]
    if passed:
        return f"; CASA's own parameters go into {' or '.join(passed)} = {{ ... }}"
    return f"; known here: {', '.join(known)}"


def _tables() -> Iterator[tuple[str, Schema]]:
    """Yield the recipe's tables as they are headed in TOML."""
    for name, node in schema()["properties"].items():
        node = resolved(node)
        if node.get("type") == "array":
            yield f"[[{name}]]", resolved(node["items"])
        else:
            yield f"[{name}]", node


def _data(value: Any, key: KeyPath) -> Iterator[Problem]:
    """Yield what a CASA parameter cannot hold: dates, and numbers that are none."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _data(item, (*key, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _data(item, (*key, index))
    elif isinstance(value, float) and not math.isfinite(value):
        yield Problem(f"expected a finite number, found {value}", key)
    elif not isinstance(value, (str, bool, int, float)):
        yield Problem(f"expected a CASA value, found {kind(value)}; dates are strings in CASA", key)


def _any_of(value: Any, branches: Sequence[Schema], key: KeyPath) -> Iterator[Problem]:
    """Yield the problems of the alternative that the author most likely meant."""
    flat = list(_flatten(branches))
    fitting = [node for node in flat if _TYPES[_type(node)](value)]
    if not fitting:
        words = [_alternative(node) for node in flat if node.get("const") != ""]
        yield Problem(f"expected {' or '.join(dict.fromkeys(words))}, found {kind(value)}", key)
        return
    if any(not list(_check(value, node, key)) for node in fitting):
        return
    constants = [node["const"] for node in fitting if node.get("const")]
    general = [node for node in fitting if "const" not in node]
    if not general:
        yield from _no_constant(value, flat, constants, key)
        return
    also = "".join(f'; or "{constant}"' for constant in constants)
    for problem in _check(value, general[-1], key):
        near = did_you_mean(value, constants) if isinstance(value, str) else ""
        own = problem.key == key
        message = problem.message + (near or also if own else "")
        yield Problem(message, problem.key, at_key=problem.at_key)


def _no_constant(
    value: Any, flat: Sequence[Schema], constants: Sequence[str], key: KeyPath
) -> Iterator[Problem]:
    words = " or ".join(dict.fromkeys(_alternative(node) for node in flat))
    near = did_you_mean(value, constants)
    yield Problem(f"expected {words}, found {shown(value)}{near}", key)


def _flatten(branches: Sequence[Schema]) -> Iterator[Schema]:
    for branch in branches:
        node = resolved(branch)
        if "anyOf" in node:
            yield from _flatten(node["anyOf"])
        else:
            yield node


def _type(node: Schema) -> str:
    """Return the JSON type of an alternative."""
    return "string" if "const" in node else str(node["type"])


def _alternative(node: Schema) -> str:
    return f'"{node["const"]}"' if "const" in node else _WORDS[node["type"]]
