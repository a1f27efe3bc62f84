"""CASA scripts of whole runs, replayed without casarun: what NGC 5921 does not have."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from support import crashes, selfcal_skies, skies
from support.cli import casarun, recipe
from support.replay import products, replay
from support.skies import Spw

pytestmark = [pytest.mark.casa, pytest.mark.long]

CUBES = """
[[dataset]]
name = "day"
vis = "day.tar"
calibrated = true
[[image]]
name = "beside"
specmode = "cube"
imsize = 64
cell = "12arcsec"
start = "1.4015GHz"
width = "1MHz"
nchan = 8
threshold = "3sigma"
mask = "auto-multithresh"
chunk = 4
[[image]]
name = "limited"
specmode = "cube"
imsize = 64
cell = "12arcsec"
threshold = "20mJy"
niter = 60
chunk = 5
mask = "round.crtf"
[[image]]
name = "terms"
imsize = 64
cell = "12arcsec"
deconvolver = "mtmfs"
nterms = 2
threshold = "3sigma"
mask = "round.crtf"
[[image]]
name = "wild"
specmode = "cube"
imsize = 64
cell = "12arcsec"
threshold = "500mJy"
niter = 2000
chunk = 6
tclean = { gain = 2.2, minpsffraction = 0.0, maxpsffraction = 0.001 }
fallback = [{ gain = 0.05, maxpsffraction = 0.8 }]
[[image]]
name = "dirty"
imsize = 64
cell = "12arcsec"
niter = 0
[[step]]
task = "imsubimage"
after = "image"
per = "image"
only = "dirty"
params = { outfile = "{prefix}.centre", box = "16,16,47,47" }
"""
NAMED = """
[[dataset]]
name = "day"
vis = "day.ms"
calibrated = true
[[image]]
name = "dirty"
imsize = 64
cell = "12arcsec"
niter = 0
"""
SELFCAL = """
[[dataset]]
name = "day"
vis = "day.ms"
calibrated = true
[[dataset]]
name = "night"
vis = "night.ms"
calibrated = true
[[selfcal]]
target = "target"
[[image]]
name = "deep"
imsize = 128
cell = "10arcsec"
niter = 500
threshold = "3sigma"
deconvolver = "mtmfs"
nterms = 2
"""


def made_again(folder: Path, text: str) -> tuple[Path, Path]:
    """Run a recipe and replay its script; give both folders."""
    run, place = folder / "run", folder / "clean"
    done = casarun(recipe(folder, text), "--output", run, cwd=folder)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    replay(run / "scripts" / "casa_script.py", place)
    return run, place


def test_ranges_masks_limits_and_terms_are_made_again_to_the_bit(tmp_path: Path) -> None:
    field = replace(skies.TARGET, sources=(skies.Source(1.0, 40.0, 30.0, -400.0),))
    window = skies.Spw(1.4e9, 1e6, 12)
    sky = skies.Sky(fields=(field,), scans=(0, 0), spws=(window,), n_antennas=10, noise_jy=0.02)
    skies.build(tmp_path / "day.ms", sky)
    (tmp_path / "round.crtf").write_text("#CRTFv0\ncircle[[32pix, 32pix], 12pix]\n")
    with tarfile.open(tmp_path / "day.tar", "w") as archive:
        archive.add(tmp_path / "day.ms", "day.ms")
    run, place = made_again(tmp_path, CUBES)
    said = (run / "scripts" / "casa_script.py").read_text()
    assert "margin=3" in said or "margin=2" in said  # channels imaged beside a range
    assert said.count("clean_range(") > 5
    assert "# It diverged, and was done with gain = 0.05, maxpsffraction = 0.8\n" in said
    wanted, made = products(run), products(place)
    # tclean makes an empty model of an image that is not cleaned, which a run does not keep.
    made = {name: digest for name, digest in made.items() if ".dirty.model:" not in name}
    assert crashes.mismatches(wanted, made) == []
    assert "images/target.terms.image.tt1:map" in made


def test_an_object_whose_name_is_too_long_for_fits_is_exported_again(tmp_path: Path) -> None:
    field = replace(skies.TARGET, name="long" * 20)
    skies.build(tmp_path / "day.ms", skies.Sky(fields=(field,), scans=(0, 0), n_antennas=10))
    run, place = made_again(tmp_path, NAMED)
    wanted, made = products(run), products(place)
    assert [name for name in wanted if name.endswith(".fits:0.header")]
    made = {name: digest for name, digest in made.items() if ".model:" not in name}
    assert crashes.mismatches(wanted, made) == []


def test_a_self_calibration_of_two_datasets_is_made_again_to_the_bit(tmp_path: Path) -> None:
    """Amplitudes, an antenna without signal, faint components left out, a round in vain."""
    sky = selfcal_skies.SelfcalSky(
        n_antennas=16, scans=2, integrations=12, integration_s=30.0, noise_jy=0.005, amp=0.2,
        dead=(5,), spws=(Spw(n_chan=4), Spw(1.45e9, n_chan=4)), spw_phase_deg=30.0,
    )  # fmt: skip
    selfcal_skies.build(tmp_path / "day.ms", sky)
    selfcal_skies.build(tmp_path / "night.ms", replace(sky, dead=(), seed=2))
    run, place = made_again(tmp_path, SELFCAL)
    said = (run / "scripts" / "casa_script.py").read_text()
    for part in ("# accepted: ", "# not accepted: ", "\ndivide_gains(", "\nflagdata("):
        assert part in said
    wanted, made = products(run), products(place)
    # tclean's spectral indices of the rounds, which a run does not keep.
    made = {name: digest for name, digest in made.items() if "selfcal/target." not in name
            or ".alpha" not in name}  # fmt: skip
    assert len(wanted) > 1000
    assert crashes.mismatches(wanted, made) == []
