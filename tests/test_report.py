"""The report: complete, partial and hostile runs; what it links to; how numbers are written."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from casarun.folder import RunFolder
from casarun.plan import Auto, Plan, Step
from casarun.qa.verdict import assemble
from casarun.report import words
from casarun.report.places import link
from casarun.report.render import environment, make_ready, render
from jinja2 import Environment
from test_qa_verdict import dataset, image

HOSTILE = "<script>alert('x')</script>"
LIMITS = {"max_flagged_fraction": 0.5, "min_dynamic_range": 20.0}

OBSERVED = {
    "vis": "raw/apr13.ms",
    "telescope": "VLA",
    "observer": "TEST",
    "start_mjd_s": 4304481524.999771,
    "end_mjd_s": 4304486834.998169,
    "n_rows": 22653,
    "size_bytes": 36482887,
    "shortest_baseline_m": 39.971,
    "longest_baseline_m": 1031.213,
    "columns": ["DATA"],
    "fields": [
        {"id": 0, "name": "cal", "ra_deg": 202.78453, "dec_deg": 30.509155, "intents": [],
         "n_rows": 4509},
        {"id": 2, "name": "N5921_2", "ra_deg": 230.5, "dec_deg": -5.0667, "intents": [HOSTILE],
         "n_rows": 12852},
    ],
    "spws": [{"id": 0, "name": "none", "n_chan": 63, "first_hz": 1412665073.77,
              "last_hz": 1414178745.64, "chan_width_hz": 24414.06, "frame": "LSRK",
              "correlations": ["RR", "LL"]}],
    "scans": [{"number": 1, "field_ids": [0], "spw_ids": [0], "start_mjd_s": 4304481524.99,
               "end_mjd_s": 4304481885.0, "integration_s": 30.0, "intents": [], "obs_id": 0}],
    "antennas": [{"id": 0, "name": "1", "station": "VLA:N7", "diameter_m": 25.0,
                  "distance_m": 388.7, "flagged_fraction": 0.0, "present_fraction": 1.0}],
}  # fmt: skip


class Page(HTMLParser):
    """Reads what a test asks of a page: ids, links, tags, text."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.images, self.tags, self.shown = set(), [], [], [], []
        self._style = False
        self.feed(text)
        self.text = " ".join(" ".join(self.shown).split())

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self._style = tag == "style"
        self.ids |= {values["id"]} if "id" in values else set()
        if tag == "a":
            self.links.append(values["href"])
        if tag == "img":
            self.images.append(values)

    def handle_endtag(self, tag):
        self._style = False

    def handle_data(self, data):
        if not self._style:
            self.shown.append(data)


@pytest.fixture
def folder(tmp_path):
    """A run folder of one dataset and one cube."""
    made = RunFolder(tmp_path / "run")
    own = dataset(plots=[
        {"section": "flagging", "file": "plots/apr13/flagging.png", "title": "Flagged",
         "caption": "By antenna."},
        {"section": "uv", "file": "../../secret.png", "title": "Outside", "caption": ""},
    ])  # fmt: skip
    cube = image(plots=[
        {"section": "image", "file": "plots/N5921_2.hi/maps #1.png", "title": "Maps",
         "caption": HOSTILE},
    ])  # fmt: skip
    write(made.root / "raw/apr13.observation.json", OBSERVED)
    write(made.root / "qa/data/apr13.json", own)
    write(made.root / "qa/data/images/N5921_2.hi.json", cube)
    write(made.metrics, assemble({"apr13": own}, [cube], LIMITS))
    (made.log("apr13.observe") / "attempt-1").mkdir(parents=True)
    (made.log("apr13.observe") / "attempt-1" / "casa.log").touch()
    return made


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))


PLAN = Plan(
    steps=(
        Step("apr13.observe", "import", "read the metadata", "observe",
             {"out": "raw/apr13.observation.json"}, dataset="apr13"),
        Step("apr13.measure", "measure", "measure", "measure.dataset",
             {"data": "qa/data/apr13.json", "fields": {"flux": [0], "targets": [2]}},
             dataset="apr13"),
        Step("N5921_2.hi.clean", "image", f"clean {HOSTILE}", "clean", target="N5921_2",
             image="hi"),
        Step("N5921_2.hi.measure", "measure", "measure the image", "measure.image",
             {"data": "qa/data/images/N5921_2.hi.json"}, target="N5921_2", image="hi"),
    ),
    autos=(Auto("calibrate.refant", "apr13", ["ea15", "ea02"], "in the <middle>"),),
    notes=("a <b>note</b>",),
)  # fmt: skip


def meta(**changes):
    steps = {
        step.id: {"state": "done", "reason": "first run", "attempts": 1, "wall_s": 2.0,
                  "peak_memory_bytes": 3e8}
        for step in PLAN.steps
    }  # fmt: skip
    made = {
        "title": "NGC 5921",
        "recipe_text": "casarun = 1  # </code></pre><script>",
        "recipe_name": "recipes/ngc5921.toml",
        "versions": {"casatasks": "6.7.5.18"},
        "started": "2026-11-22T16:50:00.240Z",
        "ended": "2026-11-22T16:51:10.240Z",
        "command": "casarun ngc5921.toml",
        "state": "done",
        "steps": steps,
    }
    return made | changes


def rendered(folder, about, results=None, plan=PLAN):
    return Page(render(folder, plan, results or {}, about).read_text(encoding="utf-8"))


def test_what_was_made_ready_is_not_translated_again(folder, monkeypatch):
    environment.cache_clear()
    make_ready()
    translated = []
    compiled = Environment.compile

    def compile_told(self, source, name=None, *more, **named):
        translated.append(name)
        return compiled(self, source, name, *more, **named)

    monkeypatch.setattr(Environment, "compile", compile_told)
    rendered(folder, meta())
    assert [name for name in translated if name.endswith(".html")] == []
    assert "report.css" in translated  # it would be told
    environment.cache_clear()


def test_a_complete_run(folder):
    page = rendered(folder, meta())
    assert "QA passed The run is complete. Steps: 4 done." in page.text
    assert "50.0 mJy/beam" in page.text
    assert "2.5000 Jy" in page.text
    assert "13:31:08.29" in page.text
    assert "-05:04:00.1" in page.text
    assert "ea15, ea02" in page.text
    assert "flux" in page.text
    assert "Not measured" not in page.text
    assert "2026-11-22 16:50:00 UTC, 1 min 10 s" in page.text


def test_every_section_is_there_and_reached_from_the_navigation(folder):
    page = rendered(folder, meta())
    inside = [target[1:] for target in page.links if target.startswith("#")]
    wanted = {"summary", "datasets", "choices", "flagging", "calibration", "fluxscale",
              "visibilities", "images", "steps", "versions", "recipe"}  # fmt: skip
    assert wanted <= set(inside)
    assert set(inside) <= page.ids


def test_the_page_needs_no_network_and_no_scripts(folder):
    text = render(folder, PLAN, {}, meta()).read_text(encoding="utf-8")
    page = Page(text)
    assert not {"script", "iframe", "link", "object", "embed"} & set(page.tags)
    assert "://" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"\son\w+=", text)


def test_what_comes_from_data_is_shown_as_text(folder):
    page = rendered(folder, meta(title=HOSTILE))
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 4  # title, intent, step, caption
    assert "a <b>note</b>" in page.text
    assert "in the <middle>" in page.text
    assert "casarun = 1 # </code></pre><script>" in page.text
    assert HOSTILE in page.images[-1]["alt"]


def test_links_stay_in_the_run_folder(folder):
    page = rendered(folder, meta())
    assert "../images/N5921_2.hi.fits" in page.links
    assert "../logs/apr13.observe/attempt-1/casa.log" in page.links
    assert "plots/N5921_2.hi/maps%20%231.png" in [img["src"] for img in page.images]
    assert not any("secret" in img["src"] for img in page.images)


def test_every_picture_has_words(folder):
    page = rendered(folder, meta())
    assert page.images
    assert all(img["alt"] for img in page.images)


def test_a_failed_run_says_what_failed_and_what_is_missing(folder):
    about = meta(state="failed")
    about["steps"]["N5921_2.hi.clean"] |= {"state": "failed", "reason": "empty", "attempts": 3}
    about["steps"]["N5921_2.hi.measure"] = {
        "state": "not run", "reason": "it needs N5921_2.hi.clean, which failed", "attempts": 0,
        "wall_s": None, "peak_memory_bytes": None,
    }  # fmt: skip
    results = {
        "N5921_2.hi.clean": {
            "ok": False, "cause": "postcondition", "message": "the model is empty",
            "advice": "Lower the threshold.", "warnings": [f"{HOSTILE} {i}" for i in range(60)],
        }
    }  # fmt: skip
    page = rendered(folder, about, results)
    assert "a step failed The run is not complete" in page.text
    assert "Steps: 2 done, 1 failed, 1 not run." in page.text
    assert (
        "failed: its product is not what it should be the model is empty Lower the threshold."
        in page.text
    )
    assert "Not measured: not run; it needs N5921_2.hi.clean, which failed" in page.text
    assert "and 10 more in the log" in page.text
    assert "55.1" not in page.text
    # Numbers of an earlier run must not stand for this one's.
    assert "50.0 mJy/beam" not in page.text


def fell_back(*parameters):
    return [
        {"attempt": n, "message": f"{HOSTILE} diverged", "parameters": text}
        for n, text in enumerate(parameters, 1)
    ]


def test_what_a_fallback_made_is_shown_in_red(folder):
    about = meta()
    about["steps"]["N5921_2.hi.clean"]["fell_back"] = fell_back("gain = 0.5", "gain = <0.05>")
    text = render(folder, PLAN, {}, about).read_text(encoding="utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert (
        f"clean {HOSTILE} ( N5921_2.hi.clean ) diverged with the recipe's own parameters. It was "
        "made with others, which the recipe declares for that ( image.fallback ): gain = <0.05> "
        f"Attempt 1 diverged: {HOSTILE} diverged "
        f"Attempt 2, with gain = 0.5 , diverged: {HOSTILE} diverged"
    ) in page.text
    assert (
        "Its clean diverged with the recipe's own parameters; this image was made with "
        "gain = <0.05> instead."
    ) in page.text
    assert text.count('class="failure"') == 2
    # In the table of images and in that of steps.
    assert text.count('<span class="badge fail">fallback</span>') == 2
    assert ".failure { border-left: 4px solid var(--fail)" in text


def test_without_a_fallback_nothing_is_red(folder):
    text = render(folder, PLAN, {}, meta()).read_text(encoding="utf-8")
    assert 'class="failure"' not in text
    assert "fallback" not in Page(text).text


def test_a_step_that_failed_in_spite_of_its_fallbacks_tells_them(folder):
    about = meta(state="failed")
    about["steps"]["N5921_2.hi.clean"] |= {"state": "failed", "fell_back": fell_back("gain = 0.5")}
    page = rendered(folder, about, {"N5921_2.hi.clean": {"cause": "diverged", "message": "again"}})
    assert (
        f"failed: the clean diverged Attempt 1 diverged: {HOSTILE} diverged With gain = 0.5 : again"
    ) in page.text
    assert "It was made with others" not in page.text


def test_a_run_that_was_interrupted_before_anything_was_measured(tmp_path):
    empty = RunFolder(tmp_path)
    page = rendered(empty, meta(state="interrupted", steps={}))
    assert "interrupted The run is not complete: the same command goes on with it." in page.text
    assert "Nothing was measured, so nothing could be checked." in page.text
    assert "Its metadata were not read." in page.text
    assert "Not measured: not run; the run did not come so far" in page.text


def test_a_run_without_plan_or_times(tmp_path):
    about = {"state": "failed", "steps": {}}
    page = rendered(RunFolder(tmp_path), about, plan=Plan(()))
    assert "a step failed" in page.text
    assert "There is no plan." in page.text


def test_metrics_that_are_damaged_do_not_break_the_report(folder):
    folder.metrics.write_text("{")
    page = rendered(folder, meta())
    assert "no QA numbers The run is complete, but nothing was measured." in page.text


def test_unmeasured_numbers_say_why(folder):
    blank = image(
        peak_jy_per_beam=None, peak_jy_per_beam_reason="the image has no valid pixels",
        rms_noise_jy_per_beam=None, rms_noise_jy_per_beam_reason="no noise",
        dynamic_range=None, dynamic_range_reason="no noise", bmaj_arcsec=None,
        bmaj_arcsec_reason="the image has no synthesized beam", min_jy_per_beam=None,
        model_flux_jy=None, model_flux_jy_reason="the image was not cleaned",
    )  # fmt: skip
    write(folder.root / "qa/data/images/N5921_2.hi.json", blank)
    write(folder.metrics, assemble({}, [blank], LIMITS))
    page = rendered(folder, meta())
    assert "QA failed" in page.text
    assert "peak unknown the image has no valid pixels" in page.text
    assert "synthesized beam unknown the image has no synthesized beam" in page.text


def test_checks_that_did_not_pass_come_first(folder):
    bad = image(dynamic_range=3.0, cleaned=False)
    write(folder.metrics, assemble({"apr13": dataset()}, [bad], LIMITS))
    page = rendered(folder, meta())
    assert "QA failed" in page.text
    order = [page.text.index(word) for word in ("✗ fail", "! warn", "✓ pass")]
    assert order == sorted(order)
    assert "3.00 at least 20 peak over noise" in page.text


def test_unchanged_steps_are_named_so(folder):
    about = meta()
    about["steps"]["apr13.observe"] |= {"state": "skipped", "reason": "unchanged"}
    page = rendered(folder, about)
    assert "Steps: 3 done, 1 unchanged." in page.text


@pytest.mark.parametrize(
    ("path", "target"),
    [("images/a b.fits", "../images/a%20b.fits"), ("/etc/passwd", ""), ("a/../../b", ""), ("", "")],
)
def test_link(path, target):
    assert link(path) == target


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.5, "2.50 Jy/beam"), (0.0547, "54.7 mJy/beam"), (8.8e-4, "880 µJy/beam"),
        (-0.00323, "-3.23 mJy/beam"), (2e-8, "20.0 nJy/beam"), (0.0, "0 nJy/beam"),
        (None, "unknown"), (12345.0, "12345 Jy/beam"),
        (0.99996e-3, "1.00 mJy/beam"),
        (0.9994e-3, "999 µJy/beam"),
    ],
)  # fmt: skip
def test_brightness(value, text):
    assert words.brightness(value) == text


def test_positions_are_rounded_without_a_sixtieth_second():
    assert words.right_ascension(359.999999999) == "00:00:00.00"
    assert words.right_ascension(202.78453) == "13:31:08.29"
    assert words.declination(-0.0166666) == "-00:01:00.0"
    assert words.declination(29.99999999) == "+30:00:00.0"


def test_times():
    assert words.instant(4304481524.999771) == "1995-04-13 09:18:44"
    assert words.moment("not a time") == "not a time"
    assert words.duration("2026-11-22T16:50:00Z", "2026-11-22T16:50:28Z") == "28 s"
    assert words.duration("", "") == "unknown"


def test_frequency_range():
    assert words.frequency_range(1.4e9, 1.4e9) == "1400 MHz"
    assert words.frequency_range(1.4e9, 1.5e9) == "1400 to 1500 MHz"
    assert words.frequency_range(9e9, 11e9) == "9000 MHz to 11 GHz"
    assert words.frequency_range(None, 1.0) == "unknown"


def test_templates_travel_with_the_package():
    from importlib import resources

    names = {Path(str(item)).name for item in (resources.files("casarun") / "templates").iterdir()}
    assert {"report.html", "report.css"} <= names
