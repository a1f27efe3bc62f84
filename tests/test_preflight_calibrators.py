"""Calibrators and solutions against the data: what is said, and where nothing must be."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from casarun.errors import KeyPath, Problem
from casarun.observation import Field, Observation, Scan
from casarun.preflight import calibrators, solutions
from casarun.recipe.model import (
    Calibrate,
    Calibrators,
    Dataset,
    FluxCalibrator,
    Recipe,
    Solint,
    Targets,
)
from casarun.stages import roles
from casarun.stages.draft import Draft, Subject
from support.observations import START_MJD_S, antennas, spw, vla

HEAD = (
    "the standard '{standard}' has no flux density of {field} in dataset day1: setjy would take "
    "it for a source of 1 Jy; "
)
DEFAULTS = Calibrate()
OWN = "give its flux density (calibrators.flux.fluxdensity)"


def checked(
    observation: Observation | None = None,
    *,
    calibrate: Calibrate = DEFAULTS,
    phase: tuple[str, ...] = ("1",),
    **flux: Any,
) -> Draft:
    recipe = Recipe(
        casarun=1,
        dataset=(Dataset(vis="/data/day1.fits", name="day1"),),
        calibrators=Calibrators(
            flux=FluxCalibrator(**{"field": "0", **flux}), bandpass="0", phase=phase
        ),
        targets=Targets(fields=("2",)),
        calibrate=calibrate,
    )
    observation = observation or vla()
    draft = Draft(recipe)
    found = roles.resolve(draft, recipe.dataset[0], observation)
    assert draft.problems == []
    subjects = [Subject(recipe.dataset[0], 0, observation, found)]
    calibrators.check(draft, subjects)
    solutions.check(draft, subjects)
    return draft


def said(problems: Sequence[Problem]) -> list[tuple[str, KeyPath]]:
    return [(problem.message, problem.key) for problem in problems]


def field(observation: Observation, number: int, **changes: Any) -> Observation:
    fields = list(observation.fields)
    fields[number] = replace(fields[number], **changes)
    return replace(observation, fields=tuple(fields))


def scans(observation: Observation, *plan: tuple[int, float, float]) -> Observation:
    """Replace the scans: field, start and end in minutes."""
    all_spws = tuple(spw.id for spw in observation.spws)
    return replace(
        observation,
        scans=tuple(
            Scan(i + 1, (number,), all_spws, START_MJD_S + 60 * a, START_MJD_S + 60 * b, 10.0)
            for i, (number, a, b) in enumerate(plan)
        ),
    )


def seen_in(observation: Observation, number: int, spws: tuple[int, ...]) -> Observation:
    """Return the observation with one field in these spectral windows alone."""
    return replace(
        observation,
        scans=tuple(
            replace(scan, spw_ids=spws) if number in scan.field_ids else scan
            for scan in observation.scans
        ),
    )


def test_a_sound_observation_is_passed_over_in_silence() -> None:
    draft = checked()
    assert said(draft.problems) == []
    assert said(draft.warnings) == []


# The flux standard


def test_a_field_that_no_standard_knows() -> None:
    draft = checked(field="1")
    head = HEAD.format(standard="Perley-Butler 2017", field="1445+099")
    assert said(draft.problems) == [
        (
            f"{head}the dataset has 1331+305, which it knows: name that (calibrators.flux.field), "
            f"or {OWN}",
            ("calibrators", "flux", "field"),
        )
    ]


def test_a_dataset_of_which_the_standard_knows_nothing() -> None:
    draft = checked(field(vla(), 0, name="J0408-6545", ra_deg=62.0849, dec_deg=-65.7525))
    head = HEAD.format(standard="Perley-Butler 2017", field="J0408-6545")
    assert said(draft.problems)[0][0] == (
        f"{head}it knows no field of the dataset: name another standard "
        f"(calibrators.flux.standard), or {OWN}"
    )


def test_a_source_that_another_standard_knows() -> None:
    observation = field(vla(), 0, name="J1939-6342", ra_deg=294.8543, dec_deg=-63.7127)
    draft = checked(observation)
    head = HEAD.format(standard="Perley-Butler 2017", field="J1939-6342")
    assert said(draft.problems) == [
        (
            f"{head}standards that know 1934-638 there: 'Stevens-Reynolds 2016', "
            "'Perley-Butler 2010', 'Perley-Taylor 99', 'Perley-Taylor 95', 'Perley 90', 'Baars', "
            f"or {OWN}",
            ("calibrators", "flux", "standard"),
        )
    ]
    assert checked(observation, standard="Stevens-Reynolds 2016").problems == []
    assert checked(observation, fluxdensity=(14.9,)).problems == []


def test_a_known_source_by_a_name_and_place_that_setjy_does_not_know() -> None:
    draft = checked(field(vla(), 0, name="primary", ra_deg=202.7845, dec_deg=30.5102))
    head = HEAD.format(standard="Perley-Butler 2017", field="primary")
    assert said(draft.problems) == [
        (
            f"{head}it is 3C286, 3.8 arcsec from its catalogued position, but setjy goes by a name "
            "that holds one of 3C286, 3C 286, 3C_286, 1328+307, 1331+305, J1331+3030, or by a "
            f"position within 1 arcsec: {OWN}",
            ("calibrators", "flux", "field"),
        )
    ]


def test_a_name_that_setjy_takes_for_another_source() -> None:
    draft = checked(field(vla(), 0, name="3C489", ra_deg=20.0, dec_deg=-10.0))
    assert draft.problems == []
    assert said(draft.warnings)[0] == (
        "by its name setjy takes 3C489 for 3C48, which is 43.4 deg away: if it is another source, "
        f"{OWN}",
        ("calibrators", "flux"),
    )


@pytest.mark.parametrize(
    ("standard", "ghz", "severity", "message"),
    [
        ("Perley-Butler 2017", 90.0, "warning",
         "the standard 'Perley-Butler 2017' holds for 3C286 at 50 MHz to 50 GHz; spw 0 (90 GHz) of "
         f"dataset day1 would be calibrated with an extrapolation; {OWN}"),
        ("Scaife-Heald 2012", 1.4, "warning",
         "the standard 'Scaife-Heald 2012' holds for 3C286 at 30 MHz to 480 MHz; spw 0 (1400 MHz) "
         "of dataset day1 would be calibrated with an extrapolation; 'Perley-Butler 2017' holds "
         f"there; or {OWN}"),
        ("Scaife-Heald 2012", 5.0, "error",
         "the standard 'Scaife-Heald 2012' holds for 3C286 at 30 MHz to 480 MHz; spw 0 (5000 MHz) "
         "of dataset day1 would be calibrated with an extrapolation; 'Perley-Butler 2017' holds "
         f"there; or {OWN}"),
    ],
)  # fmt: skip
def test_frequencies_at_which_a_standard_does_not_hold(
    standard: str, ghz: float, severity: str, message: str
) -> None:
    draft = checked(vla(spws=[spw(0, centre_hz=ghz * 1e9)]), standard=standard)
    found = [*draft.problems, *draft.warnings]
    assert (message, severity) in [(one.message, one.severity) for one in found]


def test_the_solar_system() -> None:
    def named(name: str, ghz: float, mjd: float = 57000.0) -> list[str]:
        observation = replace(
            field(vla(spws=[spw(0, centre_hz=ghz * 1e9)]), 0, name=name),
            start_mjd_s=mjd * 86400,
        )
        problems = checked(observation, standard="Butler-JPL-Horizons 2012").problems
        return [problem.message for problem in problems]

    assert named("Uranus", 100.0) == []
    (far,) = named("Uranus", 43.0)
    assert far.startswith(
        "the standard 'Butler-JPL-Horizons 2012' holds for Uranus at 60 GHz to 1799 GHz; "
        "spw 0 (43 GHz)"
    )
    (longer,) = named("Uranus_2", 100.0)
    assert longer.endswith(f"setjy wants the field to be called just 'Uranus'; rename it, or {OWN}")
    assert named("Venus", 100.0, mjd=54000.5) == [
        "CASA's ephemeris of Venus begins with MJD 55197; dataset day1 was observed from "
        "MJD 54000.5: give the flux density of Venus (calibrators.flux.fluxdensity)"
    ]
    assert named("Uranus", 100.0, mjd=54000.5) == []


def test_model_images() -> None:
    (problem,) = checked(model="3C286_LL.im").problems
    assert problem.key == ("calibrators", "flux", "model")
    assert problem.message == (
        "CASA has no model image '3C286_LL.im', and an image of your own is given as a path with "
        "a '/'; CASA's of 3C286: 3C286_P.im, 3C286_L.im, 3C286_S.im, 3C286_C.im, 3C286_X.im, "
        "3C286_U.im, 3C286_K.im, 3C286_A.im, 3C286_Q.im; did you mean '3C286_L.im'?"
    )
    assert [one.message for one in checked(model="3C48_L.im").warnings] == [
        '3C48_L.im is an image of 3C48, but 1331+305 of dataset day1 is 3C286: use model = "auto"'
    ]
    for model in ("auto", "point", "3C286_L.im", "/data/own.im"):
        draft = checked(model=model)
        assert said([*draft.problems, *draft.warnings]) == []


def test_a_resolved_source_without_an_image() -> None:
    cygnus = field(vla(), 0, name="CYG-A", ra_deg=299.8682, dec_deg=40.7339)
    assert said(checked(cygnus).warnings)[0] == (
        "Cygnus A spans some 120 arcsec, and dataset day1 resolves 44 arcsec in spw 0 (1400 MHz): "
        "as a point source it would bias the gains; name an image of it (calibrators.flux.model), "
        'or solve on the short baselines: calibrate.gaincal = { uvrange = "<3.7e+02m" }',
        ("calibrators", "flux", "model"),
    )
    short = Calibrate(gaincal={"uvrange": "<300m"})
    assert not any("spans" in one.message for one in checked(cygnus, calibrate=short).warnings)
    long = replace(vla(), longest_baseline_m=36e3)
    assert said(checked(long).warnings) == []
    (point,) = checked(long, model="point").warnings
    assert point.message.endswith('model = "auto" takes CASA\'s image 3C286_L.im')


# The phase calibrator


def test_a_target_that_no_calibrator_scan_follows() -> None:
    draft = checked(scans(vla(), (0, 0, 5), (1, 6, 8), (2, 9, 25)))
    assert said(draft.warnings) == [
        (
            "phases of 1 of 1 scan of N5921 in dataset day1 are extrapolated: up to 17 min 00 s "
            "after the last scan of 1445+099",
            ("calibrators", "phase"),
        )
    ]
    draft = checked(scans(vla(), (0, 0, 5), (2, 6, 25), (1, 26, 28), (2, 29, 30)))
    assert [one.message for one in draft.warnings] == [
        "phases of 1 of 2 scans of N5921 in dataset day1 are extrapolated: up to 20 min 00 s "
        "before the first scan of 1445+099"
    ]


def test_a_calibrator_of_another_hour() -> None:
    plan = ((0, 0, 5), (1, 6, 8), (2, 100, 120))
    (warning,) = checked(scans(vla(), *plan)).warnings
    assert warning.message == (
        "between 1 of 1 scan of N5921 in dataset day1 and the nearest scan of 1445+099 are up to "
        "1 h 32 min; phases hold for 1 h 00 min or so"
    )


def test_the_usual_patterns_are_silent() -> None:
    for plan in (
        ((0, 0, 5), (1, 6, 8), (2, 9, 25), (1, 26, 28)),
        ((1, 0, 2), (2, 3, 33), (1, 34, 36), (2, 37, 67), (1, 68, 70), (0, 71, 75)),
        ((0, 0, 5), (1, 6, 8), (2, 9, 12)),
    ):
        assert said(checked(scans(vla(), *plan)).warnings) == []


def test_a_calibrator_that_was_never_observed() -> None:
    draft = checked(scans(vla(), (0, 0, 5), (2, 9, 25)))
    assert said(draft.problems) == [
        (
            "dataset day1 has no scan of 1445+099, the phase calibrator of N5921: name another "
            "(calibrators.phase or targets.phase)",
            ("calibrators", "phase"),
        )
    ]


def test_a_calibrator_in_another_part_of_the_sky() -> None:
    draft = checked(field(vla(), 1, name="J1445", ra_deg=260.0, dec_deg=5.0))
    assert [one.message for one in draft.warnings] == [
        "phase calibrator J1445 is 29.4 deg from N5921 in dataset day1: beyond 20 deg its phases "
        "say little about the target's"
    ]
    far = field(vla(), 1, name="J1445", ra_deg=290.0, dec_deg=5.0)
    assert checked(far).warnings[0].message.endswith("target's; 1331+305 is 36.4 deg away")


# Spectral windows


def two() -> Observation:
    return vla(spws=[spw(0), spw(1, centre_hz=1.5e9)])


def test_a_window_without_the_phase_calibrator() -> None:
    draft = checked(seen_in(two(), 1, (0,)))
    assert draft.problems == []
    assert said(draft.warnings) == [
        (
            "N5921 of dataset day1 was observed in spw 1 (1500 MHz), but not 1445+099; solutions "
            "come from the nearest window: those of spw 0 for spw 1",
            ("calibrators", "phase"),
        )
    ]


def test_a_window_without_the_flux_calibrator() -> None:
    observation = seen_in(two(), 0, (0,))
    draft = checked(observation)
    assert said(draft.problems) == [
        (
            "N5921 of dataset day1 was observed in spw 1 (1500 MHz), but not the flux calibrator "
            "1331+305: fluxscale would leave that on an arbitrary scale without a word; name a "
            "flux calibrator that was observed in them (calibrators.flux.field); or take the gains "
            "of another window, where the receivers allow it: calibrate.fluxscale = { refspwmap = "
            "[0, 0] }",
            ("calibrators", "flux"),
        )
    ]
    allowed = Calibrate(fluxscale={"refspwmap": [0, 0]})
    assert checked(observation, calibrate=allowed).problems == []


def test_windows_of_calibrators_alone_do_not_matter() -> None:
    draft = checked(seen_in(seen_in(two(), 2, (0,)), 0, (0,)))
    assert said([*draft.problems, *draft.warnings]) == []


# Solutions


@pytest.mark.parametrize("interval", ["inf", "int", "10s", "5min", "auto"])
def test_intervals_that_fit(interval: str) -> None:
    draft = checked(calibrate=Calibrate(solint=Solint(phase=interval, amp=interval)))
    assert said([*draft.problems, *draft.warnings]) == []


def test_intervals_that_the_data_turn_into_others() -> None:
    draft = checked(calibrate=Calibrate(solint=Solint(phase="2s", amp="20min")))
    assert said(draft.warnings) == [
        (
            "solint.phase = 2 s is shorter than an integration of dataset day1 (10 s): each "
            'integration gets one solution, as with "int"',
            ("calibrate", "solint", "phase"),
        ),
        (
            "solint.amp = 20 min 00 s is longer than any scan of a calibrator in dataset day1 "
            '(8 min 20 s): each scan gets one solution, as with "inf"; to solve over several, '
            'calibrate.gaincal = { combine = "scan" }',
            ("calibrate", "solint", "amp"),
        ),
    ]
    combined = Calibrate(solint=Solint(amp="20min", bandpass="20min"), gaincal={"combine": "scan"})
    assert said(checked(calibrate=combined).warnings) == []


def test_more_channels_than_there_are() -> None:
    (warning,) = checked(calibrate=Calibrate(solint=Solint(bandpass="inf,100ch"))).warnings
    assert warning.message == (
        "solint.bandpass averages 100 channels, but spw 0 of dataset day1 has 64: it gets one "
        "solution for all of them"
    )


def test_a_delay_of_one_channel() -> None:
    single = vla(spws=[spw(0, n_chan=1, width_hz=50e6)])
    assert said(checked(single, calibrate=Calibrate(delay="yes")).problems) == [
        (
            "spw 0 of dataset day1 has a single channel, and a delay is a slope of the phase over "
            "channels: leave calibrate.delay out",
            ("calibrate", "delay"),
        )
    ]
    assert checked(single).problems == []
    assert checked(calibrate=Calibrate(delay="yes")).problems == []


def test_two_antennas_determine_no_gains() -> None:
    observation = replace(vla(), antennas=antennas(10.0, 20.0))
    assert said(checked(observation, calibrate=Calibrate(minblperant=1)).problems) == [
        (
            "dataset day1 has 2 antennas with unflagged data: gains can be solved with 3 or more; "
            "set dataset.calibrated = true if the data are calibrated",
            ("dataset", 0),
        )
    ]


def test_a_reference_antenna_that_is_mostly_absent() -> None:
    ants = antennas(10.0, 20.0, 30.0, 40.0, 50.0)
    absent = replace(vla(), antennas=(replace(ants[0], present_fraction=0.25), *ants[1:]))
    assert said(checked(absent, calibrate=Calibrate(refant="ea00,ea01")).warnings) == [
        (
            "reference antenna ea00 of dataset day1 is 0% flagged and has data in 25% of the "
            'scans: phases jump where it lacks; ea01 is better, or refant = "auto"',
            ("calibrate", "refant"),
        )
    ]
    for refant in ("ea01", "1", "auto"):
        assert said(checked(absent, calibrate=Calibrate(refant=refant)).warnings) == []


def test_calibrated_data_are_not_asked_for_calibrators() -> None:
    recipe = Recipe(
        casarun=1,
        dataset=(Dataset(vis="/data/day1.ms", name="day1", calibrated=True),),
        targets=Targets(fields=("2",)),
    )
    draft = Draft(recipe)
    observation = replace(vla(), antennas=antennas(1.0, 2.0))
    found = roles.resolve(draft, recipe.dataset[0], observation)
    subject = Subject(recipe.dataset[0], 0, observation, found)
    calibrators.check(draft, [subject])
    solutions.check(draft, [subject])
    assert [*draft.problems, *draft.warnings] == []


def test_damaged_metadata_do_not_stop_the_check() -> None:
    nowhere = field(vla(spws=[spw(0, centre_hz=0.0, n_chan=1)]), 0)
    draft = checked(replace(nowhere, longest_baseline_m=0.0))
    assert any("would be calibrated with an extrapolation" in one.message for one in draft.problems)


def test_fields_at_the_pole_and_without_names_are_read() -> None:
    observation = field(vla(), 0, name="", ra_deg=0.0, dec_deg=90.0)
    assert isinstance(observation.fields[0], Field)
    assert len(checked(observation).problems) == 1
