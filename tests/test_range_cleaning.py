"""How a cube's ranges go on after each round of cleaning, without CASA."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import range_cleaning, ranges
from casarun.engine.results import SKIPPED
from casarun.errors import StepFailedError


def told(rungs: Sequence[int], rms: float = 1.0, stopcode: int = 2) -> dict[str, Any]:
    """Return the numbers of a range's clean of two channels."""
    return {
        "skipped": "", "rungs": list(rungs), "iterdone": sum(rungs), "stopcode": stopcode,
        "threshold": 10.0, "rms": [rms, rms],
    }  # fmt: skip


def settle(
    folder: Path, found: Sequence[dict[str, Any]], *, before: dict[str, Any] | None = None,
    round_: int = 1, last: int = 4, sigmas: float = 3.0, niter: int = 1000,
) -> dict[str, Any]:  # fmt: skip
    paths = []
    for number, one in enumerate(found):
        path = folder / f"{number}.json"
        path.write_text(json.dumps(one))
        paths.append([str(path)])
    state = ""
    if before is not None:
        state = str(folder / "before.json")
        Path(state).write_text(json.dumps(before))
    out = folder / "out.json"
    outcome = range_cleaning.settle(
        {"round": round_, "last": last, "ranges": paths, "state": state, "sigmas": sigmas,
         "niter": niter, "out": str(out)}
    )  # fmt: skip
    written: dict[str, Any] = json.loads(out.read_text())
    assert written.items() <= outcome.items()
    return outcome


def test_a_threshold_in_jy_is_one_round(tmp_path: Path) -> None:
    state = settle(tmp_path, [told([5, 5]), told([3])], sigmas=0)
    assert (state["next"], state["reason"]) == ("end", "the threshold is reached")
    assert state["iterations"] == 13


def test_it_goes_on_to_the_noise_of_all_channels(tmp_path: Path) -> None:
    state = settle(tmp_path, [told([5], rms=1.0), told([5], rms=2.0), told([5], rms=2.0)])
    assert (state["next"], state["threshold_jy"]) == ("clean", 6.0)
    assert state["earlier_iterations"] == 15


def test_it_ends_where_the_noise_has_settled(tmp_path: Path) -> None:
    state = settle(tmp_path, [told([5], rms=3.0)])
    assert (state["next"], state["reason"]) == ("end", "the noise of what is left has settled")
    assert state["thresholds_jy"] == [10.0]


def test_the_last_round_is_for_what_is_done_again(tmp_path: Path) -> None:
    state = settle(tmp_path, [told([5], rms=0.1)], round_=3)
    assert (state["next"], state["reason"]) == ("end", "after 3 rounds")
    assert state["threshold_jy"] == 10.0


def test_ranges_beyond_the_limit_of_all_are_done_again(tmp_path: Path) -> None:
    state = settle(tmp_path, [told([50, 30, 20]), told([40])], niter=120)
    assert (state["next"], state["rungs"], state["stopcode"]) == ("again", 2, 1)
    again = settle(tmp_path, [told([50, 30], stopcode=1), told([40])], niter=120, before=state,
                   round_=2)  # fmt: skip
    assert (again["next"], again["stopcode"], again["iterations"]) == ("end", 1, 120)
    assert again["reason"] == "the iterations' limit is reached"


def test_nothing_is_done_again_where_all_ended_on_the_rung_that_counts(tmp_path: Path) -> None:
    state = settle(tmp_path, [told([50, 70], stopcode=1), told([40, 10])], niter=120)
    assert (state["next"], state["stopcode"]) == ("end", 1)


def test_iterations_of_earlier_rounds_count(tmp_path: Path) -> None:
    first = settle(tmp_path, [told([50], rms=1.0)], niter=100)
    second = settle(tmp_path, [told([30, 30, 5])], niter=100, before=first, round_=2)
    assert (second["next"], second["rungs"], second["iterations"]) == ("again", 2, 115)


def test_cycles_that_end_nowhere_are_told(tmp_path: Path) -> None:
    state = settle(tmp_path, [told([5]), told([5], rms=0.1, stopcode=9)])
    assert (state["next"], state["stopcode"]) == ("end", 9)
    assert state["reason"] == "the cycles' limit is reached"


def test_after_the_end_nothing_is_to_be_done(tmp_path: Path) -> None:
    first = settle(tmp_path, [told([5], rms=3.0)])
    second = settle(tmp_path, [told([5], rms=3.0), {"skipped": "it is settled"}], before=first)
    assert second[SKIPPED] == "the noise of what is left has settled"


def dirty(rms: Sequence[float | None], **more: Any) -> dict[str, Any]:
    beam = {"*0": {axis: {"value": 1.0, "unit": "arcsec"} for axis in ("major", "minor", "pa")}}
    return {
        "skipped": "", "rms": list(rms), "peak": [None if one is None else 9.0 for one in rms],
        "beams": [beam] * len(rms), "psf_sidelobe": 0.1, "peak_jy_per_beam": 9.0, "pixels": 10,
        **more,
    }  # fmt: skip


def gather(folder: Path, found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    paths = []
    for number, one in enumerate(found):
        paths.append(str(folder / f"{number}.json"))
        Path(paths[-1]).write_text(json.dumps(one))
    out = folder / "noise.json"
    ranges.gather({"ranges": paths, "residual": "images/t.c.residual", "out": str(out)})
    written: dict[str, Any] = json.loads(out.read_text())
    return written


def test_noise_and_peak_are_those_of_all_channels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges.range_images, "common_beam", lambda beams: [str(len(beams))])
    found = [dirty([1.0, 3.0], psf_sidelobe=0.3), dirty([None, 2.0], peak_jy_per_beam=20.0)]
    numbers = gather(tmp_path, [*found, {"skipped": "the cube has no such channels"}])
    assert numbers["rms_jy_per_beam"] == 2.0
    assert numbers["per_channel"] == [1.0, 3.0, None, 2.0]
    assert (numbers["psf_sidelobe"], numbers["peak_residual_jy_per_beam"]) == (0.3, 20.0)
    assert numbers["common_beam"] == ["4"]


def test_a_cube_without_data_has_no_noise(tmp_path: Path) -> None:
    with pytest.raises(StepFailedError) as failure:
        gather(tmp_path, [dirty([None, None])])
    assert failure.value.message == (
        "the noise of images/t.c.residual cannot be measured: it has no valid pixels"
    )
