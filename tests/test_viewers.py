"""The report's viewers in a browser: they load when opened, answer the mouse and the keys."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import image_file
from casarun.folder import RunFolder
from casarun.qa import viewer_images
from casarun.qa.verdict import assemble
from casarun.qa.viewer_data import HALF_PRECISION
from casarun.qa.viewer_images import Layer
from casarun.qa.viewer_points import write_solutions
from casarun.report.render import render
from support.browser import Page, browser, needs_browser
from support.image_files import image_files
from support.viewer_tables import EPOCH_S, caltable
from support.viewers import FRAME, Picture, Plots
from test_qa_verdict import dataset, image
from test_report import HOSTILE, LIMITS, PLAN, meta, write

N_CHAN, SIDE = 6, 64
NOISE = 1e-3
SOURCE = {"id": 7, "x": 20.0, "y": 50.0, "major": 6.0, "minor": 4.0, "pa_deg": 30.0,
          "flux_jy": 0.016}  # fmt: skip


def sky() -> dict[str, Any]:
    """Return image, residual, model, mask and primary beam; a source moves through a cube."""
    pixels = np.random.default_rng(1).normal(0, NOISE, (N_CHAN, SIDE, SIDE))
    for channel in range(N_CHAN):
        pixels[channel, 30, 20 + 4 * channel] = 0.05 * (1 + channel)
    pixels[:, :3] = np.nan
    pixels[:, 8:11, 8:11] = np.nan
    model = np.where(pixels > 0.02, pixels, 0.0)
    return {
        "image": pixels,
        "residual": pixels - model,
        "model": model,
        "mask": (model > 0).astype(float),
        "pb": np.full((1, SIDE, SIDE), 0.75),
    }


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """Return a run folder with a report of one cube."""
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patch:
        image_files(patch, sky())
        layers = [
            Layer(key, key, key, {"mask": "mask", "pb": "smooth"}.get(key, "values"))
            for key in sky()
        ]
        viewer_images.write(
            folder.root / "qa/plots/cube/viewer", layers, image_file.ImageFile("image").header, 5,
            {"title": HOSTILE, "noise": NOISE, "peak": 0.3, "beam": [60.0, 40.0, 30.0],
             "sources": [SOURCE]},
        )  # fmt: skip
    shown = {"section": "image-viewer", "file": "plots/cube/viewer/about.js",
             "title": "Look closer", "caption": HOSTILE}  # fmt: skip
    picture = {**shown, "section": "image", "file": "plots/cube/maps.png"}
    cube = image(plots=[picture, shown])
    table = caltable(name=HOSTILE, field=HOSTILE)
    path = folder.root / "qa/plots/apr13/viewer/bandpass.js"
    write_solutions(path, table, "bandpass", HOSTILE, ("R", "L"))
    plot = {"section": "calibration-viewer", "file": "plots/apr13/viewer/bandpass.js",
            "title": "Look closer: bandpass", "caption": ""}  # fmt: skip
    write(folder.root / "qa/data/apr13.json", dataset(plots=[plot]))
    (folder.root / "qa/plots/cube/maps.png").touch()
    write(folder.root / "qa/data/images/N5921_2.hi.json", cube)
    write(folder.metrics, assemble({}, [cube], LIMITS))
    return folder


@pytest.fixture(scope="module")
def window() -> Iterator[Page]:
    """Return a window of a browser, for all tests."""
    with browser() as page:
        page.look(1300, 1000)
        yield page


@pytest.fixture
def page(run: RunFolder, window: Page) -> Iterator[Page]:
    """Return the report, opened from disk; it must say nothing and stay off the network."""
    render(run, PLAN, {}, meta())
    yield from opened(window, run.report)


def opened(window: Page, report: Path) -> Iterator[Page]:
    window.said.clear()
    window.asked.clear()
    window.open(report)
    yield window
    assert window.said == []
    assert [address for address in window.asked if not address.startswith("file:")] == []


def test_a_page_without_viewers_has_no_script(run: RunFolder) -> None:
    write(run.root / "qa/data/images/N5921_2.hi.json", image(plots=[]))
    write(run.root / "qa/data/apr13.json", dataset(plots=[]))
    assert "<script" not in render(run, PLAN, {}, meta()).read_text()


@needs_browser
def test_nothing_is_loaded_before_a_viewer_is_opened(page: Page) -> None:
    assert [address for address in page.asked if address.endswith(".js")] == []
    Picture(page)
    asked = [address.rpartition("/qa/")[2] for address in page.asked if address.endswith(".js")]
    assert "plots/cube/viewer/image.js" in asked
    assert "plots/cube/viewer/residual.js" not in asked
    assert len(asked) == len(set(asked))


@needs_browser
def test_the_pointer_reads_values_of_any_layer_and_channel(page: Page) -> None:
    picture, pixels = Picture(page), sky()
    for x, y in ((40, 30), (0, 3), (63, 63), (17, 41)):
        read = picture.point(x, y)
        assert (read["x"], read["y"]) == (x, y)
        assert read["value"] == pytest.approx(pixels["image"][5, y, x], rel=HALF_PRECISION)
    assert math.isnan(picture.point(9, 9)["value"])
    picture.point(40, 30)
    assert picture.said().startswith("image: 300 mJy/beam at 15:21:52.0 +05:03:42 J2000, "
                                     "pixel 40, 30, channel 5 of 6, 2090.7 km/s")  # fmt: skip
    picture.press("mask")
    assert picture.said().startswith("mask: inside")
    picture.press("pb")
    assert picture.point(3, 60)["value"] == 0.75


@needs_browser
def test_sources_are_circled_and_named_under_the_pointer(page: Page) -> None:
    picture = Picture(page)
    picture.point(20, 50)
    assert picture.said().endswith("; source 7: 16 mJy")
    blue = [86, 180, 233]
    ring = [picture.colour(20 + x, 50 + y)[:3] for x in range(-6, 7) for y in range(-6, 7)]
    assert any(max(abs(a - b) for a, b in zip(one, blue, strict=True)) < 60 for one in ring)
    picture.run("[...me.place.querySelectorAll('label')]"
                ".find((one) => one.textContent === ' sources').click()")  # fmt: skip
    picture.point(20, 50)
    assert "source" not in picture.said()
    ring = [picture.colour(20 + x, 50 + y)[:3] for x in range(-6, 7) for y in range(-6, 7)]
    assert not any(max(abs(a - b) for a, b in zip(one, blue, strict=True)) < 60 for one in ring)


@needs_browser
def test_the_channel_follows_slider_keys_and_spectrum(page: Page) -> None:
    picture, pixels = Picture(page), sky()
    picture.point(24, 30)
    left, top, wide, high = page.reach(f"{picture.section}.querySelector('input[type=range]')")
    page.click(left + wide / 2, top + high / 2)
    page.press("Home", 36)
    assert picture.run("me.channel") == 0
    page.press("ArrowRight", 39)
    assert picture.run("me.channel") == 1
    read = picture.point(24, 30)
    assert read["value"] == pytest.approx(pixels["image"][1, 30, 24], rel=HALF_PRECISION)
    # Frequency grows with the channel, so velocity falls: the spectrum is drawn mirrored.
    drawn = picture.run("me.chart.data[1]")
    assert drawn == pytest.approx(pixels["image"][::-1, 30, 24], rel=HALF_PRECISION)
    box = page.reach(f"{picture.section}.querySelector('.u-over')")
    page.click(box[0] + 2, box[1] + box[3] / 2)
    assert picture.run("me.channel") == N_CHAN - 1


@needs_browser
def test_the_wheel_zooms_about_the_pointer_and_dragging_pans(page: Page) -> None:
    picture = Picture(page)
    at = picture.point(20, 40)
    x, y = picture.run("[me.canvas.getBoundingClientRect().left + (me.pointer.x + .5 - me.view.x)"
                       " * me.view.zoom + me.stage.clientWidth / 2, 0]")  # fmt: skip
    left, top, _, high = page.reach(f"{picture.me}.stage")
    y = top + high / 2 - picture.run("(me.pointer.y + .5 - me.view.y) * me.view.zoom")
    before = picture.run("me.view.zoom")
    page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100)
    assert picture.run("me.view.zoom") == before  # the page scrolls until the picture is clicked
    left, top, _, high = page.reach(f"{picture.me}.stage")
    y = top + high / 2 - picture.run("(me.pointer.y + .5 - me.view.y) * me.view.zoom")
    page.click(x, y)
    page.run(FRAME)
    for _ in range(4):
        page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-100)
    page.run(FRAME)
    assert picture.run("me.view.zoom") == pytest.approx(before * 1.2**4)
    assert picture.run("[me.pointer.x, me.pointer.y]") == [at["x"], at["y"]]
    under = picture.run(f"(({{ x, y }}) => [x, y])(me.toImage({x - left}, {y - top}))")
    assert under == [20, 40]
    middle = picture.run("me.view.x")
    page.mouse("mousePressed", x, y)
    page.mouse("mouseMoved", x - 60, y, buttons=1)
    page.mouse("mouseReleased", x - 60, y)
    zoom = picture.run("me.view.zoom")
    assert picture.run("me.view.x") == pytest.approx(middle + 60 / zoom)
    picture.press("all")
    assert picture.run("me.view.zoom") == before


@needs_browser
def test_the_keyboard_does_all_that_the_mouse_does(page: Page) -> None:
    picture, pixels = Picture(page), sky()
    picture.run("me.canvas.focus()")
    page.press("ArrowRight", 39)
    x, y = picture.run("[me.pointer.x, me.pointer.y]")
    page.press("ArrowUp", 38)
    assert picture.run("[me.pointer.x, me.pointer.y]") == [x, y + 1]
    value = picture.run("Number(me.value.dataset.value)")
    assert value == pytest.approx(pixels["image"][5, y + 1, x], rel=HALF_PRECISION)
    page.press("[", 219)
    assert picture.run("me.channel") == 4
    page.press("2", 50)
    page.until(f"{picture.me}.layer.key === 'residual'")
    before = picture.run("me.view.zoom")
    page.press("+", 187)
    assert picture.run("me.view.zoom") == pytest.approx(1.5 * before)
    page.press("0", 48)
    assert picture.run("me.view.zoom") == before
    page.press("p", 80)
    assert "held" in picture.said()


@needs_browser
def test_blinking_changes_between_two_layers_on_one_scale(page: Page) -> None:
    picture = Picture(page)
    limits = picture.run("me.range()")
    picture.press("Blink")
    for _ in range(2):
        page.until(f"{picture.me}.layer.key === 'residual'")
        assert picture.run("me.range()") == limits
        page.until(f"{picture.me}.layer.key === 'image'")
    picture.press("Blink")
    assert picture.run("me.timer") is None


@needs_browser
def test_stretch_limits_and_colours_change_what_is_drawn(page: Page) -> None:
    picture, pixels = Picture(page), sky()
    assert picture.run("me.range()") == pytest.approx([-3 * NOISE, 60 * NOISE])
    source = picture.colour(40, 30)
    assert source == [252, 255, 164, 255]  # the upper end of inferno
    faint = picture.colour(10, 50)
    picture.choose("Stretch", "asinh")
    assert sum(picture.colour(10, 50)[:3]) > sum(faint[:3])
    picture.choose("Limits", "1")
    good = pixels["image"][np.isfinite(pixels["image"])]
    assert picture.run("me.range()") == pytest.approx([good.min(), good.max()], rel=1e-3)
    picture.choose("Limits", "0.99")
    low, high = np.quantile(good, (0.005, 0.995), method="lower")
    assert picture.run("me.range()") == pytest.approx([low, high], rel=2e-3)
    picture.choose("Colours", "grey")
    assert picture.colour(40, 30) == [255, 255, 255, 255]
    assert picture.colour(9, 9)[3] == 0  # blank
    picture.run("(me.upper.value = '1', me.lower.value = '0', me.typed())")
    grey = picture.colour(40, 30)
    assert grey[0] == pytest.approx(255 * math.asinh(3) / math.asinh(10), abs=2)
    assert picture.run("me.mode.list.value") == "typed"


def solution(table: Any, feed: int, channel: int, row: int) -> int:
    """Return the number of a solution's point."""
    return int(np.ravel_multi_index((feed, channel, row), table.values.shape))


@needs_browser
def test_the_pointer_names_antenna_scan_and_window_and_reads_the_solution(page: Page) -> None:
    plots, table = Plots(page), caltable()
    solved = np.argwhere(~table.flag)
    for feed, channel, row in (tuple(map(int, solved[at])) for at in (0, 40, -1)):
        index = solution(table, feed, channel, row)
        # Without the others, which may lie over it.
        plots.choose("antenna", str(row % 3))
        plots.choose("feed", str(feed))
        for panel, what, value, unit in (
            (0, "amplitude", np.abs(table.values[feed, channel, row]), ""),
            (1, "phase", np.degrees(np.angle(table.values[feed, channel, row])), " deg"),
        ):
            assert plots.point(panel, index) == index
            name = HOSTILE if row % 3 == 0 else table.antennas[row % 3]
            said = plots.said()
            assert said.startswith(
                f"antenna {name}, feed {'RL'[feed]}, scan {row // 3 + 1}, spw 0, "
                f"field {HOSTILE}, channel {channel}: {what} "
            )
            number = said.partition(f": {what} ")[2].partition(f"{unit} at ")[0]
            assert float(number) == pytest.approx(value, rel=1e-4)
            assert f" at frequency {1400 + channel} MHz, " in said
            assert page.run(f"{plots.section}.querySelector('.tip').textContent").startswith(
                f"antenna {name}"
            )


@needs_browser
def test_flagged_solutions_are_marks_at_the_foot(page: Page) -> None:
    plots, table = Plots(page), caltable()
    index = int(np.flatnonzero(table.flag.ravel())[0])
    left, top, _, high = page.reach(f"{plots.me}.panels[0].chart.over")
    x = plots.run(f"me.panels[0].chart.valToPos(me.columns.frequency.get({index}), 'x')")
    page.mouse("mouseMoved", left + x, top + high - 3)
    assert ": amplitude flagged at " in plots.said()


@needs_browser
def test_a_box_zooms_shift_pans_and_all_shows_all(page: Page) -> None:
    plots = Plots(page)
    whole = plots.run("[me.xRange, me.panels[0].range, me.panels[1].range]")
    left, top, wide, high = page.reach(f"{plots.me}.panels[0].chart.over")
    x = plots.run("[500, 530].map((x) => me.panels[0].chart.posToVal(x, 'x'))")
    y = plots.run("[90, 40].map((y) => me.panels[0].chart.posToVal(y, 'y'))")
    page.mouse("mousePressed", left + 500, top + 40)
    for step in (10, 20, 30):
        page.mouse("mouseMoved", left + 500 + step, top + 40 + 50 * step / 30, buttons=1)
    page.mouse("mouseReleased", left + 530, top + 90)
    pixel = (whole[0][1] - whole[0][0]) / wide, (whole[1][1] - whole[1][0]) / high
    assert plots.run("me.xRange") == pytest.approx(x, abs=pixel[0])
    assert plots.run("me.panels[0].range") == pytest.approx(y, abs=pixel[1])
    assert plots.run("me.panels[1].range") == whole[2]
    x = plots.run("me.xRange")
    assert plots.run("me.panels[1].chart.scales.x.min") == x[0]
    page.mouse("mousePressed", left + 300, top + 100, modifiers=8)
    page.mouse("mouseMoved", left + 200, top + 100, buttons=1, modifiers=8)
    page.mouse("mouseReleased", left + 200, top + 100, modifiers=8)
    moved = 100 / wide * (x[1] - x[0])
    assert plots.run("me.xRange") == pytest.approx([one + moved for one in x])
    plots.press("all")
    assert plots.run("[me.xRange, me.panels[0].range, me.panels[1].range]") == whole
    plots.run("me.panels[0].box.focus()")
    left, top, wide, high = page.reach(f"{plots.me}.panels[0].chart.over")
    page.mouse("mouseWheel", left + wide / 2, top + high / 2, deltaX=0, deltaY=-100)
    page.run(FRAME)
    share = (whole[0][1] - whole[0][0]) / 1.2
    low, high = plots.run("me.xRange")
    assert high - low == pytest.approx(share)


@needs_browser
def test_plots_answer_the_keyboard(page: Page) -> None:
    plots, table = Plots(page), caltable()
    plots.run("me.panels[0].box.focus()")
    page.press("n", 78)
    first = plots.run("me.near")
    # Of the first channel the lowest comes first; flagged ones have no height of their own.
    values = np.where(table.flag, np.inf, np.abs(table.values))[:, 0].ravel()
    assert plots.run("me.columns.channel.get(me.near)") == 0
    assert first is not None
    assert plots.said() != "Point at a plot: it says what is nearest."
    for _ in range(int(np.isfinite(values).size)):
        page.press("n", 78)
    assert plots.run("me.columns.channel.get(me.near)") == 1
    page.press("p", 80)
    assert plots.run("me.columns.channel.get(me.near)") == 0
    before = plots.run("me.xRange")
    page.press("ArrowRight", 39)
    width = before[1] - before[0]
    assert plots.run("me.xRange[0]") == pytest.approx(before[0] + 0.1 * width)
    page.press("+", 187)
    assert plots.run("me.xRange[1] - me.xRange[0]") == pytest.approx(width / 1.5)
    page.press("0", 48)
    assert plots.run("me.xRange") == before


@needs_browser
def test_lists_choose_axis_antenna_and_colours(page: Page) -> None:
    plots, table = Plots(page), caltable()
    plots.choose("antenna", "1")
    assert plots.run("me.shown.length") == np.count_nonzero(table.antenna == 1) * 8
    plots.choose("antenna", "")
    plots.choose("Against", "time")
    times = plots.run("me.xRange")
    assert times[0] < table.time_s[0] - EPOCH_S < table.time_s[-1] - EPOCH_S < times[1]
    plots.choose("Colour by", "antenna")
    key = page.run(f"{plots.section}.querySelector('.key').textContent")
    assert key == f"{HOSTILE}ea02ea03"
    plots.choose("antenna", "1")
    index = plots.point(0, solution(table, 0, 1, 4))
    assert index is not None
    row = index % len(table.antenna)  # another solution of the time may lie over it
    assert (row // 3, row % 3) == (1, 1)
    assert f" at {table_time(table, row)} UTC" in plots.said()
    left, top, _, _ = page.reach(f"{plots.me}.panels[0].chart.over")
    x, y = plots.place(0, index)
    page.click(left + x, top + y)
    assert plots.run("me.picked") == 1
    page.click(left + x, top + y)
    assert plots.run("me.picked") is None


def table_time(table: Any, row: int) -> str:
    moment = datetime.fromtimestamp(table.time_s[row] - EPOCH_S, UTC)
    return moment.strftime("%Y-%m-%d %H:%M:%S")


@needs_browser
def test_hostile_names_are_text(page: Page) -> None:
    picture = Picture(page)
    assert HOSTILE in picture.run("me.canvas.getAttribute('aria-label')")
    assert HOSTILE in page.run(f"{picture.section}.querySelector('summary').textContent")


@needs_browser
def test_the_policy_lets_no_other_script_run(run: RunFolder, window: Page) -> None:
    render(run, PLAN, {}, meta())
    (run.root / "qa/other.js").write_text("window.ran = 1")
    injected = (
        '<script>window.ran = 2</script><script src="other.js"></script>'
        '<img src="x.png" onerror="window.ran = 3">'
    )
    text = run.report.read_text()
    run.report.write_text(text.replace("<main", f"{injected}<main", 1))
    window.said.clear()
    window.open(run.report)
    assert window.run("window.ran ?? 0") == 0
    assert sum("Content Security Policy" in one for one in window.said) == 3
    Picture(window)  # casarun's own do


@needs_browser
def test_a_page_that_renews_itself_waits_for_someone_who_looks_closer(
    run: RunFolder, window: Page
) -> None:
    render(run, PLAN, {}, meta(state="running"))
    text = run.report.read_text()
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in text
    # Its clock is the test's.
    with window.injected("window.setInterval = (act, ms) => { window.tick = { act, ms }; };"):
        for page in opened(window, run.report):
            assert page.run("tick.ms") == 30_000
            picture = Picture(page)
            page.run("window.mark = 1")
            page.run("tick.act()")
            page.run("new Promise((done) => setTimeout(done, 200))")
            assert page.run("window.mark") == 1
            page.run(f"{picture.section}.open = false")
            page.load("tick.act()")
            assert page.run("window.mark ?? 0") == 0


@needs_browser
def test_lost_data_are_said(run: RunFolder, page: Page) -> None:
    (run.root / "qa/plots/cube/viewer/residual.js").unlink()
    picture = Picture(page)
    picture.press("residual")
    page.until(f"{picture.me}.note.textContent.includes('residual.js cannot be read.')")
    page.said.clear()  # the browser says that the file is not there


@needs_browser
@pytest.mark.parametrize("state", ["failed", "interrupted"])
def test_a_report_of_an_incomplete_run_opens_without_errors(
    run: RunFolder, window: Page, state: str
) -> None:
    steps = meta()["steps"]
    for name in ("apr13.measure", "N5921_2.hi.measure"):
        steps[name] = {"state": "not run", "reason": HOSTILE}
    steps["N5921_2.hi.clean"]["state"] = "failed"
    (run.root / "qa/data/images/N5921_2.hi.json").unlink()
    shutil.rmtree(run.root / "qa/plots")
    render(run, PLAN, {}, meta(state=state, steps=steps))
    for page in opened(window, run.report):
        assert page.run("document.querySelectorAll('details.closer').length") == 0


def test_the_viewers_are_in_the_run_folder_once_with_their_licence(run: RunFolder) -> None:
    render(run, PLAN, {}, meta())
    folder = run.root / "qa/viewer"
    assert "MIT License" in (folder / "uPlot.LICENSE").read_text()
    assert sum(path.stat().st_size for path in folder.iterdir()) < 120_000
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (folder / "image.js").write_text("")
    render(run, PLAN, {}, meta())
    after = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {path.name for path in after if after[path] != before[path]} == {"image.js"}


def test_without_scripts_no_viewer_is_shown(run: RunFolder) -> None:
    render(run, PLAN, {}, meta())
    text = run.report.read_text()
    assert text.count('<details class="closer" hidden') == 2
    assert json.dumps(HOSTILE) not in text
