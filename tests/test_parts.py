"""A survey's datasets are dealt out to several runs, each in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from casarun.api import Options, dashboard, run
from casarun.errors import ExitCode, RefusedError
from support.many_datasets import without_casa, write_recipe


def test_each_dataset_is_reduced_once_and_one_page_shows_all(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, 5)
    reduced: list[set[str]] = []
    with without_casa():
        for number in (1, 2, 3):
            options = Options(output=tmp_path / "run", part=(number, 3))
            result = run(recipe, options)
            assert result.exit_code == ExitCode.DONE
            assert result.folder.root == tmp_path / "run" / f"part-{number}-of-3"
            reduced.append(set(result.metrics["datasets"]))
            assert run(recipe, options).outcome.done == []  # it knows its own again
    assert reduced == [{"day0000", "day0003"}, {"day0001", "day0004"}, {"day0002"}]
    page, number = dashboard([str(tmp_path / "run")], tmp_path / "page")
    assert number == 3
    text = page.read_text()
    assert all(f"day000{n}" in text for n in range(5))


def test_a_problem_is_told_at_the_datasets_own_place(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, 3)
    (tmp_path / "data" / "day0002.uvfits").unlink()
    with pytest.raises(RefusedError) as error:
        run(recipe, Options(output=tmp_path / "run", part=(3, 3)))
    assert "dataset[2].vis: no such file" in str(error.value)
