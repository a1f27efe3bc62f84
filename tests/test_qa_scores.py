"""Scores: points fitted to visibilities, solutions that stand out, residuals, noise, checks."""

import math

import numpy as np
import pytest
from casarun.casa.read import CalTable
from casarun.casa.thermal import Part, image_noise
from casarun.qa import calibrators, residuals, scores, sefd, solutions
from casarun.qa.metrics import fluxscale_table
from casarun.qa.spectra import Spectra

ARCSEC = math.pi / 180 / 3600


def visibilities(flux=2.0, east=0.0, north=0.0, noise=0.05, n=4000, seed=1, width_arcsec=0.0):
    """Return u, v (wavelengths) and visibilities of a Gaussian or point at an offset."""
    random = np.random.default_rng(seed)
    u, v = random.uniform(-5e3, 5e3, (2, n))
    turns = 2j * np.pi * ARCSEC * (u * east + v * north)
    # The transform of a Gaussian of that full width at half maximum.
    fall = np.exp(-((np.pi * width_arcsec * ARCSEC) ** 2) * (u**2 + v**2) / (4 * np.log(2)))
    errors = random.normal(0, noise, (2, n))
    return u, v, flux * fall * np.exp(turns) + errors[0] + 1j * errors[1]


def test_a_point_is_found_where_it_is():
    found = calibrators.point(*visibilities(east=1.5, north=-0.7))
    assert found.flux_jy == pytest.approx(2.0, abs=4 * found.flux_error_jy)
    assert found.flux_error_jy == pytest.approx(0.05 / math.sqrt(4000), rel=0.1)
    assert found.east_arcsec == pytest.approx(1.5, abs=4 * found.position_error_arcsec)
    assert found.north_arcsec == pytest.approx(-0.7, abs=4 * found.position_error_arcsec)
    # Phase errors of noise over flux, fitted over an rms of 5000/sqrt(3) wavelengths.
    error = 0.05 / 2 / (2 * math.pi * 5e3 / math.sqrt(3) * math.sqrt(4000)) / ARCSEC
    assert found.position_error_arcsec == pytest.approx(error, rel=0.1)
    assert not found.resolved
    assert found.resolution_arcsec == pytest.approx(1 / 7071 / ARCSEC, rel=0.05)


def test_a_resolved_source_is_extrapolated_to_zero_spacing():
    found = calibrators.point(*visibilities(width_arcsec=12.0, noise=0.01))
    assert found.resolved
    assert found.flux_jy == pytest.approx(2.0, rel=0.02)


def test_phases_that_scatter_are_told_from_noise():
    u, v, vis = visibilities(noise=0.05)
    quiet = calibrators.point(u, v, vis)
    assert quiet.phase_rms_deg == pytest.approx(math.degrees(0.05 / 2), rel=0.1)
    assert quiet.phase_excess_deg < 0.5
    turns = np.random.default_rng(2).normal(0, math.radians(20), u.size)
    moved = calibrators.point(u, v, vis * np.exp(1j * turns))
    assert moved.phase_excess_deg == pytest.approx(20.0, rel=0.1)


def test_noise_and_too_little_are_no_point():
    u, v, vis = visibilities(n=calibrators.MIN_ROWS - 1)
    assert calibrators.point(u, v, vis) is None
    assert calibrators.point(u, v, np.full(u.size, np.nan + 0j)) is None
    numbers = calibrators.numbers({"0": (u, v, vis)})
    assert numbers["flux_jy"] == {"0": None}
    assert numbers["east_arcsec"] is None
    assert numbers["east_arcsec_reason"] == "too few visibilities, or no signal in them"


def test_phases_of_a_faint_calibrator_are_not_judged():
    numbers = calibrators.numbers({"0": visibilities(flux=0.1, noise=0.1)})
    assert numbers["phase_excess_deg"] is None
    assert "its phases show noise" in numbers["phase_excess_deg_reason"]
    assert numbers["flux_jy"]["0"] == pytest.approx(0.1, abs=0.02)


def table(values, flag=None, snr=None, kind="G Jones"):
    """Return a table of shape (feeds, channels, antennas * times), 10 antennas."""
    n = values.shape[2] // 10
    flag = np.zeros(values.shape, bool) if flag is None else flag
    return CalTable(
        path="t", type=kind, values=values, flag=flag,
        snr=np.full(values.shape, 50.0) if snr is None else snr,
        time_s=np.repeat(np.arange(n) * 60.0, 10), antenna=np.tile(np.arange(10), n),
        field=np.zeros(10 * n, int), spw=np.zeros(10 * n, int), scan=np.zeros(10 * n, int),
        antennas=tuple(f"ea{i:02d}" for i in range(10)), fields=("cal",),
        frequencies_hz=(1.4e9 + 1e6 * np.arange(values.shape[1]),),
    )  # fmt: skip


def gains(n_times=8, n_chan=1):
    random = np.random.default_rng(3)
    shape = (2, n_chan, 10 * n_times)
    return random.normal(1, 0.02, shape) * np.exp(1j * random.normal(0, 0.05, shape))


def summed(made, kind):
    return solutions.summary(made, kind, np.ones(10, bool))


def test_ordinary_antennas_do_not_stand_out():
    for kind in ("phase-int", "amp", "bandpass"):
        assert summed(table(gains()), kind)["outliers"] == []


def test_an_antenna_that_stands_out_is_named_with_what_is_odd():
    values, snr = gains(), np.full((2, 1, 80), 50.0)
    of_3, of_5 = np.arange(3, 80, 10), np.arange(5, 80, 10)
    values[:, :, of_3] *= 3.0
    snr[:, :, of_5] = 4.0
    found = summed(table(values, snr=snr), "amp")["outliers"]
    assert [(one["antenna"], one["what"]) for one in found] == [
        ("ea05", "S/N"), ("ea03", "amplitude"),
    ]  # fmt: skip
    assert found[0]["value"] == pytest.approx(4.0)
    assert found[0]["typical"] == pytest.approx(50.0)
    assert found[1]["value"] == pytest.approx(3.0, rel=0.05)


def test_phases_that_jump_stand_out():
    values = gains()
    of_7 = np.arange(7, 80, 10)
    values[:, :, of_7] *= np.exp(1j * np.random.default_rng(4).normal(0, 0.8, 8))
    (one,) = summed(table(values), "phase-int")["outliers"]
    assert (one["antenna"], one["what"]) == ("ea07", "scatter of phases")
    quiet = solutions.by_antenna(table(gains(300)), "phase-int")["ea00"]["phase_rms_deg"]
    assert quiet == pytest.approx(math.degrees(0.05), rel=0.1)


def test_dead_antennas_are_not_among_the_others():
    values, snr = gains(), np.full((2, 1, 80), 50.0)
    snr[:, :, np.arange(5, 80, 10)] = 1.0
    alive = np.ones(10, bool)
    alive[5] = False
    assert solutions.summary(table(values, snr=snr), "amp", alive)["outliers"] == []


def test_flags_and_snr_against_time_and_frequency():
    values = gains(4, 8)
    flag, snr = np.zeros(values.shape, bool), np.full(values.shape, 50.0)
    flag[:, 0] = True  # the first channel
    snr[:, :, 10:20] = 20.0  # the second time
    found = summed(table(values, flag, snr, "B Jones"), "bandpass")["against"]
    assert found["time"]["snr"] == [50.0, 20.0, 50.0, 50.0]
    assert found["time"]["flagged"] == [0.125] * 4
    assert found["frequency"]["flagged"][:3] == [1.0, 0.0, 0.0]
    assert found["frequency"]["snr"][0] is None
    assert found["frequency"]["x"][1] == pytest.approx(1401.0)


def test_noise_has_the_moments_of_noise():
    moments, numbers = residuals.Moments(), {}
    random = np.random.default_rng(5)
    for sigma in (1.0, 3.0):  # channels of different noise
        moments.add(random.normal(0, sigma, (300, 300)), sigma)
    moments.into(numbers, beam_pixels=1.0)
    assert numbers["residual_skewness"] == pytest.approx(0, abs=5 * math.sqrt(6 / 180_000))
    assert numbers["residual_kurtosis"] == pytest.approx(0, abs=5 * math.sqrt(24 / 180_000))
    assert numbers["residual_tail_ratio"] < 2


def test_artefacts_have_other_moments():
    moments, numbers = residuals.Moments(), {}
    pixels = np.random.default_rng(6).normal(0, 1, (300, 300))
    pixels[::20, ::20] += 8
    moments.add(pixels, 1.0)
    moments.into(numbers, beam_pixels=10.0)
    assert numbers["residual_kurtosis"] > 3
    assert numbers["residual_skewness"] > 0.5
    assert numbers["residual_tail_ratio"] > 10
    assert numbers["residual_independent"] == 9000


def test_a_few_pixels_have_no_moments():
    moments, numbers = residuals.Moments(), {}
    moments.add(np.zeros((5, 5)), 1.0)
    moments.into(numbers, 1.0)
    assert numbers["residual_kurtosis"] is None
    assert numbers["residual_kurtosis_reason"] == "too few pixels of the residual lie off source"


def test_a_ring_surrounds_emission():
    emission = np.zeros((40, 50), bool)
    emission[10:13, 20:22] = True
    found = residuals.ring(emission, 4)
    assert not (found & emission).any()
    assert found.sum() == (3 + 8) * (2 + 8) - 6
    assert found[6, 16]
    assert not found[5, 20]


def bowl_of(depth):
    """Return an image of noise 1 with a source in a bowl, and where the source is."""
    y, x = np.mgrid[:200, :200]
    distance = np.hypot(y - 100, x - 100)
    pixels = np.random.default_rng(7).normal(0, 1, (200, 200))
    emission = distance < 12
    pixels += 50 * emission - depth * (distance < 40)
    return residuals.bowl(pixels, np.ones_like(emission), emission, 20.0, 1.0)


def test_a_bowl_is_measured():
    depth, significance = bowl_of(3.0)
    assert depth == pytest.approx(3.0, abs=0.3)
    assert significance > 20
    depth, significance = bowl_of(0.0)
    assert depth < 0.15
    assert significance < 3
    nothing = np.zeros((200, 200), bool)
    assert residuals.bowl(np.zeros((200, 200)), ~nothing, nothing, 20.0, 1.0) is None


def part(sigma=0.1, number=1000.0):
    return Part(sigma, number, 10, 1e6, 10.0, "VLA", 1.4e9)


def test_the_noise_of_natural_weights():
    assert image_noise([part()], 1.0) == pytest.approx(0.1 / math.sqrt(1000))
    assert image_noise([part(), part()], 1.0) == pytest.approx(0.1 / math.sqrt(2000))
    # A channel of a cube as wide as one of the data's ten.
    assert image_noise([part()], 1.0, 1e6) == pytest.approx(0.1 / math.sqrt(100))
    assert image_noise([], 1.0) is None


def test_the_array_s_noise_is_that_of_its_sefd():
    array, band = sefd.find("evla", 3e9)
    assert (array.names[0], band.name, band.sefd_jy) == ("EVLA", "S", 370)
    noise = sefd.visibility_noise_jy(370, 0.93, 2e6, 3.0)
    assert noise == pytest.approx(370 / 0.93 / math.sqrt(1.2e7))
    # 5.62 Tsys / efficiency: 35 K and 55 % of the old receivers at 20 cm.
    assert sefd.find("VLA", 1.42e9)[1].sefd_jy == pytest.approx(357.6, abs=0.1)
    assert sefd.find("ALMA", 1e11) is None
    assert sefd.find("VLA", 1e11) is None


@pytest.mark.parametrize("array", sefd.ARRAYS)
def test_every_sefd_has_a_source_and_bands_do_not_overlap(array):
    assert len(array.source) > 20
    assert 0.5 < array.efficiency <= 1
    for first, second in zip(array.bands[:-1], array.bands[1:], strict=True):
        assert first.low_hz < first.high_hz <= second.low_hz
    assert all(100 < band.sefd_jy < 5000 for band in array.bands)


@pytest.mark.parametrize(("s_band_hz", "s_band_ujy"), [(2.4055e9, 6.9), (3.0625e9, 7.1)])
def test_meerkats_uhf_and_s_band_have_the_ratio_of_saraos_table(s_band_hz, s_band_ujy):
    """Noise of an hour: 11.9 uJy over 580 to 1015 MHz; S1, S4 over 875 MHz each."""
    uhf, s_band = sefd.find("MeerKAT", 0.8e9)[1], sefd.find("MeerKAT", s_band_hz)[1]
    expected = (11.9 / s_band_ujy) * math.sqrt(435 / 875)
    assert uhf.sefd_jy / s_band.sefd_jy == pytest.approx(expected, rel=0.05)


def fluxes(index, bump=1.0):
    """Return what fluxscale would for four windows of a power law, one of them off."""
    hertz = [1.0e9, 1.2e9, 1.5e9, 1.8e9]
    reference = 1.34e9
    flux = [2.0 * (f / reference) ** index for f in hertz]
    flux[3] *= bump
    raw = {
        "1": {
            **{str(i): {"fluxd": [s], "fluxdErr": [0.01], "numSol": [20]}
               for i, s in enumerate(flux)},
            "fieldName": "cal", "fitFluxd": 2.0, "fitFluxdErr": 0.01, "fitRefFreq": reference,
            "spidx": [math.log10(2.0), index], "spidxerr": [0.0, 0.02],
        },
        "freq": hertz, "spwID": [0, 1, 2, 3],
    }  # fmt: skip
    return fluxscale_table(raw)


def test_the_flux_scale_s_own_fit_is_kept_and_what_is_off_it_found():
    fit = fluxes(-0.7)["fit"]["cal"]
    assert fit["spectral_index"] == -0.7
    assert fit["max_deviation"] == pytest.approx(0, abs=1e-12)
    assert fluxes(-0.7, 1.2)["fit"]["cal"]["max_deviation"] == pytest.approx(0.2)
    (check,) = [
        one for one in scores.of_dataset("a", {"fluxscale": fluxes(-0.7, 1.2)})
        if one["name"] == "fluxscale_consistency"
    ]  # fmt: skip
    assert check["verdict"] == "warn"
    assert check["subject"] == "a, cal"


def measured(**changes):
    return {
        "flux_jy": {"0": 2.0}, "east_arcsec": 0.0, "north_arcsec": 0.0,
        "position_error_arcsec": 0.01, "resolution_arcsec": 40.0, "phase_rms_deg": 2.0,
        "phase_excess_deg": 1.0, **changes,
    }  # fmt: skip


def of(name, checks):
    (found,) = [check for check in checks if check["name"] == name]
    return found


@pytest.mark.parametrize(
    ("name", "changes", "value"),
    [
        ("flux_closure", {"flux_jy": {"0": 2.2}}, 0.1),
        ("astrometry", {"east_arcsec": 3.0, "north_arcsec": 4.0}, 0.125),
        ("phase_rms", {"phase_excess_deg": 45.0}, 45.0),
    ],
)
def test_a_calibrator_that_is_off_warns(name, changes, value):
    def checks(**more):
        return scores.of_dataset(
            "a", {"calibrators": {"cal": measured(**more)}, "model_flux_jy": {"cal": {"0": 2.0}}}
        )

    assert of(name, checks())["verdict"] == "pass"
    bad = of(name, checks(**changes))
    assert bad["verdict"] == "warn"
    assert bad["value"] == pytest.approx(value)


def test_a_calibrator_s_data_are_held_against_fluxscale_where_nothing_was_set():
    numbers = {
        "calibrators": {"cal": measured()}, "fluxscale": {"flux_jy": {"cal": {"0": 2.5}}},
    }  # fmt: skip
    found = of("flux_closure", scores.of_dataset("a", numbers))
    assert found["value"] == pytest.approx(0.2)
    assert found["text"] == "corrected visibilities give 2 Jy, 2.5 Jy of fluxscale"


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("thermal_noise", {"noise_over_thermal": 1.9}, {"noise_over_thermal": 2.1}),
        ("array_noise", {"visibility_over_array": 1.5}, {"visibility_over_array": 0.4}),
        ("gaussian_residuals", {"residual_kurtosis": -0.5}, {"residual_kurtosis": 1.5}),
        ("negative_bowl", {"bowl_sigma": 0.5}, {"bowl_sigma": 1.5}),
    ],
)
def test_an_image_that_is_off_warns(name, good, bad):
    common = {
        "thermal_noise_jy_per_beam": 1e-3, "visibility_noise_jy": 0.1, "sefd": "L: 420 Jy",
        "residual_independent": 1e5, "bowl_significance": 9.0,
    }  # fmt: skip
    assert of(name, scores.of_image("t, i", common | good))["verdict"] == "pass"
    assert of(name, scores.of_image("t, i", common | bad))["verdict"] == "warn"


def test_a_high_dynamic_range_may_cost_noise():
    numbers = {"noise_over_thermal": 5.0, "thermal_noise_jy_per_beam": 1e-3}
    assert of("thermal_noise", scores.of_image("t, i", numbers))["verdict"] == "warn"
    good = of("thermal_noise", scores.of_image("t, i", {**numbers, "dynamic_range": 2e4}))
    assert good["verdict"] == "pass"
    assert good["text"].endswith("; the dynamic range of 20000 limits it")


def test_what_may_be_chance_does_not_warn():
    numbers = {"residual_kurtosis": 1.5, "residual_independent": 100.0,
               "bowl_sigma": 1.5, "bowl_significance": 2.0}  # fmt: skip
    assert {check["verdict"] for check in scores.of_image("t, i", numbers)} == {"pass"}


def test_what_was_not_measured_is_not_checked():
    numbers = {"noise_over_thermal": None, "noise_over_thermal_reason": "a mosaic"}
    assert not list(scores.of_image("t, i", numbers))
    assert not list(scores.of_dataset("a", {}))


def test_spectra_are_vector_averages_without_what_is_flagged():
    made = Spectra()
    data = np.full((2, 3, 4), 2.0 + 0j)
    data[:, 1] = 2j
    data[:, 2, ::2] = -2.0
    flag = np.zeros(data.shape, bool)
    flag[:, 0, 0] = True
    data[:, 0, 0] = np.nan
    made.add(data, flag, np.array([0, 0, 1, 1]), 0)
    found = made.result({"both": [0, 1], "none": [5]}, [np.array([1e9, 2e9, 3e9])])
    assert list(found) == ["both"]
    (window,) = found["both"]
    assert window["frequency_mhz"] == [1000.0, 2000.0, 3000.0]
    assert window["amplitude_jy"] == [2.0, 2.0, 0.0]
    assert window["phase_deg"][:2] == [0.0, 90.0]
    assert window["scatter_jy"] == pytest.approx([0.0, 0.0, 2.0])
