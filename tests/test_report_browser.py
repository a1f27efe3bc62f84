"""The report in a browser: charts in place and in colour, links that lead somewhere, logs."""

import pytest
from casarun.folder import RunFolder
from casarun.qa.verdict import assemble
from casarun.report.render import render
from matplotlib import image as pixels
from support.browser import browser, needs_browser
from test_qa_verdict import dataset, image
from test_report import HOSTILE, LIMITS, OBSERVED, PLAN, meta, write

pytestmark = needs_browser


@pytest.fixture(scope="module")
def page():
    with browser() as opened:
        yield opened


@pytest.fixture
def run(tmp_path):
    """A run folder of a dataset and a cube with charts, times and logs."""
    folder = RunFolder(tmp_path / "run")
    antennas = {f"{HOSTILE}{i}": {"flagged_fraction": 0.1 * i, "snr": 50.0} for i in range(7)}
    table = {**dataset()["caltables"][0], "antennas": antennas, "outliers": [], "against": {}}
    own = dataset(caltables=[table])
    write(folder.root / "raw/apr13.observation.json", OBSERVED)
    write(folder.root / "qa/data/apr13.json", own)
    write(folder.root / "qa/data/images/N5921_2.hi.json", image())
    write(folder.metrics, assemble({"apr13": own}, [image()], LIMITS))
    for number, text in enumerate(("INFO all is well\nWARN one thing", f"SEVERE {HOSTILE}")):
        log = folder.log(PLAN.steps[number].id) / "attempt-1" / "casa.log"
        log.parent.mkdir(parents=True)
        log.write_text(text)
    about = meta()
    for second, one in enumerate(about["steps"].values()):
        one["ended"] = f"2026-11-22T16:51:0{second}.000Z"
    render(folder, PLAN, {}, about)
    return folder


def opened(page, path):
    page.said.clear()
    page.asked.clear()
    page.open(path)


def test_it_opens_from_disk_without_a_word_or_the_network(page, run):
    opened(page, run.report)
    assert page.said == []
    assert [address for address in page.asked if not address.startswith("file:")] == []
    assert page.run("document.querySelectorAll('script').length") == 0


def test_charts_have_size_and_stay_in_the_page(page, run):
    opened(page, run.report)
    for width in (1300, 420):
        page.look(width, 900)
        page.run("for (const one of document.querySelectorAll('details')) one.open = true")
        sizes = page.run(
            "[...document.querySelectorAll('.chart')].map((one) => {"
            " const b = one.querySelector('svg').getBoundingClientRect();"
            " return [b.width, b.height, one.getBoundingClientRect().right]; })"
        )
        assert len(sizes) >= 4
        for wide, high, right in sizes:
            assert wide > 60
            assert high > 30
            assert right <= width
        assert page.run("document.documentElement.scrollWidth") <= width


def test_bars_have_another_colour_in_the_dark(page, run):
    opened(page, run.report)
    colour = "getComputedStyle(document.querySelector('.chart rect.c0')).fill"
    page.look(1300, 900)
    light = page.run(colour)
    page.look(1300, 900, dark=True)
    assert page.run(colour) != light
    page.look(1300, 900)


def test_what_is_in_a_chart_came_as_text(page, run):
    opened(page, run.report)
    titles = page.run("[...document.querySelectorAll('.chart title')].map((t) => t.textContent)")
    assert any(title.startswith(f"{HOSTILE}3: ") for title in titles)


def test_every_link_in_the_page_leads_somewhere(page, run):
    opened(page, run.report)
    lost = page.run(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map((one) => one.hash.slice(1))"
        ".filter((id) => !document.getElementById(id) &&"
        " !document.getElementById(decodeURIComponent(id)))"
    )
    assert lost == []


def test_logs_are_searched(page, run):
    opened(page, run.report.with_name("logs.html"))
    assert page.said == []
    shown = (
        "[...document.querySelectorAll('#logs details:not([hidden])')]"
        ".map((one) => one.open ? one.querySelector('pre').textContent : null)"
    )
    assert page.run(shown) == [None, None]
    find = "const form = document.getElementById('find'); "
    tell = " form.dispatchEvent(new Event('input'));"
    page.run(f"{{ {find} form.elements.words.value = 'THING one'; {tell} }}")
    assert page.run(shown) == ["WARN one thing"]
    page.run(f"{{ {find} form.elements.words.value = ''; form.elements.warnings.checked = true;"
             f" {tell} }}")  # fmt: skip
    assert page.run(shown) == ["WARN one thing", f"SEVERE {HOSTILE}"]
    assert page.run("document.querySelector('#find output').textContent") == "2 lines"
    page.run(f"{{ {find} form.elements.warnings.checked = false; {tell} }}")
    assert page.run(shown) == [None, None]
    assert page.run("document.querySelector('#logs pre').textContent") == (
        "INFO all is well\nWARN one thing"
    )


def test_the_page_keeps_its_place_while_pictures_load(page, run):
    plots = [
        {"section": "image", "file": f"plots/map-{n}.png", "title": "Maps", "caption": "c"}
        for n in range(3)
    ]
    write(run.root / "qa/data/images/N5921_2.hi.json", image(plots=plots))
    (run.root / "qa/plots").mkdir()
    for plot in plots:
        pixels.imsave(run.root / "qa" / plot["file"], [[0.5] * 900] * 700)
    render(run, PLAN, {}, meta())
    page.look(1300, 900)
    opened(page, run.report)
    height = "document.documentElement.scrollHeight"
    before = page.run(height)
    page.run("for (const one of document.images) one.loading = 'eager'")
    page.until("[...document.images].every((one) => one.complete && one.naturalWidth === 900)")
    assert page.run("document.images.length") == 4
    assert page.run("document.images[3].getBoundingClientRect().height") == 700
    assert page.run(height) == before
