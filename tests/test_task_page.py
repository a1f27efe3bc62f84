"""``casarun task``: the list, the page and the JSON Schema of CASA's tasks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from casarun.casa.task_schema import schema
from casarun.casa.tasks import task, task_names
from casarun.cli.commands import cli
from casarun.errors import RefusedError
from click.testing import CliRunner
from jsonschema import Draft202012Validator


def said(*arguments: str) -> str:
    done = CliRunner().invoke(cli, ["task", *arguments], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize("name", task_names())
def test_every_task_has_a_schema_that_is_one_and_takes_its_defaults(name: str) -> None:
    made = schema(name)
    Draft202012Validator.check_schema(made)
    assert list(made["properties"]) == [spec.name for spec in task(name).parameters]
    assert made["additionalProperties"] is False
    defaults = {key: node["default"] for key, node in made["properties"].items()}
    # What must be given has a default that CASA itself refuses.
    given = {key: value for key, value in defaults.items() if value not in ("", [], None)}
    assert [error.message for error in Draft202012Validator(made).iter_errors(given)] == []


@pytest.mark.parametrize(
    ("name", "params", "valid"),
    [
        ("gaincal", {"calmode": "p", "minsnr": 3, "gaintable": ["a"], "spwmap": [[0], [1]]}, True),
        ("gaincal", {"gaintable": "a"}, True),
        ("gaincal", {"calmode": "pa"}, False),
        ("gaincal", {"gaintables": ["a"]}, False),
        ("gaincal", {"minblperant": 2.5}, False),
        ("tclean", {"robust": 2.5}, False),
        ("tclean", {"imsize": 256, "cell": ["1arcsec"]}, True),
        ("tclean", {"imsize": "256"}, False),
    ],
)
def test_schemas_judge_as_the_check_does(name: str, params: dict[str, Any], valid: bool) -> None:
    assert Draft202012Validator(schema(name)).is_valid(params) is valid


def test_schema_says_when_a_subparameter_counts() -> None:
    node = schema("tclean")["properties"]["smallscalebias"]
    assert node["description"].endswith("Counts with deconvolver='multiscale' or 'mtmfs'.")
    assert node["default"] == 0.0


def test_schema_is_printed() -> None:
    assert json.loads(said("gaincal", "--schema")) == schema("gaincal")


def test_tasks_are_listed_in_groups_with_a_line_each() -> None:
    text = said()
    assert text.index("\nflagging\n") < text.index("\ncalibration\n") < text.index("\nimaging\n")
    for name in task_names():
        assert f"\n  {name} " in text
    assert "Determine temporal gains from calibrator observations" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_page_shows_parameters_with_subparameters_below_them() -> None:
    lines = said("gaincal").splitlines()
    assert lines[0] == "gaincal: Determine temporal gains from calibrator observations"
    assert max(len(line) for line in lines) <= 100
    names = [line.split("  ")[0] if line[:1] != " " else line for line in lines]
    at = names.index("gaintype")
    assert lines[at + 1].startswith("  splinetime") or any(
        line.startswith("  splinetime") for line in lines[at : at + 6]
    )
    text = " ".join(" ".join(lines).split())
    assert "A step reads this" in text
    assert "A step makes this new: below the run folder" in text
    assert 'task = "gaincal"' in text


def test_page_fits_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    from casarun.cli import task_page
    from rich.console import Console

    console = Console(width=60, record=True, highlight=False)
    monkeypatch.setattr(task_page, "_console", lambda: console)
    task_page.show("statwt")
    text = console.export_text()
    assert "A step changes this in place" in " ".join(text.split())
    assert "excludechans" in text


def test_an_unknown_task_is_refused_with_a_suggestion() -> None:
    with pytest.raises(RefusedError) as refused:
        cli.main(["task", "gainca"], standalone_mode=False)
    assert str(refused.value) == (
        "the installed CASA has no task 'gainca'; did you mean 'gaincal'?"
    )
