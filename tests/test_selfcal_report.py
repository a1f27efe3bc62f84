"""Self-calibration in metrics, verdict and report; its plots."""

import json
from importlib import resources

import numpy as np
import pytest
from casarun.engine import selfcal_plots as action
from casarun.folder import RunFolder
from casarun.plan import Plan, Step
from casarun.qa import selfcal_plots, sky
from casarun.qa.advice import ADVICE
from casarun.qa.verdict import assemble
from casarun.report import words
from casarun.report.context import step_row
from casarun.report.gathering import gather
from casarun.report.judging import checks
from casarun.report.render import render
from casarun.report.selfcal import sections
from jsonschema import Draft202012Validator
from PIL import Image
from test_report import HOSTILE, Page, write
from test_viewer_images import content

TARGET = "J1500+0800"


def image(round_=0, **changes):
    numbers = {
        "round": round_, "skipped": "", "peak_jy_per_beam": 0.14, "rms_noise_jy_per_beam": 1.6e-3,
        "near_rms_noise_jy_per_beam": 1.7e-3, "snr": 87.5, "near_snr": 82.4,
        "min_jy_per_beam": -0.01, "residual_max_jy_per_beam": 0.008, "bmaj_arcsec": 45.0,
        "bmin_arcsec": 42.0, "bpa_deg": 30.0, "beam_area_arcsec2": 2141.6, "model_flux_jy": 0.146,
        "mask_pixels": 77, "empty": False, "thermal_noise_jy_per_beam": 1.9e-5,
        "threshold_jy": 5e-3, "iterations": 36, "prefix": f"images/selfcal/{TARGET}.{round_}",
    }  # fmt: skip
    return numbers | changes


def solve(round_, **changes):
    numbers = {
        "round": round_, "skipped": "", "calmode": "p", "solint": "10s", "solint_s": 10.0,
        "gaintype": "T", "combine": "spw", "minsnr": 3.0, "refant": ["ea03"],
        "candidates": [{"solint": "10s", "snr": 264.0}],
        "predicted_snr": {"median": 264.0, "min": 238.0, "by_antenna": {"ea01": 238.0}},
        "consistency": 0.993, "flagged_fraction": 0.012,
        "flagged_by_antenna": {"ea01": 0.0, "ea02": 0.25}, "solution_snr_median": 230.0,
        "phase_rms_deg": 31.0, "amplitude_rms": None, "flux_bias_expected": 1.2e-5,
        "dead_antennas": [], "tables": {"day1": f"caltables/{TARGET}.selfcal.{round_}.day1"},
        "spwmap": "what the table does not keep",
    }  # fmt: skip
    return numbers | changes


def state(round_, accepted=True, **changes):
    numbers = {
        "round": round_, "accepted": accepted, "skipped": "", "reason": f"reason {round_}",
        "checks": [{"name": "near_snr", "value": 82.0, "limit": 80.7, "verdict": "pass"}],
        "best_round": round_, "apply": [], "next": None, "ended": "",
        "image": image(round_), "solve": solve(round_) if round_ else None,
    }  # fmt: skip
    return numbers | changes


def skipped(round_, reason):
    return state(
        round_, False, skipped=reason, reason=reason, ended=reason, checks=[],
        image={"round": round_, "skipped": reason}, solve={"round": round_, "skipped": reason},
    )  # fmt: skip


def accepted(**changes):
    """Return the summary of a self-calibration of which one round was accepted, one rejected."""
    best = image(1, snr=8900.0, near_snr=8200.0, peak_jy_per_beam=0.199,
                 rms_noise_jy_per_beam=2.2e-5, model_flux_jy=0.2)  # fmt: skip
    numbers = {
        "target": TARGET,
        "datasets": ["day1"],
        "rounds": [
            state(0, checks=[]),
            state(1, image=best),
            state(2, False, reason="rejected: flux fell", checks=[
                {"name": "flux_ratio", "value": 0.9, "limit": 0.97, "verdict": "fail"}]),
            skipped(3, "no round after a rejected one"),
            skipped(4, "no round after a rejected one"),
        ],
        "best_round": 1,
        "kept_first": False,
        "reason": "round 2 did not help",
        "before": image(),
        "after": best,
        "apply": [{"round": 1, "calmode": "p", "interp": "linear", "gaintype": "T",
                   "combine": "spw"}],
        "tables": {"day1": [f"caltables/{TARGET}.selfcal.1.day1"]},
        "dead_antennas": [],
        "script": f"scripts/{TARGET}.selfcal.py",
        "mask": f"images/selfcal/{TARGET}.1.mask",
    }  # fmt: skip
    return numbers | changes


def declined(reason="predicted S/N of a solution 2.1, under 6"):
    return accepted(
        rounds=[state(0, checks=[]), skipped(1, reason)], best_round=0, kept_first=True,
        reason=reason, after=image(), apply=[], tables={"day1": []}, mask=None,
    )  # fmt: skip


def judged(summary):
    found = assemble({}, [], {}, selfcal={TARGET: summary})
    schema = json.loads(
        (resources.files("casarun") / "schemas/metrics.schema.json").read_text(encoding="utf-8")
    )
    Draft202012Validator(schema).validate(found)
    return found


def test_metrics_hold_the_table_of_rounds():
    found = judged(accepted())["selfcal"][TARGET]
    assert [r["round"] for r in found["rounds"]] == [0, 1, 2, 3, 4]
    assert [r["accepted"] for r in found["rounds"]] == [True, True, False, False, False]
    assert found["rounds"][1]["image"]["near_snr"] == 8200.0
    assert found["rounds"][1]["solve"]["consistency"] == 0.993
    assert found["rounds"][3] == {
        "round": 3, "accepted": False, "skipped": "no round after a rejected one",
        "reason": "no round after a rejected one", "ended": "no round after a rejected one",
        "checks": [], "image": None, "solve": None,
    }  # fmt: skip
    assert found["before"]["snr"] == 87.5
    assert found["apply"][0]["round"] == 1
    assert found["script"] == f"scripts/{TARGET}.selfcal.py"
    assert "spwmap" not in found["rounds"][1]["solve"]


def test_a_solve_that_was_skipped_for_its_predicted_snr_keeps_that():
    few = {"median": 2.1, "min": 1.0, "by_antenna": {}}
    summary = declined()
    summary["rounds"][1]["solve"] = solve(1, skipped="too little", predicted_snr=few)
    assert judged(summary)["selfcal"][TARGET]["rounds"][1]["solve"]["predicted_snr"] == few


def test_an_accepted_self_calibration_passes_with_its_numbers():
    found = judged(accepted())
    assert found["verdict"] == "pass"
    assert [check["name"] for check in found["checks"]] == [
        "selfcal_accepted",
        "selfcal_flux_bias",
    ]
    assert found["checks"][0] == {
        "name": "selfcal_accepted",
        "subject": f"{TARGET}, self-calibration",
        "verdict": "pass",
        "value": 1,
        "limit": 1,
        "text": "rounds accepted; round 1 is kept, dynamic range 87.5 to 8900, in the near "
        "field 82.4 to 8200",
        "key": ADVICE["selfcal_accepted"][0],
        "advice": ADVICE["selfcal_accepted"][1],
    }


def test_a_declined_self_calibration_warns_with_the_reason_and_nothing_else():
    found = judged(declined())
    assert found["verdict"] == "warn"
    (check,) = found["checks"]
    assert (check["value"], check["limit"]) == (0, 1)
    assert check["text"] == ("declined: predicted S/N of a solution 2.1, under 6")


def test_rounds_that_were_accepted_and_given_up_in_the_end_do_not_count():
    found = judged(accepted(kept_first=True, best_round=0, apply=[], reason="S/N fell"))
    assert [(c["name"], c["verdict"], c["value"]) for c in found["checks"]] == [
        ("selfcal_accepted", "warn", 0)
    ]


def test_noise_in_the_solutions_that_adds_flux_warns():
    summary = accepted()
    summary["rounds"][1]["solve"]["flux_bias_expected"] = 0.033
    check = judged(summary)["checks"][1]
    assert (check["verdict"], check["value"], check["limit"]) == ("warn", 0.033, 0.03)
    summary["rounds"][1]["solve"]["flux_bias_expected"] = 0.029
    assert judged(summary)["checks"][1]["verdict"] == "pass"


def test_the_bias_of_a_table_that_is_not_applied_does_not_warn():
    summary = accepted()
    summary["rounds"][2]["solve"]["flux_bias_expected"] = 0.5
    assert judged(summary)["verdict"] == "pass"


def test_an_unknown_bias_is_not_judged():
    summary = accepted()
    summary["rounds"][1]["solve"]["flux_bias_expected"] = None
    assert [check["name"] for check in judged(summary)["checks"]] == ["selfcal_accepted"]


def test_antennas_without_signal_warn():
    check = judged(accepted(dead_antennas=["ea05", "ea11"]))["checks"][-1]
    assert (check["name"], check["verdict"], check["value"]) == ("selfcal_dead_antennas", "warn", 2)
    assert check["text"] == ("antennas whose solutions failed, flagged in the copy: ea05, ea11")


def test_checks_are_written_with_their_side_of_the_limit():
    rows = {row["title"]: row for row in checks(judged(accepted()))}
    assert rows["self-calibrated"]["limit"] == "at least 1"
    assert rows["flux bias of self-calibration"]["limit"] == "at most 3.0 %"


OUT = f"qa/data/selfcal/{TARGET}.json"
STATES = [f"qa/data/selfcal/{TARGET}.{k}.json" for k in range(3)]
PLAN = Plan(
    (
        *(
            Step(f"{TARGET}.selfcal.{k}.judge", "selfcal", f"judge {k}", "selfcal.judge",
                 {"out": path}, writes=(path,), target=TARGET)
            for k, path in enumerate(STATES)
        ),
        Step(f"{TARGET}.selfcal.finish", "selfcal", "finish", "selfcal.finish",
             {"target": TARGET, "out": OUT, "states": STATES,
              "vis": {"day1": "calibrated/day1.selfcal.ms"}},
             writes=(OUT,), target=TARGET),
        Step(f"{TARGET}.selfcal.plots", "selfcal", "plots", "selfcal.plots",
             {"out": f"qa/plots/selfcal/{TARGET}"}, target=TARGET),
    )
)  # fmt: skip


def meta(**states):
    """Return what is said of the run; by keyword the last word of a step's id and its state."""
    steps = {}
    for step in PLAN.steps:
        came = states.get(step.id.split(".")[-1], "done")
        steps[step.id] = {
            "state": came, "reason": "" if came == "done" else f"because {step.id} is {came}",
            "attempts": 1, "wall_s": 1.0, "peak_memory_bytes": 1e8,
        }  # fmt: skip
    return {
        "title": "t", "name": "t", "state": "done", "steps": steps, "limits": {},
        "started": "2026-11-22T16:50:00Z", "ended": "2026-11-22T16:51:00Z", "versions": {},
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A run folder with an accepted self-calibration."""
    made = RunFolder(tmp_path / "run")
    fill(made, accepted())
    return made


def fill(folder, summary):
    write(folder.root / OUT, summary)
    for path, one in zip(STATES, summary["rounds"], strict=False):
        write(folder.root / path, one)
    write(folder.metrics, assemble({}, [], {}, selfcal={TARGET: summary}))
    plots = [
        {"section": section, "file": f"plots/selfcal/{TARGET}/{section}.png",
         "title": f"the {section}", "caption": HOSTILE}
        for section in ("before", "after", "selfcal")
    ]  # fmt: skip
    write(folder.root / "qa/plots/selfcal" / TARGET / "plots.json", {"plots": plots})


def page(folder, about=None):
    return Page(render(folder, PLAN, {}, about or meta()).read_text(encoding="utf-8"))


def test_the_report_shows_the_table(folder):
    text = page(folder).text
    assert "1 of 2 rounds accepted. Round 2 did not help" in text
    assert "dynamic range 87.5 → 8900 near-field S/N 82.4 → 8200" in text
    assert "noise 1.60 mJy/beam → 22.0 µJy/beam" in text
    assert "flux density in the model 146 mJy → 200 mJy" in text
    assert f"synthesized beam 45.0″ {words.BY} 42.0″, PA 30° thermal noise 19.0 µJy/beam" in text
    assert (
        "1 accepted kept phase 10s T, combine spw 264 at least 238 0.99 1.2 % ea02: 25.0 % "
        "199 mJy/beam 22.0 µJy/beam 8900 8200 200 mJy reason 1"
    ) in text
    assert "2 rejected phase 10s" in text
    assert "✗ fail flux against the best so far: 0.900, at least 0.970" in text


def test_rounds_skipped_for_one_reason_are_one_line(folder):
    text = page(folder).text
    assert "3 to 4 skipped " + 7 * f"{words.NONE} " + "no round after a rejected one" in text
    assert text.count("no round after a rejected one") == 1


def test_the_report_says_what_to_take_along(folder):
    shown = page(folder)
    assert f"../scripts/{TARGET}.selfcal.py".replace("+", "%2B") in shown.links
    for what in (
        "self-calibrated data of day1 calibrated/day1.selfcal.ms",
        f"calibration table of day1 caltables/{TARGET}.selfcal.1.day1",
        f"clean mask images/selfcal/{TARGET}.1.mask",
    ):
        assert what in shown.text


def test_before_and_after_lie_over_each_other_without_scripts(folder):
    shown = page(folder)
    names = [image["src"].rpartition("/")[2] for image in shown.images]
    assert names == ["after.png", "before.png", "selfcal.png"]
    assert shown.tags.count("input") == 3
    assert "script" not in shown.tags
    assert all(image["alt"] for image in shown.images)


def test_the_section_is_reached_from_the_navigation(folder):
    shown = page(folder)
    inside = {target[1:] for target in shown.links if target.startswith("#")}
    assert {"selfcal", f"selfcal-{TARGET}".replace("+", "%2B")} <= inside <= shown.ids


def test_a_declined_self_calibration_says_why(tmp_path):
    folder = RunFolder(tmp_path)
    fill(folder, declined())
    shown = page(folder)
    assert ("Declined: predicted S/N of a solution 2.1, under 6") in shown.text
    assert "dynamic range 87.5 near-field S/N 82.4" in shown.text
    assert "→" not in shown.text
    assert "To take along" not in shown.text


def test_what_comes_from_data_is_shown_as_text(tmp_path):
    folder = RunFolder(tmp_path)
    fill(folder, accepted(reason=HOSTILE, script="../../x", rounds=[
        state(0, reason=HOSTILE),
        state(1, solve=solve(1, solint=HOSTILE, dead_antennas=[HOSTILE],
                             flagged_by_antenna={HOSTILE: 1.0})),
    ]))  # fmt: skip
    shown = page(folder)
    assert "script" not in shown.tags
    assert shown.text.count(HOSTILE) >= 5
    assert not any("x" in link.rpartition("/")[2] for link in shown.links if link[:2] == "..")


def test_unknown_numbers_are_said_to_be(tmp_path):
    folder = RunFolder(tmp_path)
    blank = dict.fromkeys(image()) | {"round": 0, "skipped": ""}
    nothing = dict.fromkeys(solve(1)) | {"round": 1, "skipped": "", "calmode": "p"}
    rounds = [state(0, image=blank), state(1, image=blank, solve=nothing)]
    fill(folder, accepted(rounds=rounds, before=blank, after=blank))
    assert (
        f"1 accepted kept phase unknown {words.NONE} unknown unknown unknown" in page(folder).text
    )


def test_without_a_self_calibration_there_is_no_section(tmp_path):
    text = render(RunFolder(tmp_path), Plan(()), {}, meta()).read_text(encoding="utf-8")
    assert "elf-calibration" not in Page(text).text


def test_a_self_calibration_that_failed_shows_the_rounds_that_it_came_to(folder):
    about = meta(finish="not run", plots="not run")
    about["steps"][f"{TARGET}.selfcal.2.judge"]["state"] = "failed"
    (section,) = sections(folder, PLAN, about)
    assert section["missing"] == f"not run; because {TARGET}.selfcal.finish is not run"
    assert [line["number"] for line in section["rounds"]] == ["0", "1"]
    assert section["plots"] == section["products"] == section["facts"] == []
    shown = page(folder, about)
    assert "Not finished: not run; because" in shown.text
    # Numbers of an earlier run must not stand for this one's.
    assert "rejected: flux fell" not in shown.text


def test_a_self_calibration_that_failed_fails_the_verdict(folder):
    found = gather(folder, PLAN, meta(finish="failed"))
    assert found["verdict"] == "fail"
    assert found["selfcal"] == {}
    assert [(c["name"], c["subject"]) for c in found["checks"]] == [
        ("product_made", f"{TARGET}, self-calibration")
    ]


def test_the_verdict_takes_the_summary_from_the_run_folder(folder):
    found = gather(folder, PLAN, meta())
    assert found["verdict"] == "pass"
    assert found["selfcal"][TARGET]["best_round"] == 1
    (folder.root / OUT).unlink()
    found = gather(folder, PLAN, meta())
    assert found["checks"][0]["text"] == f"not made: {OUT} is gone; run the recipe again"


def test_a_step_with_nothing_to_do_says_why(folder):
    result = {"outcome": {"_skipped": "no round after <3>"}}
    row = step_row(folder, PLAN.steps[0], result, meta())
    assert (row["word"], row["remark"]) == ("nothing to do", "no round after <3>")
    results = {step.id: result for step in PLAN.steps[:3]}
    text = render(folder, PLAN, results, meta()).read_text(encoding="utf-8")
    assert text.count('<span class="badge idle">nothing to do</span>') == 3
    assert text.count("no round after &lt;3&gt;") == 1


SKY = sky.Sky("J2000", "SIN", (225.0, 8.0), (64.0, 64.0), (-8 / 3600, 8 / 3600), (45, 42, 30))


def picture(number, noise, peak=0.2, mask=True, shape=(128, 128)):
    pixels = np.random.default_rng(number).normal(0, noise, shape)
    y, x = np.mgrid[: shape[0], : shape[1]]
    source = np.exp(-((y - 64) ** 2 + (x - 64) ** 2) / 20)
    outline = source > 0.3 if mask else None
    return selfcal_plots.Picture(number, f"round {number} $", pixels + peak * source, outline, SKY)


def drawn(path):
    """Return the pixels of a PNG that is not empty."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    assert np.count_nonzero(pixels.sum(axis=2) < 700) > 2000
    return pixels


@pytest.mark.parametrize("number", [1, 2, 4, 9])
def test_images_side_by_side(tmp_path, number):
    pictures = [picture(k, 1e-3 / (k + 1)) for k in range(number)]
    scale = selfcal_plots.Scale(pictures, 1e-4)
    path = selfcal_plots.side_by_side(tmp_path / "r.png", pictures, scale, (0, 0, 128, 128))
    assert drawn(path).shape[1] <= 1210


def test_one_brightness_has_one_colour_in_all_rounds(tmp_path):
    faint, noisy = picture(1, 1e-6), picture(0, 1e-2)
    scale = selfcal_plots.Scale([noisy, faint], 1e-5)
    alone = selfcal_plots.Scale([faint], 1e-5)
    assert scale.low < -1e3 * 1e-2 < alone.low  # in mJy/beam: the artefacts of the first image
    assert scale.top == pytest.approx(scale.factor * max(p.pixels.max() for p in (noisy, faint)))


def test_the_scale_has_a_few_ticks_with_zero_among_them():
    ticks = selfcal_plots.Scale([picture(0, 1e-3)], 1e-5).ticks()
    assert 0.0 in ticks
    assert 100.0 in ticks
    assert 4 <= len(ticks) <= 9
    assert ticks == sorted(ticks)


def test_the_scale_of_an_image_of_noise_has_ticks_too():
    noise = picture(0, 3e-5, peak=0.0)
    assert selfcal_plots.Scale([noise], 3e-5).ticks() == [-50.0, -20.0, 0.0, 20.0, 50.0, 100.0]


def test_pictures_to_compare_differ_in_their_pixels_alone(tmp_path):
    pictures = [picture(0, 1e-3), picture(1, 1e-5)]
    scale = selfcal_plots.Scale(pictures, 1e-5)
    box = (20, 20, 108, 108)
    first, last = (
        drawn(selfcal_plots.single(tmp_path / f"{k}.png", one, "title", "left", scale, box))
        for k, one in enumerate(pictures)
    )
    assert first.shape == last.shape
    differs = np.argwhere((first != last).any(axis=2))
    low, high = differs.min(axis=0), differs.max(axis=0)
    # The frame of the map: nothing of axes, labels or colour bar.
    assert low[0] > 35
    assert low[1] > 90
    assert high[0] < first.shape[0] - 55
    assert high[1] < first.shape[1] - 115


def test_blank_images_are_drawn(tmp_path):
    blank = selfcal_plots.Picture(0, "first image", np.full((64, 64), np.nan), None, SKY)
    scale = selfcal_plots.Scale([blank], 1.0)
    path = selfcal_plots.side_by_side(tmp_path / "r.png", [blank], scale, (0, 0, 64, 64))
    assert path.is_file()


def test_the_box_is_the_mask_and_the_field_near_it():
    one = picture(1, 1e-5, shape=(512, 512))
    left, bottom, right, top = selfcal_plots._near([one], one)
    assert left == bottom < 64 < right == top < 200
    bare = picture(1, 1e-5, mask=False, shape=(512, 512))
    assert selfcal_plots._near([bare], bare) == (0, 0, 512, 512)


def test_of_many_rounds_the_first_the_best_and_some_between_are_drawn():
    assert selfcal_plots._most_telling(range(5), 3) == {0, 1, 2, 3, 4}
    chosen = selfcal_plots._most_telling(range(30), 17)
    assert {0, 17} <= chosen
    assert len(chosen) == 9


@pytest.mark.parametrize(
    ("one", "title"),
    [
        (state(0), "first image"),
        (state(2), "round 2, phase 10s, accepted"),
        (state(3, False, solve=solve(3, calmode="ap", solint="inf")),
         "round 3, phase and amplitude inf, rejected"),
        (state(1, solve=None), "round 1, accepted"),
    ],
)  # fmt: skip
def test_titles_of_rounds(one, title):
    assert selfcal_plots.round_title(one) == title


def test_progress_with_unknown_numbers(tmp_path):
    rounds = [state(0), state(1), state(2, False)]
    for key in ("snr", "rms_noise_jy_per_beam", "thermal_noise_jy_per_beam"):
        rounds[1]["image"][key] = None
    drawn(selfcal_plots.progress(tmp_path / "p.png", rounds))
    for one in rounds:
        one["image"] = None
    assert selfcal_plots.progress(tmp_path / "n.png", rounds).is_file()


def casa_image(path, pixels, beam=True):
    from casatools import coordsys
    from casatools import image as tool

    axes = coordsys().newcoordsys(direction=True, spectral=True, stokes=["I"])
    axes.setunits(["rad", "rad", "", "Hz"])
    image = tool()
    image.fromarray(str(path), pixels.T[:, :, None, None], csys=axes.torecord())
    image.setbrightnessunit("Jy/beam")
    if beam:
        image.setrestoringbeam(major="180arcsec", minor="150arcsec", pa="30deg")
    image.done()


@pytest.mark.casa
def test_the_step_draws_images_and_the_solutions_that_are_applied(casa, sky, tmp_path):
    prefixes = {str(k): f"images/selfcal/{TARGET}.{k}" for k in range(5)}
    tables = {
        str(k): {"day1": f"caltables/{TARGET}.selfcal.{k}.day1", "day2": f"caltables/none.{k}"}
        for k in range(1, 5)
    }
    (tmp_path / "images" / "selfcal").mkdir(parents=True)
    (tmp_path / "caltables").mkdir()
    for k in range(3):
        one = picture(k, 1e-3)
        casa_image(tmp_path / f"{prefixes[str(k)]}.image", one.pixels)
        casa_image(tmp_path / f"{prefixes[str(k)]}.mask", one.mask.astype(float), beam=False)
    params = {"vis": str(sky[0]), "caltype": "ph", "parameter": [10.0]}
    _, found = casa("gencal", caltable=tables["1"]["day1"], **params)
    assert not found.severe
    casa("gencal", caltable=tables["2"]["day1"], **params)
    write(tmp_path / OUT, accepted())
    out = f"qa/plots/selfcal/{TARGET}"
    given = {"summary": OUT, "prefixes": prefixes, "tables": tables, "out": out}
    assert action.ACTIONS["selfcal.plots"](given) == {"plots": 6}
    plots = json.loads((tmp_path / out / "plots.json").read_text())["plots"]
    assert [(plot["section"], plot["file"]) for plot in plots] == [
        ("selfcal", f"plots/selfcal/{TARGET}/rounds.png"),
        ("before", f"plots/selfcal/{TARGET}/before.png"),
        ("after", f"plots/selfcal/{TARGET}/after.png"),
        ("selfcal", f"plots/selfcal/{TARGET}/progress.png"),
        ("selfcal-viewer", f"plots/selfcal/{TARGET}/viewer/about.js"),
        ("selfcal", f"plots/selfcal/{TARGET}/round1-phase-day1.png"),
    ]
    assert {path.name for path in (tmp_path / out).iterdir()} == {
        "plots.json",
        "viewer",
        *(plot["file"].rpartition("/")[2] for plot in plots if plot["file"].endswith(".png")),
    }
    for plot in plots:
        if plot["file"].endswith(".png"):
            drawn(tmp_path / "qa" / plot["file"])
    layers = content(tmp_path / out / "viewer" / "about.js")["layers"]
    assert [layer["title"] for layer in layers] == [
        "round 1, phase 10s, accepted", "first image", "round 2, phase 10s, rejected",
        "clean mask",
    ]  # fmt: skip
    assert "3 times the noise of round 1 (22 µJy/beam)" in plots[0]["caption"]
    assert "left out" not in plots[0]["caption"]


@pytest.mark.casa
def test_of_a_declined_self_calibration_the_first_image_is_drawn(casa, tmp_path):
    (tmp_path / "images").mkdir()
    casa_image(tmp_path / "images" / "t.0.image", picture(0, 1e-3).pixels)
    write(tmp_path / OUT, declined())
    given = {"summary": OUT, "prefixes": {"0": "images/t.0", "1": "images/t.1"},
             "tables": {"1": {"day1": "caltables/none"}}, "out": "qa/plots"}  # fmt: skip
    assert action.draw(given) == {"plots": 2}
    drawn(tmp_path / "qa" / "plots" / "rounds.png")
