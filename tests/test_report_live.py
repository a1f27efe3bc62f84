"""The report of a run that goes on: renewed as steps end, and never the run's end."""

import json

import pytest
from casarun.folder import RunFolder
from casarun.plan import Plan, Step
from casarun.report import live
from casarun.report.gathering import gather
from test_qa_verdict import dataset, image
from test_report import PLAN, Page, write

ABOUT = {
    "title": "NGC 5921", "name": "n", "recipe_text": "casarun = 1", "recipe_name": "r.toml",
    "versions": {}, "command": "casarun r.toml", "limits": {"min_dynamic_range": 20.0},
}  # fmt: skip


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def run(tmp_path):
    """A run folder in which a dataset is measured and an image is not."""
    folder = RunFolder(tmp_path / "run")
    write(folder.root / "qa/data/apr13.json", dataset())
    write(folder.root / "qa/data/images/N5921_2.hi.json", image())  # of an earlier run
    folder.journal.parent.mkdir(parents=True)
    events = [
        {"event": "run-started", "t": "2026-11-22T16:50:00.000Z"},
        {"event": "step-started", "step": "apr13.measure", "fingerprint": "ab", "attempt": 1},
        {"event": "step-done", "step": "apr13.measure", "fingerprint": "ab", "wall_s": 2.0,
         "t": "2026-11-22T16:50:03.000Z", "cpu_s": 1.0, "writes": {}},
    ]  # fmt: skip
    folder.journal.write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


def listener(folder, clock):
    return live.Live(folder, PLAN, ABOUT, {"apr13.measure": "first run"}, clock)


def test_it_is_written_after_a_while_and_shows_what_there_is(run):
    clock = Clock()
    told = listener(run, clock)
    told({"event": "step-done", "step": "apr13.observe"})
    assert not run.report.exists()
    clock.now = live.FIRST_S
    told({"event": "step-started", "step": "N5921_2.hi.clean"})
    assert not run.report.exists()  # only when something has ended
    told({"event": "step-done", "step": "apr13.measure"})
    text = run.report.read_text()
    page = Page(text)
    assert "running What follows is what there is so far; this page renews itself." in page.text
    assert '<meta http-equiv="refresh" content="30">' in text
    assert "Steps: 2 done, 2 not run." in page.text
    assert "it runs now" in page.text
    assert "25.0 % of the cross-correlations" in page.text
    # Neither the number of an earlier run nor a failure is what has not been measured yet.
    assert "50.0 mJy/beam" not in page.text
    assert "product made" not in page.text
    assert not run.metrics.exists()
    assert not (run.report.parent / "logs.html").exists()


def test_it_is_not_written_at_every_step(run, monkeypatch):
    clock, rendered = Clock(), []
    monkeypatch.setattr(live, "render", lambda *given: rendered.append(clock.now))
    told = listener(run, clock)
    for second in range(100):
        clock.now = float(second)
        told({"event": "step-done", "step": "apr13.measure"})
    assert rendered == [30.0, 60.0, 90.0]


def test_a_slow_report_is_written_seldom(run, monkeypatch):
    clock, rendered = Clock(), []

    def slow(*given):
        rendered.append(clock.now)
        clock.now += 6.0

    monkeypatch.setattr(live, "render", slow)
    told = listener(run, clock)
    while clock.now < 1500:
        clock.now += 1.0
        told({"event": "step-done", "step": "apr13.measure"})
    assert rendered == [30.0, 636.0, 1242.0]


def test_a_step_that_failed_is_said_at_once(run):
    clock = Clock()
    told = listener(run, clock)
    clock.now = live.FIRST_S
    told({"event": "step-failed", "step": "N5921_2.hi.clean", "message": "the model is empty"})
    page = Page(run.report.read_text())
    assert "failed" in page.text
    assert "the model is empty" in page.text


def test_what_cannot_be_written_does_not_end_the_run(run):
    (run.root / "qa/data/apr13.json").write_text(json.dumps({"kind": "dataset"}))
    clock = Clock()
    told = listener(run, clock)
    clock.now = live.FIRST_S
    told({"event": "step-done", "step": "apr13.measure"})
    assert not run.report.exists()


def test_a_plan_without_measurements_is_shown_too(tmp_path):
    folder = RunFolder(tmp_path)
    folder.journal.parent.mkdir(parents=True)
    folder.journal.write_text("")
    clock = Clock()
    told = live.Live(folder, Plan((Step("a", "flag", "flag", "copy"),)), ABOUT, {}, clock)
    clock.now = live.FIRST_S
    told({"event": "step-skipped", "step": "a", "reason": "unchanged"})
    assert "1 unchanged" in Page(folder.report.read_text()).text


def test_what_setjy_set_is_held_against_what_the_data_give(run):
    point = {"flux_jy": {"0": 14.0}, "resolved": {"0": False}}
    own = dataset(calibrators={"cal": point}, fluxscale=None)
    write(run.root / "qa/data/apr13.json", own)
    setjy = Step("apr13.setjy.0", "calibrate", "model", "casa:setjy", dataset="apr13")
    other = Step("b.setjy.0", "calibrate", "model", "casa:setjy", dataset="b")
    for step, flux in ((setjy, 15.0), (other, 99.0)):
        outcome = {"0": {"0": {"fluxd": [flux, 0, 0, 0]}, "fieldName": "cal"}, "format": "x"}
        write(run.log(step.id) / "result.json", {"ok": True, "outcome": outcome})
    measure = PLAN.steps[1]
    said = {"state": "done", "reason": ""}
    steps = {step.id: said for step in (setjy, other, measure)}
    found = gather(run, Plan((setjy, other, measure)), {"limits": {}, "steps": steps})
    assert found["datasets"]["apr13"]["model_flux_jy"] == {"cal": {"0": 15.0}}
    (check,) = [check for check in found["checks"] if check["name"] == "flux_closure"]
    assert check["verdict"] == "warn"
    assert check["value"] == pytest.approx(1 / 15)
