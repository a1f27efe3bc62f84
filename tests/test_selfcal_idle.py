"""Rounds that do not take place leave, without a process, what their steps would leave in one."""

import json
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import selfcal_image, selfcal_solve
from casarun.engine.executors import Job
from casarun.engine.passing import passed_over
from casarun.engine.results import SKIPPED, read_result
from casarun.files import product_state
from casarun.folder import RunFolder
from casarun.plan import Step

ACTIONS = {**selfcal_solve.ACTIONS, **selfcal_image.ACTIONS}
LADDER = {"solint": "auto", "calmode": "auto", "gaintype": "G", "combine": "", "rounds": 3}
IMAGE = {"near_rms_noise_jy_per_beam": 0.1, "thermal_noise_jy_per_beam": None}
SOLVE = {"dead_by_dataset": {"d": ["ea03"]}, "offsets_tried": True}
ENDED = {
    "round": 0, "accepted": True, "best_round": 0, "apply": [], "next": None, "ended": "it ended",
    "image": IMAGE, "solve": SOLVE,
}  # fmt: skip
GOES_ON = ENDED | {"next": {"calmode": "p", "solint": "auto"}}
PARAMS: dict[str, dict[str, Any]] = {
    "predict": {"state": "0.json"},
    "solve": {"round": 1, "state": "0.json", "tables": {"d": "1.d"}, "minsnr": 3.0,
              "out": "1.solve.json"},
    "apply": {"state": "0.json", "solve": "1.solve.json"},
    "image": {"round": 1, "state": "0.json", "solve": "1.solve.json", "prefix": "T.1",
              "tclean": {"deconvolver": "hogbom"}, "out": "1.image.json"},
    "judge": {"round": 1, "image": "1.image.json", "solve": "1.solve.json", "states": ["0.json"],
              "limits": {}, "ladder": LADDER, "out": "1.json"},
}  # fmt: skip
WRITES = {"solve": ("1.d", "1.solve.json"), "image": ("T.1.image", "1.image.json"),
          "judge": ("1.json",)}  # fmt: skip


def job(folder: Path, name: str, **more: Any) -> Job:
    writes = WRITES.get(name, ())
    step = Step(
        f"T.selfcal.1.{name}", "selfcal", f"a {name}", f"selfcal.{name}", PARAMS[name],
        writes=writes, updates=("day.ms",) if name in ("predict", "apply") else (),
    )  # fmt: skip
    return Job(step, folder, **more)


def put(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content))


def everything(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("*.json")}


def test_all_steps_of_a_round_leave_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart, within = tmp_path / "apart", tmp_path / "within"
    for folder in (apart, within):
        folder.mkdir()
        put(folder, "0.json", ENDED)
    for name, params in PARAMS.items():
        monkeypatch.chdir(apart)
        outcome = ACTIONS[f"selfcal.{name}"](params)
        monkeypatch.chdir(tmp_path)
        states = {"day.ms": "as it was"}
        result = passed_over(job(within, name, states=states))
        assert result is not None
        assert result["ok"]
        assert result["outcome"][SKIPPED] == outcome[SKIPPED] == "it ended"
        made = [path for path in WRITES.get(name, ()) if path.endswith(".json")]
        wanted = {path: product_state(within / path) for path in made}
        assert result["writes"] == wanted | (states if name in ("predict", "apply") else {})
        assert read_result(RunFolder(within), f"T.selfcal.1.{name}", 1) == result
    assert everything(within) == everything(apart)
    assert len(everything(within)) == 4


@pytest.mark.parametrize("name", PARAMS)
def test_what_takes_place_is_for_a_process(tmp_path: Path, name: str) -> None:
    put(tmp_path, "0.json", GOES_ON)
    put(tmp_path, "1.solve.json", {"round": 1, "skipped": ""})
    put(tmp_path, "1.image.json", {"round": 1, "skipped": ""})
    before = everything(tmp_path)
    one = job(tmp_path, name)
    if name == "solve":
        (tmp_path / "1.solve.json").unlink()
        del before["1.solve.json"]
    assert passed_over(one) is None
    assert everything(tmp_path) == before
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize("name", ["apply", "image", "judge"])
def test_a_round_that_was_not_solved_ends_there(tmp_path: Path, name: str) -> None:
    put(tmp_path, "0.json", GOES_ON)
    put(tmp_path, "1.solve.json", {"round": 1, "skipped": "too little signal"})
    if name == "judge":
        put(tmp_path, "1.image.json", {"round": 1, "skipped": "too little signal"})
    result = passed_over(job(tmp_path, name))
    assert result is not None
    assert result["outcome"] == {SKIPPED: "too little signal"}


def test_what_an_earlier_run_made_is_for_a_process_to_clear_away(tmp_path: Path) -> None:
    put(tmp_path, "0.json", ENDED)
    (tmp_path / "1.d").mkdir()
    assert passed_over(job(tmp_path, "solve")) is None
    assert (tmp_path / "1.d").is_dir()


def test_a_state_that_was_altered_is_for_a_process_to_report(tmp_path: Path) -> None:
    put(tmp_path, "0.json", ENDED)
    states = {"0.json": str(product_state(tmp_path / "0.json"))}
    put(tmp_path, "0.json", ENDED | {"ended": "somebody says so"})
    assert passed_over(job(tmp_path, "predict", states=states)) is None


def test_other_steps_are_for_a_process(tmp_path: Path) -> None:
    step = Step("x", "image", "", "clean", {"state": "0.json"})
    assert passed_over(Job(step, tmp_path)) is None
