"""Sources found in skies of known truth, in noise that the beam correlates."""

import math

import numpy as np
import pytest
from casarun.qa import source_errors, sources
from casarun.qa.sources import Plane
from scipy import ndimage

CELL = 2.0
BEAM = (14.0, 9.0, 35.0)
FWHM = math.sqrt(8 * math.log(2))


def gaussian(shape, x, y, peak, ellipse):
    """Return an elliptical Gaussian; x grows to the west, as in an image of the sky."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    east, north = -(columns - x) * CELL, (rows - y) * CELL
    turn = math.radians(ellipse[2])
    along = east * math.sin(turn) + north * math.cos(turn)
    across = east * math.cos(turn) - north * math.sin(turn)
    return peak * np.exp(-0.5 * FWHM**2 * ((along / ellipse[0]) ** 2 + (across / ellipse[1]) ** 2))


def convolved(ellipse):
    """Return an intrinsic ellipse as the beam shows it."""
    moments = np.zeros((2, 2))
    for major, minor, pa in (ellipse, BEAM):
        turn = math.radians(pa)
        axes = np.array([[math.sin(turn), math.cos(turn)], [math.cos(turn), -math.sin(turn)]])
        moments += axes.T @ np.diag([major**2, minor**2]) @ axes
    (east, both), (_, north) = moments
    reach = math.hypot((east - north) / 2, both)
    middle = (east + north) / 2
    pa = 0.5 * math.degrees(math.atan2(2 * both, north - east)) % 180
    return math.sqrt(middle + reach), math.sqrt(middle - reach), pa


def noise_of(rng, shape, sigma):
    """Return noise as a naturally weighted image has it: its autocorrelation is the beam."""
    narrow = (BEAM[0] / math.sqrt(2), BEAM[1] / math.sqrt(2), BEAM[2])
    kernel = gaussian((41, 41), 20, 20, 1.0, narrow)
    grown = rng.normal(size=(shape[0] + 40, shape[1] + 40))
    blurred = ndimage.convolve(grown, kernel, mode="constant")[20:-20, 20:-20]
    return sigma * blurred / math.sqrt((kernel**2).sum())


def plane(pixels, sigma):
    return Plane(pixels, np.full(pixels.shape, sigma), (-CELL, CELL), BEAM)


def test_a_point_source_without_noise_is_what_was_put_in():
    pixels = gaussian((80, 90), 40.3, 37.8, 0.25, BEAM)
    (found,) = sources.find(plane(pixels, 1e-4), 5.0)
    assert found.method == "gaussian"
    assert (found.x, found.y) == pytest.approx((40.3, 37.8), abs=1e-4)
    assert found.peak == pytest.approx(0.25, rel=1e-5)
    assert found.flux == pytest.approx(0.25, rel=1e-5)
    assert found.shape == pytest.approx(BEAM, rel=1e-4)
    assert found.true.size is None
    assert found.true.limit < 2.0


def test_an_extended_source_has_its_size_behind_the_beam():
    own = (30.0, 12.0, 120.0)
    seen = convolved(own)
    pixels = gaussian((120, 120), 60.0, 55.5, 0.1, seen)
    (found,) = sources.find(plane(pixels, 1e-4), 5.0)
    assert found.shape == pytest.approx(seen, rel=1e-4)
    assert found.flux == pytest.approx(0.1 * seen[0] * seen[1] / (BEAM[0] * BEAM[1]), rel=1e-4)
    assert found.true.size == pytest.approx(own, rel=1e-3)


def test_noise_alone_has_no_source():
    rng = np.random.default_rng(4)
    for _ in range(4):
        pixels = noise_of(rng, (256, 256), 1e-3)
        assert sources.find(plane(pixels, 1e-3), 5.0) == []
    assert sources.find(plane(pixels, 1e-3), 2.5)  # a threshold that noise reaches


@pytest.mark.parametrize("own", [(0.0, 0.0, 0.0), (25.0, 12.0, 80.0)], ids=["point", "extended"])
def test_errors_are_those_that_occur(own):
    """Each parameter's error, in units of the one that is given, has a spread of one."""
    rng = np.random.default_rng(7)
    shape = convolved(own) if own[0] else BEAM
    peak, sigma, side = 0.02, 1e-3, 48
    flux = peak * shape[0] * shape[1] / (BEAM[0] * BEAM[1])
    noise = noise_of(rng, (side * 10, side * 16), sigma)
    pulls = []
    for row in range(10):
        for column in range(16):
            x, y = side / 2 + rng.uniform(-0.5, 0.5, size=2)
            patch = noise[row * side :, column * side :][:side, :side]
            pixels = patch + gaussian((side, side), x, y, peak, shape)
            found = max(sources.find(plane(pixels, sigma), 5.0), key=lambda one: one.peak)
            off = (found.x - x, found.y - y, found.peak - peak, found.flux - flux,
                   found.shape[0] - shape[0], found.shape[1] - shape[1])  # fmt: skip
            errors = found.errors
            one = (errors.east / CELL, errors.north / CELL, errors.peak, errors.flux,
                   errors.major, errors.minor)  # fmt: skip
            pulls.append([a / b for a, b in zip(off, one, strict=True) if b == b])
    whole = np.array([pull for pull in pulls if len(pull) == 6])
    assert len(whole) > 130
    spread = whole.std(axis=0)
    assert np.all((spread > 0.8) & (spread < 1.2)), spread
    assert np.all(np.abs(whole.mean(axis=0)) < 0.4)


def test_point_sources_are_rarely_taken_for_extended():
    rng = np.random.default_rng(11)
    wrong, number, side = 0, 0, 48
    noise = noise_of(rng, (side * 8, side * 12), 1e-3)
    for row in range(8):
        for column in range(12):
            patch = noise[row * side :, column * side :][:side, :side]
            pixels = patch + gaussian((side, side), 24, 24, 0.02, BEAM)
            for found in sources.find(plane(pixels, 1e-3), 6.0):
                number += 1
                wrong += found.true.size is not None
    assert number >= 96
    assert wrong <= 0.06 * number


def test_two_sources_that_touch_are_two():
    pixels = gaussian((100, 100), 45, 50, 0.2, BEAM) + gaussian((100, 100), 53, 52, 0.1, BEAM)
    pixels += noise_of(np.random.default_rng(2), pixels.shape, 5e-4)
    found = sources.find(plane(pixels, 5e-4), 5.0)
    assert [one.n_components for one in found] == [2, 2]
    assert [one.island for one in found] == [1, 1]
    for one, (x, y, peak) in zip(found, [(45, 50, 0.2), (53, 52, 0.1)], strict=True):
        assert abs(one.x - x) * CELL < 5 * one.errors.east
        assert abs(one.y - y) * CELL < 5 * one.errors.north
        assert abs(one.flux - peak) < 5 * one.errors.flux


def test_what_is_no_gaussian_is_measured_as_a_whole_and_says_so():
    """A ring: its flux is that of its pixels."""
    rows, columns = np.mgrid[:140, :140]
    ring = np.where(np.abs(np.hypot(rows - 70, columns - 70) - 30) < 4, 0.02, 0.0)
    pixels = ndimage.gaussian_filter(ring, 2.0)
    pixels += noise_of(np.random.default_rng(3), pixels.shape, 2e-4)
    (found,) = sources.find(plane(pixels, 2e-4), 5.0)
    assert found.method == "moments"
    assert (found.x, found.y) == pytest.approx((70, 70), abs=0.3)
    area = math.pi / (4 * math.log(2)) * BEAM[0] * BEAM[1] / CELL**2
    assert found.flux == pytest.approx(ring.sum() / area, rel=0.02)
    assert found.true.size is None
    assert math.isnan(found.errors.major)


def test_a_narrow_bump_gets_the_shape_of_the_beam():
    narrow = (BEAM[0] * 0.7, BEAM[1] * 0.7, BEAM[2])
    (found,) = sources.find(plane(gaussian((60, 60), 30, 30, 0.01, narrow), 1e-3), 5.0)
    assert found.method == "beam"
    assert found.flux == pytest.approx(found.peak)
    assert math.isnan(found.errors.major)


def test_blank_pixels_and_edges_do_no_harm():
    pixels = gaussian((60, 60), 1.0, 30.0, 0.2, BEAM) + gaussian((60, 60), 40, 20, 0.1, BEAM)
    pixels[18:25, 43:] = np.nan
    found = sources.find(plane(pixels, 1e-3), 5.0)
    assert [round(one.x) for one in found] == [1, 40]
    assert [one.peak for one in found] == pytest.approx([0.2, 0.1], rel=1e-3)
    assert sources.find(plane(np.full((40, 40), np.nan), 1e-3), 5.0) == []


def test_the_noise_is_local():
    rng = np.random.default_rng(5)
    pixels = noise_of(rng, (400, 400), 1.0)
    pixels[:, 200:] *= 4
    pixels[50, 50] = np.nan
    noise = sources.local_noise(pixels, BEAM[0] / CELL, 2.0)
    assert noise[:, :100].mean() == pytest.approx(1.0, rel=0.1)
    assert noise[:, 300:].mean() == pytest.approx(4.0, rel=0.1)
    np.testing.assert_array_equal(sources.local_noise(pixels[:60, :60], 7.0, 2.0), 2.0)


def test_many_islands_are_not_all_fitted(monkeypatch):
    monkeypatch.setattr(sources, "MOST_FITTED", 1)
    pixels = gaussian((60, 60), 15, 30, 0.2, BEAM) + gaussian((60, 60), 45, 30, 0.1, BEAM)
    found = sources.find(plane(pixels, 1e-3), 5.0)
    assert [one.method for one in found] == ["gaussian", "moments"]


def test_sizes_behind_the_beam():
    own = (20.0, 8.0, 150.0)
    assert source_errors.deconvolved(convolved(own), BEAM) == pytest.approx(own)
    assert source_errors.deconvolved((13.0, 8.0, 35.0), BEAM) is None
    narrow = source_errors.deconvolved((20.0, 8.5, 35.0), BEAM)
    assert narrow[1] == 0.0
    assert narrow[0] == pytest.approx(math.sqrt(20**2 - 14**2))


def test_errors_come_near_condon_1997():
    """Eqs. 21, 41 and 42, for a round beam and a source twice as wide."""
    beam, size, snr = 12.0, 24.0, 30.0
    pixels = gaussian((100, 100), 50, 50, snr * 1e-3, (size, size, 0.0))
    image = Plane(pixels, np.full(pixels.shape, 1e-3), (-CELL, CELL), (beam, beam, 0.0))
    (found,) = sources.find(image, 5.0)

    def relative(along, across):
        wider = 1 + (beam / size) ** 2
        return math.sqrt(2 / ((size / (2 * beam)) ** 2 * wider ** (along + across) * snr**2))

    of_peak, of_width = relative(1.5, 1.5), relative(2.5, 0.5)
    of_flux = math.sqrt(of_peak**2 + (beam / size) ** 2 * 2 * of_width**2)
    assert found.errors.peak == pytest.approx(of_peak * found.peak, rel=0.25)
    assert found.errors.flux == pytest.approx(of_flux * found.flux, rel=0.25)
    assert found.errors.east == pytest.approx(of_width * size / FWHM, rel=0.25)
    assert found.errors.major == pytest.approx(of_width * size, rel=0.25)
