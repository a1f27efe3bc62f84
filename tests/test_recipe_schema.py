"""The schema, the typed model, jsonschema and the reference page say the same."""

from __future__ import annotations

import copy
import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import tomli
from casarun.recipe import model
from casarun.recipe.build import build
from casarun.recipe.formats import FORMATS, format_checker
from casarun.recipe.reference import MARK, page
from casarun.recipe.schema import against, check, resolved, schema
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

PAGE = Path(__file__).parent.parent / "docs" / "recipe.md"

# What TOML takes besides what the model holds: shorthands, written out by `build`.
SHORTHANDS: dict[str, set[Any]] = {
    "calibrators.flux": {"string"},
    "calibrators.phase": {"string"},
    "calibrators.flux.fluxdensity": {"number"},
    "targets.fields": {"string"},
    "image.targets": {"string"},
    "image.average": {"string"},
    "cube.targets": {"string"},
    "step.only": {"string"},
    "notify.to": {"string"},
    "calibrate.refant": {"integer", ("array", frozenset({"string", "integer"}))},
    "selfcal.refant": {"integer", ("array", frozenset({"string", "integer"}))},
    "calibrate.delay": {"boolean"},
    "calibrate.calwt": {"boolean"},
    "calibrate.tables": {("array", frozenset({"object", "string"}))},
    "calibrate.tables.calwt": {"boolean"},
    "calibrate.priors.gaincurve": {"boolean"},
    "calibrate.priors.opacity": {"number"},
}
# What the model holds for the values of a shorthand.
WRITTEN_OUT: dict[str, set[Any]] = {
    **{f"calibrate.{key}": {"'yes'", "'no'"} for key in ("delay", "calwt", "tables.calwt")},
    "calibrate.tables": {("array", frozenset({"object"}))},
}
# What puts a recipe together: nothing of it is left in the model.
COMPOSING = {("extends",), ("remove",), ("vars",), ("matrix",), ("dataset", "log")}
PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}


def model_terms(hint: Any) -> set[Any]:
    """Return what an attribute may hold, in the words of JSON Schema."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {repr(value) for value in arguments}
    if origin in (typing.Union, types.UnionType):
        return set().union(*(model_terms(part) for part in arguments if part is not type(None)))
    if origin is tuple:
        return {("array", frozenset(model_terms(arguments[0])))}
    if dataclasses.is_dataclass(hint) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        return {"object"}
    return {PLAIN[hint]}


def schema_terms(node: Mapping[str, Any]) -> set[Any]:
    """Return what the schema lets a key hold."""
    node = resolved(node)
    if "anyOf" in node:
        terms: set[Any] = set().union(*(schema_terms(choice) for choice in node["anyOf"]))
    elif "type" in node:
        inner = schema_terms(node["items"]) if node["type"] == "array" else set()
        terms = {("array", frozenset(inner)) if inner else node["type"]}
    else:
        terms = {repr(value) for value in node.get("enum", [node.get("const")])}
    if "string" in terms:  # a word among free strings is nothing more
        terms = {term for term in terms if not (isinstance(term, str) and term[0] == "'")}
    return terms


def keys(
    cls: type[Any] = model.Recipe, node: Mapping[str, Any] | None = None, path: str = ""
) -> Iterator[tuple[str, dataclasses.Field[Any], Any, Mapping[str, Any] | None, bool]]:
    """Yield path, attribute, type, schema node and requiredness of each key, recursively."""
    node = schema() if node is None else node
    hints = typing.get_type_hints(cls)
    for attribute in dataclasses.fields(cls):
        name = "from" if (cls, attribute.name) == (model.Image, "source") else attribute.name
        child = node["properties"].get(name)
        here = f"{path}.{name}".lstrip(".")
        hint = hints[attribute.name]
        yield here, attribute, hint, child, name in node.get("required", ())
        inner = [hint, *typing.get_args(hint)]
        for table in (part for part in inner if dataclasses.is_dataclass(part)):
            whole = resolved(child or {})
            choices = [resolved(choice) for choice in whole.get("anyOf", [whole])]
            whole = next(c for c in choices if c["type"] != "string")
            rows = resolved(whole["items"]) if whole["type"] == "array" else whole
            rows = next(
                resolved(choice)
                for choice in rows.get("anyOf", [rows])
                if "properties" in resolved(choice)
            )
            yield from keys(table, rows, here)  # type: ignore[arg-type]


ALL = list(keys())


def test_every_key_was_compared() -> None:
    def count(node: Mapping[str, Any]) -> int:
        node = resolved(node)
        nodes = [*node.get("anyOf", ()), *([node["items"]] if "items" in node else [])]
        below = list(node.get("properties", {}).values())
        return len(below) + sum(count(child) for child in [*below, *nodes])

    assert len(ALL) + len(COMPOSING) == count(schema()) > 90


@pytest.mark.parametrize("path", sorted(COMPOSING))
def test_what_puts_a_recipe_together_is_described(path: tuple[str, ...]) -> None:
    table: Mapping[str, Any] = schema()
    for name in path[:-1]:
        table = resolved(resolved(table["properties"][name])["items"])
    node = table["properties"][path[-1]]
    assert len(node["description"]) > 10
    for value in [*node["examples"], node["default"]]:
        assert against(value, node, path) == []


@pytest.mark.parametrize("key", ALL, ids=lambda key: key[0])
def test_model_and_schema_agree(key: Any) -> None:
    path, attribute, hint, node, required = key
    assert node is not None, f"{path} is not in the schema"
    node = resolved(node)
    assert len(node["description"]) > 10
    expected = model_terms(hint) - WRITTEN_OUT.get(path, set())
    assert schema_terms(node) - SHORTHANDS.get(path, set()) == expected
    assert SHORTHANDS.get(path, set()) <= schema_terms(node)

    default = attribute.default
    if attribute.default_factory is not dataclasses.MISSING:
        default = attribute.default_factory()
    assert required == (default is dataclasses.MISSING)
    if default is None:  # absence has a meaning of its own
        assert "default" not in node
        assert "Left out: " in node["description"]
    elif dataclasses.is_dataclass(default):
        assert node["default"] == {}
    elif not required:
        expected_default = list(default) if isinstance(default, tuple) else default
        assert node["default"] == expected_default
        assert type(node["default"]) is type(expected_default)


@pytest.mark.parametrize("key", ALL, ids=lambda key: key[0])
def test_defaults_and_examples_are_valid(key: Any) -> None:
    node = resolved(key[3])
    validator = Draft202012Validator(
        {**node, "$defs": schema()["$defs"]}, format_checker=format_checker()
    )
    for value in [*node.get("examples", ()), *([node["default"]] if "default" in node else [])]:
        assert list(validator.iter_errors(value)) == []


def test_schema_is_sound() -> None:
    Draft202012Validator.check_schema(schema())
    formats = {node["format"] for node in schema()["$defs"].values() if "format" in node}
    used = formats | {"channel"}
    assert used == set(FORMATS)


def test_tables_are_closed() -> None:
    def visit(node: Any, name: str) -> Iterator[str]:
        if isinstance(node, dict):
            if "properties" in node and node.get("type") == "object":
                assert node["additionalProperties"] is False, name
                yield name
            for key, child in node.items():
                yield from visit(child, key)
        elif isinstance(node, list):
            for child in node:
                yield from visit(child, name)

    assert len(list(visit(schema(), "recipe"))) == 31


def test_defaults_written_out_change_nothing() -> None:
    def written(node: Mapping[str, Any]) -> dict[str, Any]:
        table = {}
        for name, child in resolved(node)["properties"].items():
            child = resolved(child)
            if child.get("type") == "object" and child.get("properties"):
                table[name] = written(child)
            elif "default" in child:
                table[name] = copy.deepcopy(child["default"])
        return table

    least = {"casarun": 1, "dataset": [{"vis": "/a.ms", "name": "a"}]}
    tables = {
        name: written(child)
        for name, child in schema()["properties"].items()
        if resolved(child).get("properties") and name != "contsub"
    }
    recipe = build({**least, **tables}, Path("x.toml"))
    assert recipe == build(least, Path("x.toml"))
    assert recipe.project == model.Project("x", "", "runs/x")


def example() -> str:
    return PAGE.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]


VALUES: list[Any] = [
    "", "auto", "none", "10s", "2arcsec", "-2arcsec", "0s", "3sigma", "0sigma", "1Jy", "x", "a b",
    "5km/s", "inf,10ch", "8", ".x", 0, 1, -1, 3, 2.5, -2.5, 10**12, True, False, [], ["a"], [1, 2],
    [64, 64], [0, 0], ["", 1], [[]], {}, {"x": 1}, {"field": "a"}, {"phase": "1d"}, [{}],
    [{"name": "a"}], [{"vis": "a"}],
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    for name, child in items:
        yield from places(child, (*path, name))


def written_out() -> dict[str, Any]:
    """Return a document in which every key of every table stands."""
    document = tomli.loads(example())
    for path, _, _, node, required in ALL:
        *tables, name = path.split(".")
        if node is None or required or len(tables) != 1 or "default" not in resolved(node):
            continue
        table = document.setdefault(tables[0], {})
        rows = table if isinstance(table, list) else [table]
        for row in rows:
            row.setdefault(name, copy.deepcopy(resolved(node)["default"]))
    return document


WHOLE = written_out()
PLACES = [*places(WHOLE), *((*place, "extra") for place in places(WHOLE) if len(place) < 3)]
VALIDATOR = Draft202012Validator(schema(), format_checker=format_checker())


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(VALUES)), max_size=2))
def test_verdict_is_that_of_jsonschema(changes: list[tuple[tuple[Any, ...], Any]]) -> None:
    document = copy.deepcopy(WHOLE)
    for place, value in changes:
        table: Any = document
        for name in place[:-1]:
            inside = isinstance(table, dict) and name in table
            inside |= isinstance(table, list) and isinstance(name, int) and name < len(table)
            table = table[name] if inside else None
        last = place[-1]
        in_list = isinstance(table, list) and isinstance(last, int) and last < len(table)
        if isinstance(table, dict) or in_list:
            table[place[-1]] = copy.deepcopy(value)
    problems = check(document)
    assert bool(problems) == (not VALIDATOR.is_valid(document)), problems


def test_example_of_the_page_is_valid() -> None:
    assert check(tomli.loads(example())) == []


def test_page_is_up_to_date() -> None:
    current = PAGE.read_text(encoding="utf-8")
    assert MARK in current
    assert current == page(current), (
        "run: python -m casarun.recipe.reference docs/recipe.md > new && mv new docs/recipe.md"
    )


def test_page_names_every_key() -> None:
    reference = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    for path, *_ in ALL:
        assert f"| `{path.rpartition('.')[2]}` |" in reference
