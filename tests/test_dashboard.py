"""The dashboard: rows, outliers, trends, thumbnails; runs of any state; hostile names; the page."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.errors import DataError
from casarun.folder import RunFolder
from casarun.report import dashboard, runs, survey, thumbnails, trend_plots, trends
from casarun.report.schemas import damage
from PIL import Image
from support.browser import browser, needs_browser
from support.cli import casarun
from support.run_folders import Sky, Story, make, put
from test_report import Page

HOSTILE = "<script>alert('x')</script>"


def rows_of(*folders: RunFolder) -> list[survey.Row]:
    found = [runs.read(folder) for folder in folders]
    labels = survey.labels(found)
    return [row for run, name in zip(found, labels, strict=True) for row in survey.rows(run, name)]


def write(output: Path, *folders: RunFolder) -> tuple[Page, dict[str, Any]]:
    page = dashboard.write([runs.read(folder) for folder in folders], output)
    data = json.loads((output / "dashboard.json").read_text())
    assert damage(data, "dashboard") == ""
    return Page(page.read_text()), data


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten runs of which night 6 is noisy and night 8 heavily flagged."""
    root = tmp_path_factory.mktemp("survey") / "nights"
    for night in range(10):
        noise = 3e-3 if night == 6 else 1e-3 * (1 + 0.01 * (night % 3))
        make(
            root / f"night{night}",
            Story(
                images={("NGC1", "continuum"): Sky(noise_jy=noise, seed=night)},
                flagged=0.9 if night == 8 else 0.2 + 0.001 * night,
                observed_mjd_s=4304481524.0 + 86400 * night,
                day=night + 1,
            ),
        )
    return root


# -- finding runs


def test_runs_are_found_by_folder_parent_and_glob(nights: Path, tmp_path: Path) -> None:
    one = runs.find([str(nights / "night3")])
    assert [folder.root for folder in one] == [nights / "night3"]
    assert len(runs.find([str(nights)])) == 10
    assert len(runs.find([str(nights.parent)])) == 10
    globbed = runs.find([str(nights / "night[2-4]"), str(nights / "night3")])
    assert [folder.root.name for folder in globbed] == ["night2", "night3", "night4"]


def test_a_link_to_a_parent_makes_no_circle(nights: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "round").symlink_to(tmp_path)
    with pytest.raises(DataError, match="there is no run folder"):
        runs.find([str(tmp_path)])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere", "nowhere: no such folder"),
        ("file", "file: not a folder"),
        ("empty", "empty: there is no run folder (one that has .casarun/journal.jsonl)"),
        ("night*", "night*: nothing is there that matches"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path: Path, name: str, said: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    done = casarun("dashboard", name, cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (2, said)
    assert not (tmp_path / "dashboard").exists()


def test_a_folder_of_something_else_is_not_written_to(nights: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    done = casarun("dashboard", nights, "-o", "mine", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"{tmp_path}/mine is not empty and holds no earlier dashboard; choose another with --output"
    )
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


# -- rows


def test_a_row_holds_what_the_run_measured(tmp_path: Path) -> None:
    sky = Sky(noise_jy=2e-3)
    (row,) = rows_of(make(tmp_path / "one", Story(images={("NGC1", "line"): sky}, flagged=0.3)))
    assert (row.run, row.target, row.image, row.datasets) == ("one", "NGC1", "line", ("day1",))
    assert row.peak_jy_per_beam == pytest.approx(float(sky.pixels().max()))
    assert (row.rms_noise_jy_per_beam, row.bmaj_arcsec, row.flagged_fraction) == (2e-3, 50.0, 0.3)
    assert row.dynamic_range == pytest.approx(row.peak_jy_per_beam / 2e-3)
    assert row.observed == "1995-04-13T09:18:44Z"
    assert (row.wall_s, row.verdict, row.state) == (90.0, "pass", "done")
    assert row.fluxes_jy == {"phasecal": 2.5}


def test_what_was_made_of_cubes_has_rows(tmp_path: Path) -> None:
    cube = Sky(n_chan=3)
    cubes = {("NGC1", "smooth"): ("Jy/beam", cube), ("NGC1", "hot"): ("K", cube)}
    _, smooth, hot = rows_of(make(tmp_path / "run", Story(cubes=cubes)))
    assert (smooth.image, smooth.rms_noise_jy_per_beam) == ("smooth", 1e-3)
    assert (hot.image, hot.rms_noise_jy_per_beam, hot.peak_jy_per_beam) == ("hot", None, None)
    page, _ = write(tmp_path / "page", RunFolder(tmp_path / "run"))
    assert len(page.images) == 3


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("died", "the run was killed; the same command goes on with it"),
        ("running", "8 of 12 steps done"),
        ("interrupted", "8 of 12 steps done"),
    ],
)
def test_a_run_that_is_not_done_is_shown_as_such(tmp_path: Path, state: str, said: str) -> None:
    folder = make(tmp_path / "run", Story(state=state))
    if state == "running":
        status = json.loads(folder.status.read_text())
        put(folder.status, {**status, "created": _created()})
    row = rows_of(folder)[0]
    assert (row.state, row.concerns[0]) == (state, said)
    page, _ = write(tmp_path / "page", folder)
    assert ("killed" if state == "died" else state) in page.text


def _created() -> float:
    import psutil

    return psutil.Process().create_time()


def test_a_failed_run_names_its_steps(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", Story(state="failed"))
    put(folder.root / "docs" / "run.json", {"steps": {"a.import": {"state": "failed"}}})
    assert rows_of(folder)[0].concerns == ("failed: a.import",)


def test_checks_stand_with_the_image_that_they_are_of(tmp_path: Path) -> None:
    images = {("NGC1", "deep"): Sky(), ("NGC2", "deep"): Sky(noise_jy=0.02)}
    first, second = rows_of(make(tmp_path / "run", Story(images=images)))
    assert first.concerns == ()
    assert second.concerns == ("fail: dynamic range, NGC2, deep: peak over noise",)
    assert first.verdict == second.verdict == "fail"


def test_datasets_follow_from_what_the_images_read(tmp_path: Path) -> None:
    folder = make(tmp_path / "run", Story(images={("NGC1", "a"): Sky(), ("NGC2", "b"): Sky()}))
    plan = json.loads(folder.plan.read_text())
    plan["steps"][2]["dataset"] = "day2"  # the split of NGC2
    plan["steps"][3]["reads"].append("selfcal.ms")
    plan["steps"].insert(
        3, {"reads": ["calibrated/day1.NGC1.ms"], "writes": ["selfcal.ms"], "dataset": ""}
    )
    put(folder.plan, plan)
    assert [row.datasets for row in rows_of(folder)] == [("day1",), ("day2", "day1")]


@pytest.mark.parametrize(
    "records",
    [
        {"images": []},
        {"images": {"NGC1": 3}},
        {"images": {"NGC1": {"a": None}}},
        {"images": {"NGC1": {"a": {"peak_jy_per_beam": "1", "rms_noise_jy_per_beam": True,
                                   "bmaj_arcsec": [2], "fits": 5, "peak_position": 7}}}},
        {"images": {"NGC1": {"a": {"peak_jy_per_beam": 10**400, "bpa_deg": "x"}}}},
        {"verdict": ["pass"], "checks": {"a": 1}, "datasets": "no", "run": "no"},
        {"checks": [1, {"verdict": "fail", "subject": 5}], "datasets": {"d": {"fluxscale": 4}}},
        {"images": {"\ud800": {"\udfff": {}}}, "run": {"title": "\ud800", "started": "\ud800"}},
        {"images": {"NGC1": {"a": {"fits": "../../etc/passwd"}, "b": {"fits": "/etc/passwd"}}}},
        {"images": {"NGC1": {"a": {"bmaj_arcsec": 2.0, "dynamic_range": float("inf")}}}},
    ],
)  # fmt: skip
def test_records_of_any_shape_are_shown(tmp_path: Path, records: Any) -> None:
    folder = make(tmp_path / "run")
    put(folder.metrics, records)
    put(folder.plan, {"steps": [1, {"writes": 5, "reads": [{}]}, {"dataset": [1]}]})
    put(folder.status, {"state": ["x"], "created": {}, "counts": []})
    page, data = write(tmp_path / "page", folder)
    assert "1 run" in page.text
    assert data["rows"][0]["state"] == "unknown"
    assert not page.images


def test_what_leads_out_of_a_run_folder_is_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret.fits"
    Sky().write(secret)
    folder = make(tmp_path / "run")
    image = folder.root / "images" / "NGC1.continuum.fits"
    image.unlink()
    image.symlink_to(secret)
    page, _ = write(tmp_path / "page", folder)
    assert page.images == []
    (folder.root / "scripts" / "plan.json").unlink()
    (folder.root / "scripts" / "plan.json").symlink_to("/etc/passwd")
    (row,) = rows_of(folder)
    assert row.concerns == ("scripts/plan.json is a symbolic link: casarun makes none",)


# -- outliers and trends


def test_outliers_are_named(nights: Path) -> None:
    rows = rows_of(*runs.find([str(nights)]))
    _, odd = trend_plots.all_of(rows, "observed")
    assert {(one.what, one.label) for one in odd} == {
        ("noise", "night6, NGC1, continuum"),
        ("dynamic range", "night6, NGC1, continuum"),
        ("flagged", "night8, NGC1, continuum"),
    }
    noise = next(one for one in odd if one.what == "noise")
    assert (noise.value, noise.usual, noise.series) == (
        "3.00 mJy/beam", "1.01 mJy/beam", "continuum",
    )  # fmt: skip
    # 1.4826 times the median absolute deviation of the ten, which is 1e-5.
    assert noise.sigma == pytest.approx((3e-3 - 1.01e-3) / 1.4826e-5, rel=0.01)
    assert next(one for one in odd if one.what == "dynamic range").sigma < 0


def test_few_or_equal_numbers_have_no_outliers(nights: Path) -> None:
    rows = rows_of(*runs.find([str(nights)]))
    assert trend_plots.all_of(rows[4:8], "observed")[1] == []
    same = [replace(rows[0], run=f"run{i}", rms_noise_jy_per_beam=1e-3) for i in range(9)]
    almost = replace(same[0], run="other", rms_noise_jy_per_beam=1.04e-3)
    assert trend_plots.all_of([*same, almost], "observed")[1] == []
    far = replace(almost, rms_noise_jy_per_beam=1.06e-3)
    assert [one.label for one in trend_plots.all_of([*same, far], "observed")[1]] == [
        "other, NGC1, continuum"
    ]


def test_targets_are_compared_in_noise_and_not_in_peak(nights: Path) -> None:
    rows = rows_of(*runs.find([str(nights)]))
    bright = replace(rows[1], run="x", target="NGC2", peak_jy_per_beam=5.0,
                     rms_noise_jy_per_beam=9e-3)  # fmt: skip
    _, odd = trend_plots.all_of([*rows, bright], "observed")
    assert {one.what for one in odd if one.label.startswith("x,")} == {"noise"}


def test_trends_go_with_the_date_of_the_observation(nights: Path) -> None:
    rows = rows_of(*runs.find([str(nights)]))
    assert trends.date_of(rows) == "observed"
    assert trends.date_of([replace(row, observed=rows[0].observed) for row in rows]) == "ended"
    plots, _ = trend_plots.all_of(rows, "observed")
    noise = next(plot for plot in plots if plot["key"] == "rms_noise_jy_per_beam")
    x = [mark["x"] for mark in noise["marks"]]
    assert x == sorted(x)
    assert np.diff(x) == pytest.approx((x[-1] - x[0]) / 9, abs=0.1)
    assert [mark["row"] for mark in noise["marks"] if mark["odd"]] == [6]
    # The vertical axis goes down the page; the noisy night is at the top, others on one level.
    assert min(noise["marks"], key=lambda mark: mark["y"])["row"] == 6
    assert noise["unit"] == "mJy/beam"
    assert [text for _, text in noise["y_ticks"]] == ["0", "1.50", "3.00"]


# -- thumbnails


def test_a_thumbnail_shows_the_image_north_up(tmp_path: Path) -> None:
    image, small = tmp_path / "a.fits", tmp_path / "a.png"
    Sky(sources=((20.0, 110.0, 1.0),), n_pixels=128).write(image)
    assert thumbnails.make(image, None, small)
    shown = np.asarray(Image.open(small).convert("L"), float)
    assert max(shown.shape) <= thumbnails.SIDE
    y, x = np.unravel_index(shown.argmax(), shown.shape)
    assert x < shown.shape[1] / 4
    assert y < shown.shape[0] / 4  # FITS counts rows from the south, PNG from the top


def test_a_thumbnail_shows_the_channel_of_the_peak(tmp_path: Path) -> None:
    from astropy.io import fits

    image = tmp_path / "cube.fits"
    Sky(n_chan=3, sources=()).write(image)
    with fits.open(image, mode="update") as units:
        units[0].data[0, 2, 10, 10] = 1.0
    plain, peak = tmp_path / "plain.png", tmp_path / "peak.png"
    assert thumbnails.make(image, 0, plain)
    assert thumbnails.make(image, 2, peak)
    assert plain.read_bytes() != peak.read_bytes()
    assert thumbnails.make(image, 99, tmp_path / "beyond.png")


def test_a_large_image_keeps_its_point_source(tmp_path: Path) -> None:
    image, small = tmp_path / "a.fits", tmp_path / "a.png"
    Sky(sources=((1000.0, 301.0, 0.5),), n_pixels=1200).write(image)
    assert thumbnails.make(image, None, small)
    shown = np.asarray(Image.open(small).convert("L"))
    assert max(shown.shape) <= thumbnails.SIDE
    assert shown.max() > 200


@pytest.mark.parametrize("content", [b"", b"SIMPLE  =", b"\0" * 5760])
def test_what_is_no_image_has_no_thumbnail(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.fits").write_bytes(content)
    assert not thumbnails.make(tmp_path / "a.fits", None, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_thumbnails_are_made_once(nights: Path, tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    write(tmp_path / "page", folder)
    (small,) = (tmp_path / "page" / "thumbs").iterdir()
    before = small.stat().st_mtime_ns
    write(tmp_path / "page", folder)
    assert small.stat().st_mtime_ns == before
    Sky(seed=9).write(folder.root / "images" / "NGC1.continuum.fits")
    write(tmp_path / "page", folder)
    assert small.stat().st_mtime_ns > before


# -- the page and its data


def test_links_lead_to_the_reports(nights: Path, tmp_path: Path) -> None:
    page, _ = write(nights / "page #1", *runs.find([str(nights)]))
    reports = [link for link in page.links if link.startswith("../")]
    assert "../night3/qa/index.html" in reports
    assert "../night3/qa/index.html#image-NGC1.continuum" in reports
    assert all(image["src"].startswith("thumbs/") for image in page.images)
    assert all(image["loading"] == "lazy" for image in page.images)
    assert len(page.images) == 10


def test_json_and_csv_hold_every_row(nights: Path, tmp_path: Path) -> None:
    _, data = write(tmp_path / "page", *runs.find([str(nights)]))
    assert data["dashboard_version"] == 1
    assert [row["run"] for row in data["rows"]] == [f"night{night}" for night in range(10)]
    assert data["rows"][6]["rms_noise_jy_per_beam"] == 3e-3
    with (tmp_path / "page" / "dashboard.csv").open() as stream:
        told = list(csv.DictReader(stream))
    assert [float(row["rms_noise_jy_per_beam"]) for row in told] == [
        row["rms_noise_jy_per_beam"] for row in data["rows"]
    ]
    assert told[0]["datasets"] == "day1"


def test_hostile_names_are_text(tmp_path: Path) -> None:
    root = tmp_path / '<b>&\xff\' "x"\n'
    images = {(HOSTILE, '"><svg onload=alert(1)>'): Sky(), ("=1+1", "-x"): Sky(noise_jy=0.02)}
    folder = make(root, Story(images=images, dataset="@SUM(1)"))
    page, _ = write(tmp_path / "page", folder)
    assert page.tags.count("script") == 1
    assert "b" not in {tag for tag in page.tags if tag == "svg" and "onload" in tag}
    assert HOSTILE in page.text
    source = (tmp_path / "page" / "index.html").read_text()
    assert "<script>alert" not in source
    assert "<svg onload" not in source
    with (tmp_path / "page" / "dashboard.csv").open() as stream:
        told = list(csv.DictReader(stream))
    assert (told[1]["target"], told[1]["image"], told[1]["datasets"]) == (
        "'=1+1", "'-x", "'@SUM(1)",
    )  # fmt: skip


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    root = Path(f"{tmp_path}/night\udcff")
    folder = make(root)
    page, data = write(tmp_path / "page", folder)
    assert data["rows"][0]["run"] == "night\\udcff"
    assert "../night%FF/qa/index.html" in page.links


def test_only_the_pages_own_script_may_run(nights: Path, tmp_path: Path) -> None:
    import base64
    import hashlib
    import re

    write(tmp_path / "page", *runs.find([str(nights)]))
    source = (tmp_path / "page" / "index.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', source)
    script = re.search(r"<script>(.*?)</script>", source, re.DOTALL)
    assert policy
    assert script
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy[1].replace("&#39;", "'")
    assert "default-src 'none'" in policy[1].replace("&#39;", "'")
    assert not re.search(r"https?://|@import|url\(", source)


@needs_browser
def test_the_table_sorts_and_narrows_in_a_browser(nights: Path, tmp_path: Path) -> None:
    folders = runs.find([str(nights)])
    hostile = make(
        tmp_path / HOSTILE.replace("/", ""), Story(images={(HOSTILE, "continuum"): Sky()})
    )
    write(tmp_path / "page", *folders, hostile)
    nights_shown = "[...document.querySelectorAll('#runs tbody tr:not([hidden]) th')]"
    names = f"{nights_shown}.map(cell => cell.textContent.split('/').pop())"
    with browser() as page:
        page.open(tmp_path / "page" / "index.html")
        assert page.run("""[...document.querySelectorAll('.key li')].every((item) => {
            const point = item.closest('figure').querySelector(`a.${item.className} circle`);
            return getComputedStyle(item.querySelector('i')).backgroundColor
                === getComputedStyle(point).fill;
        })""")
        page.run("document.querySelectorAll('#runs thead button')[6].focus()")
        assert page.run("document.activeElement.textContent") == "noise"
        page.press("Enter", 13)
        assert page.run(names)[-1] == "night6"
        page.press("Enter", 13)
        assert page.run(names)[0] == "night6"
        sort = "document.activeElement.parentElement.getAttribute('aria-sort')"
        assert page.run(sort) == "descending"
        page.run("""(() => { const form = document.getElementById('narrow');
            form.elements.odd.checked = true; form.dispatchEvent(new Event('input')); })()""")
        assert page.run(names) == ["night6", "night8"]
        assert page.run("document.getElementById('shown').textContent") == "2 of 11 rows"
        page.open(tmp_path / "page" / "index.html", "#row-10")
        assert page.run("document.querySelector('tr:target').dataset.target") == HOSTILE
        assert page.said == []
        assert {address.partition(":")[0] for address in page.asked} == {"file"}
