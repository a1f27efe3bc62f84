"""Two runs compared: numbers and their errors, images, tables, flags, recipes; the page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from casarun.casa.read import CalTable, Layout, Rows
from casarun.compare import flags, judged, measured, skies, smoothing, solutions, told
from casarun.compare.comparison import Comparison, compare
from casarun.compare.judged import Number, Tolerance, Tolerances, judge
from casarun.compare.page import row
from casarun.errors import DataError, LockedError
from casarun.folder import RunFolder
from casarun.report.runs import read
from casarun.report.schemas import damage
from support import crashes
from support.browser import browser, needs_browser
from support.cli import casarun
from support.run_folders import CELL_DEG, RECIPE, Sky, Story, make, put, step
from test_report import Page

HOSTILE = "<script>alert('x')</script>"
CELL_ARCSEC = CELL_DEG * 3600


# -- what agrees


@pytest.mark.parametrize(
    ("a", "b", "error", "verdict"),
    [
        (1.0, 1.0, None, "same"),
        (None, None, None, "same"),
        (100.0, 100.9, None, "agrees"),  # 0.9 %
        (100.0, 101.2, None, "differs"),
        (100.0, 101.2, 2.0, "agrees"),  # 0.6 sigma
        (100.0, 103.0, 2.0, "differs"),
        (-100.0, 100.0, None, "differs"),
        (0.0, 1e-9, None, "differs"),
        (0.0, 1e-9, 1e-8, "agrees"),
        (1.0, None, None, "differs"),
        (None, 1.0, 5.0, "differs"),
    ],
)
def test_numbers_agree_within_a_share_or_their_error(
    a: float | None, b: float | None, error: float | None, verdict: str
) -> None:
    assert judge(Number("image", "x", "peak", a, b, error), Tolerances()).verdict == verdict


def test_fractions_are_compared_by_their_difference() -> None:
    rare = Number("flags", "x", "flagged_fraction", 0.001, 0.002, scale=1.0)
    assert judge(rare, Tolerances()).verdict == "agrees"
    assert judge(replace(rare, b=0.02), Tolerances()).verdict == "differs"


def test_tolerances_of_some_numbers_go_before_that_of_all() -> None:
    own = judged.tolerances(0.01, 1.0, ["bm*=5%", "peak_jy_per_beam=3sigma", "bmin_arcsec=0"])
    assert own.of("bmaj_arcsec") == Tolerance(0.05, 0.0)
    assert own.of("bmin_arcsec") == Tolerance(0.0, 0.0)
    assert own.of("peak_jy_per_beam") == Tolerance(0.0, 3.0)
    assert own.of("dynamic_range") == Tolerance(0.01, 1.0)


@pytest.mark.parametrize("option", ["peak", "=3", "peak=", "peak=x", "peak=-1%", "peak=infsigma"])
def test_a_wrong_tolerance_is_told(option: str) -> None:
    with pytest.raises(DataError) as caught:
        judged.tolerances(0.01, 1.0, [option])
    assert str(caught.value) == (
        f"--tolerance {option}: expected NAME=VALUE, for example dynamic_range=5% or "
        "peak_jy_per_beam=3sigma"
    )


def image(**changes: Any) -> dict[str, Any]:
    return {
        "peak_jy_per_beam": 0.1, "rms_noise_jy_per_beam": 1e-3, "dynamic_range": 100.0,
        "bmaj_arcsec": 50.0, "bmin_arcsec": 40.0, "bpa_deg": 80.0, "cell_arcsec": 10.0,
        "shape": [200, 200, 1, 1], "fits": "a.fits", **changes,
    }  # fmt: skip


def numbers_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Number]:
    found = measured.numbers({"images": {"T": {"i": a}}}, {"images": {"T": {"i": b}}})
    return {number.name: number for number in found}


def test_brightness_is_compared_in_units_of_the_noise() -> None:
    found = numbers_of(image(), image(peak_jy_per_beam=0.1025, rms_noise_jy_per_beam=2e-3))
    assert found["peak_jy_per_beam"].significance == pytest.approx(0.0025 / 2e-3)


def test_the_error_of_the_noise_is_that_of_independent_beams() -> None:
    """A robust sigma of simulated noise scatters by as much as `noise_error` says."""
    from scipy.ndimage import gaussian_filter

    chance, measured_ = np.random.default_rng(5), []
    for _ in range(60):
        # White noise seen with a beam of 5 pixels (sigma 2.12).
        seen = gaussian_filter(chance.normal(size=(128, 128)), 5 / 2.3548, mode="wrap")
        measured_.append(1.4826 * np.median(np.abs(seen - np.median(seen))))
    told_ = measured.noise_error({
        "rms_noise_jy_per_beam": float(np.mean(measured_)), "cell_arcsec": 1.0,
        "bmaj_arcsec": 5.0, "bmin_arcsec": 5.0, "shape": [128, 128, 1, 1],
    })  # fmt: skip
    assert told_ is not None
    assert np.std(measured_) / told_ == pytest.approx(1.0, abs=0.35)


def test_a_position_angle_is_one_of_half_a_circle() -> None:
    found = numbers_of(image(bpa_deg=89.0), image(bpa_deg=-89.0))["bpa_deg"]
    assert found.difference == pytest.approx(2.0)
    assert numbers_of(image(), image())["bpa_deg"].difference == 0.0


def test_numbers_of_a_newer_casarun_are_compared_too() -> None:
    found = numbers_of(image(thermal_noise_jy_per_beam=1.0), image(thermal_noise_jy_per_beam=2.0))
    assert found["thermal_noise_jy_per_beam"].relative == 0.5


# -- images


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    def write(a: Sky, b: Sky, noise: float | None = 1e-3) -> skies.SkyDifference:
        for name, sky in (("a", a), ("b", b)):
            sky.write(tmp_path / f"{name}.fits")
        return skies.compare(tmp_path / "a.fits", tmp_path / "b.fits", noise)

    return write


def test_equal_images_are_said_to_be_so(pair: Any) -> None:
    found = pair(Sky(), Sky())
    assert found.identical
    assert (found.largest, found.rms, found.notes) == (0.0, 0.0, [])


def test_a_source_that_is_new_is_the_largest_difference(pair: Any) -> None:
    sky = Sky()
    more = replace(sky, sources=(*sky.sources, (20.0, 25.0, 0.05)))
    found = pair(sky, more)
    assert not found.identical
    assert found.largest == pytest.approx(0.05, rel=1e-3)
    assert found.at == (20, 25, 0)
    # Gaussians of 5 pixels: peak times beam is the flux, the beam's area divides it out.
    assert found.flux_b - found.flux_a == pytest.approx(0.05, rel=0.12)
    assert found.flux_error < 0.01


def moved(sky: Sky, east_pixels: float, north_pixels: float, factor: float = 1.0) -> Sky:
    sources = tuple((x - east_pixels, y + north_pixels, factor * s) for x, y, s in sky.sources)
    return replace(sky, sources=sources)


@pytest.mark.parametrize("east", [0.0, 0.1, -0.4, 3.3])
@pytest.mark.parametrize("north", [0.0, -0.25, 7.6])
def test_a_shift_of_the_sky_is_measured(pair: Any, east: float, north: float) -> None:
    sky = Sky()
    found = pair(sky, replace(moved(sky, east, north), seed=2))
    assert found.shift_arcsec is not None
    error = found.shift_error_arcsec
    assert found.shift_arcsec == pytest.approx(
        (east * CELL_ARCSEC, north * CELL_ARCSEC), abs=3 * error
    )
    # About half the beam over the signal to noise, on two axes and in two images: 0.5 arcsec.
    assert 0.3 < error < 0.9
    assert found.ratio == pytest.approx(1.0, abs=3 * found.ratio_error)


def test_errors_of_the_shift_are_honest(pair: Any) -> None:
    """Over many pairs of noise the shifts and ratios scatter by about what is said."""
    shifts, ratios = [], []
    for seed in range(30):
        found = pair(Sky(seed=100 + seed), Sky(seed=200 + seed))
        shifts.append(np.hypot(*found.shift_arcsec) / found.shift_error_arcsec)
        ratios.append((found.ratio - 1) / found.ratio_error)
    assert float(np.sqrt(np.mean(np.square(shifts)))) == pytest.approx(1.0, abs=0.25)
    assert float(np.sqrt(np.mean(np.square(ratios)))) == pytest.approx(1.0, abs=0.35)


def test_brighter_sources_are_measured(pair: Any) -> None:
    sky = Sky()
    found = pair(sky, replace(moved(sky, 0, 0, factor=1.1), seed=2))
    assert found.ratio == pytest.approx(1.1, abs=2 * found.ratio_error)
    assert found.ratio_error < 0.03


def test_extended_sources_are_as_bright_once_the_beams_are_one(pair: Any) -> None:
    sky = Sky(source_pixels=6.0, sources=((40.0, 60.0, 0.4), (80.3, 50.7, 0.2)))
    found = pair(sky, replace(sky, beam_pixels=7.0, seed=2))
    first, second = found.planes[0], found.planes[1]
    seen = [25 / (25 + 36), 49 / (49 + 36)]  # what a beam of 5 or 7 pixels holds of a source of 6
    assert second.max() / first.max() == pytest.approx(seen[1] / seen[0], rel=0.03)
    assert found.ratio == pytest.approx(1.0, abs=3 * found.ratio_error)
    assert found.ratio_error < 0.03
    assert np.hypot(*found.shift_arcsec) < 3 * found.shift_error_arcsec
    assert found.notes == [
        "the synthesized beams differ, and with them the brightness of what is extended: "
        "50.0 x 50.0 arcsec and 70.0 x 70.0 arcsec",
        "shift and brightness ratio are those of both smoothed to a beam of 70.0 arcsec",
    ]


@pytest.mark.parametrize("angle_deg", [0.0, 30.0, -75.0, 90.0])
@pytest.mark.parametrize("east", [-1, 1])
def test_a_beam_of_any_angle_becomes_a_circle(angle_deg: float, east: int) -> None:
    y, x = np.mgrid[-64:64, -64:64].astype(float)
    turn = np.radians(angle_deg)  # from north through east
    along, across = (
        east * x * np.sin(turn) + y * np.cos(turn),
        east * x * np.cos(turn) - y * np.sin(turn),
    )
    plane = np.exp(-4 * np.log(2) * ((along / 8) ** 2 + (across / 5) ** 2))
    seen = smoothing.smooth(plane, (16.0, 10.0, angle_deg), 2.0, east, 20.0)
    assert seen == pytest.approx(np.exp(-4 * np.log(2) * (x**2 + y**2) / 100), abs=1e-6)


def test_noise_has_no_shift(pair: Any) -> None:
    found = pair(Sky(sources=()), Sky(sources=(), seed=2))
    assert (found.shift_arcsec, found.flux_a) == (None, None)
    assert found.rms == pytest.approx(np.sqrt(2) * 1e-3, rel=0.06)


def test_grids_that_differ_by_pixels_need_no_interpolation(pair: Any) -> None:
    sky = Sky(noise_jy=0.0)
    found = pair(sky, replace(sky, offset_pixels=(10, -6)))
    assert found.notes == ["the grids differ by whole pixels: compared where they overlap"]
    assert found.largest < 1e-7
    assert not found.identical
    assert found.planes is not None
    assert np.isnan(found.planes[1]).sum() == 128 * 128 - 118 * 122


def test_other_grids_are_interpolated(pair: Any, tmp_path: Path) -> None:
    sky = Sky(noise_jy=0.0)
    pair(sky, sky)
    with fits.open(tmp_path / "b.fits", mode="update") as units:
        units[0].header["CRPIX1"] += 0.5  # the same pixels half a pixel further east
    found = skies.compare(tmp_path / "a.fits", tmp_path / "b.fits", 1e-3)
    assert found.notes == ["the second image is interpolated onto the first one's grid"]
    assert found.shift_arcsec == pytest.approx((0.5 * CELL_ARCSEC, 0.0), abs=0.3)


def test_channels_are_matched_by_frequency(pair: Any, tmp_path: Path) -> None:
    cube = Sky(n_chan=6)
    pair(cube, cube)
    with fits.open(tmp_path / "b.fits") as units:
        units[0].header["CRVAL3"] += 2 * units[0].header["CDELT3"]
        fits.writeto(tmp_path / "c.fits", units[0].data[:, 2:], units[0].header)
    found = skies.compare(tmp_path / "a.fits", tmp_path / "c.fits", 1e-3)
    assert found.largest == 0.0
    assert found.notes == ["4 channels are in both: A has 6, B 4"]
    assert not found.identical


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("BUNIT", "K", "their units differ: Jy/beam and K"),
        ("RADESYS", "ICRS", "their frames differ: FK5 and ICRS"),
        ("CRVAL1", 10.0, "the images do not overlap"),
        ("CRVAL3", 9e9, "they have no channel in common"),
    ],
)
def test_images_of_other_things_are_not_compared(
    pair: Any, tmp_path: Path, key: str, value: Any, said: str
) -> None:
    pair(Sky(n_chan=2), Sky(n_chan=2))
    with fits.open(tmp_path / "b.fits", mode="update") as units:
        units[0].header[key] = value
    with pytest.raises(DataError) as caught:
        skies.compare(tmp_path / "a.fits", tmp_path / "b.fits")
    assert str(caught.value) == said


@pytest.mark.parametrize("content", [b"", b"no FITS", b"SIMPLE  =                    T"])
def test_what_is_no_image_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.fits").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.fits: cannot be read as a FITS image"):
        skies.compare(tmp_path / "a.fits", tmp_path / "a.fits")


# -- calibration tables


def table(seed: int = 1, noise: float = 0.0, refant: int = 0, **changes: Any) -> CalTable:
    """Return gains of four antennas at five times; the same sky for every seed."""
    truth = np.random.default_rng(0)
    time, antenna = (axis.ravel() for axis in np.mgrid[:5, :4])
    gain = truth.normal(1, 0.1, 20) * np.exp(1j * truth.uniform(-3, 3, 20))
    gain = gain * (1 + noise * np.random.default_rng(seed).normal(size=20))
    gain = gain * np.exp(-1j * np.angle(gain.reshape(5, 4)[:, refant]))[time]
    made = CalTable(
        path="t", type="G Jones", values=gain[None, None, :], flag=np.zeros((1, 1, 20), bool),
        snr=np.full((1, 1, 20), 100.0), time_s=60.0 * time, antenna=antenna,
        field=np.zeros(20, np.int64), spw=np.zeros(20, np.int64), scan=time,
        antennas=("ea01", "ea02", "ea03", "ea04"), fields=("cal",),
        frequencies_hz=(np.array([1.4e9]),),
    )  # fmt: skip
    return replace(made, **changes)


def table_numbers(found: solutions.TableDifference) -> dict[str, Number]:
    return {number.name: number for number in found.numbers}


def test_another_reference_antenna_is_no_difference() -> None:
    found = solutions.compare("t", table(), table(refant=2))
    assert not found.identical
    assert found.matched == 20
    assert table_numbers(found)["phase_difference_rms_deg"].b == pytest.approx(0.0, abs=1e-6)
    assert table_numbers(found)["amplitude_median"].relative == pytest.approx(0.0, abs=1e-12)


def test_an_antenna_that_changed_is_found() -> None:
    other = table()
    turned = other.values.copy()
    turned[:, :, other.antenna == 2] *= 1.2 * np.exp(0.1j)
    found = solutions.compare("t", table(), replace(other, values=turned))
    by_name = {one.antenna: one for one in found.antennas}
    assert by_name["ea03"].amplitude_ratio == pytest.approx(1.2)
    assert by_name["ea03"].phase_rms_deg == pytest.approx(np.degrees(0.1))
    assert by_name["ea02"].amplitude_ratio == pytest.approx(1.0)
    assert by_name["ea02"].phase_rms_deg == pytest.approx(0.0, abs=1e-6)
    number = table_numbers(found)["phase_difference_rms_deg"]
    assert number.b == pytest.approx(np.degrees(0.1) / 2)  # of one antenna of four
    assert number.error == pytest.approx(np.degrees(0.01))  # a solution's, of S/N 100


def test_flags_of_solutions_are_counted() -> None:
    flag = np.zeros((1, 1, 20), bool)
    flag[0, 0, 4:8] = True
    found = solutions.compare("t", table(), table(flag=flag))
    assert table_numbers(found)["flags_changed"].b == pytest.approx(0.2)
    assert {one.flagged_b for one in found.antennas} == {0.2}
    assert {one.flagged_a for one in found.antennas} == {0.0}


def test_solutions_of_other_times_stay_apart() -> None:
    late = table()
    found = solutions.compare("t", table(), replace(late, time_s=late.time_s + 20.0))
    assert (found.matched, found.only_a, found.only_b) == (20, 0, 0)
    found = solutions.compare("t", table(), replace(late, time_s=late.time_s + 80.0))
    assert (found.matched, found.only_a, found.only_b) == (16, 4, 4)
    found = solutions.compare("t", table(), replace(late, fields=("other",)))
    assert found.note == "they have no solution in common"


def test_delays_are_compared_as_delays() -> None:
    delays = table(values=np.arange(20.0)[None, None, :])
    more = delays.values + 0.5 + np.where(delays.antenna == 3, 0.2, 0.0)
    found = solutions.compare("t", delays, replace(delays, values=more))
    number = table_numbers(found)["delay_difference_rms_ns"]
    assert number.b == pytest.approx(0.1)  # the common half ns is the reference's
    assert solutions.compare("t", delays, table()).note == "one holds gains, the other delays"


def test_equal_tables_are_said_to_be_so() -> None:
    assert solutions.compare("t", table(), table()).identical


# -- flags


def layout(**changes: Any) -> Layout:
    made = Layout(("f",), ("ea01", "ea02", "ea03"), (0,), (("RR", "LL"),), (np.arange(4.0),), 4,
                  ("FLAG",))  # fmt: skip
    return replace(made, **changes)


def chunk(flagged: list[tuple[int, int, int]], **changes: Any) -> Rows:
    """Return the baselines 1-1, 1-2, 1-3, 2-3 of three antennas, 2 x 4 visibilities each."""
    flag = np.zeros((2, 4, 4), bool)
    for place in flagged:
        flag[place] = True
    one, two, none = np.array([0, 0, 0, 1]), np.array([0, 1, 2, 2]), np.zeros(4, np.int64)
    made = Rows(0, 0, np.zeros(4), one, two, none, none + 1, np.zeros((3, 4)), flag, None)
    return replace(made, **changes)


def test_flags_are_counted_by_antenna_without_autocorrelations() -> None:
    a = chunk([(0, 0, 0), (0, 0, 1), (1, 3, 3)])
    b = chunk([(1, 1, 0), (1, 3, 3), (0, 1, 2), (0, 2, 2)])
    found = flags.compare("d", (layout(), [a]), (layout(), [b]))
    assert (found.visibilities, found.only_a, found.only_b) == (24, 1, 2)
    assert found.antennas == {"ea01": (16, 1, 2), "ea02": (16, 1, 0), "ea03": (16, 0, 2)}
    assert not found.identical
    assert flags.compare("d", (layout(), [a]), (layout(), [a])).identical


def test_flags_of_other_rows_are_not_compared() -> None:
    found = flags.compare("d", (layout(), []), (layout(n_rows=5), []))
    assert found.note == "their rows differ: 4 and 5"
    late = chunk([], time_s=np.ones(4))
    found = flags.compare("d", (layout(), [chunk([])]), (layout(), [late]))
    assert found.note == "their rows are not the same ones"


# -- what they were told


def told_by(tmp_path: Path, **changes: Any) -> told.Told:
    a = make(tmp_path / "a", Story())
    b = make(tmp_path / "b", replace(Story(), **changes))
    return told.compare(read(a), read(b))


def test_recipes_are_compared_key_by_key(tmp_path: Path) -> None:
    other = {
        **RECIPE,
        "calibrate": {"refant": "ea03", "solint": {"phase": "int"}},
        "image": [{"name": "line", "nchan": 4}, {"name": "continuum", "robust": 0.0}],
    }
    found = told_by(tmp_path, recipe=other)
    assert [(one.key, one.a, one.b) for one in found.recipe] == [
        ("calibrate.refant", "auto", "ea03"),
        ("image.continuum.robust", "0.5", "0.0"),
        ("calibrate.solint.phase", told.ABSENT, "int"),
        ("image.line.name", told.ABSENT, "line"),
        ("image.line.nchan", told.ABSENT, "4"),
    ]
    assert found.notes == ()


def test_a_recipe_of_an_older_casarun_is_read_without_overrides(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    b.recipe.unlink()
    found = told.compare(read(a), read(b))
    assert found.notes == (
        "B: its recipe is compared without what --set changed: an older casarun kept no note",
    )
    put(a.recipe, "{")
    assert told.compare(read(a), read(b)).notes[0].startswith("A: its recipe cannot be read: ")


def teststeps_that_changed_alike_are_one_line(tmp_path: Path) -> None:
    def plan(refant: str) -> tuple[dict[str, Any], ...]:
        gains = [step(f"day1.{name}", "casa:gaincal", {"refant": refant}) for name in ("p", "ap")]
        return tuple(gains)

    a = make(tmp_path / "a", Story(steps=(*plan("1"), step("day1.statwt", "casa:statwt", {}))))
    b = make(tmp_path / "b", Story(steps=plan("9")))
    found = told.compare(read(a), read(b))
    assert [(one.key, one.a, one.b, one.where) for one in found.steps] == [
        ("step day1.statwt", "there", told.ABSENT, ()),
        ("refant", "1", "9", ("day1.p", "day1.ap")),
    ]


def test_data_elsewhere_are_the_same_data(tmp_path: Path) -> None:
    a, b = make(tmp_path / "a"), make(tmp_path / "b")
    for folder, inputs in ((a, {"/one/x.ms": "11"}), (b, {"/other/x.ms": "11"})):
        put(folder.plan, {**json.loads(folder.plan.read_text()), "inputs": inputs})
    assert told.compare(read(a), read(b)).inputs == ()
    put(b.plan, {**json.loads(b.plan.read_text()), "inputs": {"/one/x.ms": "22"}})
    (one,) = told.compare(read(a), read(b)).inputs
    assert (one.key, one.a, one.b) == ("/one/x.ms", "11", "22")


# -- whole runs


def runs(tmp_path: Path, a: Story | None = None, b: Story | None = None) -> Comparison:
    folders = make(tmp_path / "a", a), make(tmp_path / "b", b)
    return compare(read(folders[0]), read(folders[1]), Tolerances())


def test_equal_runs_are_the_same_to_the_bit(tmp_path: Path) -> None:
    found = runs(tmp_path, b=Story(day=5))
    assert found.outcome == "identical"
    assert found.summary() == (
        "the same to the bit: 1 image, 0 calibration tables, all flags and "
        f"{len(found.numbers)} numbers"
    )


def test_equal_files_need_no_casa(tmp_path: Path) -> None:
    make(tmp_path / "a"), make(tmp_path / "b")
    done = casarun("compare", "a", "b", cwd=tmp_path, env=_without_casa(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")


def _without_casa(tmp_path: Path) -> dict[str, str]:
    import os

    (tmp_path / "no" / "casatools").mkdir(parents=True)
    (tmp_path / "no" / "casatools" / "__init__.py").write_text("raise ImportError('no CASA')")
    return os.environ | {"PYTHONPATH": str(tmp_path / "no")}


def test_runs_that_differ_by_less_than_the_noise_agree(tmp_path: Path) -> None:
    sky = Sky()
    faint = replace(sky, sources=tuple((x, y, s * 1.002) for x, y, s in sky.sources))
    found = runs(tmp_path, b=Story(images={("NGC1", "continuum"): faint}))
    assert found.outcome == "agree"
    assert found.summary().startswith("they agree within 1 % or 1 sigma: ")


def test_other_noise_is_a_difference(tmp_path: Path) -> None:
    found = runs(tmp_path, b=Story(images={("NGC1", "continuum"): Sky(noise_jy=2e-3, seed=2)}))
    assert found.outcome == "differ"
    names = {one.number.name for one in found.differing}
    assert {"rms_noise_jy_per_beam", "dynamic_range", "largest_difference_jy_per_beam"} <= names
    assert "bmaj_arcsec" not in names


def test_what_one_run_has_alone_is_said(tmp_path: Path) -> None:
    more = {("NGC1", "continuum"): Sky(), ("NGC1", "line"): Sky(), ("NGC2", "line"): Sky()}
    found = runs(tmp_path, b=Story(images=more))
    assert [str(one) for one in found.only] == [
        "target NGC2 is only in B",
        "image NGC1, line is only in B",
    ]
    assert found.outcome == "differ"
    found = runs(tmp_path / "x", b=Story(dataset="day2"))
    assert [str(one) for one in found.only] == [
        "dataset day1 is only in A",
        "dataset day2 is only in B",
    ]


def test_what_was_made_of_cubes_is_compared_in_its_own_unit(tmp_path: Path) -> None:
    cube = Sky(n_chan=3)
    brighter = replace(cube, sources=tuple((x, y, 1.5 * s) for x, y, s in cube.sources))
    name, other = ("NGC1", "smooth"), ("NGC1", "other")
    found = runs(
        tmp_path,
        Story(cubes={name: ("K", cube)}),
        Story(cubes={name: ("K", brighter), other: ("K", cube)}),
    )
    assert [str(one) for one in found.only] == ["cube NGC1.other is only in B"]
    of_cube = [one for one in found.differing if one.number.subject == "cube NGC1.smooth"]
    names = {one.number.name for one in of_cube}
    assert names == {"peak", "largest_difference", "difference_rms", "brightness_ratio"}
    peak = next(one.number for one in of_cube if one.number.name == "peak")
    assert peak.significance == pytest.approx(50, abs=4)  # 0.05 over a noise of 0.001


def test_an_image_that_is_gone_or_broken_is_no_agreement(tmp_path: Path) -> None:
    folders = make(tmp_path / "a"), make(tmp_path / "b")
    image_b = folders[1].root / "images" / "NGC1.continuum.fits"
    image_b.write_bytes(image_b.read_bytes()[:4000])
    found = compare(read(folders[0]), read(folders[1]), Tolerances())
    assert found.outcome == "differ"
    assert "NGC1, continuum: " in found.unknown[0]
    image_b.unlink()
    found = compare(read(folders[0]), read(folders[1]), Tolerances())
    assert found.unknown == ["NGC1, continuum: the FITS file of B is gone"]
    assert found.summary().endswith("1 could not be compared")


def test_a_table_that_cannot_be_read_is_no_agreement(tmp_path: Path) -> None:
    folders = make(tmp_path / "a"), make(tmp_path / "b")
    for folder in folders:
        metrics = json.loads(folder.metrics.read_text())
        one = {"path": "caltables/day1.amp", "kind": "amp", "flagged_fraction": 0.1,
               "median_snr": 5.0}  # fmt: skip
        metrics["datasets"]["day1"]["caltables"] = [one]
        put(folder.metrics, metrics)
        put(folder.root / "caltables" / "day1.amp" / "table.dat", folder.root.name)
    found = compare(read(folders[0]), read(folders[1]), Tolerances())
    assert found.unknown[0].startswith("day1, amp: cannot be read: ")
    put(folders[1].root / "caltables" / "day1.amp" / "table.dat", "a")
    assert compare(read(folders[0]), read(folders[1]), Tolerances()).outcome == "identical"
    shutil.rmtree(folders[1].root / "caltables")
    found = compare(read(folders[0]), read(folders[1]), Tolerances())
    assert found.unknown == ["day1, amp: the table of B is gone"]


def test_pixels_that_became_blank_are_a_difference(tmp_path: Path) -> None:
    folders = make(tmp_path / "a"), make(tmp_path / "b")
    with fits.open(folders[1].root / "images/NGC1.continuum.fits", mode="update") as units:
        units[0].data[..., :2, :] = np.nan  # 2 rows of 128
    found = compare(read(folders[0]), read(folders[1]), Tolerances())
    (blank,) = [one for one in found.differing if one.number.name == "blank_in_one_only"]
    assert blank.number.b == pytest.approx(2 / 128)


def test_an_unfinished_run_is_said_to_be_one(tmp_path: Path) -> None:
    found = runs(tmp_path, b=Story(state="interrupted"))
    assert found.notes == ["B is not complete: it was interrupted"]


def test_a_verdict_that_changed_is_said(tmp_path: Path) -> None:
    strict = {"max_flagged_fraction": 0.1, "min_dynamic_range": 20.0}
    found = runs(tmp_path, b=Story(limits=strict))
    assert found.notes == ["the QA verdict of A is pass, that of B fail"]
    assert found.outcome == "identical"  # the limit changed, not what was made


# -- the command


def refused(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    done = casarun("compare", *arguments, cwd=tmp_path)
    return done.returncode, done.stderr.strip().replace(str(tmp_path), "")


def test_folders_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    no_run = "not a run folder (it has no .casarun/journal.jsonl)"
    assert refused(tmp_path, "a", "nowhere") == (2, "nowhere: there is no such folder")
    assert refused(tmp_path, "empty", "a") == (2, f"empty: {no_run}")
    assert refused(tmp_path, "a", "./a") == (2, "/a: both are one run folder")
    make(tmp_path / "killed", Story(state="died"))
    assert refused(tmp_path, "a", "killed") == (
        2,
        "/killed: there is no qa/metrics.json to compare: the run did not come to its report; "
        "run its recipe again to go on",
    )
    make(tmp_path / "bad")
    put(RunFolder(tmp_path / "bad").metrics, {"images": []})
    assert refused(tmp_path, "bad", "a") == (
        2,
        "/bad/qa/metrics.json is damaged: all of it is not as in metrics.schema.json; "
        "casarun report /bad writes it anew",
    )
    put(RunFolder(tmp_path / "bad").metrics, "{")
    assert "qa/metrics.json is damaged: all of it is not as" in refused(tmp_path, "bad", "a")[1]


def test_a_run_that_goes_on_is_not_compared(tmp_path: Path) -> None:
    import psutil

    make(tmp_path / "a")
    going = make(tmp_path / "b", Story(state="running"))
    status = json.loads(going.status.read_text())
    put(going.status, status | {"created": psutil.Process().create_time()})
    with pytest.raises(LockedError, match="the run goes on; compare it when it has ended"):
        compare(read(RunFolder(tmp_path / "a")), read(going), Tolerances())
    assert refused(tmp_path, "a", "b")[0] == 4


def test_exit_codes_tell_whether_runs_agree(tmp_path: Path) -> None:
    make(tmp_path / "a"), make(tmp_path / "same", Story(day=2))
    make(tmp_path / "other", Story(images={("NGC1", "continuum"): Sky(seed=2)}, flux_jy=2.6))
    assert casarun("compare", "a", "same", cwd=tmp_path).returncode == 0
    done = casarun("compare", "a", "other", cwd=tmp_path)
    assert done.returncode == 3
    assert "they differ: " in done.stdout
    loose = ("--sigma", "8", "--tolerance", "flux_density_jy=5%")
    done = casarun("compare", "a", "other", *loose, cwd=tmp_path)
    assert done.returncode == 0
    assert "they agree within 1 % or 8 sigma" in done.stdout
    done = casarun("compare", "a", "other", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert (done.returncode, found["agree"], found["outcome"]) == (3, False, "differ")
    assert damage(found, "compare") == ""
    flux = next(one for one in found["numbers"] if one["name"] == "flux_density_jy")
    assert (flux["a"], flux["b"], flux["verdict"]) == (2.5, 2.6, "differs")
    assert flux["significance"] == pytest.approx(10.0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "other", "same"]


def test_the_terminal_shows_what_differs(tmp_path: Path) -> None:
    make(tmp_path / "a")
    recipe = {**RECIPE, "title": "\x1b[31m[bold]red"}
    make(tmp_path / "b", Story(recipe=recipe, flux_jy=2.6))
    done = casarun("compare", "a", "b", cwd=tmp_path)
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "title (not there) \\x1b[31m[bold]red" in lines
    assert "day1, phasecal, spw 0 flux density 2.5 Jy 2.6 Jy +3.8 % +10 sigma differs" in lines
    assert lines[-1].startswith("they differ: 1 of ")
    assert lines[-1].endswith(" numbers are not within 1 % or 1 sigma")


def test_numbers_are_written_with_enough_digits() -> None:
    def said(name: str, a: float, b: float, **more: Any) -> list[str]:
        of = row(judge(Number("x", "y", name, a, b, **more), Tolerances()))
        return [of["title"], of["a"], of["b"], of["relative"]]

    assert said("peak_jy_per_beam", 0.0828983, 0.0826153) == [
        "peak", "82.898 mJy/beam", "82.615 mJy/beam", "-0.34 %",
    ]  # fmt: skip
    assert said("flux_density_jy", 2.52599, 2.526) == [
        "flux density", "2.526 Jy", "2.526 Jy", "< 0.001 %",
    ]  # fmt: skip
    assert said("phase_difference_rms_deg", 0.0, 3e-16, scale=57.3)[1:3] == ["", "< 1e-06 deg"]
    assert said("flagged_fraction", 0.25, 0.5)[1:] == ["25 %", "50 %", "+50 %"]


# -- the page


def pages(tmp_path: Path) -> tuple[Page, str]:
    page = (tmp_path / "page" / "index.html").read_text()
    return Page(page), page


def test_the_page_shows_the_difference(tmp_path: Path) -> None:
    make(tmp_path / "a")
    make(tmp_path / "b", Story(images={("NGC1", "continuum"): Sky(seed=2)}))
    done = casarun("compare", "a", "b", "-o", "page", cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == f"page: {tmp_path}/page/index.html"
    page, _ = pages(tmp_path)
    assert "../a/qa/index.html" in page.links
    pictures = [image["src"] for image in page.images]
    assert [name.rpartition("-")[2] for name in pictures] == ["a.png", "b.png", "d.png"]
    sizes = {(tmp_path / "page" / name).read_bytes()[16:24] for name in pictures}
    assert len(sizes) == 1  # of one size: for blinking
    assert json.loads((tmp_path / "page" / "compare.json").read_text())["outcome"] == "differ"
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "one.tex").touch()
    done = casarun("compare", "a", "b", "-o", "thesis", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.strip() == (
        f"{tmp_path}/thesis is not empty and holds no earlier comparison; "
        "choose another with --output"
    )


def hostile(tmp_path: Path) -> None:
    name = '"><svg onload=alert(1)>'
    for folder, seed in (("a", 1), ("b", 2)):
        recipe = {**RECIPE, HOSTILE: f"{seed}{HOSTILE}\ud800"}
        story = Story(images={(HOSTILE, name): Sky(seed=seed)}, dataset="<b>bold</b>",
                      recipe=recipe, steps=(step(HOSTILE, "casa:x", {name: seed}),))  # fmt: skip
        make(tmp_path / folder, story)
    done = casarun("compare", "a", "b", "-o", "page", cwd=tmp_path)
    assert done.returncode == 3, done.stderr


def test_hostile_names_are_text(tmp_path: Path) -> None:
    hostile(tmp_path)
    page, source = pages(tmp_path)
    assert HOSTILE in page.text
    assert not {"script", "svg", "b"} & set(page.tags)
    assert "http" not in source.replace('http-equiv="Content-Security-Policy"', "")


@needs_browser
def test_blinking_works_in_a_browser(tmp_path: Path) -> None:
    hostile(tmp_path)
    with browser() as page:
        page.open(tmp_path / "page" / "index.html")
        seen = """[...document.querySelectorAll('.stack img')].filter(image =>
            getComputedStyle(image).visibility === 'visible').map(image => image.className)"""
        assert page.run(seen) == ["show-a"]
        page.run("document.querySelector('.pick-a').focus()")
        page.press("ArrowRight", 39)
        assert page.run(seen) == ["show-b"]
        page.press("ArrowRight", 39)
        assert page.run(seen) == ["show-d"]
        page.press("ArrowRight", 39)
        assert page.run(seen) == ["show-a", "show-b"]
        moves = "getComputedStyle(document.querySelector('.show-b')).animationName"
        assert page.run(moves) == "blink"
        sizes = (
            "new Set([...document.querySelectorAll('.stack img')].map(i => i.naturalWidth)).size"
        )
        assert page.run(sizes) == 1
        assert page.said == []
        assert {address.partition(":")[0] for address in page.asked} == {"file"}


# -- real runs


@pytest.mark.casa
@pytest.mark.long
def test_two_real_runs(tmp_path: Path) -> None:
    """The same recipe twice is the same to the bit; another reference antenna alone agrees."""
    recipe = crashes.small(tmp_path)
    for name, settings in (
        ("one", ()), ("two", ()), ("refant", ("--set", "calibrate.refant=ea07")),
        ("flagged", ("--set", "flag.manual=[\"antenna='ea05'\"]")),
    ):  # fmt: skip
        done = casarun("run", recipe, "--output", name, "-q", *settings, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = casarun("compare", "one", "two", "--rtol", "0", "--sigma", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("the same to the bit: ")
    assert list(tmp_path.glob("casa*.log")) == []

    done = casarun("compare", "one", "refant", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert [(one["key"], one["b"]) for one in found["told"]["recipe"]] == [
        ("calibrate.refant", "ea07")
    ]
    assert {one["key"] for one in found["told"]["steps"]} == {"refant"}
    assert damage(found, "compare") == ""
    assert found["outcome"] == "agree", found["summary"]
    phases = [n for n in found["numbers"] if n["name"] == "phase_difference_rms_deg"]
    assert phases
    assert all(number["b"] < 0.5 for number in phases)

    done = casarun("compare", "one", "flagged", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 3
    (flagged,) = found["flags"]
    by_antenna = flagged["antennas"]
    assert by_antenna["ea05"][2] > 0.5 * by_antenna["ea05"][0]
    assert flagged["only_b"] == pytest.approx(by_antenna["ea05"][2], rel=0.05)
    number = next(n for n in found["numbers"] if n["subject"].endswith("antenna ea05"))
    assert (number["b"], number["verdict"]) == (1.0, "differs")
