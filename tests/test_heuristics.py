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
