"""What is wrong with many datasets, targets or windows in one way is told once, and whole."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.api import Options, open_recipe
from casarun.api.observing import _unread
from casarun.errors import Problem, RefusedError
from casarun.observation import Observation
from casarun.recipe.alike import few, together
from casarun.recipe.model import Dataset, Image, Recipe
from casarun.recipe.positions import Source, render
from casarun.stages.compile import Compiled, full
from casarun.stages.draft import Draft
from hypothesis import given
from hypothesis import strategies as st
from support.observations import spw, vla
from test_stages import recipe

TEXT = 'casarun = 1\n[calibrate]\nrefant = "ea99"\n[[image]]\nname = "c"\nimsize = 64\n'
IMSIZE = ("image", 0, "imsize")


def shown(problems: tuple[Problem, ...]) -> list[str]:
    """Return the heads of what is shown of problems."""
    lines = render(problems, Source(TEXT, "r.toml")).splitlines()
    return [line for line in lines if not line.startswith(("    ", "   3 ", "   6 "))]


def survey(number: int, mhz: float = 0.0, **tables: Any) -> Compiled:
    """Compile a survey of datasets with one target each, so many MHz apart."""
    datasets = tuple(Dataset(vis=f"/data/day{n}.ms", name=f"day{n}") for n in range(number))
    made: Recipe = replace(recipe(**tables), dataset=datasets)
    made = replace(made, targets=replace(made.targets, fields=("T*",)))
    found = {}
    for n, dataset in enumerate(datasets):
        seen = vla(spws=(spw(0, centre_hz=1.4e9 + 1e6 * n * mhz),))
        found[dataset.name] = _named(seen, f"T{n}")
    return full(made, found)


def _named(observation: Observation, target: str) -> Observation:
    """Return an observation whose target has another name."""
    fields = (replace(f, name=f.name.replace("N5921", target)) for f in observation.fields)
    return replace(observation, fields=tuple(fields))


SMALL = {"image": (Image(name="c", imsize=(64,), cell="5arcsec"),)}
COVERS = "covers 5.33 of the 33.3 arcmin of the primary beam (full width at half maximum, "
HARM = "): sources outside are not cleaned, and their sidelobes stay; "


# -- of plans


def test_one_target_is_told_as_ever() -> None:
    assert shown(survey(1, **SMALL).warnings) == [
        f"r.toml:6:10: warning: image[0].imsize: the image of T0 {COVERS}1399.2 MHz{HARM}"
        "imsize = 400 covers it"
    ]


def test_three_targets_are_named() -> None:
    assert shown(survey(3, **SMALL).warnings) == [
        "r.toml:6:10: warning: image[0].imsize: the image of each of 3 targets (T0, T1, T2) "
        f"{COVERS}1399.2 MHz{HARM}imsize = 400 covers it"
    ]


def test_of_many_targets_the_first_are_named_and_numbers_become_a_range() -> None:
    compiled = survey(30, 10.0, **SMALL)
    assert shown(compiled.warnings) == [
        "r.toml:6:10: warning: image[0].imsize: the image of each of 30 targets (T0, T1, T2 and 27 "
        "more) covers 5.33 of the 27.6 to 33.3 arcmin of the primary beam (full width at half "
        f"maximum, 1399.2 to 1689.2 MHz{HARM}imsize = 360 to 400 covers it"
    ]


def test_errors_are_told_together_too() -> None:
    compiled = survey(40, calibrate=replace(recipe().calibrate, refant="ea99"))
    assert shown(compiled.problems) == [
        "r.toml:3:10: calibrate.refant: each of 40 datasets (day0, day1, day2 and 37 more) has no "
        "antenna 'ea99' with data; antennas: ea00, ea01, ea02, ea03, ea04"
    ]


def test_a_list_that_is_another_for_each_is_told_of_the_first() -> None:
    calibrators = replace(recipe().calibrators, phase=("1446*",))
    fields = [problem for problem in survey(40, calibrators=calibrators).problems
              if "no field" in problem.message]  # fmt: skip
    assert len(fields) == 40
    assert told(*fields) == [
        "no field of dataset day0 matches '1446*'; fields: 1331+305, 1445+099, T0 (likewise 39 "
        "more datasets: day1, day2, day3 and 36 more)"
    ]


def test_the_plan_names_each() -> None:
    notes = survey(40, **SMALL).plan({}, {}).notes
    assert len(notes) == 40
    assert all(any(f"of T{n} covers" in note for note in notes) for n in range(40))


def test_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = "".join(f'[[dataset]]\nvis = "day{n:02}.ms"\n' for n in range(30))
    Path("r.toml").write_text(f"casarun = 1\n{names}")
    with pytest.raises(RefusedError) as refused:
        open_recipe(Path("r.toml"), Options())
    assert len(refused.value.problems) == 30
    assert str(refused.value) == (
        f"r.toml:3:7: dataset[0].vis: no such file: each of 30 files ({tmp_path}/day00.ms, "
        f"{tmp_path}/day01.ms, {tmp_path}/day02.ms and 27 more)\n"
        '    3 | vis = "day00.ms"\n      |       ^^^^^^^^^^'
    )


def test_a_guess_that_some_have_makes_no_other_problem() -> None:
    fields = [
        of(f"no field of dataset d{n} matches 'T9*'; fields: T{n}"
           + ("; did you mean 'T99'?" if n % 9 == 3 else ""), dataset=f"d{n}") for n in range(20)
    ]  # fmt: skip
    assert told(*fields) == [
        "no field of dataset d0 matches 'T9*'; fields: T0 (likewise 19 more datasets: d1, d2, d3 "
        "and 16 more)"
    ]


def test_data_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n in range(12):
        Path(f"day{n:02}.ms").mkdir()
    Path("r.toml").write_text('casarun = 1\n[[dataset]]\nvis = "day*.ms"\n')
    reduction = open_recipe(Path("r.toml"), Options())
    problems = [
        _unread(reduction, f"day{n:02}.observe", f"{tmp_path}/day{n:02}.ms: it has {n} rows")
        for n in range(12)
    ]
    assert str(reduction.refused(problems)).splitlines()[0] == (
        f"r.toml:3:7: dataset[0].vis: each of 12 files ({tmp_path}/day00.ms, {tmp_path}/day01.ms, "
        f"{tmp_path}/day02.ms and 9 more): it has 0 to 11 rows"
    )
    (one,) = str(reduction.refused(problems[7:8])).splitlines()[:1]
    assert one == f"r.toml:3:7: dataset[0].vis: {tmp_path}/day07.ms: it has 7 rows"


# -- of problems


def of(message: str, key: tuple[str | int, ...] = IMSIZE, **about: str) -> Problem:
    return Problem(message, key, about=tuple(about.items()))


def told(*problems: Problem) -> list[str]:
    return [problem.message for problem in together(problems)]


def test_places_and_severities_stay_apart() -> None:
    said = "T{} has 5 channels"
    one = of(said.format(1), target="T1")
    other = of(said.format(2), ("image", 1, "imsize"), target="T2")
    warned = replace(of(said.format(3), target="T3"), severity="warning")
    at_key = replace(of(said.format(4), target="T4"), at_key=True)
    assert together([one, other, warned, at_key]) == [one, other, warned, at_key]


def test_what_says_something_else_stays_apart() -> None:
    assert told(of("T1 has no data", target="T1"), of("T2 is no place", target="T2")) == [
        "T1 has no data", "T2 is no place",
    ]  # fmt: skip


def test_what_is_about_nothing_stays_as_it_is() -> None:
    problems = [Problem(f"k{n} is unknown", ("image", 0)) for n in range(3)]
    assert together(problems) == problems


def test_a_few_tables_of_datasets_keep_their_places_and_many_are_one() -> None:
    problems = [of(f"dataset d{n}: spw {s} is odd", ("dataset", n, "vis"), dataset=f"d{n}")
                for n in range(6) for s in (0, 1, 2, 7)]  # fmt: skip
    assert together(problems[:20]) == [
        Problem(f"dataset d{n}: spw 0~2, 7 is odd", ("dataset", n, "vis")) for n in range(5)
    ]
    assert together(problems) == [
        Problem("each of 6 datasets (d0, d1, d2, d3, d4, d5): spw 0~2, 7 is odd",
                ("dataset", 0, "vis"))
    ]  # fmt: skip


def test_tables_that_messages_do_not_name_are_named_by_their_place() -> None:
    problems = [Problem("unknown key", ("dataset", n, "viss"), at_key=True) for n in range(20)]
    assert told(*problems) == [
        "unknown key (20 datasets: dataset[0], dataset[1], dataset[2] and 17 more)"
    ]


def test_targets_in_datasets_of_their_own() -> None:
    problems = [
        of(f"phases of T{n} in dataset d{n} are {n + 1} h 0{n} min old; leave T{n} out",
           dataset=f"d{n}", target=f"T{n}")
        for n in range(3)
    ]  # fmt: skip
    assert told(*problems) == [
        "phases of each of 3 targets (T0, T1, T2) in 3 datasets (d0, d1, d2) are 1 h 00 min to "
        "3 h 02 min old; leave each out"
    ]
    assert told(*problems[:2]) == [
        "phases of each of 2 targets (T0, T1) in 2 datasets (d0, d1) are 1 h 00 min or 2 h 01 min "
        "old; leave each out"
    ]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (("9", "10", "8"), "8 to 10"),
        (("2 MHz", "3 MHz"), "2 or 3 MHz"),
        (("999 MHz", "1.2 GHz", "1 GHz"), "999 MHz to 1.2 GHz"),
        (("2021-02-03", "2019-12-31", "2020-01-01"), "2019-12-31 to 2021-02-03"),
        (("50 s", "1 min 05 s", "2 h 00 min"), "50 s to 2 h 00 min"),
        (("3%", "0.2%", "50%"), "0.2 to 50%"),
        (("-5", "5", "1e-05"), "-5 to 5"),
    ],
)
def test_numbers_become_a_range(numbers: tuple[str, ...], said: str) -> None:
    problems = [of(f"T{n} has {text}, which", target=f"T{n}") for n, text in enumerate(numbers)]
    names = ", ".join(f"T{n}" for n in range(len(numbers)))
    assert told(*problems) == [f"each of {len(numbers)} targets ({names}) has {said}, which"]


@pytest.mark.parametrize("text", ["0:4~6", "1445+099", "J0001-12", "5x", "v1.2.3"])
def test_what_only_looks_like_a_number_is_no_range(text: str) -> None:
    two = [of("A has 1:2~3, so", target="A"), of(f"B has {text}, so", target="B")]
    assert together(two) == two


def test_up_to_five_sentences_are_told_and_of_more_the_first() -> None:
    problems = [of(f"T{n} is by J{n % 7} at {n} deg", target=f"T{n}") for n in range(70)]
    five = [one for one in problems if not re.search(r"J[56]", one.message)]
    assert told(*five) == [
        f"each of 10 targets (T{n}, T{n + 7}, T{n + 14} and 7 more) is by J{n} at {n} to "
        f"{n + 63} deg"
        for n in range(5)
    ]
    assert told(*problems) == [
        "each of 10 targets (T0, T7, T14 and 7 more) is by J0 at 0 to 63 deg (likewise 60 more "
        "targets: T1, T2, T3 and 57 more)"
    ]


def test_what_is_wrong_with_one_dataset_in_several_ways_is_told_in_each() -> None:
    problems = [of(f"dataset d has no antenna '{name}' in scan {n}", dataset="d")
                for name in ("ea98", "ea99", "x", "y", "z", "a") for n in (1, 2)]  # fmt: skip
    assert together(problems) == problems


def test_all_that_is_wrong_with_many_in_many_ways_is_told_of_the_first() -> None:
    same = [of(f"dataset d{d} has no antenna '{name}'", dataset=f"d{d}")
            for d in range(9) for name in "abcdef"]  # fmt: skip
    nine = "each of 9 datasets (d0, d1, d2 and 6 more) has no antenna"
    assert told(*same) == [f"{nine} '{name}'" for name in "abcdef"]
    other = [of(f"dataset d{d} has no antenna 'A{d}x{n}'", dataset=f"d{d}")
             for d in range(9) for n in range(2)]  # fmt: skip
    assert told(*other) == [
        "dataset d0 has no antenna 'A0x0' (likewise 8 more datasets: d1, d2, d3, d4, d5, d6, d7, "
        "d8)",
        "dataset d0 has no antenna 'A0x1'",
    ]


def test_a_sentence_that_names_nobody_says_whom_it_is_about() -> None:
    problems = [
        of(f"a width of {n} Hz is too small", target=f"T{n}", dataset="d") for n in range(20)
    ]
    assert told(*problems) == [
        "a width of 0 to 19 Hz is too small (20 targets: T0, T1, T2 and 17 more)"
    ]


def test_what_is_said_of_several_in_the_same_words_is_about_none_of_them() -> None:
    draft = Draft(recipe())
    for target in draft.each("target", ["T0", "T1"], str):
        draft.warn("800 pixels are slow", IMSIZE)
        draft.warn(f"{target} is faint", IMSIZE)
        draft.problem("the header is odd", IMSIZE, dataset=f"d{target}")
    draft.warn("no more", IMSIZE)
    assert [(one.message, dict(one.about)) for one in draft.warnings] == [
        ("800 pixels are slow", {}),
        ("T0 is faint", {"target": "T0"}),
        ("T1 is faint", {"target": "T1"}),
        ("no more", {}),
    ]
    assert [one.about for one in draft.problems] == [()]


def test_a_name_is_found_where_it_stands_by_itself() -> None:
    problems = [of(f"the A1 of {name} has A+1, {name}.", target=name) for name in "AB"]
    assert told(*problems) == ["the A1 of each of 2 targets (A, B) has A+1, each."]


def test_a_name_that_is_a_number_is_not_taken_for_one_of_the_numbers() -> None:
    assert told(of("5 of 9 of 5 is odd", target="5"), of("5 of 9 of 6 is odd", target="6")) == [
        "5 of 9 of 5 or 6 is odd (2 targets: 5, 6)"
    ]


def test_few_names() -> None:
    names = [str(n) for n in range(1500)]
    assert few(names[:8]) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert few(names[:9]) == "0, 1, 2 and 6 more"
    assert few(names) == "0, 1, 2 and 1,497 more"


NAMES = st.text("AbZ0+. ", min_size=1, max_size=4)


@given(st.lists(st.tuples(NAMES, st.text("T1 .,:(é", max_size=9)), max_size=8))
def test_no_problem_is_lost_whatever_it_says(said: list[tuple[str, str]]) -> None:
    problems = [of(f"the {text} of {name} is odd", target=name) for name, text in said]
    found = told(*problems)
    assert bool(found) == bool(problems)
    for problem in problems:
        name = problem.about[0][1]
        assert any(name in message for message in found)
