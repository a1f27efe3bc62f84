"""Self-calibration against skies of known truth: weak, hard and odd cases end no worse.

The steps of a plan's stage ``selfcal`` are performed one after the other in this process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from casarun.casa import invoke, metadata
from casarun.casa.tables import open_table
from casarun.engine import actions, selfcal_image
from casarun.engine.scene import Scene
from casarun.recipe.model import Dataset, Image, Recipe, Selfcal, Stop, Targets
from casarun.stages.compile import full
from support import selfcal_skies
from support.selfcal_skies import SMALL, SelfcalSky
from support.skies import Source, Spw

pytestmark = [pytest.mark.casa, pytest.mark.timeout(600)]

CELL_ARCSEC, SIDE = 10.0, 128
SPLIT, WORK = "calibrated/day.target.ms", "calibrated/day.target.selfcal.ms"
SEEDS = [seed if seed < 3 else pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 11)]
STRONG = replace(SMALL, integrations=10)
"""12 antennas, two scans of 100 s, 0.2 Jy: image noise 49 uJy/beam."""


@dataclass(frozen=True)
class Calibrated:
    """What a self-calibration left in a folder."""

    folder: Path
    truth: selfcal_skies.SelfcalTruth
    summary: dict[str, Any]

    def column(self, name: str, ms: str = WORK) -> npt.NDArray[Any]:
        with open_table(self.folder / ms) as table:
            return np.asarray(table.getcol(name))

    def plane(self, kind: str, round_: int) -> npt.NDArray[np.float64]:
        """Return the pixels of a round's image, shape (x, y)."""
        with open_table(self.folder / f"images/selfcal/target.{round_}.{kind}") as table:
            return np.squeeze(table.getcell("map", 0)).T if table.nrows() else np.zeros(0)

    def found(self, source: Source, round_: int) -> tuple[float, float]:
        """Return the peak near a source (Jy/beam) and its distance from there (arcsec)."""
        pixels = self.plane("image", round_).T
        x, y = pixel(source)
        box = pixels[x - 2 : x + 3, y - 2 : y + 3]
        dx, dy = (int(v) - 2 for v in np.unravel_index(np.argmax(box), box.shape))
        x, y = x + dx, y + dy
        # A parabola through three pixels along each axis.
        shift, height = [], pixels[x, y]
        for low, middle, high in (pixels[x - 1 : x + 2, y], pixels[x, y - 1 : y + 2]):
            shift.append(0.5 * (low - high) / (low - 2 * middle + high))
            height -= 0.25 * (low - high) * shift[-1]
        return float(height), CELL_ARCSEC * float(np.hypot(dx + shift[0], dy + shift[1]))


def pixel(source: Source) -> tuple[int, int]:
    return (
        round(SIDE / 2 - source.east_arcsec / CELL_ARCSEC),
        round(SIDE / 2 + source.north_arcsec / CELL_ARCSEC),
    )


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    invoke.use_log(Path("/dev/null"))


def selfcal(place: Path, sky: SelfcalSky, *others: SelfcalSky, **settings: Any) -> Calibrated:
    """Build a sky and self-calibrate it, with the steps that a plan has for it.

    `others` are the same target in datasets of their own: ``night1``, ``night2``, ...
    """
    for folder in ("calibrated", "caltables", "images/selfcal", "qa/data/selfcal", "scripts"):
        (place / folder).mkdir(parents=True, exist_ok=True)
    names = ["day", *(f"night{number}" for number in range(1, 1 + len(others)))]
    built = {
        name: selfcal_skies.build(place / f"calibrated/{name}.target.ms", one)
        for name, one in zip(names, (sky, *others), strict=True)
    }
    reduction = Recipe(
        casarun=1,
        dataset=tuple(Dataset(vis=f"{name}.ms", name=name, calibrated=True) for name in names),
        targets=Targets(fields=("target",)),
        image=(Image("deep", imsize=(SIDE, SIDE), cell=f"{CELL_ARCSEC}arcsec"),),
        selfcal=(Selfcal("target", **settings),),
    )
    seen = {name: metadata.read(place / f"calibrated/{name}.target.ms") for name in names}
    compiled = full(reduction, seen)
    assert not compiled.problems
    for step in compiled.steps:
        if step.stage == "selfcal" and not step.id.endswith("plots"):
            scene = Scene(place, place / "casa.log", 1)
            params = json.loads(json.dumps(dict(step.params)))
            actions.prove(step, params, actions.perform(step, params, scene), scene)
            (place / "casa.log").unlink(missing_ok=True)
    summary = json.loads((place / "qa/data/selfcal/target.json").read_text())
    return Calibrated(place, built["day"], summary)


def assert_untouched(case: Calibrated) -> None:
    """What a declined self-calibration leaves: data as they came, no table, no flag."""
    summary = case.summary
    assert summary["kept_first"]
    assert (summary["best_round"], summary["apply"]) == (0, [])
    assert summary["after"] == summary["before"]
    assert np.array_equal(case.column("CORRECTED_DATA"), case.column("DATA"))
    for name in ("DATA", "FLAG", "WEIGHT"):
        assert np.array_equal(case.column(name), case.column(name, SPLIT))


def assert_no_worse(case: Calibrated) -> None:
    """No accepted round, and not the last image, is worse than what was there before."""
    first, last = case.summary["before"], case.summary["after"]
    accepted = [one for one in case.summary["rounds"] if one["accepted"]]
    for best, one in pairwise(accepted):
        for key in ("snr", "near_snr"):
            assert one["image"][key] >= 0.98 * best["image"][key]
    for key in ("snr", "near_snr"):
        assert last[key] >= 0.98 * first[key]
    for key in ("rms_noise_jy_per_beam", "near_rms_noise_jy_per_beam"):
        assert last[key] <= 1.02 * first[key]
    if not case.summary["dead_antennas"]:
        assert last["beam_area_arcsec2"] <= 1.05 * first["beam_area_arcsec2"]
    assert np.array_equal(case.column("DATA"), case.column("DATA", SPLIT))


def noise_of(sky: SelfcalSky) -> float:
    """Return the noise of a sky's image, in Jy/beam."""
    count = sky.n_antennas * (sky.n_antennas - 1) * sky.scans * sky.integrations
    return sky.noise_jy / float(np.sqrt(count * sum(spw.n_chan for spw in sky.spws)))


# -- noise, and what is hardly more


NOTHING = re.compile(
    r"the data stay as they were: nothing stands out of the image: its peak is [2-9](\.\d+)? times "
    r"its noise of \S+ Jy/beam, no more than noise and sidelobes explain; nothing to calibrate on"
)
TOO_WEAK = re.compile(
    r"the data stay as they were: the signal to noise of a solution would be [0-5](\.\d+)? at most "
    r"\(solint inf with combine='scan'\), expected 6 or more \(selfcal\.min_solution_snr\)"
)


@pytest.mark.parametrize("seed", SEEDS)
def test_selfcal_conjures_no_point_source(place: Path, seed: int) -> None:
    """Noise that is solved against a point source looks like one, at many times the noise."""
    case = selfcal(place, replace(STRONG, sources=(), seed=seed), rounds=1)
    assert_untouched(case)
    assert NOTHING.fullmatch(case.summary["reason"]), case.summary["reason"]
    assert case.summary["rounds"][1]["skipped"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_source_too_weak_for_any_interval_is_left_alone(place: Path, seed: int) -> None:
    weak = Source(12 * noise_of(STRONG))
    case = selfcal(place, replace(STRONG, sources=(weak,), seed=seed), rounds=1)
    assert_untouched(case)
    reason = case.summary["reason"]
    assert TOO_WEAK.fullmatch(reason) or NOTHING.fullmatch(reason), reason


def test_what_is_solved_on_noise_is_found_out(place: Path) -> None:
    """The limit that stops a weak source is set aside: phases solved on noise are not believed."""
    weak = Source(20 * noise_of(STRONG))
    case = selfcal(
        place, replace(STRONG, sources=(weak,), seed=3), min_solution_snr=0.01, rounds=1,
        solint=("int",), calmode=("p",), minsnr=0.0, stop=Stop(flagged=1.0),
    )  # fmt: skip
    conjured = case.summary["rounds"][1]
    assert conjured["image"]["peak_jy_per_beam"] > 1.3 * weak.flux_jy
    assert not conjured["accepted"]
    refused = {check["name"] for check in conjured["checks"] if check["verdict"] == "fail"}
    assert "consistency" in refused
    assert conjured["solve"]["consistency"] < 0.5
    assert_untouched(case)


@pytest.mark.long
def test_noise_must_not_raise_a_flux(place: Path) -> None:
    """Where S/N allows some tens of seconds only, the flux comes out right all the same."""
    source = Source(0.004)
    case = selfcal(place, replace(SMALL, sources=(source,)), rounds=2)
    assert_no_worse(case)
    best = case.summary["best_round"]
    assert best > 0
    assert all(
        one["solve"]["predicted_snr"]["median"] >= 6 and one["solve"]["consistency"] >= 0.85
        for one in case.summary["rounds"]
        if one["accepted"] and one["solve"]
    )
    noise = noise_of(SMALL)
    assert case.summary["before"]["peak_jy_per_beam"] < 0.8 * source.flux_jy
    assert case.summary["after"]["model_flux_jy"] == pytest.approx(
        source.flux_jy, rel=0.03, abs=2 * noise
    )
    assert case.found(source, best)[1] < 0.1 * case.summary["after"]["bmin_arcsec"]


# -- hard cases


@pytest.mark.long
def test_an_antenna_without_signal_is_flagged_and_the_rest_calibrated(place: Path) -> None:
    case = selfcal(place, replace(STRONG, dead=(3,)), rounds=2)
    assert_no_worse(case)
    assert case.summary["dead_antennas"] == ["ea04"]
    best = case.summary["best_round"]
    assert case.summary["after"]["snr"] > 10 * case.summary["before"]["snr"]
    assert case.found(Source(0.2), best)[0] == pytest.approx(0.2, rel=0.03)
    with open_table(place / WORK) as table:
        flag = table.getcol("FLAG")
        dead = (table.getcol("ANTENNA1") == 3) | (table.getcol("ANTENNA2") == 3)
    assert flag[:, :, dead].all()
    assert not flag[:, :, ~dead].any()
    assert not case.column("FLAG", SPLIT).any()


@pytest.mark.long
def test_a_source_of_a_hundredth_beside_the_strong_one_is_kept(place: Path) -> None:
    strong, weak = Source(0.2), Source(0.002, 300, 200)
    case = selfcal(place, replace(STRONG, sources=(strong, weak)), rounds=3)
    assert_no_worse(case)
    best = case.summary["best_round"]
    assert case.found(strong, best)[0] == pytest.approx(0.2, rel=0.03)
    peak, off_arcsec = case.found(weak, best)
    assert peak == pytest.approx(0.002, abs=5 * case.summary["after"]["rms_noise_jy_per_beam"])
    assert off_arcsec < 0.25 * case.summary["after"]["bmin_arcsec"]
    # Nothing that is no source is in the mask.
    x, y = np.nonzero(case.plane("mask", best).T)
    apart = [np.hypot(x - at[0], y - at[1]) for at in (pixel(strong), pixel(weak))]
    assert np.minimum(*apart).max() * CELL_ARCSEC < 2.5 * case.summary["after"]["bmaj_arcsec"]


@pytest.mark.long
def test_a_snapshot_is_no_worse_afterwards(place: Path) -> None:
    case = selfcal(place, replace(SMALL, scans=1, integrations=3), rounds=2)
    assert_no_worse(case)
    best = case.summary["best_round"]
    assert best > 0
    assert case.found(Source(0.2), best)[0] == pytest.approx(0.2, rel=0.03)


@pytest.mark.long
def test_extended_emission_keeps_its_flux(place: Path) -> None:
    halo = selfcal_skies.Gaussian(0.3, 150)
    case = selfcal(place, replace(STRONG, gaussians=(halo,), noise_jy=0.02), rounds=2)
    assert_no_worse(case)
    assert case.summary["best_round"] > 0
    flux = case.summary["after"]["model_flux_jy"]
    assert flux == pytest.approx(case.truth.flux_jy, rel=0.1)


def test_a_source_far_off_centre(place: Path) -> None:
    far = Source(0.2, 400, 300)
    case = selfcal(place, replace(STRONG, sources=(far,)), rounds=2)
    assert_no_worse(case)
    peak, off_arcsec = case.found(far, case.summary["best_round"])
    assert peak == pytest.approx(0.2, rel=0.03)
    # Phases know no place: it stays that of the first image.
    first_arcsec = case.found(far, 0)[1]
    assert off_arcsec < first_arcsec + 0.05 * case.summary["after"]["bmin_arcsec"]
    assert case.summary["after"]["snr"] > 10 * case.summary["before"]["snr"]


def perfect(place: Path, sky: SelfcalSky, source: Source) -> tuple[float, float]:
    """Return S/N and peak near a source of the data without errors, cleaned by the same rules."""
    other = place / "perfect"
    other.mkdir()
    selfcal_skies.build(other / "free.ms", sky.without_errors())
    tclean = {
        "imsize": [SIDE, SIDE], "cell": f"{CELL_ARCSEC}arcsec", "specmode": "mfs",
        "gridder": "standard", "weighting": "briggs", "robust": 0.5, "deconvolver": "hogbom",
    }  # fmt: skip
    prefix = "images/selfcal/target.0"
    (other / "images/selfcal").mkdir(parents=True)
    found = selfcal_image.image({
        "round": 0, "vis": [str(other / "free.ms")], "datacolumn": "data", "tclean": tclean,
        "prefix": str(other / prefix), "state": "", "out": str(other / "0.json"), "niter": 10000,
    })  # fmt: skip
    case = Calibrated(other, selfcal_skies.SelfcalTruth(sky, np.zeros(0), np.zeros(0)), {})
    return float(found["snr"]), case.found(source, 0)[0]


@pytest.mark.long
def test_the_faint_one_of_two_sources_gets_back_what_the_gains_had_taken(place: Path) -> None:
    """Where it is not in the model yet, the gains of 12 antennas take a third of it."""
    faint = Source(0.002, 400.0, -300.0)
    sky = replace(SMALL, sources=(Source(0.2, 1.5, 1.1), faint))
    case = selfcal(place, sky)
    assert_no_worse(case)
    snr, peak = perfect(place, sky, faint)
    assert case.summary["after"]["snr"] > 0.7 * snr
    found = case.found(faint, case.summary["best_round"])[0]
    assert found == pytest.approx(peak, rel=0.03, abs=noise_of(sky))


@pytest.mark.long
def test_seven_minutes_are_enough(place: Path) -> None:
    sky = SelfcalSky(sources=(Source(0.2, 1.5, 1.1),), scans=1, integrations=42)
    case = selfcal(place, sky)
    assert_no_worse(case)
    assert case.summary["after"]["snr"] > 0.7 * perfect(place, sky, sky.sources[0])[0]
    assert case.summary["after"]["model_flux_jy"] == pytest.approx(0.2, rel=0.03)


@pytest.mark.long
def test_amplitudes_that_drift_within_scans_are_taken_out(place: Path) -> None:
    """Those over a scan leave the drift, however often they are solved for."""
    faint = Source(0.01, -200.0, 150.0)
    sky = SelfcalSky(
        sources=(Source(0.2, 1.5, 1.1), faint), integrations=10, integration_s=30.0,
        noise_jy=0.007, amp=0.2, amp_time_s=1200.0,
    )  # fmt: skip
    case = selfcal(place, sky)
    assert_no_worse(case)
    assert any(
        one["accepted"] and one["solve"]["calmode"] == "a" and one["solve"]["solint"] == "int"
        for one in case.summary["rounds"][1:]
    )
    snr, peak = perfect(place, sky, faint)
    assert case.summary["after"]["snr"] > 0.5 * snr
    assert case.found(faint, case.summary["best_round"])[0] == pytest.approx(peak, rel=0.03)


@pytest.mark.long
def test_amplitudes_against_extended_emission_bring_its_flux_back(place: Path) -> None:
    """Without its faint components in the model, short baselines get gains that are too high."""
    gaussians = (selfcal_skies.Gaussian(0.5, 120), selfcal_skies.Gaussian(0.2, 60, -150, 100))
    sky = SelfcalSky(
        sources=(Source(0.05, 10.0, 5.0),), gaussians=gaussians, integrations=10,
        integration_s=30.0, noise_jy=0.007, amp=0.1,
    )  # fmt: skip
    case = selfcal(place, sky)
    assert_no_worse(case)
    rounds = case.summary["rounds"]
    amplitudes = [one for one in rounds[1:] if (one["solve"] or {}).get("calmode") == "a"]
    assert sum(one["accepted"] for one in amplitudes) >= 2
    assert case.summary["after"]["snr"] > 15 * rounds[1]["image"]["snr"]
    assert case.summary["after"]["model_flux_jy"] == pytest.approx(0.75, rel=0.02)


@pytest.mark.long
def test_amplitudes_are_solved_over_all_scans(place: Path) -> None:
    case = selfcal(
        place, replace(STRONG, amp=0.15), solint=("int", "inf", "inf"), calmode=("p", "a", "a"),
        combine="scan", gaintype="T",
    )  # fmt: skip
    assert_no_worse(case)
    assert case.summary["rounds"][2]["accepted"]
    phases, amplitudes = (one["image"]["snr"] for one in case.summary["rounds"][1:3])
    assert amplitudes > 3 * phases
    assert case.found(Source(0.2), case.summary["best_round"])[0] == pytest.approx(0.2, rel=0.03)
    errors = []
    for number, times in ((1, 20), (2, 1), (3, 1)):
        with open_table(place / f"caltables/target.selfcal.{number}.day") as table:
            assert len(set(table.getcol("TIME"))) == times
            found = np.abs(table.getcol("CPARAM"))[0, 0]
            antenna = table.getcol("ANTENNA1")
        errors.append(np.std(found / np.abs(case.truth.gains[0, 0])[antenna]))
    # What a model with artefacts of the first amplitudes leaves, the second round takes.
    assert errors[0] > 0.1
    assert errors[2] < errors[1] < 0.03


@pytest.mark.long
def test_a_window_with_much_noise_is_corrected_by_the_other(place: Path) -> None:
    spws = (Spw(1.4e9, 1e6, 4), Spw(1.41e9, 1e6, 4))
    sky = replace(STRONG, sources=(Source(0.05),), spws=spws, spw_noise=(1.0, 12.0))
    case = selfcal(place, sky, rounds=4)
    assert_no_worse(case)
    assert case.summary["after"]["snr"] > 3 * case.summary["before"]["snr"]
    assert {entry["combine"] for entry in case.summary["apply"]} == {"spw"}
    for number in (0, 1):
        assert coherence(place, "day", "CORRECTED_DATA", 0.05, number) == pytest.approx(
            1.0, abs=0.05
        )
        assert coherence(place, "day", "DATA", 0.05, number) < 0.9


@pytest.mark.long
def test_two_datasets_make_one_image_and_are_solved_each(place: Path) -> None:
    case = selfcal(place, STRONG, replace(STRONG, seed=7, noise_jy=0.008), rounds=2)
    assert_no_worse(case)
    assert case.summary["best_round"] > 0
    assert sorted(case.summary["tables"]) == ["day", "night1"]
    assert case.found(Source(0.2), case.summary["best_round"])[0] == pytest.approx(0.2, rel=0.03)
    for name in ("day", "night1"):
        assert coherence(place, name, "CORRECTED_DATA", 0.2) == pytest.approx(1.0, abs=0.03)
        assert coherence(place, name, "DATA", 0.2) < 0.9


def coherence(place: Path, dataset: str, name: str, flux_jy: float, window: int = 0) -> float:
    """Return the mean of a window's visibilities in the phase of the model, as part of a flux."""
    with open_table(place / f"calibrated/{dataset}.target.selfcal.ms") as table:
        mine = table.getcol("DATA_DESC_ID") == window
        data, model = (table.getcol(one)[..., mine] for one in (name, "MODEL_DATA"))
    return float((data * np.conj(model) / np.abs(model)).mean().real / flux_jy)
