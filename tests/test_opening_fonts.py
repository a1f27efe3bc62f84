"""The list of fonts that Matplotlib keeps, where a run folder takes over the user's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from casarun.api.opening import matplotlib_in


@pytest.fixture
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder of caches, with a list."""
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "cache" / "matplotlib"
    place.mkdir(parents=True)
    (place / "fontlist-v390.json").write_text("{}")
    return place


def test_the_users_list_is_taken_over(caches: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "matplotlib"
    with matplotlib_in(folder):
        assert os.environ["MPLCONFIGDIR"] == str(folder)
    assert "MPLCONFIGDIR" not in os.environ
    assert [path.name for path in folder.iterdir()] == ["fontlist-v390.json"]
    assert (caches / "fontlist-v390.json").read_text() == "{}"


def test_a_list_of_the_run_itself_stays(caches: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "matplotlib"
    folder.mkdir(parents=True)
    (folder / "fontlist-v390.json").write_text("own")
    with matplotlib_in(folder):
        pass
    assert (folder / "fontlist-v390.json").read_text() == "own"


@pytest.mark.usefixtures("caches")
def test_a_folder_that_the_user_chose_is_kept_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", "elsewhere")
    with matplotlib_in(tmp_path / "run"):
        assert os.environ["MPLCONFIGDIR"] == "elsewhere"
    assert not (tmp_path / "run").exists()


def test_without_a_home_nothing_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with matplotlib_in(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
