"""What is said of data that are bad, from metadata built by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from casarun.observation import Observation
from casarun.preflight import datasets
from casarun.recipe.model import Calibrate, Dataset, Flag, Qa, Recipe
from casarun.stages.draft import Draft, Roles, Subject
from support.observations import antennas, spw, vla

ROLES = Roles(flux=(0,), bandpass=(0,), phase=(1,), targets=(2,), phase_of={2: (1,)})
VIS = ("dataset", 0, "vis")
DAY = 86400.0


def checked(observation: Observation, dataset: Dataset | None = None, **tables: Any) -> Draft:
    dataset = dataset or Dataset("raw.ms", "day1")
    draft = Draft(Recipe(1, (dataset,), **tables))
    datasets.check(draft, [Subject(dataset, 0, observation, ROLES)])
    return draft


def field(observation: Observation, number: int, **changes: float) -> Observation:
    fields = [replace(f, **changes) if f.id == number else f for f in observation.fields]
    return replace(observation, fields=tuple(fields))


def problem(draft: Draft, key: tuple[str | int, ...] = VIS) -> str:
    [one] = draft.problems
    assert one.key == key
    return one.message


def warning(draft: Draft) -> str:
    assert draft.problems == []
    [one] = draft.warnings
    assert (one.key, one.severity) == (VIS, "warning")
    return one.message


def test_good_data_give_no_word() -> None:
    draft = checked(replace(vla(), measures_until_mjd_s=5e9))
    assert (draft.problems, draft.warnings) == ([], [])


@pytest.mark.parametrize(
    ("columns", "dataset", "key", "said"),
    [
        (("CORRECTED_DATA",), Dataset("raw.ms", "day1"), VIS,
         "expected the column DATA, found CORRECTED_DATA; to go on from its calibrated data, set "
         "dataset.calibrated = true"),
        (("FLOAT_DATA",), Dataset("raw.ms", "day1"), VIS,
         "expected the column DATA, found FLOAT_DATA; it is a single-dish dataset; casarun reduces "
         "an interferometer's visibilities"),
        (("DATA",), Dataset("raw.ms", "day1", calibrated=True, datacolumn="corrected"),
         ("dataset", 0, "datacolumn"),
         "expected the column CORRECTED_DATA, found DATA; leave dataset.datacolumn out, and what "
         "is there is taken"),
        ((), Dataset("raw.ms", "day1"), VIS,
         "expected the column DATA, found no visibilities; name the MS that has them"),
    ],
)  # fmt: skip
def test_columns(columns: tuple[str, ...], dataset: Dataset, key: Any, said: str) -> None:
    draft = checked(vla(columns=columns), dataset)
    assert problem(draft, key) == f"dataset day1: {said}"


@pytest.mark.parametrize("columns", [("DATA",), ("CORRECTED_DATA",)])
def test_calibrated_data_may_stand_in_either_column(columns: tuple[str, ...]) -> None:
    assert not checked(vla(columns=columns), Dataset("raw.ms", "day1", calibrated=True)).problems


def test_too_few_antennas() -> None:
    few = replace(vla(), antennas=antennas(1.0, 2.0, 3.0, 4.0))
    assert problem(checked(few), ("calibrate", "minblperant")) == (
        "dataset day1 has 4 antennas with unflagged data, so each has at most 3 baselines: "
        "calibrate.minblperant = 4 leaves no solution; lower it, not under 3 for amplitudes"
    )
    assert not checked(few, calibrate=Calibrate(minblperant=3)).problems
    assert not checked(few, Dataset("raw.ms", "day1", calibrated=True)).problems


def test_no_interferometer() -> None:
    assert problem(checked(replace(vla(), antennas=()))) == (
        "dataset day1 has no cross-correlations, only the antennas' own: it is no interferometer's "
        "observation"
    )


def test_measures_tables_that_end_before_the_observation() -> None:
    late = replace(vla(), measures_until_mjd_s=60000 * DAY, end_mjd_s=61000 * DAY)
    assert warning(checked(late)) == (
        "dataset day1 was observed until 2025-11-21, but CASA's table of the Earth's orientation "
        "ends on 2023-02-25: uvw coordinates and velocities that CASA computes may be slightly "
        "off; update the measures data (pip install -U casadata, or casaconfig's "
        "measures_update), or check the observing date if it is in the future"
    )
    assert not checked(replace(late, measures_until_mjd_s=0.0)).warnings


@pytest.mark.parametrize(
    ("start", "date"),
    [(0.0, "1858-11-17"), (40000 * DAY, "1968-05-24"), (-1e15, "MJD -1.15741e+10")],
)
def test_absurd_dates(start: float, date: str) -> None:
    assert warning(checked(replace(vla(), start_mjd_s=start))) == (
        f"dataset day1: its times begin on {date}, before there were such data: positions, uvw and "
        "velocities that CASA derives from them are wrong"
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"chan_width_hz": 0.0}, "channels of width 0 Hz"),
        ({"first_hz": 0.0}, "channels at 0 Hz"),
    ],
)
def test_windows_without_width_or_frequency(changes: dict[str, float], what: str) -> None:
    assert problem(checked(vla(spws=[replace(spw(0), **changes)]))) == (
        f"dataset day1: spw 0 has {what}: its SPECTRAL_WINDOW table is damaged, or was written "
        "without frequencies; get the data again"
    )


def test_windows_of_fields_without_a_role_do_not_count() -> None:
    odd = vla(spws=[spw(0), replace(spw(1), chan_width_hz=0.0)])
    scans = tuple(replace(scan, spw_ids=(0,)) for scan in odd.scans)
    assert not checked(replace(odd, scans=scans)).problems


class TestValues:
    said = "dataset day1, field N5921: 0.3% of the unflagged visibilities are NaN or infinite"

    def test_nan_that_will_be_flagged(self) -> None:
        draft = checked(field(vla(), 2, not_finite_fraction=0.003))
        assert warning(draft) == f"{self.said}; flag.zeros flags them"

    def test_zeros_that_will_be_flagged_are_usual(self) -> None:
        draft = checked(field(vla(), 2, zero_fraction=0.1))
        assert (draft.problems, draft.warnings) == ([], [])

    def test_nan_that_nobody_flags(self) -> None:
        data = field(vla(), 2, not_finite_fraction=0.003)
        assert warning(checked(data, flag=Flag(zeros=False))) == (
            f"{self.said}: one of them blanks a whole image; set flag.zeros = true, which flags "
            "both"
        )
        assert warning(checked(data, Dataset("raw.ms", "day1", calibrated=True))) == (
            f"{self.said}: one of them blanks a whole image; flag them before (flagdata with "
            "mode='clip', clipzeros=True)"
        )

    @pytest.mark.parametrize(
        ("attribute", "what"),
        [("not_finite_fraction", "NaN or infinite"), ("zero_fraction", "exactly 0")],
    )
    def test_nothing_else(self, attribute: str, what: str) -> None:
        assert problem(checked(field(vla(), 1, **{attribute: 1.0}))) == (
            f"dataset day1, field 1445+099: all unflagged visibilities are {what}: there is "
            "nothing to calibrate or image; get the data again"
        )

    @pytest.mark.parametrize(
        ("fields", "which"),
        [((0, 1, 2), "all fields"), ((0, 2), "fields 1331+305, N5921")],
    )
    def test_one_cause_is_said_once(self, fields: tuple[int, ...], which: str) -> None:
        data = vla()
        for number in fields:
            data = field(data, number, zero_fraction=1.0)
        assert problem(checked(data)) == (
            f"dataset day1, {which}: all unflagged visibilities are exactly 0: there is nothing to "
            "calibrate or image; get the data again"
        )

    def test_different_fractions_are_said_apart(self) -> None:
        data = field(field(vla(), 0, zero_fraction=0.6), 2, zero_fraction=0.7)
        assert [one.message.split(":")[0] for one in checked(data).warnings] == [
            "dataset day1, field 1331+305",
            "dataset day1, field N5921",
        ]

    def test_mostly_zero(self) -> None:
        assert warning(checked(field(vla(), 2, zero_fraction=0.9999))) == (
            "dataset day1, field N5921: 99.9% of the unflagged visibilities are exactly 0: what "
            "was recorded, or written, went wrong"
        )

    def test_fields_without_a_role_do_not_count(self) -> None:
        other = replace(vla().fields[2], id=3, name="dummy", zero_fraction=1.0)
        assert not checked(replace(vla(), fields=(*vla().fields, other))).problems

    def test_weights(self) -> None:
        text = (
            "dataset day1, field N5921: {} of the rows with unflagged data have weights that are "
            "0, negative or not finite: CASA leaves them out without a word; set them anew with "
            "CASA's initweights or statwt"
        )
        assert problem(checked(field(vla(), 2, no_weight_fraction=1.0))) == text.format("100%")
        assert warning(checked(field(vla(), 2, no_weight_fraction=0.6))) == text.format("60%")
        assert not checked(field(vla(), 2, no_weight_fraction=0.2)).warnings


def test_flags_that_came_with_the_data() -> None:
    data = field(vla(), 2, flagged_fraction=0.85)
    assert warning(checked(data)) == (
        "dataset day1, field N5921: 85.0% of its data came flagged, more than "
        "qa.max_flagged_fraction = 0.8; the verdict will say so"
    )
    assert not checked(data, qa=Qa(max_flagged_fraction=0.9)).warnings


def test_what_the_reader_noticed() -> None:
    odd = replace(vla(), warnings=("antennas ea01, ea02 stand at the same place",))
    assert warning(checked(odd)) == ("dataset day1: antennas ea01, ea02 stand at the same place")
