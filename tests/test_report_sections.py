"""Parts of the report: what to look at first, flags, charts, timing, logs, citation."""

import itertools
import json
from importlib import resources

import pytest
from casarun.folder import RunFolder
from casarun.plan import Check, Plan, Step
from casarun.qa.advice import ADVICE, advised
from casarun.report import (
    calibration,
    charts,
    citation,
    context,
    flags,
    judging,
    logs,
    observing,
    timing,
    words,
)
from casarun.report.render import render
from test_report import HOSTILE, OBSERVED, PLAN, Page, meta


def check(name, verdict, value, limit, subject="apr13"):
    return advised({"name": name, "subject": subject, "verdict": verdict, "value": value,
                    "limit": limit, "text": "text"})  # fmt: skip


def packaged(name):
    return (resources.files("casarun") / "schemas" / name).read_text(encoding="utf-8")


def test_every_check_says_what_to_do_and_nothing_else_does():
    schema = json.loads(packaged("metrics.schema.json"))
    names = schema["$defs"]["check"]["properties"]["name"]["enum"]
    assert set(names) == set(ADVICE)
    assert set(names) == set(judging._CHECKS)


def test_the_keys_to_look_at_are_keys_of_a_recipe():
    schema = json.loads(packaged("recipe.schema.json"))

    def table(name):
        found = schema["properties"][name]
        found = found.get("items", found)
        found = schema["$defs"][found["$ref"].split("/")[-1]] if "$ref" in found else found
        found = found.get("items", found)
        return schema["$defs"][found["$ref"].split("/")[-1]] if "$ref" in found else found

    for key, advice in ADVICE.values():
        assert advice
        if key:
            first, _, second = key.partition(".")
            assert second in table(first)["properties"], key


def test_what_failed_is_looked_at_first_and_one_of_a_kind():
    metrics = {"checks": [
        check("beam_sampling", "pass", 3.5, 2.0, "t, hi"),
        check("flagged_fraction", "pass", 0.75, 0.8),
        check("flagged_fraction", "pass", 0.79, 0.8, "apr13, cal"),
        check("solutions_flagged", "warn", 0.6, 0.5),
        check("dynamic_range", "fail", 3.0, 20.0, "t, hi"),
    ]}  # fmt: skip
    found = judging.attention(metrics)
    assert [(one["title"], one["verdict"]) for one in found] == [
        ("dynamic range", "fail"), ("flagged solutions", "warn"), ("flagged visibilities", "pass"),
    ]  # fmt: skip
    assert found[0]["why"] == "3.00"
    assert found[0]["section"] == "image-t.hi"
    assert found[1]["why"] == "60.0 %"
    assert found[1]["key"] == "calibrate.solint"
    assert found[2]["subject"] == "apr13, cal"


def test_a_step_that_failed_comes_before_all_and_is_not_said_twice():
    metrics = {"checks": [check("product_made", "fail", False, True)]}
    step = {"state": "failed", "title": "solve", "message": "no solutions", "reason": "",
            "advice": "Raise solint."}  # fmt: skip
    found = judging.attention(metrics, [step])
    assert [one["title"] for one in found] == ["solve failed"]
    assert found[0]["text"] == "no solutions"
    assert found[0]["advice"] == "Raise solint."


@pytest.mark.parametrize(
    ("name", "value", "limit", "written"),
    [
        ("astrometry", 0.000044, 0.1, ("< 0.0001 λ/B", "at most 0.100 λ/B")),
        ("phase_rms", 0.27, 30.0, ("0.270°", "at most 30°")),
        ("phase_rms", 0.0, 30.0, ("0°", "at most 30°")),
        ("array_noise", 8.3118, 2.0, ("8.31 times", "at most 2 times")),
        ("gaussian_residuals", 0.28, 1.106116, ("0.280", "at most 1.11")),
        ("flagged_fraction", 0.2237, 0.8, ("22.4 %", "at most 80.0 %")),
        ("beam_sampling", None, 2.0, ("unknown", "at least 2 cells")),
    ],
)
def test_a_check_s_numbers_have_their_units(name, value, limit, written):
    (found,) = judging.checks({"checks": [check(name, "pass", value, limit)]})
    assert (found["value"], found["limit"]) == written


def test_what_a_step_took_that_failed_is_not_what_it_took_when_it_was_done_before(tmp_path):
    about = meta()
    about["steps"]["apr13.observe"] |= {"state": "failed", "wall_s": 1.0, "cpu_s": 1.0}
    result = {"wall_s": 3600.0, "peak_memory_bytes": 8e9, "cause": "out-of-memory"}
    shown = context.step_row(RunFolder(tmp_path), PLAN.steps[0], result, about)
    assert (shown["wall"], shown["memory"], shown["cause"]) == (
        "1 h 00 min",
        "8 GB",
        "out of memory",
    )


@pytest.mark.parametrize(
    ("name", "value", "limit", "near"),
    [
        ("flagged_fraction", 0.4, 0.8, 0.5), ("dynamic_range", 40.0, 20.0, 0.5),
        ("product_made", False, True, 0.0), ("flagged_fraction", None, 0.8, 0.0),
        ("antennas_lost", 2, 0, 2.0), ("dynamic_range", 25.0, 0.0, 0.0),
    ],
)  # fmt: skip
def test_nearness_to_a_limit(name, value, limit, near):
    assert judging.nearness(check(name, "pass", value, limit)) == near


def test_bars_of_flags_stand_before_and_after():
    chart = charts.bars([("1", 0.2, 0.1), ("2", 0.95, None), ("3", None, None)], "by antenna")
    bars = [shape for shape in chart["shapes"] if shape["kind"] == "rect"]
    assert [bar["class"] for bar in bars] == ["c0", "bad"]
    assert bars[0]["title"] == "1: 20.0 % flagged, 10.0 % as it came"
    assert bars[1]["h"] == pytest.approx(bars[0]["h"] * 0.95 / 0.2, rel=0.01)
    marks = [shape for shape in chart["shapes"] if shape.get("class") == "mark"]
    assert len(marks) == 1


@pytest.mark.parametrize("number", [1, 27, 110])
def test_bars_stay_in_their_chart(number):
    chart = charts.bars([(f"antenna {i}", 1.0, 0.0) for i in range(number)], "many")
    assert chart["width"] <= charts.WIDTH
    for shape in chart["shapes"]:
        if shape["kind"] == "rect":
            assert 0 <= shape["x"] <= shape["x"] + shape["w"] <= chart["width"]
            assert 0 <= shape["y"] <= shape["y"] + shape["h"] <= chart["height"]


def test_lines_have_gaps_and_none_is_no_chart():
    chart = charts.lines({"R": [(1, 1.0), (2, None), (3, 2.0), (4, 3.0)]}, "l", ("x", "y"))
    curves = [s["points"] for s in chart["shapes"] if s["kind"] == "line" and "curve" in s["class"]]
    assert len(curves) == 1
    assert len(curves[0].split()) == 2
    assert charts.lines({"R": [(1, None)]}, "l", ("x", "y")) is None


def test_antennas_that_stand_out_are_marked():
    chart = charts.by_name({"1": 1.0, "2": 9.0, "3": None}, ["2"], "l", "S/N")
    dots = [shape for shape in chart["shapes"] if shape["kind"] == "dot"]
    assert [(dot["class"], dot["title"]) for dot in dots] == [("c0", "1: 1"), ("bad", "2: 9")]


def test_ticks_are_round():
    assert charts.ticks(0, 100) == [0, 20, 40, 60, 80, 100]
    assert charts.ticks(0.13, 0.61) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert charts.ticks(5, 5) == [5]


def test_ticks_of_time_are_whole_minutes():
    noon = 57870 * 86400.0
    assert charts.clock_ticks(noon + 44, noon + 275) == [noon + m for m in (60, 120, 180, 240)]
    five = charts.clock_ticks(noon + 100, noon + 2000)
    assert all(tick % 300 == 0 for tick in five)
    assert [later - tick for tick, later in itertools.pairwise(five)] == [300.0] * 5
    assert charts.clock_ticks(noon + 1, noon + 2) == [noon + 1]
    days = charts.clock_ticks(0.0, 20 * 86400.0)
    assert days == [n * 3 * 86400.0 for n in range(7)]


def row(name, ended, wall, state="done", **more):
    return {"id": name, "title": f"do {name}", "stage": "flag", "state": state, "ended": ended,
            "wall_s": wall, "cpu_s": wall, "memory_bytes": 1e8, **more}  # fmt: skip


def test_steps_that_ran_together_stand_in_lanes_of_their_own():
    chart = timing.chart([
        row("a", "2026-11-22T16:50:10.000Z", 10.0),
        row("b", "2026-11-22T16:50:08.000Z", 5.0, stage="image"),
        row("c", "2026-11-22T16:50:20.000Z", 10.0),
        row("d", None, None, "not run"),
        row("e", "2026-11-21T16:50:20.000Z", 5.0, "skipped"),
    ])  # fmt: skip
    bars = [shape for shape in chart["shapes"] if shape["kind"] == "rect"]
    assert [bar["title"].split(":")[0] for bar in bars] == ["do a (a)", "do b (b)", "do c (c)"]
    assert bars[0]["y"] == bars[2]["y"] != bars[1]["y"]
    assert bars[0]["x"] + bars[0]["w"] <= bars[2]["x"] + 1
    assert bars[0]["w"] == pytest.approx(2 * bars[1]["w"], rel=0.01)
    texts = [shape["text"] for shape in chart["shapes"] if shape["kind"] == "text"]
    assert "200 MB" in texts  # two at a time
    assert "2.0" in texts
    assert timing.chart([row("d", None, None, "not run")]) is None


def test_flags_by_step_come_from_the_steps_proofs():
    step = Step("apr13.flag.rfi", "flag", "find RFI", "casa:flagdata", updates=("raw/apr13.ms",),
                checks=(Check("flagged_fraction", {}),), dataset="apr13")  # fmt: skip
    results = {step.id: {"checks": {"flagged_fraction raw/apr13.ms": {
        "total": 0.25, "flagged_fraction": {"0": 0.2, "7": 0.3}}}}}  # fmt: skip
    found = list(flags.by_step([step], "apr13", results, {"0": HOSTILE}))
    assert found == [{
        "title": "find RFI", "id": "apr13.flag.rfi", "total": "25.0 %",
        "fields": f"{HOSTILE} 20.0 %, 7 30.0 %",
    }]  # fmt: skip
    assert not list(flags.by_step([step], "other", results, {}))


def test_flags_of_a_dataset_as_it_came_and_in_the_end():
    numbers = {"flagged_fraction": {"antenna": {"1": 0.5}, "scan": {"1": 0.1}, "spw": {}}}
    observed = {**OBSERVED, "antennas": [{**OBSERVED["antennas"][0], "flagged_fraction": 0.25}]}
    shown = flags.section(observed, numbers, [])
    assert [chart["title"] for chart in shown["charts"]] == ["by antenna", "by scan"]
    (bar,) = [shape for shape in shown["charts"][0]["shapes"] if shape["kind"] == "rect"]
    assert bar["title"] == "1: 50.0 % flagged, 25.0 % as it came"


def test_warnings_that_differ_in_numbers_stand_together():
    rows = [
        {"id": f"s{i}", "log": f"../logs/s{i}", "warnings": [
            f"2026-11-22 16:50:0{i}\tWARN\tgaincal\tFound {i} of {i + 30} solutions", "alone"]}
        for i in range(6)
    ]  # fmt: skip
    found = logs.groups(rows)
    assert [(group["n"], group["n_steps"]) for group in found] == [(6, 6), (6, 6)]
    assert found[0]["text"].startswith("gaincal\tFound 0 of 30")
    assert len(found[0]["steps"]) == 4


def test_the_page_of_logs_shows_all_as_text(tmp_path):
    folder = RunFolder(tmp_path / "run")
    log = folder.log("apr13.observe") / "attempt-1" / "casa.log"
    log.parent.mkdir(parents=True)
    lines = [f"2026 WARN {HOSTILE}", *(f"line {i}" for i in range(2 * logs.MOST_LINES))]
    log.write_text("\n".join(lines))
    render(folder, PLAN, {}, meta())
    text = (folder.report.parent / "logs.html").read_text()
    page = Page(text)
    assert page.tags.count("script") == 1  # casarun's own
    assert HOSTILE in page.text  # a warning stays, however early in the log
    assert f"line {2 * logs.MOST_LINES - 1}" in page.text
    assert "line 3 " not in page.text
    assert f"{logs.MOST_LINES} earlier lines are left out" in page.text
    assert "://" not in text
    assert "logs.html" in Page(folder.report.read_text()).links


def test_what_is_cited_is_what_was_done():
    steps = (
        Step("a", "flag", "", "casa:flagdata", {"mode": "tfcrop"}),
        Step("b", "calibrate", "", "casa:setjy", {"standard": "Perley-Butler 2017"}),
        Step("c", "image", "", "clean",
             {"tclean": {"deconvolver": "multiscale", "weighting": "briggs", "robust": 0.5}},
             image="x"),
    )  # fmt: skip
    found = citation.text(Plan(steps), {"casarun": "1.0", "casatasks": "6.7"})
    assert " ".join(found["sentences"]) == (
        "The data were reduced with casarun 1.0 and CASA 6.7 (CASA Team et al. 2022). "
        "Interference was flagged by TFCrop. The flux density scale is that of "
        "Perley-Butler 2017. Images were made with briggs weighting (robust 0.5) and deconvolved "
        "with tclean (multiscale)."
    )
    cited = "; ".join(found["references"])
    for word in ("Perley", "Cornwell", "Briggs", "CASA Team"):
        assert word in cited
    assert "Kepley" not in cited


def test_scans_stand_against_time_in_rows_of_their_fields():
    fields = [
        {"id": "0", "name": "cal", "roles": "flux, bandpass"},
        {"id": "2", "name": HOSTILE, "roles": "target"},
    ]
    second = {**OBSERVED["scans"][0], "number": 2, "field_ids": [2],
              "start_mjd_s": 4304481900.0, "end_mjd_s": 4304483700.0}  # fmt: skip
    chart = observing.chart({"scans": [OBSERVED["scans"][0], second]}, fields)
    bars = [shape for shape in chart["shapes"] if shape["kind"] == "rect"]
    assert [bar["class"] for bar in bars] == ["c1", "c2"]
    assert bars[0]["y"] < bars[1]["y"]
    assert bars[0]["x"] + bars[0]["w"] < bars[1]["x"]
    assert bars[1]["w"] == pytest.approx(bars[0]["w"] * 1800 / 360, rel=0.01)
    assert bars[0]["title"] == (
        "scan 1: cal (flux, bandpass), 09:18:44 to 09:24:45, integrations of 30 s"
    )
    assert observing.chart({}, fields) is None
    assert observing.chart({"scans": [second]}, [fields[0]]) is None


def test_fluxes_stand_beside_the_model_and_what_the_data_give():
    numbers = {
        "fluxscale": {"flux_jy": {"p": {"0": 2.5}}, "error_jy": {"p": {"0": 0.01}},
                      "solutions": {"p": {"0": 54}}},
        "calibrators": {"p": {"flux_jy": {"0": 2.45}, "resolved": {"0": True}},
                        "f": {"flux_jy": {"0": 15.0}}},
    }  # fmt: skip
    rows = calibration.fluxes(numbers, {"f": {"0": 15.15}})
    assert [(row["field"], row["model"], row["found"], row["vis"], row["off"]) for row in rows] == [
        ("f", "15.1500 Jy", words.NONE, "15.0000 Jy", "-0.99 %"),
        ("p", words.NONE, "2.5000 Jy", "2.4500 Jy", "-2.00 %"),
    ]
    assert rows[1]["remark"] == "resolved: extrapolated to zero spacing"


def test_a_table_s_outliers_are_named_and_marked():
    antennas = {f"ea{i:02d}": {"snr": 50.0, "flagged_fraction": 0.0} for i in range(6)}
    antennas["ea03"]["snr"] = 3.0
    table = {
        "antennas": antennas,
        "outliers": [{"antenna": "ea03", "what": "S/N", "value": 3.0, "typical": 50.0}],
        "against": {"time": {"x": [4.3e9, 4.3e9 + 60], "snr": [50.0, None], "flagged": [0, 1]}},
    }
    drawn = calibration.of_table(table)
    assert drawn["outliers"] == ["ea03: S/N 3, typical 50"]
    marked = [s["title"] for s in drawn["by_antenna"][0]["shapes"] if s.get("class") == "bad"]
    assert marked == ["ea03: 3"]
    assert [chart["title"] for chart in drawn["against"]] == [
        "S/N against time", "flagged against time",
    ]  # fmt: skip
    assert calibration.of_table({}) == {"outliers": [], "by_antenna": [], "against": []}


def test_the_log_of_a_step_that_failed_is_open(tmp_path):
    folder = RunFolder(tmp_path / "run")
    for step in PLAN.steps[:2]:
        log = folder.log(step.id) / "attempt-1" / "casa.log"
        log.parent.mkdir(parents=True)
        log.write_text("SEVERE no solutions")
    about = meta(state="failed")
    about["steps"][PLAN.steps[1].id] |= {"state": "failed", "attempts": 1}
    render(folder, PLAN, {}, about)
    text = (folder.report.parent / "logs.html").read_text()
    assert f'<details id="{PLAN.steps[0].id}">' in text
    assert f'<details id="{PLAN.steps[1].id}" open>' in text
