"""CASA's definitions of its tasks' parameters: sound, and believed without another look."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from casarun.casa.config import configure
from casarun.casa.task_definitions import trust

pytestmark = pytest.mark.casa

NOTHING = object()
"""Of no type that a parameter may have."""


def tasks() -> list[str]:
    configure()
    import casatasks

    found = [
        name for name in dir(casatasks) if type(getattr(casatasks, name)).__name__ == f"_{name}"
    ]
    assert len(found) > 80
    return sorted(found)


def refusal(name: str, **arguments: Any) -> BaseException:
    """Call a task with what it must refuse; return what it says."""
    import casatasks

    with pytest.raises(Exception) as raised:  # noqa: PT011 - of which kind is what is asked
        getattr(casatasks, name)(**arguments)
    return raised.value


def parameters(name: str) -> list[str]:
    import casatasks

    return list(inspect.signature(getattr(casatasks, name).__call__).parameters)


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what is held against Cerberus's own rules; forget what was."""
    configure()
    from casatools.__cerberus__ import Validator
    from casatools.__cerberus__.schema import DefinitionSchema

    counted: list[int] = []
    whole = DefinitionSchema.validate

    def validate(definitions: Any, schema: Any = None) -> None:
        counted.append(1)
        whole(definitions, schema)

    monkeypatch.setattr(Validator, "_valid_schemas", set())
    monkeypatch.setattr(DefinitionSchema, "validate", validate)
    return counted


def test_the_definitions_of_all_tasks_are_sound(validated: list[int]) -> None:
    known = {name: parameters(name) for name in tasks()}
    for name, (first, *_) in ((name, found) for name, found in known.items() if found):
        said = refusal(name, **{first: NOTHING})
        # An unsound definition raises Cerberus's SchemaError.
        assert isinstance(said, AssertionError), f"{name}: {type(said).__name__}: {said}"
    assert validated


def test_arguments_are_refused_as_before_without_a_look_at_definitions(
    validated: list[int],
) -> None:
    wrong = {"gaincal": {"vis": 5}, "tclean": {"imsize": "large", "vis": "x.ms", "imagename": "x"}}
    before = {name: str(refusal(name, **arguments)) for name, arguments in wrong.items()}
    number = len(validated)
    assert number
    trust()
    after = {name: str(refusal(name, **arguments)) for name, arguments in wrong.items()}
    assert after == before
    assert after["gaincal"] == ("the vis parameter must be a path that exists ('5' does not exist)")
    assert len(validated) == number
