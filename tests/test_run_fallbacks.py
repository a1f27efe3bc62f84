"""Whole runs in which a clean really diverges: what the recipe declares saves the image."""

from __future__ import annotations

import os
import re
import shutil
import signal
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from support import crashes, mishaps, skies
from support.cli import casarun, events, metrics, recipe

pytestmark = pytest.mark.casa

CLEAN = "target.map.clean"
RECIPE = """[project]
name = "map"
[[dataset]]
vis = "day.ms"
calibrated = true
[targets]
fields = ["target"]
[[image]]
name = "map"
imsize = 64
cell = "12arcsec"
threshold = "5mJy"
niter = 2000
tclean = { gain = 1.9, minpsffraction = 0.0, maxpsffraction = 0.001 }
"""
FALLBACK = "image.map.fallback=[{ gain = 1.95 }, { gain = 0.05, maxpsffraction = 0.8 }]"
FROM_THE_START = "image.map.tclean={ gain = 0.05, minpsffraction = 0.0, maxpsffraction = 0.8 }"
DIVERGED = (
    "expected the clean of images/target.map to converge, found NaN or infinity in "
    "images/target.map.model, though the dirty image is finite: it diverged with gain = {} and "
    "niter = 2000"
)
ADVICE = (
    "Lower the gain (image.tclean.gain), raise image.tclean.cyclefactor, mask the emission "
    "(image.mask), or use image.deconvolver = 'hogbom'."
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("fallbacks")
    skies.build(place / "day.ms", skies.Sky(spws=(skies.Spw(),), n_antennas=10))
    recipe(place, RECIPE)
    return place


def of_the_clean(run: Path, since: int = 0) -> list[dict[str, Any]]:
    return [event for event in events(run)[since:] if event.get("step") == CLEAN]


def made(run: Path) -> dict[str, str]:
    """Return what there is of images and numbers, by a digest; FITS headers name the recipe."""
    found = crashes.products(run)
    return {
        name: digest
        for name, digest in found.items()
        if name.startswith(("images", "qa/d")) and not name.endswith(".header")
    }


def in_red(run: Path) -> list[str]:
    page = (run / "qa" / "index.html").read_text(encoding="utf-8")
    boxes = re.findall(r'<(div|p) class="failure">(.*?)</\1>', page, re.S)
    return [" ".join(unescape(re.sub(r"<[^>]+>", "", box)).split()) for _, box in boxes]


@mishaps.in_time
def test_a_clean_that_diverges_falls_back(folder: Path) -> None:
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)

    # Nothing declared: it fails.
    done = casarun("recipe.toml", "-o", run, cwd=folder)
    assert done.returncode == 1
    assert f"{CLEAN} failed (diverged): {DIVERGED.format(1.9)}\n" in done.stdout
    more = "Or say what to do when it diverges: image.map.fallback = [{ gain = 0.05 }], for example"
    assert f"  {ADVICE} {more}.\n" in done.stdout
    assert not (run / "images" / "target.map.image").exists()

    # Declared, and the run killed while the second fallback cleans.
    before = len(events(run))
    process = crashes.start(folder / "recipe.toml", run, [FALLBACK])
    crashes.await_event(process, run, "step-retry", CLEAN, before)
    kinds = [(event["event"], event.get("step")) for event in crashes.events(run)]
    first = kinds.index(("step-retry", CLEAN), before)
    retried = crashes.await_event(process, run, "step-retry", CLEAN, first + 1)
    second = crashes.events(run).index(retried)
    placed = crashes.await_event(process, run, "step-placed", CLEAN, second)
    try:
        mishaps.hold(placed["pid"])
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert of_the_clean(run)[-1]["event"] == "step-placed"

    # The same command goes on, and ends well.
    before = len(events(run))
    done = casarun("recipe.toml", "-o", run, "--set", FALLBACK, cwd=folder)
    assert done.returncode == 0, done.stdout
    assert f"  {ADVICE}\n" in done.stdout
    low = "gain = 0.05, maxpsffraction = 0.8"
    assert f"{CLEAN}: again with gain = 1.95, which the recipe declares" in done.stdout
    assert f"{CLEAN}: again with {low}, which the recipe declares" in done.stdout
    said = f"diverged with the recipe's own parameters; made with {low} instead"
    assert f"warn: target, map: fallbacks_used: {said}" in done.stdout
    started = [e for e in of_the_clean(run, before) if e["event"] == "step-started"]
    assert [e.get("fallback", {}).get("tclean", {}).get("gain") for e in started] == [
        None, 1.95, 0.05,
    ]  # fmt: skip
    assert {e["params"]["tclean"]["gain"] for e in started} == {1.9}
    found = metrics(run)
    assert found["verdict"] == "warn"
    [check] = [check for check in found["checks"] if check["name"] == "fallbacks_used"]
    assert (check["verdict"], check["value"], check["text"]) == ("warn", 2, said)
    assert in_red(run) == [
        f"clean image 'map' of target ({CLEAN}) diverged with the recipe's own parameters. It was "
        f"made with others, which the recipe declares for that (image.fallback): {low} "
        f"Attempt 1 diverged: {DIVERGED.format(1.9)} "
        f"Attempt 2, with gain = 1.95, diverged: {DIVERGED.format(1.95)} its log",
        f"Its clean diverged with the recipe's own parameters; this image was made with {low} "
        "instead.",
    ]
    page = (run / "qa" / "index.html").read_bytes()
    assert casarun("report", run, cwd=folder).returncode == 0
    assert (run / "qa" / "index.html").read_bytes() == page
    fell_back = made(run)

    # What came of it is what these parameters give from the start; and nothing is red.
    done = casarun("recipe.toml", "-o", run, "--set", FROM_THE_START, cwd=folder)
    assert done.returncode == 0, done.stdout
    assert "fallbacks_used" not in {check["name"] for check in metrics(run)["checks"]}
    assert metrics(run)["verdict"] != "fail"
    assert in_red(run) == []
    assert made(run) == fell_back
    assert any(name.startswith("images/target.map.image:") for name in fell_back)
