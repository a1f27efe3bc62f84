"""A clean goes on as long as the noise of what it leaves falls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import actions

Rounds = Callable[..., tuple[dict[str, Any], list[Mapping[str, Any]]]]


@pytest.fixture
def rounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    """Return a function that cleans with a tclean whose residuals have these noises."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images" / "dirty").mkdir(parents=True)

    def run(
        noises: list[float], *, stops: list[int] | None = None, niter: int = 1000, **settings: Any
    ) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
        calls: list[Mapping[str, Any]] = []
        codes = iter(stops or [2] * 99)
        left = iter(noises)

        def call(task: str, params: Mapping[str, Any]) -> dict[str, Any]:
            assert task == "tclean"
            calls.append(params)
            return {"iterdone": 100, "nmajordone": 2, "stopcode": next(codes)}

        def measured(params: Mapping[str, Any]) -> dict[str, Any]:
            assert params["image"] == "images/t.c.residual"
            return {"rms_jy_per_beam": next(left)}

        monkeypatch.setattr(actions, "call", call)
        monkeypatch.setattr(actions, "named", {"noise": measured}.__getitem__)
        tclean = {"imagename": "images/t.c", "niter": niter, "threshold": "3Jy", **settings}
        given = {
            "dirty": "images/dirty/t.c", "tclean": tclean, "until": {"sigmas": 3.0, "suffix": ""},
        }  # fmt: skip
        return actions._clean(given), calls

    return run


def test_it_goes_on_until_the_noise_has_settled(rounds: Rounds) -> None:
    outcome, calls = rounds([0.5, 0.2, 0.1, 0.09])
    assert [call["threshold"] for call in calls] == ["3Jy", "1.5Jy", "0.6Jy", "0.3Jy"]
    assert [call["niter"] for call in calls] == [1000, 900, 800, 700]
    assert outcome["thresholds_jy"] == pytest.approx([3.0, 1.5, 0.6, 0.3])
    assert outcome["threshold"] == pytest.approx(0.3)
    assert (outcome["iterdone"], outcome["nmajordone"]) == (400, 8)


def test_it_is_one_clean_where_the_dirty_image_shows_the_noise(rounds: Rounds) -> None:
    outcome, calls = rounds([0.81])
    assert len(calls) == 1
    assert outcome["thresholds_jy"] == [3.0]


def test_a_fifth_less_noise_goes_on(rounds: Rounds) -> None:
    assert len(rounds([0.79, 0.7])[1]) == 2


@pytest.mark.parametrize("stop", [1, 3, 4, 5, 6, 7, 9])
def test_it_ends_where_it_did_not_reach_the_threshold(rounds: Rounds, stop: int) -> None:
    outcome, calls = rounds([0.1], stops=[stop])
    assert len(calls) == 1
    assert outcome["stopcode"] == stop


def test_it_ends_with_the_iterations_of_the_recipe(rounds: Rounds) -> None:
    outcome, calls = rounds([0.5, 0.2], niter=200)
    assert [call["niter"] for call in calls] == [200, 100]
    assert outcome["iterdone"] == 200


def test_a_mask_is_read_once(rounds: Rounds) -> None:
    _, calls = rounds([0.5, 0.45], usemask="user", mask="/data/m.crtf")
    assert [call.get("mask") for call in calls] == ["/data/m.crtf", None]


def test_a_threshold_in_jansky_is_one_clean(rounds: Rounds) -> None:
    _, calls = rounds([0.5, 0.45, 0.1])
    assert len(calls) == 2
    actions._clean({"dirty": "images/dirty/t.c", "tclean": dict(calls[0])})
    assert len(calls) == 3
