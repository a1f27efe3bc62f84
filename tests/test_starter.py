from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from casarun import starter
from casarun.observation import Field, Observation, Scan
from casarun.recipe.load import load
from casarun.stages import compile as stages
from casarun.starter.lines import free_channels, line_in, narrow
from casarun.starter.roles import guess
from casarun.starter.toml import comment, pattern, string, strings
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cli import casarun, metrics
from support.observations import START_MJD_S, spw, vla

ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)


def observed(
    order: str, names: dict[str, str], lengths: dict[str, float] | None = None
) -> Observation:
    """Return an observation whose scans are of the fields that letters stand for."""
    base = vla()
    letters = list(names)
    where = {"3C286": (202.7845, 30.5092)}
    fields = tuple(
        Field(i, names[one], *where.get(names[one], (210.0 + i, 10.0 + i)), (), 100)
        for i, one in enumerate(letters)
    )
    scans, start = [], START_MJD_S
    for number, one in enumerate(order, 1):
        length = (lengths or {}).get(one, 100.0)
        scans.append(Scan(number, (letters.index(one),), (0,), start, start + length, 10.0))
        start += length + 10
    return replace(base, fields=fields, scans=tuple(scans), end_mjd_s=start)


def roles(observation: Observation) -> tuple[str, str, tuple[str, ...], tuple[str, ...]]:
    found = guess(observation)
    assert found.flux is not None
    assert found.bandpass is not None
    return (
        found.flux.name,
        found.bandpass.name,
        tuple(one.name for one in found.phase),
        tuple(one.name for one in found.targets),
    )


# TOML


@given(ANY_TEXT)
def test_a_string_means_its_text(text: str) -> None:
    written = f"key = {string(text)}\n"
    whole = "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in text)
    assert tomllib.loads(written) == {"key": whole}
    assert written.count("\n") == 1
    written.encode()


@given(st.lists(ANY_TEXT, max_size=8))
def test_an_array_means_its_texts(texts: list[str]) -> None:
    assert len(tomllib.loads(f"key = {strings(texts)}\n")["key"]) == len(texts)


@given(ANY_TEXT)
def test_a_comment_stays_one(text: str) -> None:
    lines = comment(f"field {text} of the data", "UNSURE: ")
    assert tomllib.loads("\n".join(lines) + "\nkey = 1\n") == {"key": 1}
    assert all(line.startswith("# ") for line in lines)
    "\n".join(lines).encode()


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_pattern_matches_its_name_alone(name: str, other: str) -> None:
    from fnmatch import fnmatchcase

    assert fnmatchcase(name, pattern(name))
    assert fnmatchcase(other, pattern(name)) == (other == name)


EVIL = 'x"\n[evil]\nkey = "\\'


@settings(deadline=None, max_examples=40)
@given(ANY_TEXT.filter(lambda text: text.strip() and not {*text} & {"\x00"}))
def test_names_from_data_cannot_change_the_recipe(name: str) -> None:
    base = vla(intents=True)
    fields = (*base.fields[:2], replace(base.fields[2], name=name))
    antennas = tuple(replace(one, name=name) for one in base.antennas)
    evil = replace(base, fields=fields, antennas=antennas, telescope=name, observer=name)
    document = tomllib.loads(starter.write([evil], ["a.ms"], "a").text)
    assert list(document) == [
        "casarun", "project", "dataset", "calibrators", "targets", "flag", "calibrate", "contsub",
        "image", "qa", "resources",
    ]  # fmt: skip
    assert len(document["targets"]["fields"]) == 1


def test_an_evil_field_is_found_by_its_name() -> None:
    base = vla(intents=True)
    evil = replace(base, fields=(*base.fields[:2], replace(base.fields[2], name=EVIL)))
    written = starter.write([evil], ["a.ms"], "a")
    assert tomllib.loads(written.text)["targets"]["fields"] == [EVIL]


# Roles


def test_roles_from_intents_need_no_doubt() -> None:
    found = guess(vla(intents=True))
    assert found.flux is not None
    assert (found.flux.name, found.standard) == ("1331+305", "Perley-Butler 2017")
    assert [one.name for one in found.phase] == ["1445+099"]
    assert [one.name for one in found.targets] == ["N5921"]
    assert found.doubts == {}
    assert found.reasons["bandpass"] == "its scans have the intent CALIBRATE_BANDPASS"


@pytest.mark.parametrize(
    ("order", "names", "phase", "targets"),
    [
        ("FPTPTP", {"F": "3C286", "P": "one", "T": "two"}, ("one",), ("two",)),
        ("FPTPTPT", {"F": "3C286", "P": "1445+099", "T": "N5921"}, ("1445+099",), ("N5921",)),
        ("FPTUPTUP", {"F": "3C286", "P": "p", "T": "t", "U": "u"}, ("p",), ("t", "u")),
        ("PTUPTUPF", {"F": "3C286", "P": "p", "T": "t", "U": "u"}, ("p",), ("t", "u")),
        ("FPTPQUQUQF", {"F": "3C286", "P": "p", "T": "t", "Q": "q", "U": "u"}, ("p", "q"),
         ("t", "u")),
        ("FTF", {"F": "3C286", "T": "t"}, ("3C286",), ("t",)),
        ("FPT", {"F": "3C286", "P": "J1445+0958", "T": "t"}, ("J1445+0958",), ("t",)),
        ("FP", {"F": "3C286", "P": "J1445+0958"}, ("3C286",), ("J1445+0958",)),
        ("TPTPTFPT", {"F": "3C286", "P": "B1442+101", "T": "t"}, ("B1442+101",), ("t",)),
    ],
)  # fmt: skip
def test_roles_from_the_observing_pattern(
    order: str, names: dict[str, str], phase: tuple[str, ...], targets: tuple[str, ...]
) -> None:
    assert roles(observed(order, names)) == ("3C286", "3C286", phase, targets)


def test_of_two_nameless_fields_that_take_turns_the_briefer_calibrates() -> None:
    names = {"F": "3C286", "A": "first", "B": "second"}
    assert roles(observed("FABABAB", names, {"A": 60, "B": 600}))[2:] == (("first",), ("second",))
    assert roles(observed("FABABAB", names, {"A": 600, "B": 60}))[2:] == (("second",), ("first",))


def test_a_flux_calibrator_is_known_by_its_place_alone() -> None:
    base = observed("FPTPTP", {"F": "CAL", "P": "p", "T": "t"})
    fields = (replace(base.fields[0], ra_deg=202.784533, dec_deg=30.509155), *base.fields[1:])
    found = guess(replace(base, fields=fields))
    assert found.flux is not None
    assert (found.flux.name, found.standard) == ("CAL", "Perley-Butler 2017")
    assert found.reasons["flux"] == "it is 3C286"


def test_without_a_known_standard_a_jansky_stands_in_and_is_said() -> None:
    base = observed("PTPTP", {"P": "J1445+0958", "T": "t"})
    written = starter.write([base], ["a.ms"], "a")
    document = tomllib.loads(written.text)
    assert document["calibrators"]["flux"] == {
        "field": "J1445+0958", "fluxdensity": 1.0, "spix": 0.0, "reffreq": "1.39921GHz",
    }  # fmt: skip
    assert (
        "no flux standard of CASA knows J1445+0958 at 1399.213 MHz, so 1 Jy stands in for it: all "
        "flux densities are relative until you give its own (fluxdensity, spix, reffreq)"
    ) in written.unsure


def test_one_field_is_calibrated_and_a_corrected_column_makes_it_sure() -> None:
    alone = observed("TT", {"T": "t"})
    found = guess(alone)
    assert found.calibrated
    assert found.doubts["calibrated"] == (
        "no field looks like a calibrator, so the data are taken for calibrated. If they are not, "
        "remove `calibrated` and name the calibrators in [calibrators]"
    )
    sure = guess(replace(alone, columns=("CORRECTED_DATA", "DATA")))
    assert sure.calibrated
    assert sure.doubts == {}


def test_flagged_and_empty_fields_have_no_role() -> None:
    base = vla(intents=True)
    gone = replace(base.fields[2], id=3, name="gone", flagged_fraction=1.0)
    empty = replace(base.fields[2], id=4, name="empty", n_rows=0)
    found = guess(replace(base, fields=(*base.fields, gone, empty)))
    assert [one.name for one in found.targets] == ["N5921"]


def test_data_without_a_good_visibility_are_refused() -> None:
    base = vla()
    bad = replace(base, fields=tuple(replace(one, flagged_fraction=1.0) for one in base.fields))
    with pytest.raises(ValueError, match=r"^no field of a\.ms has a visibility that is"):
        starter.write([bad], ["a.ms"], "a")


# Lines


@pytest.mark.parametrize(
    ("centre_hz", "width_hz", "n_chan", "expected"),
    [
        (1.4134e9, 24.4e3, 63, True),  # VLA, HI
        (1.5e9, 2e6, 64, False),  # VLA, 128 MHz of continuum
        (100e9, 15.625e6, 128, False),  # ALMA, a continuum window
        (115e9, 0.244e6, 1920, True),  # ALMA, a line window
        (1.3e9, 26e3, 32768, False),  # MeerKAT, all of L band
        (4.8e9, 50e6, 1, False),
    ],
)
def test_narrow_windows_of_many_channels_look_like_lines(
    centre_hz: float, width_hz: float, n_chan: int, expected: bool
) -> None:
    assert narrow(spw(0, n_chan=n_chan, centre_hz=centre_hz, width_hz=width_hz)) is expected


def test_the_line_is_that_of_the_data_else_the_nearest_known() -> None:
    window = spw(0, n_chan=63, centre_hz=1.4134e9, width_hz=24.4e3)
    found = line_in(window)
    assert found is not None
    assert found[0].name == "hi"
    assert found[1] == pytest.approx(1478, abs=1)
    given = line_in(replace(window, rest_hz=(1.4141e9,)))
    assert given is not None
    assert (given[0].name, given[0].rest_hz) == ("line0", 1.4141e9)
    placeholder = line_in(replace(window, rest_hz=(window.first_hz,)))
    assert placeholder is not None
    assert placeholder[0].name == "hi"
    assert line_in(spw(0, centre_hz=3e9)) is None


@pytest.mark.parametrize("n_chan", [32, 33, 63, 64, 512, 4096])
@pytest.mark.parametrize("width_hz", [1e3, 24e3, 300e3])
def test_free_channels_are_inside_on_both_sides_and_apart(n_chan: int, width_hz: float) -> None:
    parts = free_channels(spw(0, n_chan=n_chan, width_hz=width_hz)).split(";")
    (a, b), (c, d) = (tuple(map(int, part.split("~"))) for part in parts)
    assert 0 < a <= b < n_chan // 2 < c <= d < n_chan - 1


# The whole recipe


def plan_of(tmp_path: Path, *observations: Observation) -> tuple[list[str], starter.Starter]:
    """Write a recipe for datasets, read it, plan it; return what casarun has to say against it."""
    vis = [f"day{number}.ms" for number in range(len(observations))]
    for name in vis:
        (tmp_path / name).mkdir(exist_ok=True)
    written = starter.write(observations, vis, "run")
    path = tmp_path / "run.toml"
    path.write_text(written.text, encoding="utf-8")
    loaded = load(path)
    assert [one.name for one in loaded.recipe.dataset] == [Path(name).stem for name in vis]
    found = dict(zip((one.name for one in loaded.recipe.dataset), observations, strict=True))
    compiled = stages.full(loaded.recipe, found)
    said = (*loaded.warnings, *compiled.problems, *compiled.warnings)
    return [problem.message for problem in said], written


def test_a_line_gets_continuum_subtraction_and_a_cube(tmp_path: Path) -> None:
    hi = vla(spws=(spw(0, n_chan=63, centre_hz=1.4134e9),))
    said, written = plan_of(tmp_path, hi)
    assert said == []
    document = tomllib.loads(written.text)
    assert document["contsub"] == {"fitspec": "0:3~8;53~59", "fitorder": 0}
    continuum, cube = document["image"]
    assert (continuum["name"], continuum["spw"]) == ("continuum", "0:3~8;53~59")
    assert (cube["name"], cube["from"], cube["restfreq"]) == ("hi", "contsub", "1420.405752MHz")
    assert (cube["start"], cube["nchan"]) == (3, 57)
    assert written.unsure[0].startswith("fitspec is a guess: ")
    assert written.text.count("# UNSURE: ") == len(written.unsure) == 2


def test_choices_of_auto_stand_as_comments(tmp_path: Path) -> None:
    _, written = plan_of(tmp_path, vla(intents=True, spws=(spw(0, n_chan=16, width_hz=4e6),)))
    lines = written.text.splitlines()
    assert lines[lines.index('refant = "auto"') - 2].startswith("# auto is ea01,ea02,ea00 (day0: ")
    assert any(line.startswith("# auto is ") and "primary beams" in line for line in lines)
    assert written.unsure == ()


def test_high_frequencies_of_the_vla_get_gain_curves_and_opacities(tmp_path: Path) -> None:
    wide = {"n_chan": 16, "width_hz": 4e6}
    _, written = plan_of(tmp_path, vla(intents=True, spws=(spw(0, centre_hz=22e9, **wide),)))
    priors = tomllib.loads(written.text)["calibrate"]["priors"]
    assert priors == {"gaincurve": "auto", "opacity": "auto"}
    _, written = plan_of(tmp_path, vla(intents=True, spws=(spw(0, **wide),)))
    assert "priors" not in tomllib.loads(written.text)["calibrate"]


def test_days_alike_share_their_roles(tmp_path: Path) -> None:
    said, written = plan_of(tmp_path, vla(intents=True), vla(intents=True))
    assert said == []
    document = tomllib.loads(written.text)
    assert [one["name"] for one in document["dataset"]] == ["day0", "day1"]
    assert document["calibrators"]["phase"] == "1445+099"
    assert document["targets"]["fields"] == ["N5921"]


def test_days_that_differ_take_their_calibrators_from_the_intents(tmp_path: Path) -> None:
    first = vla(intents=True)
    other = (
        replace(first.fields[0], name="3C48", ra_deg=24.4221, dec_deg=33.1598),
        replace(first.fields[1], name="other"),
        replace(first.fields[2], name="N6000"),
    )
    said, written = plan_of(tmp_path, first, replace(first, fields=other))
    document = tomllib.loads(written.text)
    assert "flux" not in document["calibrators"]
    assert "phase" not in document["calibrators"]
    assert document["targets"]["fields"] == ["N5921", "N6000"]
    assert not any("no field" in message for message in said)


def test_targets_of_other_windows_get_images_of_their_own(tmp_path: Path) -> None:
    base = vla(intents=True, spws=(spw(0, n_chan=16, width_hz=2e6),
                                   spw(1, n_chan=16, width_hz=2e6, centre_hz=1.8e9)))  # fmt: skip
    third = replace(base.fields[2], id=3, name="third")
    scans = tuple(
        replace(scan, spw_ids=(0,)) if scan.field_ids == (2,) else scan for scan in base.scans
    )
    more = replace(scans[2], number=9, field_ids=(3,), spw_ids=(1,))
    said, written = plan_of(
        tmp_path, replace(base, fields=(*base.fields, third), scans=(*scans, more))
    )
    assert said == []
    images = tomllib.loads(written.text)["image"]
    assert [(one["name"], one["targets"]) for one in images] == [
        ("continuum-1", ["N5921"]), ("continuum-2", ["third"]),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("vis", "expected"),
    [
        ("day1.ms", "day1.ms"),
        ("../data/day1.ms", "../data/day1.ms"),
        ("casadata:demo/NGC5921.fits", "casadata:demo/NGC5921.fits"),
        ("~day1.ms", "./~day1.ms"),
        ("day[1]*.ms", "day[[]1][*].ms"),
        ("${HOME}.ms", "$${HOME}.ms"),
        ("/somewhere/else/day1.ms", "/somewhere/else/day1.ms"),
    ],
)
def test_a_path_means_itself(
    vis: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert starter.as_vis(vis, folder) == expected


def test_a_path_is_written_from_the_recipes_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert starter.as_vis("data/day1.ms", tmp_path / "recipes") == "../data/day1.ms"


# The command line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.ms"], "gone.ms: no such file or folder"),
        (["casadata:demo/gone.fits"], "casadata:demo/gone.fits: no such file or folder"),
        (
            ["here.ms"],
            "here.toml is there already; overwrite it with --force, or choose another -o",
        ),
        (["here.ms", "-o", "."], ". is a folder; name a file with -o"),
    ],
)
def test_init_refuses_before_it_reads_data(
    arguments: list[str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "here.ms").mkdir()
    (tmp_path / "here.toml").write_text("mine")
    done = casarun("init", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (2, message)
    assert (tmp_path / "here.toml").read_text() == "mine"


@pytest.mark.casa
def test_init_of_the_demo_data_runs_unchanged_and_passes(tmp_path: Path) -> None:
    written = casarun("init", "casadata:demo/NGC5921.fits", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    assert written.stdout.splitlines() == [
        "wrote NGC5921.toml", "next: casarun check NGC5921.toml",
    ]  # fmt: skip
    assert "fitspec is a guess" in written.stderr
    checked = casarun("check", "NGC5921.toml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    done = casarun("NGC5921.toml", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = metrics(tmp_path / "runs" / "NGC5921")
    assert found["verdict"] == "pass"
    images = found["images"]["N5921_2"]
    assert set(images) == {"continuum", "hi"}
    # NRAO finds 0.0524 by other channels, pixels and weights (0.0547 with these weights).
    assert images["hi"]["peak_jy_per_beam"] == pytest.approx(0.055, rel=0.1)


@pytest.mark.casa
def test_init_prints_and_forces(tmp_path: Path, own_sky: Path) -> None:
    target = tmp_path / "sky.toml"
    target.write_text("mine")
    done = casarun("init", own_sky.name, "--name", "sky", "--force", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = tomllib.loads(target.read_text())
    assert document["dataset"] == [{"name": "own", "vis": "own.ms"}]
    printed = casarun("init", own_sky.name, "-o", "-", "--name", "sky", cwd=tmp_path)
    assert printed.stdout == target.read_text()
