"""CASA's selection syntax without CASA: what is selected, and what is said of what is not."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
from casarun import selection
from casarun.observation import Observation
from casarun.selection import SelectionError, SpwChannels, flag_command
from casarun.selection.time_range import casa_time
from hypothesis import given
from hypothesis import strategies as st
from support.observations import START_MJD_S, antennas, spw, vla

KNOWN = frozenset((*selection.SELECTIONS, "mode", "reason", "clipminmax", "timedev", "addantenna"))


def odd() -> Observation:
    """Return an observation with names that a selection could trip over."""
    base = vla(intents=True, spws=[spw(0), replace(spw(1, n_chan=8), name="low#1")])
    names = ("1331+305", "a,b", "M31 (core)", "3")
    fields = tuple(replace(base.fields[min(i, 2)], id=i, name=n) for i, n in enumerate(names))
    named = zip(antennas(1, 2, 3, 4), ("ea01", "5", "CA 7", "ea02"), strict=True)
    return replace(
        base, fields=fields, antennas=tuple(replace(antenna, name=name) for antenna, name in named)
    )


def refused(kind: str, text: str, observation: Observation) -> str:
    """Return what is said of a selection that is refused."""
    with pytest.raises(SelectionError) as error:
        selection.SELECTIONS[kind](text, observation)
    return str(error.value)


def test_empty_selections_take_all() -> None:
    there = odd()
    assert selection.fields("", there) == (0, 1, 2, 3)
    assert [len(chosen.channels) for chosen in selection.spws(" ", there)] == [64, 8]
    assert selection.antennas("", there) == (0, 1, 2, 3)
    assert selection.scans("", there) == (1, 2, 3, 4)
    assert selection.observations("", there) == (0,)
    assert selection.timerange("", there) == ((START_MJD_S, START_MJD_S + 2300),)
    assert selection.uvrange("", there) == ((0.0, float("inf")),)
    assert selection.correlations("", there) == ("LL", "RR")
    assert len(selection.intents("", there)) == 4


def test_fields_without_data_are_not_selected() -> None:
    there = vla()
    fields = (*there.fields[:2], replace(there.fields[2], n_rows=0))
    there = replace(there, fields=fields)
    assert selection.fields("", there) == (0, 1)
    assert selection.fields("0~2", there) == (0, 1)
    assert refused("field", "2", there) == "'2' is N5921, without data; fields: 1331+305, 1445+099"


def test_channels_of_several_items_come_together() -> None:
    assert selection.spws("0:0~2;5,1:3~7^2,0:1~3", odd()) == (
        SpwChannels(0, (0, 1, 2, 3, 5)),
        SpwChannels(1, (3, 5, 7)),
    )


def test_times_are_mjd_seconds() -> None:
    there = vla()
    ((begin, end),) = selection.timerange("1995/02/20/12:30:00~12:31:40", there)
    assert end - begin == 100
    assert casa_time(begin) == "1995/02/20/12:30:00"
    ((begin, end),) = selection.timerange("12:30:00+00:01:00", there)
    assert (casa_time(begin), end - begin) == ("1995/02/20/12:30:00", 60)


def test_a_date_alone_is_enough_where_there_is_one_integration() -> None:
    there = vla()
    one = replace(there.scans[0], end_mjd_s=START_MJD_S + there.scans[0].integration_s)
    there = replace(there, scans=(one,), end_mjd_s=one.end_mjd_s)
    ((begin, end),) = selection.timerange("1995/02/20", there)
    assert begin <= START_MJD_S < one.end_mjd_s <= end


@pytest.mark.parametrize(
    "text", ["1995/02/20~1995/02/21", ">1995/02/20", "1995/02/20/00:00:00~24:00:00",
             "1995/02/20+01:00:00"],
)  # fmt: skip
def test_dates_that_select_more_than_an_integration_are_as_good(text: str) -> None:
    ((begin, end),) = selection.timerange(text, vla())
    assert end - begin >= 3600


def test_wavelengths_become_metres_by_all_windows() -> None:
    there = vla(spws=[spw(0, centre_hz=1e9, n_chan=1), spw(1, centre_hz=2e9, n_chan=1)])
    ((short, long),) = selection.uvrange("1~2klambda", there)
    assert short == pytest.approx(149.896229)
    assert long == pytest.approx(599.584916)
    assert selection.uvrange("100~200:10%,>1km", there) == (
        (pytest.approx(90), pytest.approx(220)),
        (1000, float("inf")),
    )


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("field", "1331+350",
         "no field matches '1331+350'; fields: 1331+305, a,b, M31 (core), 3; did you mean "
         "'1331+305'?"),
        ("field", "M31 (core)",
         "CASA cannot read 'M31 (core)' as a name; in a selection write this name in double "
         "quotes: '\"M31 (core)\"'; fields: 1331+305, a,b, M31 (core), 3"),
        ("field", "'a,b'", "no field matches ''a'; fields: 1331+305, a,b, M31 (core), 3"),
        ("field", "9",
         "no field has the id '9': ids are 0~3; fields: 1331+305, a,b, M31 (core), 3"),
        ("field", "3~1", "'3~1' runs backwards: write 1~3"),
        ("field", "0,",
         "'0,' has an empty item: CASA takes no ',' at the start, at the end, or twice"),
        ("field", '"a,b', "'\"a,b' opens a double quote that it does not close"),
        ("spw", "2", "there is no spw '2'; spws: 0 (64 channels), 1 (8 channels)"),
        ("spw", "0~7", "there is no spw '7' ('0~7'); spws: 0 (64 channels), 1 (8 channels)"),
        ("spw", "low#2",
         "there is no spw 'low#2'; spws: 0 (64 channels), 1 (8 channels); did you mean 'low#1'?"),
        ("spw", "*:64~70",
         "'*:64~70' asks for channel 70 of spw 0, which has 64 channels, 0~63: CASA would take "
         "the nearest one without a word; spws: 0 (64 channels), 1 (8 channels)"),
        ("spw", "0:2-12",
         "CASA cannot read '2-12' in '0:2-12' as channels; write '3~10', '3~10^2', '3;5' or "
         "'1.41~1.42GHz'; spws: 0 (64 channels), 1 (8 channels)"),
        ("spw", "5~6GHz",
         "no spw lies in '5~6GHz'; spws: 0 (1399.213 MHz to 1400.787 MHz), 1 (1399.912 MHz to "
         "1400.088 MHz)"),
        ("spw", "1.4GHz",
         "CASA finds no spw by the single frequency '1.4GHz': write a range, '1.4~1.5GHz'"),
        ("spw", "0:1~2km/s",
         "CASA does not select by velocity ('1~2km/s'): write channels or frequencies"),
        ("antenna", "ea09",
         "there is no antenna 'ea09' with data; antennas: ea01, 5, CA 7, ea02"),
        ("antenna", "CA 7",
         "CASA cannot read 'CA 7' as an antenna; in a selection write this name in double quotes: "
         "'\"CA 7\"'; antennas: ea01, 5, CA 7, ea02"),
        ("antenna", "ea01,!ea02",
         "CASA cannot read '!ea02' in a list: one '!' at its start holds for the whole list, "
         "'!ea01,ea02', and ';' stands between lists"),
        ("antenna", "ea01&ea01",
         "'ea01&ea01' is no baseline: both ends are ea01; 'ea01&&&' are its autocorrelations"),
        ("antenna", "ea01;!*", "antenna 'ea01;!*' leaves nothing; antennas: ea01, 5, CA 7, ea02"),
        ("antenna", ">5km",
         "no baseline is '>5km': the longest is 1000 m (a number without a unit is in m)"),
        ("scan", "!3",
         "CASA cannot read '!3' as a scan: it has no negation here, name those to take; scans: "
         "1~4"),
        ("scan", "1-3",
         "CASA cannot read '1-3' as a scan: a range is written with '~'; scans: 1~4"),
        ("scan", "3,9", "there is no scan '9'; scans: 1~4"),
        ("observation", "1", "there is no observation '1'; observation ids: 0"),
        ("intent", "OBSERVE_TARGET",
         "no intent matches 'OBSERVE_TARGET'; intents: CALIBRATE_BANDPASS#ON_SOURCE, "
         "CALIBRATE_FLUX#ON_SOURCE, CALIBRATE_PHASE#ON_SOURCE, OBSERVE_TARGET#ON_SOURCE; write "
         "'OBSERVE_TARGET*': an intent is matched as a whole"),
        ("timerange", "2020/01/01/00:00:00~2020/01/02/00:00:00",
         "no data in timerange '2020/01/01/00:00:00~2020/01/02/00:00:00': the data are from "
         "1995/02/20/12:26:40 to 1995/02/20/13:05:00"),
        ("timerange", "12:30~12:35",
         "no data in timerange '12:30~12:35': the data are from 1995/02/20/12:26:40 to "
         "1995/02/20/13:05:00; CASA reads '12:30' as minutes and seconds: write '12:30:00'"),
        ("timerange", "12:35:30~12:36:00",
         "no data in timerange '12:35:30~12:36:00': the data are from 1995/02/20/12:26:40 to "
         "1995/02/20/13:05:00, and no scan lies in it"),
        ("timerange", "13:00:00~12:30:00",
         "'13:00:00~12:30:00' runs backwards: it ends at 1995/02/20/12:30:00, before it begins "
         "at 1995/02/20/13:00:00"),
        ("timerange", "1995/02/20",
         "timerange '1995/02/20' is a date without a time: CASA takes the time of the first data, "
         "12:26:40, and so one integration; write '1995/02/20/00:00:00~24:00:00' for the whole "
         "day"),
        ("timerange", "1995/02/20~1995/02/20",
         "timerange '1995/02/20~1995/02/20' is a date without a time: CASA takes the time of the "
         "first data, 12:26:40, and so one integration; write '1995/02/20/00:00:00~24:00:00' for "
         "the whole day"),
        ("timerange", "1995/02/21",
         "no data in timerange '1995/02/21': the data are from 1995/02/20/12:26:40 to "
         "1995/02/20/13:05:00"),
        ("timerange", "1995-02-20T12:30:00",
         "CASA cannot read the time '1995-02-20T12:30:00'; write YYYY/MM/DD/hh:mm:ss~hh:mm:ss"),
        ("uvrange", "0~2",
         "no baseline lies in uvrange '0~2': baselines are 40 m to 1000 m long, 0.187 to 4.67 "
         "klambda; a number without a unit is in m"),
        ("uvrange", "0m~100m",
         "CASA cannot read the uvrange '0m~100m'; write '0~1000m', '>1klambda' or '<5km', the "
         "unit once at the end; several with commas"),
        ("correlation", "XX", "the data have no correlation 'XX'; correlations: LL, RR"),
    ],
)  # fmt: skip
def test_what_is_said(kind: str, text: str, said: str) -> None:
    assert refused(kind, text, odd()) == said


def test_long_lists_are_cut() -> None:
    there = replace(vla(), antennas=antennas(*range(60)))
    assert refused("antenna", "pm01", there).endswith("ea18, ea19, ... (60 in all)")
    many = vla(spws=[spw(i) for i in range(16)])
    assert refused("spw", "17", many) == "there is no spw '17'; spws: 0~15 (64 channels each)"


def test_all_selections_of_a_task_at_once() -> None:
    params = {"vis": "x.ms", "field": "0", "scan": 9, "spw": ["0", "1"], "antenna": "", "niter": 3}
    assert selection.check(params, odd()) == {"scan": "there is no scan '9'; scans: 1~4"}


# -- the roles of a recipe


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("M31 (core)", [2]), ("a,b", [1]), ("3", [3]), ("2", [2]), ("1331*", [0]),
        ("M*,1331*", [0, 2]),
        ("0~1", [0, 1]), ('"a,b"', [1]), ("*", [0, 1, 2, 3]), ("M32", []), ("1331*,M32", []),
        ("", []), ("5~2", []), ("/M31.*/", [2]),
    ],
)  # fmt: skip
def test_fields_as_a_recipe_names_them(text: str, ids: list[int]) -> None:
    assert [field.id for field in selection.matching_fields(text, odd())] == ids


# -- flag commands


def test_a_flag_command_is_split_as_casa_does() -> None:
    command = (
        "mode='manual'  antenna='ea03'  field=\"Sgr A*\" reason='bad, by log' clipminmax=[0,5]"
    )
    assert flag_command.parse(command) == {
        "mode": "manual", "antenna": "ea03", "field": "Sgr A*", "reason": "bad, by log",
        "clipminmax": "[0,5]",
    }  # fmt: skip
    assert flag_command.parse("# antenna='ea99'") == {}
    assert flag_command.parse("antenna=ea03") == {"antenna": "ea03"}
    assert flag_command.parse("field='1331+305=3C286'") == {"field": "1331+305=3C286"}


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("antena='ea03'", "a flag command has no parameter 'antena'; did you mean 'antenna'?"),
        ("antenna = 'ea03'",
         "no spaces go around '=' in a flag command: found 'antenna = 'ea03''"),
        ("antenna='ea03", "the quotes in antenna='ea03 are not balanced"),
        ("antenna=ea03' scan='1'", "the quotes in antenna=ea03' are not balanced"),
        ("antenna='ea03', scan='1'",
         "spaces, not commas or semicolons, separate parameters: found antenna='ea03',"),
        ("antenna='ea03'scan='1'", "the quotes in antenna='ea03'scan='1' are not balanced"),
        ("ea03", "'ea03' is no parameter: a flag command is written as antenna='ea03' "
         "timerange='09:30:00~09:40:00'"),
        ("", "'' is no parameter: a flag command is written as antenna='ea03' "
         "timerange='09:30:00~09:40:00'"),
        ("scan=3", "CASA takes a text for 'scan': write scan='3'"),
        ("scan='1' scan='2'", "'scan' stands twice in one flag command; CASA takes the last"),
        ("reason='so b=c'",
         "in 'so b=c' CASA takes the word with '=' for a parameter of its own, for all the quotes"),
        ("mode='manul'", "'manul' is no mode of a flag command; modes: clip, manual; did you "
         "mean 'manual'?"),
        ("mode='manual'\tscan='1'",
         "a flag command stands on one line, its parameters apart by spaces"),
        ("addantenna={'x':exit()}",
         "CASA would run the value of 'addantenna' as Python code: no braces in a flag command"),
        ("timedev='exit()'",
         "'timedev' takes a number or a list here: CASA would run 'exit()' as Python code, or "
         "read a file of that name"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_flag_command(command: str, said: str) -> None:
    assert flag_command.syntax(command, KNOWN, {"manual", "clip"}) == said


def test_selections_of_a_flag_command() -> None:
    assert flag_command.selections("antenna='ea01' scan='9' reason='x'", odd()) == {
        "scan": "there is no scan '9'; scans: 1~4"
    }
    assert flag_command.selections("timedev=[[0,1,2.5]] scan='1'", odd()) == {}


# -- whatever is written, an answer or a refusal, soon

_PIECES = st.sampled_from(
    [*"0123456789~,;:&!*?<>^=@%/\"'{}[]()+-. ", "ea01", "klambda", "GHz", "1995/02/20/", "12:30:00",
     "~12:40:00", "a,b", "99999999999999999999", "1e400", "*:", "RR", "(a+)+b", "²", "\n"]
)  # fmt: skip


@given(st.sampled_from(sorted(selection.SELECTIONS)), st.lists(_PIECES, max_size=14))
def test_anything_is_answered_or_refused(kind: str, pieces: list[str]) -> None:
    text = "".join(pieces)
    there = odd()
    wrong = selection.check({kind: text}, there)
    assert all(wrong.values())
    assert isinstance(selection.matching_fields(text, there), tuple)


@given(st.lists(_PIECES | st.sampled_from(["antenna=", "scan=", " mode="]), max_size=14))
def test_any_flag_command_is_answered(pieces: list[str]) -> None:
    command = "".join(pieces)
    assert isinstance(flag_command.syntax(command, KNOWN), str)
    assert isinstance(flag_command.selections(command, odd()), dict)


def test_a_nested_set_is_read_without_a_warning_of_python_s() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert selection.fields("/[[N]59.*/", vla()) == (2,)


def test_a_hostile_expression_takes_no_time() -> None:
    there = vla()
    name = "a" * 60
    there = replace(there, fields=(replace(there.fields[0], name=name), *there.fields[1:]))
    assert selection.fields("/(a+)+b/", there) == (0, 1, 2)
    assert selection.fields("*a" * 30 + "*", there) == (0,)
