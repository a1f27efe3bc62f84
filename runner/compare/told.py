"""What two runs were told and what they chose: recipes, auto values, steps, versions, inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tomli

from ..errors import DataError
from ..files import read_json
from ..recipe.naming import label
from ..report.runs import Run, items, mapping, text

ABSENT: Final = "(not there)"


@dataclass(frozen=True)
class Difference:
    """A value that differs: `a` and `b` as text, `ABSENT` where there is none."""

    key: str
    a: str
    b: str
    where: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """How what two runs were told differs.

    Attributes
    ----------
    recipe, autos, steps, versions, inputs : tuple of Difference
        Of the recipes as run; of what casarun chose; of the parameters of steps that both
        have, `where` says which; of software; of the data's identities.
    notes : tuple of str
        What could not be compared.
    """

    recipe: tuple[Difference, ...] = ()
    autos: tuple[Difference, ...] = ()
    steps: tuple[Difference, ...] = ()
    versions: tuple[Difference, ...] = ()
    inputs: tuple[Difference, ...] = ()
    notes: tuple[str, ...] = ()


def compare(a: Run, b: Run) -> Told:
    """Compare what two runs were told."""
    recipes, notes = [], []
    for side, run in (("A", a), ("B", b)):
        document, note = _recipe(run)
        recipes.append(flatten(document))
        notes += [f"{side}: {note}"] if note else []
    autos = [_autos(run) for run in (a, b)]
    versions = [flatten(mapping(run.about.get("versions"))) for run in (a, b)]
    return Told(
        tuple(differences(*recipes)),
        tuple(differences(*autos)),
        tuple(_steps(a, b)),
        tuple(differences(*versions)),
        tuple(_inputs(a, b)),
        tuple(notes),
    )


def _recipe(run: Run) -> tuple[Mapping[str, Any], str]:
    """Return the recipe as run, and what is not known of it."""
    try:
        return mapping(read_json(run.folder.recipe)), ""
    except DataError as error:
        return {}, f"its recipe cannot be read: {error}"
    except OSError:
        pass
    try:
        found = tomli.loads((run.folder.root / "scripts" / "recipe.toml").read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        return {}, f"its recipe cannot be read: {error}"
    return found, "its recipe is compared without what --set changed: an older casarun kept no note"


def flatten(value: Any, key: str = "") -> dict[str, str]:
    """Return all values of a document by dotted key; tables of arrays go by their names."""
    found: dict[str, str] = {}
    if isinstance(value, Mapping):
        for name, item in value.items():
            found |= flatten(item, f"{key}.{name}" if key else str(name))
        return found
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            name = label(key.rpartition(".")[2], item) or str(number)
            name = name if f"{key}.{name}" not in found else str(number)
            found |= flatten(item, f"{key}.{name}")
        return found
    found[key] = shown(value)
    return found


def shown(value: Any) -> str:
    """Write a value about as TOML would, without quotes around text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(shown(item) for item in value)}]"
    return str(value)


def differences(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[Difference]:
    """Yield the keys whose values differ, in their order."""
    for key in dict.fromkeys((*a, *b)):
        first, second = a.get(key, ABSENT), b.get(key, ABSENT)
        if first != second:
            yield Difference(key, first, second)


def _autos(run: Run) -> dict[str, str]:
    found: dict[str, str] = {}
    for auto in map(mapping, items(run.plan.get("autos"))):
        key = f"{text(auto.get('key'))} of {text(auto.get('subject'))}"
        found |= flatten(auto.get("value"), key)
    return found


def _steps(a: Run, b: Run) -> Iterator[Difference]:
    """Yield the parameters that differ, one line for all steps where they do so alike."""
    plans = [{text(s.get("id")): s for s in map(mapping, items(run.plan.get("steps")))}
             for run in (a, b)]  # fmt: skip
    for side, mine, other in (("A", *plans), ("B", *reversed(plans))):
        for name in mine:
            if name not in other:
                sides = ("there", ABSENT) if side == "A" else (ABSENT, "there")
                yield Difference(f"step {name}", *sides)
    alike: dict[tuple[str, str, str], list[str]] = {}
    for name, step in plans[0].items():
        if name in plans[1]:
            for one in differences(_said(step), _said(plans[1][name])):
                alike.setdefault((one.key, one.a, one.b), []).append(name)
    for (key, first, second), where in alike.items():
        yield Difference(key, first, second, tuple(where))


def _said(step: Mapping[str, Any]) -> dict[str, str]:
    return {"task": text(step.get("action")), **flatten(mapping(step.get("params")))}


def _inputs(a: Run, b: Run) -> Iterator[Difference]:
    """Yield the inputs of which no twin is in the other run, whatever its place."""
    inputs = [{str(path): str(mark) for path, mark in mapping(run.plan.get("inputs")).items()}
              for run in (a, b)]  # fmt: skip
    known: Sequence[set[str]] = [set(one.values()) for one in inputs]
    for path in dict.fromkeys((*inputs[0], *inputs[1])):
        first, second = (one.get(path, ABSENT) for one in inputs)
        twins = first in (ABSENT, *known[1]) and second in (ABSENT, *known[0])
        if first != second and not twins:
            yield Difference(path, first, second)
