"""A clean that diverged is done again with what the recipe declares, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from casarun.casa.recipe_parameters import static
from casarun.cli.tables import show_log
from casarun.cli.terminal import Lines
from casarun.engine.executors import Job
from casarun.engine.journal_state import JournalState, read_state
from casarun.engine.policy import Budget, RetryPolicy
from casarun.engine.results import failure
from casarun.engine.scheduler import Outcome, run
from casarun.errors import Cause, RefusedError
from casarun.folder import RunFolder
from casarun.plan import Plan, Step, laid_over, written
from casarun.qa.verdict import assemble
from casarun.recipe.load import load
from casarun.recipe.model import Calibrators, Dataset, FluxCalibrator, Image, Recipe, Targets
from casarun.report.conclude import _steps
from casarun.report.gathering import _fallbacks
from casarun.stages.compile import full
from jsonschema import Draft202012Validator
from rich.console import Console
from support.fake_actions import fake
from support.observations import spw, vla
from test_engine import MemoryExecutor, make, put

D, IO = Cause.DIVERGED, Cause.IO
MILD = {"tclean": {"gain": 0.5}}
LOW = {"tclean": {"gain": 0.05, "cyclefactor": 4}}
OWN = {"dirty": "d", "tclean": {"gain": 1.9, "niter": 100}}


def clean(*fallbacks: Mapping[str, Any], **more: Any) -> Step:
    return fake("clean", "clean", writes="images/x", params=OWN, fallbacks=fallbacks, **more)


def cleaning(*before: Cause, worse: Cause | None = None) -> Callable[[Job], dict[str, Any]]:
    """Diverge above a gain of 0.1; fail for other causes first, attempt by attempt, if asked."""
    left = list(before)

    def behave(job: Job) -> dict[str, Any]:
        if job.step.action != "clean":
            return make(job)
        if left:
            return failure(left.pop(0), "for once")
        gain = job.step.params["tclean"]["gain"]
        if gain > 0.1:
            return failure(D, f"it diverged with gain = {gain}", "Lower the gain.")
        return make(replace(job, step=replace(job.step, params={"say": str(gain)})))

    return behave


def go(
    folder: RunFolder,
    *steps: Step,
    behave: Callable[[Job], Any] | None = None,
    events: list[dict[str, Any]] | None = None,
    attempts: int = 3,
) -> Outcome:
    return run(
        Plan(steps),
        folder,
        MemoryExecutor(behave or cleaning()),
        RetryPolicy(attempts, 0.0),
        Budget(1),
        events.append if events is not None else None,
    )


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def product(folder: RunFolder) -> str:
    return (folder.root / "images/x").read_text()


# --- parameters


def test_tables_are_merged_and_all_else_is_replaced() -> None:
    late = {"$late": {"path": "n.json", "key": "rms", "times": 3, "unit": "Jy"}}
    own = {"dirty": "d", "tclean": {"gain": 0.1, "threshold": late, "scales": [0, 5]}}
    over = {"tclean": {"gain": 0.05, "threshold": "1mJy", "scales": [0]}, "until": {"sigmas": 3}}
    assert laid_over(own, over) == {
        "dirty": "d",
        "tclean": {"gain": 0.05, "threshold": "1mJy", "scales": [0]},
        "until": {"sigmas": 3},
    }
    later = {"$late": {"path": "m.json", "key": "rms"}}
    assert laid_over({"threshold": late}, {"threshold": later}) == {"threshold": later}
    assert own["tclean"] == {"gain": 0.1, "threshold": late, "scales": [0, 5]}
    assert written(over | {"name": "x"}) == (
        'gain = 0.05, threshold = "1mJy", scales = [0], sigmas = 3, name = "x"'
    )


def test_fallbacks_are_of_the_fingerprint_where_there_are_any() -> None:
    def of(*fallbacks: Mapping[str, Any]) -> str:
        return Plan((clean(*fallbacks),)).fingerprints["clean"]

    assert len({of(), of(LOW), of(MILD, LOW), of(LOW, MILD)}) == 4
    step = clean(MILD, LOW)
    assert Step.from_json(json.loads(json.dumps(step.to_json()))) == step


# --- when


@pytest.mark.parametrize(
    ("causes", "fallbacks", "wait_s"),
    [
        ([D], 0, None),
        ([D], 2, 0.0),
        ([D, D], 2, 0.0),
        ([D, D, D], 2, None),
        ([IO, IO, D], 1, 0.0),
        ([IO, IO, IO, D], 1, 0.0),
        ([D, D, IO], 2, 5.0),
        ([D, IO, D, IO], 2, 10.0),
        ([D, IO, IO, IO], 1, None),
        ([D, IO, D], 1, None),
    ],
)
def test_fallbacks_and_other_attempts_are_counted_apart(
    causes: list[Cause], fallbacks: int, wait_s: float | None
) -> None:
    assert RetryPolicy(3, 5.0).wait_before_next(causes, fallbacks) == wait_s


def test_each_divergence_takes_the_next_fallback(folder: RunFolder) -> None:
    events: list[dict[str, Any]] = []
    outcome = go(folder, clean(MILD, LOW), events=events, attempts=1)
    assert outcome.done == ["clean"]
    assert product(folder) == "0.05()"
    started = [e for e in events if e["event"] == "step-started"]
    # The parameters of the fingerprint stay; what is laid over them stands beside.
    assert [e["params"] for e in started] == [OWN] * 3
    assert [e.get("fallback") for e in started] == [None, MILD, LOW]
    assert [e["fallbacks"] for e in started] == [(MILD, LOW)] * 3
    again = [e for e in events if e["event"] == "step-retry"]
    assert [(e["attempt"], e["wait_s"], e["cause"], e["fallback"]) for e in again] == [
        (2, 0.0, "diverged", MILD),
        (3, 0.0, "diverged", LOW),
    ]
    assert go(folder, clean(MILD, LOW)).skipped == {"clean": "unchanged"}


def test_nothing_of_the_science_changes_without_being_declared(folder: RunFolder) -> None:
    events: list[dict[str, Any]] = []
    failed = go(folder, clean(), events=events).failed["clean"]
    assert (failed.cause, failed.attempts, failed.advice) == (D, 1, "Lower the gain.")
    assert not any("fallback" in event or "fallbacks" in event for event in events)


def test_when_the_last_fallback_diverges_the_step_has_failed(folder: RunFolder) -> None:
    failed = go(folder, clean(MILD)).failed["clean"]
    assert (failed.cause, failed.attempts) == (D, 2)
    assert failed.message == "it diverged with gain = 0.5"


def test_other_causes_repeat_the_parameters_of_their_attempt(folder: RunFolder) -> None:
    events: list[dict[str, Any]] = []
    outcome = go(folder, clean(MILD, LOW), events=events, behave=cleaning(IO, D, IO), attempts=3)
    assert outcome.done == ["clean"]
    used = [e.get("fallback") for e in events if e["event"] == "step-started"]
    assert used == [None, None, MILD, MILD, LOW]
    again = [e.get("fallback") for e in events if e["event"] == "step-retry"]
    assert again == [None, MILD, None, LOW]
    assert len(read_state(folder.journal).steps["clean"].fell_back) == 2


def test_a_change_in_place_falls_back_on_a_product_made_again(folder: RunFolder) -> None:
    change = fake("clean", "clean", updates="images/x", params=OWN, fallbacks=(LOW,))

    def behave(job: Job) -> dict[str, Any]:
        if job.step.id == "clean" and job.step.params["tclean"]["gain"] > 0.1:
            put(job.folder / "images/x", "broken")
        return cleaning()(job)

    outcome = go(folder, fake("make", writes="images/x"), change, behave=behave)
    assert outcome.state == "done"
    assert product(folder) == "()|0.05()"


# --- killed and edited


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_a_run_killed_at_any_attempt_ends_with_the_same(folder: RunFolder, attempt: int) -> None:
    def die(job: Job) -> dict[str, Any]:
        if job.attempt == attempt:
            raise KeyboardInterrupt
        return cleaning()(job)

    with pytest.raises(KeyboardInterrupt):
        go(folder, clean(MILD, LOW), behave=die)
    events: list[dict[str, Any]] = []
    assert go(folder, clean(MILD, LOW), events=events).done == ["clean"]
    used = [e.get("fallback") for e in events if e["event"] == "step-started"]
    assert used == [None, MILD, LOW]
    assert product(folder) == "0.05()"
    # What diverged before the run was killed is not told twice.
    record = read_state(folder.journal).steps["clean"]
    assert record.done is not None
    assert [e["attempt"] for e in record.done["fell_back"]] == [2, 3]


def test_edited_fallbacks_make_the_step_again(folder: RunFolder) -> None:
    go(folder, clean(MILD, LOW))
    events: list[dict[str, Any]] = []
    go(folder, clean(LOW), events=events)
    assert [e["reason"] for e in events if e["event"] == "step-started"] == [
        "its fallbacks changed"
    ] * 2
    declared = {**OWN, "tclean": {"gain": 0.05}}
    events.clear()
    go(folder, replace(clean(LOW), params=declared), events=events)
    assert [e["reason"] for e in events if e["event"] == "step-started"] == [
        "parameters changed: tclean.gain, tclean.niter"
    ]
    record = read_state(folder.journal).steps["clean"]
    assert record.done is not None
    assert record.done["fell_back"] == []


def test_a_later_run_that_was_stopped_does_not_take_away_what_is_known(folder: RunFolder) -> None:
    go(folder, clean(LOW))
    state = read_state(folder.journal)
    state.take({"event": "step-started", "step": "clean", "attempt": 1})
    state.take({"event": "step-interrupted", "step": "clean", "attempt": 1})
    said = _steps(Plan((clean(LOW),)), Outcome(skipped={"clean": "unchanged"}), state)
    assert said["clean"]["fell_back"] == [
        {
            "attempt": 1,
            "message": "it diverged with gain = 1.9",
            "parameters": "gain = 0.05, cyclefactor = 4",
        }
    ]


# --- the recipe

HEAD = """casarun = 1
[[dataset]]
vis = "a.ms"
[[image]]
name = "map"
"""
ONLY = (
    "is nothing that a fallback may change, only how the clean goes on: gain, cyclefactor, "
    "cycleniter, minpsffraction, maxpsffraction, nmajor, niter, deconvolver, scales, "
    "smallscalebias, fusedthreshold, largestscale"
)
OTHER = "'mtmfs' makes other images, one for each Taylor term"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recipe]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.ms").mkdir()

    def loaded(text: str, *overrides: str) -> Recipe:
        Path("recipe.toml").write_text(HEAD + text, encoding="utf-8")
        return load(Path("recipe.toml"), overrides).recipe

    return loaded


def test_fallbacks_of_a_recipe(here: Callable[..., Recipe]) -> None:
    text = "fallback = [{ gain = 0.05 }, { gain = 0.02, cyclefactor = 4 }]\n"
    sets = ({"gain": 0.05}, {"gain": 0.02, "cyclefactor": 4})
    assert here(text).image[0].fallback == sets
    tables = "[[image.fallback]]\ngain = 0.05\n[[image.fallback]]\ngain = 0.02\ncyclefactor = 4\n"
    assert here(tables).image[0].fallback == sets
    assert here("", "image.map.fallback=[{ gain = 0.01 }]").image[0].fallback == ({"gain": 0.01},)
    assert static(here(text)) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{}]", "[0]: says nothing to change: { gain = 0.05 }, for example"),
        ("[3]", "[0]: expected a table, found an integer"),
        ("[{ gian = 0.05 }]", f"[0].gian: {ONLY}; did you mean 'gain'?"),
        ("[{ gain = 0.1 }, { imsize = 64 }]", f"[1].imsize: {ONLY}"),
        ('[{ threshold = "1mJy" }]', f"[0].threshold: {ONLY}"),
        ('[{ vis = "b.ms" }]', f"[0].vis: {ONLY}"),
        ('[{ imagename = "../x" }]', f"[0].imagename: {ONLY}"),
        ('[{ weighting = "natural" }]', f"[0].weighting: {ONLY}"),
        ("[{ niter = 0 }]", "[0].niter: a clean of 0 iterations is none"),
        (
            '[{ deconvolver = "mtmfs" }]',
            f"[0].deconvolver: a clean with 'hogbom' cannot fall back to 'mtmfs': {OTHER}",
        ),
        (
            '[{ deconvolver = "hogbon" }]',
            "[0].deconvolver: 'hogbon' is not one of 'hogbom', 'clark', 'multiscale', "
            "'clarkstokes', 'asp'; did you mean 'hogbom'?",
        ),
        (
            '[{ deconvolver = "hogbom" }]\ndeconvolver = "mtmfs"',
            f"[0].deconvolver: a clean with 'mtmfs' cannot fall back to 'hogbom': {OTHER}",
        ),
    ],
)
def test_fallbacks_that_are_refused(here: Callable[..., Recipe], text: str, message: str) -> None:
    with pytest.raises(RefusedError) as error:
        here(f"fallback = {text}\n")
    first, line = str(error.value).splitlines()[:2]
    assert first.split(": ", 1)[1] == f"image[0].fallback{message}"
    assert line == f"    6 | fallback = {text.splitlines()[0]}"
    assert len(error.value.problems) == 1


def test_fallbacks_are_held_against_casa(here: Callable[..., Recipe]) -> None:
    recipe = here(
        'fallback = [{ gain = "low" }, { cycleniter = 2.5 }, { smallscalebias = 0.6 },\n'
        '{ deconvolver = "multiscale", scales = [0, 5], smallscalebias = 0.6 }]\n'
    )
    key = ("image", 0, "fallback")
    assert [(p.severity, p.key, p.message) for p in static(recipe)] == [
        ("error", (*key, 0, "gain"), "tclean: 'gain' must be a number, not 'low'"),
        ("error", (*key, 1, "cycleniter"),
         "tclean: 'cycleniter' must be a whole number, not 2.5"),
        ("warning", (*key, 2, "smallscalebias"),
         "has no effect with deconvolver='hogbom': it counts with deconvolver='multiscale' or "
         "'mtmfs'"),
    ]  # fmt: skip


def test_what_has_no_effect_is_said(here: Callable[..., Recipe]) -> None:
    def warned(text: str) -> list[tuple[str, Any]]:
        Path("recipe.toml").write_text(HEAD + text)
        return [(p.message, p.key) for p in load(Path("recipe.toml"), ()).warnings]

    assert here("niter = 9\n").image[0].niter == 9
    assert warned("niter = 0\nfallback = [{ gain = 0.05 }]\n") == [
        ("has no effect with niter = 0", ("image", 0, "fallback"))
    ]
    scales = 'scales = [0, 9]\nfallback = [{ deconvolver = "DECONVOLVER" }]\n'
    assert warned(scales.replace("DECONVOLVER", "multiscale")) == []
    assert [key for _, key in warned(scales.replace("DECONVOLVER", "clark"))] == [
        ("image", 0, "scales")
    ]


# --- the plan


def compiled(**image: Any) -> Any:
    recipe = Recipe(
        1, (Dataset("/data/day.fits", "day"),),
        calibrators=Calibrators(FluxCalibrator("1331*"), "1331*", ("1445*",)),
        targets=Targets(("N5921",)), image=(Image("map", **image),),
    )  # fmt: skip
    return full(recipe, {"day": vla(spws=(spw(0, n_chan=64, width_hz=8e6),))})


def fallbacks(of: Any) -> tuple[Mapping[str, Any], ...]:
    found: tuple[Mapping[str, Any], ...] = next(
        step.fallbacks for step in of.steps if step.id == "N5921.map.clean"
    )
    assert not any(step.fallbacks for step in of.steps if step.id != "N5921.map.clean")
    return found


def test_the_clean_has_the_recipes_fallbacks() -> None:
    assert fallbacks(compiled()) == ()
    sets = ({"gain": 0.05}, {"gain": 0.02, "cyclefactor": 4})
    assert fallbacks(compiled(fallback=sets)) == tuple({"tclean": one} for one in sets)


def test_a_fallback_to_multiscale_has_scales() -> None:
    made = compiled(fallback=({"deconvolver": "multiscale"},))
    (chosen,) = [auto for auto in made.autos if auto.key == "image.fallback.scales"]
    assert fallbacks(made) == ({"tclean": {"deconvolver": "multiscale", "scales": chosen.value}},)
    assert len(chosen.value) == 3
    own = ({"deconvolver": "multiscale", "scales": [0, 2]},)
    assert fallbacks(compiled(fallback=own)) == ({"tclean": own[0]},)
    given = compiled(fallback=({"deconvolver": "multiscale"},), scales=(0, 7))
    assert fallbacks(given)[0]["tclean"]["scales"] == [0, 7]


def test_what_auto_became_has_other_images() -> None:
    made = compiled(deconvolver="auto", fallback=({"gain": 0.1}, {"deconvolver": "hogbom"}))
    assert [(p.message, p.key) for p in made.problems] == [
        (
            f"a clean with 'mtmfs' cannot fall back to 'hogbom': {OTHER}",
            ("image", 0, "fallback", 1, "deconvolver"),
        )
    ]


# --- what is said


def test_the_terminal_says_which_parameters_are_taken() -> None:
    out = StringIO()
    lines = Lines(Console(file=out, width=200), quiet=True, verbose=False)
    lines.tell({"event": "step-retry", "step": "t.map.clean", "attempt": 2, "wait_s": 0.0,
                "cause": "diverged", "fallback": LOW})  # fmt: skip
    assert out.getvalue().split(" ", 2)[2] == (
        "t.map.clean: again with gain = 0.05, cyclefactor = 4, which the recipe declares for a "
        "clean that diverged\n"
    )


def test_the_log_says_it_too(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    go(folder, clean(LOW))
    show_log(folder, "clean", casa=False)
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines() if line]
    assert lines[2].split(maxsplit=1) == [
        "step-failed", "clean diverged: it diverged with gain = 1.9"
    ]  # fmt: skip
    assert lines[3].split(maxsplit=1) == [
        "step-retry", "clean with gain = 0.05, cyclefactor = 4"
    ]  # fmt: skip


def test_a_fallback_warns_in_the_metrics(folder: RunFolder) -> None:
    step = clean(MILD, LOW, target="N5921", image="hi")
    plan = Plan((step,))
    outcome = go(folder, step)
    meta = {"steps": _steps(plan, outcome, read_state(folder.journal))}
    metrics = assemble({}, [], {}, (), list(_fallbacks(plan, meta)))
    assert metrics["verdict"] == "warn"
    [check] = metrics["checks"]
    assert check.pop("key") == "image.fallback"
    assert check.pop("advice")
    assert metrics["checks"] == [
        {
            "name": "fallbacks_used",
            "subject": "N5921, hi",
            "verdict": "warn",
            "value": 2,
            "limit": 0,
            "text": "diverged with the recipe's own parameters; made with gain = 0.05, "
            "cyclefactor = 4 instead",
        }
    ]
    schema = files("casarun").joinpath("schemas/metrics.schema.json").read_text(encoding="utf-8")
    Draft202012Validator(json.loads(schema)).validate(metrics)


def test_a_step_that_failed_after_its_fallbacks_tells_them_all(folder: RunFolder) -> None:
    step = clean(MILD)
    plan = Plan((step,))
    said = _steps(plan, go(folder, step), read_state(folder.journal))
    assert said["clean"]["state"] == "failed"
    assert said["clean"]["reason"] == "it diverged with gain = 0.5"
    assert [one["parameters"] for one in said["clean"]["fell_back"]] == ["gain = 0.5"]
    assert list(_fallbacks(plan, {"steps": said})) == []


def test_an_edited_journal_is_no_trouble() -> None:
    state = JournalState.of(
        [
            {"event": "step-retry", "step": "a", "fallback": {"tclean": 3}},
            {"event": "step-done", "step": "a"},
        ]
    )
    said = _steps(Plan((fake("a"),)), Outcome(done=["a"]), state)
    assert said["a"]["fell_back"] == [{"attempt": -1, "message": "", "parameters": "tclean = 3"}]
