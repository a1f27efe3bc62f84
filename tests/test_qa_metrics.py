"""Numbers of QA against arrays whose truth is known."""

import math

import numpy as np
import pytest
from casarun.qa import metrics


def noise_plane(sigma: float, shape: tuple[int, int] = (200, 200), seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, sigma, shape)


@pytest.mark.parametrize("sigma", [1e-5, 0.002, 3.0])
def test_robust_noise_is_the_sigma_of_gaussian_noise(sigma):
    assert metrics.robust_noise(noise_plane(sigma)) == pytest.approx(sigma, rel=0.02)


def test_robust_noise_does_not_see_bright_sources():
    plane = noise_plane(1.0)
    plane[50:90, 50:90] += 500.0  # 4 % of the pixels; the standard deviation becomes 98
    assert np.std(plane) > 90
    assert metrics.robust_noise(plane) == pytest.approx(1.0, rel=0.06)


def test_robust_noise_ignores_nan_and_an_offset():
    plane = noise_plane(0.5) + 40.0
    plane[:20] = np.nan
    assert metrics.robust_noise(plane) == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    "values", [np.zeros((50, 50)), np.ones(99), np.full((30, 30), np.nan), np.zeros(0)]
)
def test_robust_noise_says_none_where_there_is_nothing_to_measure(values):
    assert metrics.robust_noise(values) is None


def test_off_source_leaves_out_mask_low_primary_beam_and_edge():
    valid = np.ones((100, 100), bool)
    valid[:, 99] = False
    pb = np.ones((100, 100))
    pb[:, :30] = 0.1
    mask = np.zeros((100, 100), bool)
    mask[40:60, 40:60] = True
    quiet = metrics.off_source(valid, pb, mask)
    expected = np.zeros((100, 100), bool)
    expected[5:95, 30:95] = True
    expected[40:60, 40:60] = False
    assert np.array_equal(quiet, expected)


def test_off_source_ignores_a_mask_that_covers_everything():
    valid = np.ones((100, 100), bool)
    quiet = metrics.off_source(valid, None, np.ones((100, 100), bool), edge=0.0)
    assert quiet.all()


def test_histogram_counts_every_finite_pixel():
    plane = noise_plane(1.0)
    plane[0, 0] = np.nan
    found = metrics.histogram(plane)
    assert found.counts.sum() == plane.size - 1
    assert found.edges[-1] == np.nanmax(plane)


def test_the_histogram_of_a_bright_image_still_shows_its_noise():
    plane = np.random.default_rng(3).normal(0, 2e-5, (400, 400))
    plane[200, 200] = 0.2
    found = metrics.histogram(plane, sigma=2e-5)
    assert found.bend == pytest.approx(1e-4)
    assert found.counts.sum() == plane.size
    assert np.count_nonzero(found.edges[np.abs(found.edges) < 4e-5]) > 10
    expected = found.gaussian(2e-5, 0.0, plane.size)
    busy = expected > 500
    assert np.count_nonzero(busy) > 10
    assert found.counts[busy] == pytest.approx(expected[busy], rel=0.2)
    even = metrics.histogram(plane, sigma=0.01)
    assert even.bend == 0
    assert np.diff(even.edges) == pytest.approx(np.diff(even.edges)[0])


def test_gaussian_of_the_histogram_matches_pure_noise():
    plane = noise_plane(2.0)
    found = metrics.histogram(plane, bins=40)
    expected = found.gaussian(2.0, 0.0, plane.size)
    assert expected.sum() == pytest.approx(plane.size, rel=0.01)
    middle = slice(15, 25)
    assert np.allclose(found.counts[middle], expected[middle], rtol=0.15)


def test_beam_area_of_a_beam_of_known_size():
    # FWHM of 2 sqrt(2 ln 2) pixels is sigma 1: area 2 pi.
    width = 2 * math.sqrt(2 * math.log(2))
    assert metrics.beam_area_pixels(width, width, 1.0) == pytest.approx(2 * math.pi)
    assert metrics.beam_area_pixels(20, 10, 5) == pytest.approx(math.pi / (4 * math.log(2)) * 8)


def test_radio_velocity():
    found = metrics.radio_velocity_km_s(np.array([1420.405752e6, 1413.4e6]), 1420.405752e6)
    assert found[0] == 0
    assert found[1] == pytest.approx(299792.458 * (1 - 1413.4 / 1420.405752))


def test_dynamic_range_needs_both_numbers():
    assert metrics.dynamic_range(8.0, 0.5) == 16.0
    assert metrics.dynamic_range(8.0, None) is None
    assert metrics.dynamic_range(None, 0.5) is None
    assert metrics.dynamic_range(8.0, 0.0) is None


@pytest.mark.parametrize("value", [None, math.nan, math.inf])
def test_put_writes_null_with_a_reason(value):
    numbers = {}
    metrics.put(numbers, "peak_jy_per_beam", value, "blank")
    assert numbers == {"peak_jy_per_beam": None, "peak_jy_per_beam_reason": "blank"}


def test_put_writes_a_number_without_a_reason():
    numbers = {}
    metrics.put(numbers, "peak_jy_per_beam", np.float32(0.5), "blank")
    assert numbers == {"peak_jy_per_beam": 0.5}


def test_flag_counts_by_field_antenna_and_spw():
    counts = metrics.FlagCounts()
    flag = np.zeros((2, 4, 4), bool)
    flag[:, :2, 0] = True  # half of baseline 0-1, field 0
    flag[:, :, 1] = True  # all of baseline 0-2, field 1
    flag[:, :, 3] = True  # an autocorrelation, not counted
    fields, first, second = np.array([0, 1, 1, 0]), np.array([0, 0, 1, 2]), np.array([1, 2, 2, 2])
    counts.add(flag, fields, first, second, spw=3)
    found = counts.fractions(("a", "b"), ("ea01", "ea02", "ea03"))
    assert found["total"] == pytest.approx(12 / 24)
    assert found["field"] == {"a": 0.5, "b": 0.5}
    assert found["antenna"] == {"ea01": 0.75, "ea02": 0.25, "ea03": 0.5}
    assert found["spw"] == {"3": 0.5}


def test_flag_counts_add_up_over_chunks():
    whole, parts = metrics.FlagCounts(), metrics.FlagCounts()
    random = np.random.default_rng(5)
    flag = random.random((2, 8, 60)) < 0.3
    columns = [random.integers(0, 3, 60), random.integers(0, 4, 60), random.integers(4, 8, 60)]
    whole.add(flag, *columns, 0)
    for part in (slice(0, 17), slice(17, 60)):
        parts.add(flag[:, :, part], *(column[part] for column in columns), 0)
    names = [str(i) for i in range(8)]
    assert parts.fractions(names, names) == whole.fractions(names, names)


def test_flag_counts_of_autocorrelations_alone_are_not_measured():
    counts = metrics.FlagCounts()
    ids = np.zeros(3, np.int64)
    counts.add(np.ones((1, 1, 3), bool), ids, ids, ids, 0)
    assert counts.fractions(("a",), ("1",))["total"] is None


def test_fluxscale_table_reads_what_casa_returns():
    raw = {
        "1": {
            "0": {"fluxd": [2.536, 0, 0, 0], "fluxdErr": [0.0023, 0, 0, 0], "numSol": [54, 0]},
            "1": {"fluxd": [-1.0, 0, 0, 0], "fluxdErr": [-1.0, 0, 0, 0], "numSol": [-1, 0]},
            "fieldName": "1445+099",
            "spidx": [0.0, 0.0],
        },
        "freq": [1.4e9],
        "spwID": [0],
    }
    found = metrics.fluxscale_table(raw)
    assert found["flux_jy"] == {"1445+099": {"0": 2.536, "1": None}}
    assert found["error_jy"] == {"1445+099": {"0": 0.0023, "1": None}}
    assert found["solutions"] == {"1445+099": {"0": 54, "1": 0}}
    assert found["flux_jy_reason"] == {"1445+099": {"1": "fluxscale found no solutions"}}


def _by_medians(values, clip=5.0):
    """Measure noise as `robust_noise` is defined, one median after the other."""
    kept = values[np.isfinite(values)]
    for _ in range(20):
        if kept.size < metrics.MIN_PIXELS:
            return None
        deviation = np.abs(kept - np.median(kept))
        sigma = metrics.MAD_TO_SIGMA * float(np.median(deviation))
        if sigma == 0.0:
            return None
        inside = deviation <= clip * sigma
        if inside.all():
            break
        kept = kept[inside]
    return sigma


@pytest.mark.parametrize("kind", ["noise", "sources", "steps", "skewed", "flat", "blanked"])
def test_robust_noise_is_that_of_medians_to_the_bit(kind):
    rng = np.random.default_rng(5)
    for size in range(95, 400):
        values = rng.normal(size=size)
        if kind == "sources":
            values[: size // 5] *= 40
        elif kind == "steps":
            values = values.round(1)
        elif kind == "skewed":
            values = np.abs(values) ** 3
        elif kind == "flat":
            values[: rng.integers(0, size)] = 1.0
        elif kind == "blanked":
            values[::17] = np.nan
        assert metrics.robust_noise(values) == _by_medians(values)
