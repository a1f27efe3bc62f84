"""Many datasets from recipe to report: work in proportion, and a report to find one's way in."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from casarun.api import Options, plan, report, run
from casarun.api.opening import uncollected
from casarun.engine import seen
from casarun.errors import ExitCode, RefusedError
from casarun.folder import RunFolder
from casarun.report import logs, pages
from casarun.report.render import environment
from support.browser import browser, needs_browser
from support.many_datasets import without_casa, write_recipe
from test_big_plans import instructions
from test_crash import alter
from test_report import Page

SMALL, LARGE = 4, 16
MANY = 24


@pytest.fixture(autouse=True)
def _no_casa() -> Iterator[None]:
    with without_casa():
        yield


def ran(place: Path, datasets: int, keep: str = "all") -> tuple[Path, Options]:
    """Run a recipe of so many datasets; return its path and the options of the run."""
    recipe, options = write_recipe(place, datasets, keep), Options(output=place / "run")
    result = run(recipe, options)
    assert (result.exit_code, len(result.outcome.failed)) == (ExitCode.DONE, 0)
    assert len(result.outcome.done) == len(result.plan.steps) > 20 * datasets
    return recipe, options


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a recipe and its run."""
    place = tmp_path_factory.mktemp("many")
    with without_casa():
        ran(place, MANY)
    return place


def test_nothing_to_do_is_found_with_work_in_proportion(tmp_path: Path) -> None:
    work = []
    for datasets in (SMALL, LARGE):
        recipe, options = ran(tmp_path / str(datasets), datasets)
        assert run(recipe, options).outcome.done == []
        work.append(instructions(lambda: run(recipe, options)))  # noqa: B023
    assert work[1] < 1.1 * (LARGE / SMALL) * work[0]


def test_a_plan_is_made_with_work_in_proportion(tmp_path: Path) -> None:
    work = []
    for datasets in (SMALL, LARGE):
        recipe, options = ran(tmp_path / str(datasets), datasets)
        work.append(instructions(lambda: plan(recipe, options)))  # noqa: B023
    assert work[1] < 1.1 * (LARGE / SMALL) * work[0]


def test_a_plan_is_made_without_numpy_and_what_draws() -> None:
    code = (
        "import sys; from casarun.api import planning, running; "
        "print({'numpy', 'scipy', 'astropy', 'matplotlib', 'casatools'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_garbage_is_looked_for_again_once_a_plan_is_made() -> None:
    with contextlib.suppress(ValueError), uncollected():
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_report_takes_work_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MANY", 2)
    work, size = [], []
    for datasets in (SMALL, LARGE):
        _, options = ran(tmp_path / str(datasets), datasets)
        assert options.output is not None
        work.append(instructions(lambda: report(options.output)))  # noqa: B023
        size.append((options.output / "qa" / "index.html").stat().st_size)
    assert work[1] < 1.1 * (LARGE / SMALL) * work[0]
    assert size[1] - size[0] < 2000 * (LARGE - SMALL)


def test_an_edit_of_one_dataset_runs_that_one(tmp_path: Path) -> None:
    recipe, options = ran(tmp_path, SMALL)
    (tmp_path / "data" / "day0003.uvfits").write_text("another")
    done = run(recipe, options).outcome.done
    assert 10 < len(done) < 30
    assert {step.split(".")[0] for step in done} == {"day0003", "T0003"}


@pytest.fixture
def looked_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let few products be worth processes that look at them, and what is new be old enough."""
    now = time.time_ns
    monkeypatch.setattr(seen, "spare_cores", lambda products, waiting: 2 if products else 0)
    monkeypatch.setattr(seen.time, "time_ns", lambda: now() + 3_600_000_000_000)


@pytest.mark.usefixtures("looked_ahead")
def test_products_looked_at_by_other_processes_are_looked_at_as_well(tmp_path: Path) -> None:
    recipe, options = ran(tmp_path, SMALL)
    assert run(recipe, options).outcome.done == []
    with mock.patch.object(seen, "look", side_effect=seen.look) as here:
        assert run(recipe, options).outcome.done == []
        assert plan(recipe, options).decided.to_run == []
    here.assert_not_called()
    alter(tmp_path / "run" / "caltables" / "day0002.amp" / "table.f0")
    reasons = plan(recipe, options).decided.steps
    assert reasons["day0002.amp"].reason == "its product caltables/day0002.amp was altered"
    assert {step.split(".")[0] for step in run(recipe, options).outcome.done} == {"day0002"}
    assert run(recipe, options).outcome.done == []


@pytest.mark.usefixtures("looked_ahead")
def test_a_link_among_the_logs_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    recipe, options = ran(tmp_path, SMALL)
    assert run(recipe, options).outcome.done == []
    (tmp_path / "outside").mkdir()
    link = tmp_path / "run" / "logs" / "day0003.amp" / "attempt-1"
    shutil.rmtree(link)
    link.symlink_to(tmp_path / "outside")
    (tmp_path / "data" / "day0003.uvfits").write_text("another")
    for what in (plan, run):
        with pytest.raises(RefusedError, match=f"{link} is a symbolic link to {tmp_path}/outside"):
            what(recipe, options)
    assert list((tmp_path / "outside").iterdir()) == []
    link.unlink()
    assert run(recipe, options).outcome.done


def test_products_only_are_kept_of_many(tmp_path: Path) -> None:
    recipe, options = ran(tmp_path, SMALL, "products")
    left = {path.name for path in (tmp_path / "run" / "raw").iterdir()}
    assert left == {f"day{n:04}.observation.json" for n in range(SMALL)}
    assert not list((tmp_path / "run" / "images" / "dirty").iterdir())
    assert run(recipe, options).outcome.done == []
    kept = json.loads((tmp_path / "run" / "scripts" / "plan.json").read_text())
    assert any(step["intermediates"] for step in kept["steps"])


# --- the report


def test_the_first_page_leads_to_a_page_of_each_dataset_and_target(many: Path) -> None:
    qa = many / "run" / "qa"
    first = Page((qa / "index.html").read_text())
    for kind, name in (("dataset", "day"), ("target", "T")):
        found = {link for link in first.links if re.fullmatch(rf"{kind}\.\w+\.html", link)}
        assert found == {f"{kind}.{name}{n:04}.html" for n in range(MANY)}
    for link in {link.partition("#")[0] for link in first.links} - {""}:
        assert (qa / link).exists(), link
    assert f"{MANY} datasets" in first.text
    assert f"{MANY} images" in first.text
    assert "calibrate.refant" in first.text
    assert re.search(r"The run folder held \d+(\.\d+)? [kM]B at its most", first.text)
    metrics = json.loads((qa / "metrics.json").read_text())
    assert metrics["run"]["peak_disk_bytes"] > 1000


def test_what_all_were_warned_of_is_told_once_and_on_each_page(many: Path) -> None:
    qa = many / "run" / "qa"
    covers = "covers 5.33 of the 33.3 arcmin of the primary beam"
    first = Page((qa / "index.html").read_text())
    said = f"image[0].imsize: the image of each of {MANY} targets (T0000, T0001, T0002 and 21 more)"
    assert f"{said} {covers}" in first.text
    assert first.text.count(covers) == 1
    for n in (0, 7, MANY - 1):
        page = Page((qa / f"target.T{n:04}.html").read_text())
        assert f"image[0].imsize: the image of T{n:04} {covers}" in page.text
    notes = json.loads((many / "run" / "scripts" / "plan.json").read_text())["notes"]
    assert len(notes) == MANY
    assert all(any(f"of T{n:04} covers" in note for note in notes) for n in range(MANY))


def test_steps_that_failed_in_one_way_are_told_once(many: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(many, tmp_path / "copy", symlinks=True))
    about = place / "run" / "docs" / "run.json"
    meta = json.loads(about.read_text())
    for n in range(10):
        lost = {"state": "failed", "reason": f"lost {n} of 9 scans"}
        meta["steps"][f"day{n:04}.bandpass"] |= lost
    for n in range(3):
        meta["steps"][f"day{n:04}.amp"] |= {"state": "failed", "reason": "no solution"}
    about.write_text(json.dumps(meta))
    report(place / "run")
    text = (place / "run" / "qa" / "index.html").read_text()
    found = re.findall(r'<div class="failure">(.*?)</div>', text, re.DOTALL)
    assert len(found) == 4
    assert "failed: lost 0 to 9 of 9 scans (10 steps: day0000.bandpass, day0001.bandp" in found[0]
    assert ["failed: no solution</p>" in one for one in found] == [False, True, True, True]


def test_the_first_page_says_what_to_look_at_first_and_where(many: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(many, tmp_path / "copy", symlinks=True))
    qa = place / "run" / "qa"
    data = qa / "data" / "day0003.json"
    numbers = json.loads(data.read_text())
    numbers["flagged_fraction"]["total"] = 0.97
    data.write_text(json.dumps(numbers))
    report(place / "run")
    first = Page((qa / "index.html").read_text())
    assert "Look at these first flagged visibilities of day0003 ✗ fail 97.0 %" in first.text
    assert first.links.count("dataset.day0003.html#flagging") == 2  # and in the table
    assert "flagged visibilities: 97.0 % of all cross-correlations are flagged" in first.text
    page = Page((qa / "dataset.day0003.html").read_text())
    assert "#flagging" in page.links


@needs_browser
def test_the_logs_of_many_datasets_are_searched_on_one_page(many: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(many, tmp_path / "copy", symlinks=True))
    qa, folder = place / "run" / "qa", RunFolder(place / "run")
    for day in (3, 7):
        (attempt,) = folder.log(f"day{day:04}.bandpass").glob("attempt-*")
        (attempt / "casa.log").write_text(f"INFO fine\nWARN {day} <b>solutions</b> flagged\n")
        result = folder.log(f"day{day:04}.bandpass") / "result.json"
        said = json.loads(result.read_text())
        said["warnings"] = [f"WARN {day} <b>solutions</b> flagged"]
        result.write_text(json.dumps(said))
    report(place / "run")
    first = Page((qa / "index.html").read_text())
    assert "2 WARN 3 <b>solutions</b> flagged day0003.bandpass , day0007.bandpass" in first.text
    assert "logs.html" in first.links
    with browser() as page:
        page.open(qa / "logs.html")
        ids = "[...document.querySelectorAll('#logs details')]"
        assert page.run(f"{ids}.slice(0, 2).map((one) => one.id)") == [
            "day0003.bandpass", "day0007.bandpass",
        ]  # fmt: skip
        page.run(
            "const i = document.querySelector('#find input'); i.value = '7 SOLUTIONS';"
            "i.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        assert page.run(f"{ids}.filter((one) => !one.hidden).map((one) => one.id)") == [
            "day0007.bandpass"
        ]
        assert page.said == []


def test_the_page_of_logs_is_bounded(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"id": f"day{n:04}.bandpass", "title": "b", "log": "../logs/x", "attempts": 1,
         "state": "failed" if n == 9 else "done", "n_warnings": int(n == 5)} for n in range(12)
    ]  # fmt: skip
    folder = RunFolder(many / "run")
    monkeypatch.setattr(logs, "MOST_LOGS", 3)
    text = logs.page(environment(), folder, "t", logs.telling_first(rows), "Elsewhere.")
    assert re.findall(r'<details id="(.*?)"', text) == [
        "day0009.bandpass", "day0005.bandpass", "day0000.bandpass",
    ]  # fmt: skip
    assert "9 more logs are not here" in text
    assert "Elsewhere." in text


def test_a_page_shows_its_dataset_and_no_other(many: Path) -> None:
    qa = many / "run" / "qa"
    page = Page((qa / "dataset.day0007.html").read_text())
    assert "index.html" in page.links
    assert "day0007" in page.text
    assert "day0008" not in page.text
    assert "25.0 % of the cross-correlations" in page.text
    assert [image["src"] for image in page.images] == ["plots/day0007/uv.png"]
    target = Page((qa / "target.T0007.html").read_text())
    assert "../images/T0007.continuum.fits" in target.links
    assert "T0008" not in target.text
    for link in (*page.links, *target.links):
        file = link.partition("#")[0]
        assert not file or (qa / file).exists(), link


def test_a_page_needs_no_network_and_no_script_but_its_own(many: Path) -> None:
    qa = many / "run" / "qa"
    for name in ("index.html", "dataset.day0000.html", "target.T0000.html"):
        text = (qa / name).read_text()
        assert "http" not in re.sub(r'http-equiv="', "", text)
    first = (qa / "index.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", first, re.DOTALL)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; " in first
    assert f"script-src 'sha256-{digest}';" in first
    assert "<script" not in (qa / "dataset.day0000.html").read_text()


def test_what_comes_from_data_is_shown_as_text(many: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(many, tmp_path / "copy", symlinks=True))
    qa = place / "run" / "qa"
    hostile = "<script>alert(1)</script>"
    data = qa / "data" / "day0001.json"
    numbers = json.loads(data.read_text())
    numbers["fluxscale"]["flux_jy"] = {hostile: {"0": None}}
    numbers["fluxscale"]["error_jy"] = {hostile: {"0": None}}
    numbers["fluxscale"]["solutions"] = {hostile: {"0": 1}}
    numbers["fluxscale"]["flux_jy_reason"] = {hostile: {"0": hostile}}
    data.write_text(json.dumps(numbers))
    report(place / "run")
    for name in ("index.html", "dataset.day0001.html"):
        text = (qa / name).read_text()
        assert hostile not in text
        assert "&lt;script&gt;" in text
    first = Page((qa / "index.html").read_text())
    assert "fail" in first.text
    found = re.search(r"day\d{4}", (qa / "index.html").read_text().partition("All datasets")[2])
    assert found is not None
    assert found[0] == "day0001"  # the worst is the first


def test_pages_of_what_is_no_longer_in_the_recipe_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "MANY", 2)
    qa, options = tmp_path / "run" / "qa", Options(output=tmp_path / "run")
    ran(tmp_path, SMALL)
    assert len(list(qa.glob("dataset.*.html"))) == SMALL
    edited = write_recipe(tmp_path, SMALL - 1)
    edited.write_text(edited.read_text().replace("imsize = 64", "imsize = 80"))
    run(edited, options)
    assert len(list(qa.glob("dataset.*.html"))) == SMALL - 1
    monkeypatch.setattr(pages, "MANY", 20)
    report(tmp_path / "run")
    assert not list(qa.glob("dataset.*.html"))
    assert "Spectral windows" in (qa / "index.html").read_text()


@needs_browser
def test_the_tables_sort_and_narrow(many: Path) -> None:
    with browser() as page:
        page.open(many / "run" / "qa" / "index.html")
        rows = "[...document.querySelectorAll('#datasets tbody tr')]"
        first = f"{rows}[0].cells[0].textContent"
        header = "document.querySelectorAll('#datasets thead button')[0].click()"
        page.run(header)
        assert page.run(first) == "day0000"
        page.run(header)
        assert page.run(first) == f"day{MANY - 1:04}"
        page.run(
            "const i = document.querySelector('#find-dataset input'); i.value = 'DAY0005';"
            "i.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        assert page.run(f"{rows}.filter((row) => !row.hidden).length") == 1
        assert page.run("document.querySelector('#find-dataset output').textContent") == (
            f"1 of {MANY}"
        )
        assert page.said == []
        assert [address for address in page.asked if not address.startswith("file:")] == []


@needs_browser
def test_long_tables_scroll_by_themselves_below_their_heading(many: Path) -> None:
    with browser() as page:
        page.look(1300, 500)
        page.open(many / "run" / "qa" / "index.html")
        table = "document.querySelector('[aria-label=\"All datasets\"]')"
        page.run(f"{table}.scrollTop = 300; 0")
        top, head, first, height = page.run(f"""(() => {{
            const top = (one) => one.getBoundingClientRect().top;
            const rows = {table}.querySelectorAll('tr');
            return [top({table}), top(rows[0].cells[0]), top(rows[1]), {table}.clientHeight];
        }})()""")
        assert height < 500
        assert head == pytest.approx(top, abs=1)
        assert first < top - 200
        assert page.said == []
