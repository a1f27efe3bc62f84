"""The auto values against numbers worked out by hand."""

from dataclasses import replace

import pytest
from casarun import heuristics
from casarun.observation import Field
from hypothesis import given
from hypothesis import strategies as st
from support.observations import antennas, spw, vla


def test_refant_is_the_central_antenna() -> None:
    choice = heuristics.refant(vla())
    assert choice.value == "ea01,ea02,ea00"
    assert choice.reason == (
        "ea01 is 20 m from the array's centre, 0% flagged, present in 100% of the scans"
    )


def test_refant_avoids_flagged_and_absent_antennas() -> None:
    ants = antennas(10.0, 20.0, 30.0, 500.0)
    ants = (
        replace(ants[0], flagged_fraction=0.9),
        replace(ants[1], present_fraction=0.5),
        *ants[2:],
    )
    assert heuristics.refant(replace(vla(), antennas=ants)).value.split(",")[0] == "ea02"


def test_cell_is_a_quarter_of_the_resolution() -> None:
    # 21.2 cm over 1031 m is 42.4 arcsec; a quarter is 10.6, rounded down to 10.
    choice = heuristics.cell(1031.213, 1.414178745e9)
    assert choice.value == "10arcsec"
    assert "lambda/B = 42.4 arcsec" in choice.reason


@given(st.floats(1.0, 1e5), st.floats(1e8, 1e12))
def test_cell_leaves_four_to_five_pixels_across_the_resolution(metres: float, hertz: float) -> None:
    width = float(heuristics.cell(metres, hertz).value.removesuffix("arcsec"))
    resolution = heuristics.resolution_arcsec(metres, hertz)
    assert 4 - 1e-6 <= resolution / width <= 5.4


def test_imsize_covers_two_primary_beams() -> None:
    choice = heuristics.imsize(25.0, 1.4126e9, 10.0, cube=False)
    # 1.13 lambda / D = 1978 arcsec; twice that in pixels of 10 arcsec is 396.
    assert choice.value == 400


@pytest.mark.parametrize(
    ("number", "expected"), [(1, 32), (33, 36), (127, 128), (396, 400), (401, 432), (511, 512)]
)
def test_friendly(number: int, expected: int) -> None:
    assert heuristics.friendly(number) == expected


@given(st.integers(1, 20000))
def test_friendly_sizes_are_even_products_of_small_primes(number: int) -> None:
    size = heuristics.friendly(number)
    assert size >= number
    assert size % 2 == 0
    for prime in (2, 3, 5):
        while size % prime == 0:
            size //= prime
    assert size == 1


def test_edge_channels() -> None:
    assert heuristics.edge_channels(spw(0, n_chan=64)).value == 3
    assert heuristics.edge_channels(spw(0, n_chan=15)).value == 0


def test_solve_channels() -> None:
    assert heuristics.solve_channels([spw(0, n_chan=64), spw(1, n_chan=4)]).value == "0:6~57,1"


def test_delay_is_for_wide_windows() -> None:
    assert heuristics.delay([spw(0, n_chan=64, width_hz=2e6)]).value == "yes"
    assert heuristics.delay([spw(0)]).value == "no"
    continuum = spw(1, n_chan=1, width_hz=50e6)
    choice = heuristics.delay([spw(0, n_chan=64, width_hz=2e6), continuum])
    assert choice.value == "no"
    assert choice.reason == "spw 1 has only 1 channel"


def test_separation_over_the_pole() -> None:
    a, b = Field(0, "a", 0.0, 89.0), Field(1, "b", 180.0, 89.0)
    assert heuristics.separation_deg(a, b) == pytest.approx(2.0)


def test_phase_calibrator_is_the_nearest_across_zero_hours() -> None:
    target = Field(0, "t", 359.9, 10.0)
    near, far = Field(1, "near", 0.3, 10.0), Field(2, "far", 355.0, 10.0)
    assert heuristics.phase_calibrator(target, [far, near]).value == "near"


def test_spwmap_is_empty_where_each_has_its_own() -> None:
    spws = {i: spw(i) for i in range(2)}
    assert heuristics.spwmap([0, 1], [0, 1], spws) == []


def test_spwmap_takes_the_nearest_in_frequency() -> None:
    spws = {i: spw(i, centre_hz=f) for i, f in enumerate((1.0e9, 1.1e9, 1.5e9, 1.6e9))}
    assert heuristics.spwmap([0, 1, 2, 3], [0, 3], spws) == [0, 0, 3, 3]


@pytest.mark.parametrize(
    ("hertz", "expected"), [(1.4e9, "3C286_L.im"), (8.4e9, "3C286_X.im"), (100e9, "")]
)
def test_model_image_by_position_and_band(hertz: float, expected: str) -> None:
    field = Field(0, "whatever", 202.7845, 30.5092)
    assert heuristics.model_image(field, hertz, "Perley-Butler 2017").value == expected


def test_model_image_of_an_unknown_source_is_a_point() -> None:
    choice = heuristics.model_image(Field(0, "x", 10.0, 10.0), 1.4e9, "Perley-Butler 2017")
    assert choice.value == ""
    assert choice.reason == "no model image for x at 1400 MHz: point source"


def test_automask_for_the_7m_array() -> None:
    observation = replace(
        vla(spws=[spw(0, centre_hz=100e9)]),
        telescope="ALMA",
        antennas=antennas(1.0, 2.0, diameter_m=7.0),
    )
    assert heuristics.automask(observation).value["sidelobethreshold"] == 1.25


def test_scales_follow_the_synthesized_beam() -> None:
    assert heuristics.scales("multiscale", 42.4, 10.0).value == [0, 4, 12]
    assert heuristics.scales("mtmfs", 42.4, 10.0).value == [0]


def test_imsize_of_a_mosaic_takes_its_extent_too() -> None:
    choice = heuristics.imsize(25.0, 1.4126e9, 10.0, cube=False, spread_arcsec=900.0)
    assert choice.value == 486  # (2 x 1978 + 900) / 10, rounded up
    assert "and 15 arcmin between the pointings" in choice.reason


def test_the_w_term_at_half_power_is_lambda_b_over_d_squared() -> None:
    wavelength = heuristics.SPEED_OF_LIGHT / 1.4e9
    half = 0.5 * heuristics.primary_beam_arcsec(25.0, 1.4e9)
    phase = heuristics.w_phase_rad(half, 36e3, 1.4e9)
    assert phase == pytest.approx(wavelength * 36e3 / 25**2, rel=0.01)


@pytest.mark.parametrize(
    ("baseline_m", "hertz", "radius_arcsec", "expected"),
    [
        (1e3, 1.4e9, 2000, "standard"),  # VLA, D configuration, 20 cm
        (11e3, 1.4e9, 2000, "wproject"),  # B configuration
        (11e3, 1.4e9, 60, "standard"),  # B configuration, but a small image
        (36e3, 43e9, 60, "standard"),  # A configuration, 7 mm
    ],
)
def test_gridder_by_the_w_term(
    baseline_m: float, hertz: float, radius_arcsec: float, expected: str
) -> None:
    choice = heuristics.gridder([25.0, 25.0], baseline_m, hertz, radius_arcsec)
    assert choice.value == expected
    assert "pi theta^2 B/lambda" in choice.reason


def test_gridder_of_pointings_and_of_mixed_dishes() -> None:
    assert heuristics.gridder([12.0], 300.0, 1e11, 60, pointings=7).value == "mosaic"
    assert heuristics.gridder([7.0, 12.0], 300.0, 1e11, 60).value == "mosaic"
    assert heuristics.gridder([24.9, 25.0], 300.0, 1e9, 60).value == "standard"


def test_a_mosaics_centre_across_zero_hours() -> None:
    fields = [Field(0, "a", 359.9, 10.0), Field(1, "b", 0.3, 10.0)]
    ra, dec = heuristics.phasecenter(fields).value.removeprefix("J2000 ").split()
    assert float(ra.removesuffix("deg")) == pytest.approx(0.1)
    assert float(dec.removesuffix("deg")) == pytest.approx(10.0, abs=1e-4)


def test_what_taylor_terms_leave_of_a_spectrum() -> None:
    # (nu/nu0)^-0.7 at nu = 1.1 nu0, less 1, less its slope: worked out by hand.
    exact = 1.1**-0.7
    assert heuristics.spectral_error(0.9e9, 1.1e9, 1) == pytest.approx(0.07)
    assert heuristics.spectral_error(0.9e9, 1.1e9, 2) == pytest.approx(exact - 0.93, rel=0.1)


@pytest.mark.parametrize(
    ("low", "high", "cube", "expected"),
    [
        (1.0e9, 2.0e9, False, ("mtmfs", 2)),
        (1.40e9, 1.45e9, False, ("hogbom", 1)),
        (2.0e9, 4.0e9, True, ("hogbom", 2)),
    ],
)
def test_deconvolver_and_terms(low: float, high: float, cube: bool, expected: object) -> None:
    deconvolver = heuristics.deconvolver(low, high, cube=cube)
    assert (deconvolver.value, heuristics.nterms(low, high).value) == expected
    if not cube:
        assert "fractional bandwidth" in deconvolver.reason


@pytest.mark.parametrize(
    ("known", "low", "high", "value", "reason"),
    [
        ([1.420405752e9], 1.412e9, 1.414e9, "1420.405752MHz", "the data's SOURCE table gives it"),
        ([], 1.412e9, 1.414e9, "1420.405752MHz", "the HI line is the only one known in the band"),
        ([], 1.664e9, 1.669e9, "", "lines in the band: OH 1665, OH 1667"),
        ([], 5.0e9, 5.1e9, "", "lines in the band: none known"),
        ([0.0], 115.0e9, 115.2e9, "115271.2018MHz",
         "the CO 1-0 line is the only one known in the band"),
        ([1.1e9, 1.2e9], 1e9, 2e9, "",
         "the data's SOURCE table gives several: 1100 MHz, 1200 MHz"),
    ],
)  # fmt: skip
def test_rest_frequency(
    known: list[float], low: float, high: float, value: str, reason: str
) -> None:
    assert heuristics.restfreq(known, low, high) == heuristics.Choice(value, reason)


def test_refant_says_why_a_nearer_antenna_was_passed_over() -> None:
    ants = antennas(10.0, 20.0, 30.0, 500.0)
    ants = (replace(ants[0], flagged_fraction=0.9), *ants[1:])
    assert heuristics.refant(replace(vla(), antennas=ants)).reason == (
        "ea01 is 20 m from the array's centre, 0% flagged, present in 100% of the scans; ea00 is "
        "nearer (10 m), but 90% flagged, present in 100% of the scans"
    )


def solint(integration_s: float, ghz: float, baseline_m: float, kind: str = "phase"):
    observation = replace(vla(spws=[spw(0, centre_hz=ghz * 1e9)]), longest_baseline_m=baseline_m)
    scans = [replace(scan, integration_s=integration_s) for scan in observation.scans]
    return heuristics.solint(kind, observation, scans)


def test_long_integrations_are_not_averaged() -> None:
    choice = solint(30.0, 1.4, 1e3)
    assert choice.value == "int"
    assert choice.reason == "integrations of 30 s need no averaging"


def test_short_integrations_are_averaged_to_ten_seconds() -> None:
    choice = solint(3.0, 1.4, 1e3)
    assert choice.value == "9s"
    assert choice.reason == (
        "3 integrations of 3 s, for signal to noise; phases hold 1 h 00 min at 1400.787 MHz"
    )


def test_the_atmosphere_limits_the_averaging_at_high_frequencies() -> None:
    # (20 deg * 1.0 mm / 300)**1.2 = 38.8 m, twice that at 10 m/s: 7.8 s.
    assert heuristics.coherence_s(299.792458e9, 10e3) == pytest.approx(7.76, abs=0.01)
    assert solint(2.0, 299.792458, 10e3).value == "6s"
    assert solint(6.0, 299.792458, 10e3).value == "int"
    # An array that is smaller than the pattern never sees it.
    assert heuristics.coherence_s(299.792458e9, 30.0) == 3600


@pytest.mark.parametrize("kind", ["delay", "bandpass", "amp"])
def test_what_is_stable_takes_the_longest_interval(kind: str) -> None:
    assert solint(1.0, 1.4, 1e3, kind).value == "inf"


def test_model_images_at_low_frequencies() -> None:
    field = Field(0, "x", 69.2682, 29.6705)  # 3C123
    assert heuristics.model_image(field, 0.35e9, "Perley-Butler 2017").value == "3C123_P.im"
    assert heuristics.model_image(field, 1.4e9, "Perley-Butler 2017").value == ""
