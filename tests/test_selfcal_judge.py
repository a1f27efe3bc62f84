"""Judging rounds of a self-calibration, without CASA."""

import copy
from typing import Any

import numpy as np
import pytest
from casarun.qa import selfcal, selfcal_ladder, selfcal_mask

LIMITS = {
    "improvement": 1.2, "flux_loss": 0.03, "beam_growth": 0.05, "flagged": 0.5,
    "consistency": 0.85, "min_solution_snr": 6.0,
}  # fmt: skip
AUTO = {"solint": "auto", "calmode": "auto", "gaintype": "auto", "combine": "auto", "rounds": 6}


def image(near_snr: float = 100.0, peak: float = 0.2, **more: Any) -> dict[str, Any]:
    noise = peak / near_snr
    return {
        "round": 0, "skipped": "", "peak_jy_per_beam": peak, "rms_noise_jy_per_beam": noise,
        "near_rms_noise_jy_per_beam": noise, "snr": near_snr, "near_snr": near_snr,
        "min_jy_per_beam": -4 * noise, "residual_max_jy_per_beam": 5 * noise,
        "beam_area_arcsec2": 4000.0, "model_flux_jy": peak, "empty": False,
        "thermal_noise_jy_per_beam": 1e-6, **more,
    }  # fmt: skip


def solve(calmode: str = "p", **more: Any) -> dict[str, Any]:
    return {
        "round": 1, "skipped": "", "calmode": calmode, "solint": "int", "gaintype": "T",
        "combine": "", "predicted_snr": {"median": 20.0}, "consistency": 0.99,
        "flagged_by_antenna": {"ea01": 0.0}, "dead_antennas": [], "phase_rms_deg": 30.0, **more,
    }  # fmt: skip


def rounds(*done: tuple[dict[str, Any], dict[str, Any]], ladder: Any = AUTO, **first: Any) -> Any:
    """Judge an image before and the rounds after it; return all states."""
    states = [selfcal.judge(0, [], image(**first), None, LIMITS, ladder)]
    for number, (solved, made) in enumerate(done, 1):
        states.append(selfcal.judge(number, states, made, solved, LIMITS, ladder))
    return states


def kind(state: dict[str, Any]) -> tuple[str, str] | None:
    return state["next"] and (state["next"]["calmode"], state["next"]["solint"])


def failed(state: dict[str, Any]) -> list[str]:
    return [check["name"] for check in state["checks"] if check["verdict"] == "fail"]


def test_noise_alone_is_declined_at_once() -> None:
    (state,) = rounds(near_snr=4.2, peak=1e-4, empty=True, model_flux_jy=0.0)
    assert not state["accepted"]
    assert state["next"] is None
    assert state["ended"] == (
        "nothing stands out of the image: its peak is 4.2 times its noise of 2.38e-05 Jy/beam, "
        "no more than noise and sidelobes explain; nothing to calibrate on"
    )


def test_the_first_image_leads_to_phases() -> None:
    (state,) = rounds()
    assert state["accepted"]
    assert state["reason"] == "the image before: peak 0.2 Jy/beam, near-field S/N 100"
    assert kind(state) == ("p", "auto")


def test_a_better_image_is_accepted_and_phases_are_solved_again() -> None:
    state = rounds((solve(), image(820, peak=0.22)), near_snr=105)[-1]
    assert state["reason"] == (
        "accepted: near-field S/N 105 -> 820, 10.0% more flux, consistency 0.99"
    )
    assert state["best_round"] == 1
    assert [entry["round"] for entry in state["apply"]] == [1]
    assert kind(state) == ("p", "auto")


def test_a_small_gain_is_kept_and_leads_to_amplitudes() -> None:
    state = rounds((solve(), image(800)), (solve(), image(850)))[-1]
    assert state["accepted"]
    assert kind(state) == ("a", "inf")


def test_the_loop_ends_where_the_noise_is_that_of_the_data() -> None:
    state = rounds((solve(), image(800, thermal_noise_jy_per_beam=2.4e-4)))[-1]
    assert state["accepted"]
    assert state["next"] is None
    assert (
        state["ended"]
        == "the image has the noise of its data (1.04 times): nothing is left to gain"
    )


def with_sources(near_snr: float, *peaks: float, **more: Any) -> dict[str, Any]:
    places = [(10.0, 10.0), (40.0, 30.0), (60.0, 20.0)]
    found = [
        {"x": x, "y": y, "peak_jy_per_beam": peak}
        for (x, y), peak in zip(places, peaks, strict=False)
    ]
    return image(near_snr, sources=found, beam_pixels=5.0, **more)


def test_a_source_that_the_model_lacked_leads_to_another_round_whatever_the_noise() -> None:
    """What the gains took of it comes back in the rounds after."""
    thermal = {"thermal_noise_jy_per_beam": 2.4e-4}
    first, found = with_sources(100, 0.15), with_sources(800, 0.2, 0.010, **thermal)
    states = rounds((solve(), found), **first)
    assert selfcal_ladder.unsettled(states) == 1.0
    assert states[-1]["reason"].endswith("consistency 0.99, a source is new")
    assert kind(states[-1]) == ("p", "auto")
    more = with_sources(800, 0.2, 0.014, **thermal)
    states = rounds((solve(), found), (solve(), more), **first)
    assert selfcal_ladder.unsettled(states) == pytest.approx(4 / 14)
    assert states[-1]["reason"].endswith(", a source changed by 29% against the brightest")
    assert kind(states[-1]) == ("p", "auto")
    settled = with_sources(800, 0.2, 0.0143, **thermal)
    states = rounds((solve(), found), (solve(), more), (solve(), settled), **first)
    assert selfcal_ladder.unsettled(states) is None
    assert (
        states[-1]["ended"]
        == "the image has the noise of its data (1.04 times): nothing is left to gain"
    )


def test_what_a_round_gives_all_sources_alike_does_not_unsettle_them() -> None:
    states = rounds((solve(), with_sources(800, 0.2, 0.04)), **with_sources(100, 0.15, 0.03))
    assert selfcal_ladder.unsettled(states) is None


def test_a_change_within_the_noise_does_not_unsettle_a_source() -> None:
    found = with_sources(800, 0.2, 0.002)
    states = rounds((solve(), found), (solve(), with_sources(800, 0.2, 0.0027)))
    assert selfcal_ladder.unsettled(states) is None


def test_everything_was_tried() -> None:
    flat = [(solve(), image(800)), (solve(), image(810)), (solve("a"), image(815))]
    state = rounds(*flat, (solve("a"), image(816)))[-1]
    assert state["accepted"]
    assert state["next"] is None
    assert state["ended"] == "no kind of solution raises the near-field S/N by 1.2 any more"


def test_amplitudes_that_help_lead_back_to_phases() -> None:
    flat = [(solve(), image(100)), (solve("a"), image(800))]
    states = rounds(*flat, near_snr=95)
    assert [kind(state) for state in states] == [("p", "auto"), ("a", "inf"), ("p", "auto")]
    assert [entry["calmode"] for entry in states[-1]["apply"]] == ["p", "a"]


@pytest.mark.parametrize(
    ("solved", "made", "name", "words"),
    [
        ({}, {"near_snr": 90.0}, "near_snr", "near-field S/N fell to 90, under 98"),
        ({}, {"snr": 97.0}, "snr", "S/N fell to 97, under 98"),
        (
            {"consistency": 0.4}, {}, "consistency",
            "polarizations solved apart agree to 0.40 only, under 0.85",
        ),
        (
            {"predicted_snr": {"median": 4.0}}, {}, "predicted_solution_snr",
            "predicted S/N of a solution 4, under 6",
        ),
        (
            {}, {"model_flux_jy": 0.19, "peak_jy_per_beam": 0.19}, "flux_ratio",
            "flux and peak fell to 0.950 of before, under 0.970",
        ),
        (
            {"phase_rms_deg": 10.0}, {"model_flux_jy": 0.3, "peak_jy_per_beam": 0.25},
            "flux_growth", "flux and peak rose by the factor 1.250; the solutions explain 1.082",
        ),
        (
            {}, {"beam_area_arcsec2": 4300.0}, "beam_area_ratio",
            "the synthesized beam's area grew by the factor 1.075, over 1.050",
        ),
        (
            {"flagged_by_antenna": {"ea01": 0.6}}, {}, "flagged_solutions",
            "60% of an antenna's solutions failed, over 50%",
        ),
        (
            {}, {"min_jy_per_beam": -0.02}, "min_depth_jy_per_beam",
            "the worst negative is -0.02 Jy/beam, beyond -0.012",
        ),
        (
            {}, {"residual_max_jy_per_beam": 0.02}, "residual_max_depth_jy_per_beam",
            "the largest residual is 0.02 Jy/beam, over 0.012",
        ),
        ({}, {"empty": True}, "emission", "nothing stands out of the image any more"),
    ],
)  # fmt: skip
def test_one_number_that_got_worse_rejects(
    solved: dict[str, Any], made: dict[str, Any], name: str, words: str
) -> None:
    state = rounds((solve(**solved), image(100) | made))[-1]
    assert failed(state) == [name]
    assert state["reason"] == f"rejected: {words}"
    assert state["best_round"] == 0
    assert state["apply"] == []


def test_what_scatters_is_not_rejected() -> None:
    state = rounds((solve(), image(98.5, min_jy_per_beam=-0.0085, model_flux_jy=0.17)))[-1]
    assert state["accepted"]


def test_a_dead_antenna_does_not_reject() -> None:
    solved = solve(flagged_by_antenna={"ea01": 0.0, "ea04": 1.0}, dead_antennas=["ea04"])
    assert rounds((solved, image(300)))[-1]["accepted"]


def test_amplitudes_must_not_make_flux() -> None:
    more = image(800, peak=0.21)
    states = rounds((solve(), image(100)), (solve("a"), more), near_snr=95)
    assert failed(states[-1]) == ["flux_growth"]
    assert states[-1]["apply"] == states[1]["apply"]


def test_amplitudes_over_scans_lead_on_to_shorter_ones() -> None:
    """What drifts within a scan stays in the image however often it is solved for over scans."""
    done = [
        (solve(), image(200)), (solve(), image(201)), (solve("a", solint="inf"), image(800)),
        (solve(), image(810)), (solve("a", solint="int"), image(2000)), (solve(), image(2010)),
        (solve("a", solint="int"), image(2012)),
    ]  # fmt: skip
    states = rounds(*done, ladder=AUTO | {"rounds": 9})
    phases, scans, short = ("p", "auto"), ("a", "inf"), ("a", "auto")
    expected = [phases, phases, scans, phases, short, phases, short, None]
    assert [kind(state) for state in states] == expected


def test_amplitudes_that_only_scans_carry_are_solved_over_scans_again() -> None:
    over_scans = solve("a", solint="inf")
    done = [(solve(), image(100)), (over_scans, image(800)), (solve(), image(810))]
    states = rounds(*done, (over_scans, image(815)), ladder=AUTO | {"rounds": 9})
    assert kind(states[-1]) == ("a", "inf")


def test_phases_that_stay_lead_on() -> None:
    """A round of them is passed over: what comes next is what has not been tried."""
    same = solve(skipped="these phases are those of round 1", unchanged=True)
    idle = {"round": 2, "skipped": "these phases are those of round 1"}
    states = rounds((solve(), image(200)), (same, idle), (solve("a"), image(800)))
    assert [kind(one) for one in states[:3]] == [("p", "auto"), ("p", "auto"), ("a", "inf")]
    assert states[2]["skipped"] == "these phases are those of round 1"
    assert states[2]["best_round"] == 1
    assert [entry["calmode"] for entry in states[3]["apply"]] == ["p", "a"]


def test_phases_that_stay_end_it_at_the_noise_of_the_data() -> None:
    """A source that had changed asks for another round only if its phases are others."""
    noise = {"thermal_noise_jy_per_beam": 0.2 / 1000}
    same = solve(skipped="these phases are those of round 1", unchanged=True)
    found = with_sources(990, 0.2, 0.01, **noise)
    states = rounds((solve(), found), (same, {"round": 2, "skipped": same["skipped"]}), **noise,
                    sources=found["sources"][:1])  # fmt: skip
    assert kind(states[1]) == ("p", "auto")
    assert states[2]["ended"] == (
        "the image has the noise of its data (1.01 times): nothing is left to gain"
    )


def weak(*snr: tuple[str, float], solint: str) -> dict[str, Any]:
    """Return solutions of a weak source, and the S/N predicted for intervals up to that chosen."""
    candidates = [{"solint": name, "snr": each} for name, each in snr]
    return solve(solint=solint, candidates=candidates)


def test_a_source_that_grew_is_solved_at_the_interval_that_it_now_carries() -> None:
    """However near the image's noise is to that of the data: it does not tell of lost flux."""
    solved = weak(("int", 4.0), ("60s", 5.6), ("90s", 6.9), solint="90s")
    noise = {"thermal_noise_jy_per_beam": 0.2 / 50}
    grown = image(50, peak=0.22, **noise)
    states = rounds((solved, grown), near_snr=45, **noise)
    assert kind(states[-1]) == ("p", "auto")
    again = weak(("int", 4.3), ("60s", 6.1), solint="60s")
    end = rounds((solved, grown), (again, image(51, peak=0.225, **noise)), near_snr=45, **noise)
    assert end[-1]["ended"] == (
        "the image has the noise of its data (1.10 times); shorter intervals than 60s have too "
        "little signal, and what phases do within one stays"
    )


def test_a_source_that_did_not_grow_is_not_solved_again() -> None:
    solved = weak(("int", 4.0), ("60s", 5.6), ("inf", 6.9), solint="inf")
    noise = {"thermal_noise_jy_per_beam": 0.2 / 50}
    states = rounds((solved, image(50, peak=0.205, **noise)), near_snr=45, **noise)
    assert states[-1]["ended"] == (
        "the image has the noise of its data (1.02 times); shorter intervals than a scan have too "
        "little signal, and what phases do within one stays"
    )


def test_what_is_not_known_is_not_judged() -> None:
    state = rounds((solve(consistency=None), image(300)))[-1]
    assert "consistency" not in [check["name"] for check in state["checks"]]
    assert state["accepted"]


def test_a_skipped_solution_ends_with_its_reason() -> None:
    why = "the signal to noise of a solution would be 3.1 at most"
    states = rounds((solve(skipped=why), image(skipped=why)), (solve(skipped=why), image()))
    assert states[1]["skipped"] == states[1]["ended"] == states[2]["ended"] == why
    assert states[2]["skipped"] == why
    assert states[2]["best_round"] == 0


def test_phases_refused_at_the_shortest_interval_are_tried_a_scan_at_a_time() -> None:
    bad = (solve(consistency=0.5), image())
    states = rounds(bad, bad)
    assert kind(states[1]) == ("p", "inf")
    assert states[2]["next"] is None
    assert states[2]["ended"] == states[2]["reason"]


def test_an_explicit_ladder_is_gone_down() -> None:
    ladder = AUTO | {"solint": ["inf", "30s", "inf"], "calmode": ["p", "p", "a"], "rounds": 3}
    good = [(solve(), image(200)), (solve(), image(400)), (solve("a"), image(800))]
    states = rounds(*good, ladder=ladder)
    assert [kind(state) for state in states] == [("p", "inf"), ("p", "30s"), ("a", "inf"), None]
    assert states[-1]["ended"] == "all 3 rounds are done"


def test_an_explicit_ladder_passes_over_what_would_be_refused_too() -> None:
    ladder = AUTO | {"solint": ["inf", "30s", "inf"], "calmode": ["p", "p", "a"], "rounds": 3}
    idle = (solve(skipped="nothing to do"), image())
    states = rounds((solve(), image(50)), idle, (solve("a"), image(50)), ladder=ladder)
    assert [kind(state) for state in states] == [("p", "inf"), None, ("a", "inf"), None]
    assert states[2]["skipped"] == states[1]["reason"]
    # The images of later rounds are cleaned and judged by the same noise of the data.
    assert [state["thermal_noise_jy_per_beam"] for state in states] == [1e-6] * 4


def test_all_rounds_are_done() -> None:
    state = rounds((solve(), image(200)), ladder=AUTO | {"rounds": 1})[-1]
    assert state["ended"] == "the one round is done; more might help (selfcal.rounds)"
    ladder = AUTO | {"solint": ["int", "int"], "rounds": 2}
    state = rounds((solve(), image(200)), (solve(), image(300)), ladder=ladder)[-1]
    assert state["ended"] == "all 2 rounds are done"


def test_a_state_does_not_share_the_numbers_that_it_was_made_of() -> None:
    first = rounds((solve(), image(800)))
    before = copy.deepcopy(first)
    selfcal.judge(2, first, image(900), solve(), LIMITS, AUTO)
    assert first == before


def noisy(seed: int = 1) -> Any:
    return np.random.default_rng(seed).normal(0.0, 1e-3, (128, 128))


EVERYWHERE = np.ones((128, 128), bool)
NOWHERE = np.zeros((128, 128), bool)


def test_noise_has_no_mask() -> None:
    for seed in range(10):
        assert not selfcal_mask.emission(noisy(seed), EVERYWHERE, NOWHERE, 0.2).grew


def test_a_source_is_masked_and_nothing_else() -> None:
    y, x = np.mgrid[:128, :128]
    sky = noisy() + 0.1 * np.exp(-((x - 40) ** 2 + (y - 90) ** 2) / (2 * 3.0**2))
    found = selfcal_mask.emission(sky, EVERYWHERE, NOWHERE, 0.2)
    assert found.grew
    assert found.level == pytest.approx(1.2 * 0.2 * np.abs(sky).max())
    assert found.mask[90, 40]
    assert np.hypot(*(np.argwhere(found.mask) - (90, 40)).T).max() < 15


def test_what_is_as_negative_as_positive_is_no_emission() -> None:
    y, x = np.mgrid[:128, :128]
    ripple = 0.05 * np.exp(-((x - 64) ** 2 + (y - 64) ** 2) / 200) * np.cos(x / 3)
    assert not selfcal_mask.emission(noisy() + ripple, EVERYWHERE, NOWHERE, 0.0).grew


def test_a_sidelobe_is_no_emission_until_its_source_is_cleaned() -> None:
    sky = noisy()
    sky[30:34, 30:34] += 1.0
    sky[80:84, 80:84] += 0.1
    first = selfcal_mask.emission(sky, EVERYWHERE, NOWHERE, 0.2)
    assert not first.mask[81, 81]
    sky[30:34, 30:34] -= 1.0
    second = selfcal_mask.emission(sky, EVERYWHERE, first.mask, 0.2)
    assert second.grew
    assert second.mask[81, 81]
    assert second.mask[31, 31]


def test_the_worst_sidelobe_is_off_the_main_lobe() -> None:
    psf = np.zeros((64, 64))
    psf[32, 32], psf[32, 35], psf[32, 50] = 1.0, 0.8, -0.3
    assert selfcal_mask.sidelobe(psf, 6.0) == 0.3
    assert selfcal_mask.sidelobe(psf, 2.0) == 0.8


def test_sources_are_the_islands_of_a_mask() -> None:
    mask, sky = NOWHERE.copy(), noisy()
    for y, x, peak in ((20, 30, 0.2), (90, 100, 0.5)):
        mask[y - 3 : y + 4, x - 3 : x + 4] = True
        sky[y, x] = peak
    assert selfcal_mask.sources(sky, mask) == [
        {"x": 100.0, "y": 90.0, "peak_jy_per_beam": 0.5},
        {"x": 30.0, "y": 20.0, "peak_jy_per_beam": 0.2},
    ]
    assert selfcal_mask.sources(sky, NOWHERE) == []


def test_the_near_field_is_a_ring() -> None:
    mask = NOWHERE.copy()
    mask[64, 64] = True
    near = selfcal_mask.near_field(mask, EVERYWHERE, 4.0)
    away = np.hypot(*(np.argwhere(near) - (64, 64)).T)
    assert away.min() > 2.0
    assert away.max() < 20.0


def test_noise_is_that_of_a_normal_distribution() -> None:
    assert selfcal_mask.noise(noisy()) == pytest.approx(1e-3, rel=0.03)
    assert selfcal_mask.noise(np.zeros(10)) is None


def test_a_source_whose_sidelobes_are_nearly_as_high_is_emission() -> None:
    """A snapshot of a few antennas: 1.2 times a sidelobe of 0.9 exceeds any source."""
    residual = np.random.default_rng(3).normal(0, 0.001, (64, 64))
    residual[30:33, 30:33] = 1.0
    nothing = np.zeros(residual.shape, bool)
    found = selfcal_mask.emission(residual, ~nothing, nothing, 0.9)
    assert found.level == pytest.approx(0.8)
    assert found.mask[31, 31]
