"""What `casarun.selection` says of a selection, held against CASA itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun import selection
from casarun.observation import Observation
from casarun.selection import SelectionError
from support import skies

pytestmark = pytest.mark.casa

# Names that a selection could trip over; the field '3' has id 3, the antenna '5' has id 3.
FIELDS = (
    "1331+305=3C286", "J1445+0958", "NGC 5921", "3", "M31 (core)", "a,b", "N5921*x", "Sgr A*",
    "2000+40",
)  # fmt: skip
ANTENNAS = ("ea01", "ea02", "ea03", "5", "DV-1", "EA06", "CA 7", "DA41")
STATIONS = ("N12", "W02", "N03", "E04", "A005", "W06", "W07", "T701")
SPWS = ("EVLA_L#A0C0#0", "EVLA_L#A0C0#1", "low", "X:1,2")
INTENTS = (
    "CALIBRATE_FLUX#ON_SOURCE,CALIBRATE_BANDPASS#ON_SOURCE",
    "CALIBRATE_PHASE#ON_SOURCE",
    "OBSERVE_TARGET#ON_SOURCE",
)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Observation]:
    """Give an MS of odd names, of scans 1 to 8 and 20, and its metadata. Only read it."""
    from casarun.casa.metadata import read

    path = tmp_path_factory.mktemp("odd") / "odd.ms"
    fields = tuple(
        skies.SkyField(
            name, f"15h{i:02d}m00.0s", f"+{8 + i:02d}d00m00.0s", (skies.Source(1.0),),
            INTENTS[min(i, 2)],
        )
        for i, name in enumerate(FIELDS)
    )  # fmt: skip
    spws = (
        skies.Spw(1.4e9, 1e6, 16), skies.Spw(1.5e9, 2e6, 8), skies.Spw(1.4e9, 1e6, 16),
        skies.Spw(5e9, 1e6, 4),
    )  # fmt: skip
    skies.build(
        path,
        skies.Sky(fields=fields, scans=tuple(range(9)), spws=spws, n_antennas=8, integrations=2),
    )
    from casatools import table  # once CASA is configured

    tool = table()
    for subtable, column, values in (
        ("/ANTENNA", "NAME", ANTENNAS),
        ("/ANTENNA", "STATION", STATIONS),
        ("/SPECTRAL_WINDOW", "NAME", SPWS),
    ):
        tool.open(f"{path}{subtable}", nomodify=False)
        tool.putcol(column, list(values))
        tool.close()
    tool.open(str(path), nomodify=False)
    scans = tool.getcol("SCAN_NUMBER")
    tool.putcol("SCAN_NUMBER", np.where(scans == 9, 20, scans))
    tool.close()
    return path, read(path)


@pytest.fixture
def ms() -> Iterator[Any]:
    """Give CASA's ms tool."""
    from casatools import ms

    tool = ms()
    yield tool
    tool.done()


def indices(ms: Any, odd: tuple[Path, Observation], **selected: str) -> dict[str, Any] | None:
    """Return what CASA makes of a selection, or None where it refuses it."""
    try:
        return dict(ms.msseltoindex(str(odd[0]), **selected))
    except RuntimeError:
        return None


def rows(ms: Any, odd: tuple[Path, Observation], **selected: str) -> int:
    """Return how many rows CASA selects; none where it refuses."""
    ms.open(str(odd[0]))
    try:
        return int(ms.nrow(True)) if ms.msselect(selected) else 0
    except RuntimeError:
        return 0
    finally:
        ms.close()


def resolved(kind: str, text: str, odd: tuple[Path, Observation]) -> Any:
    """Return what casarun makes of it, or None where it refuses it."""
    try:
        return selection.SELECTIONS[kind](text, odd[1])
    except SelectionError:
        return None


# `5~2` is not among them: it ends CASA's process.
@pytest.mark.parametrize(
    "text",
    [
        "0", "3", "0~3", "0 ~ 2", "0,2", "00", "<2", ">6", ">2&<5", "7~12", "0~20", "NGC 5921",
        "NGC*", "*5921", "N*", "*", "J1445+0958", "1331+305=3C286", "1331*", "M31*", "a?b",
        '"a,b"', '"M31 (core)"', '"M31 (cor*"', '"3"', "/NGC.*/", "/a.b/", "Sgr A*", "*A?",
        "N5921*x", "N5921?x", "2000+40", "2000*", "NGC*,J*", " NGC 5921 , J1445+0958", "0~2,NGC*",
        '"NGC 5921","a,b"', "*+*", "?31*", "*3C286", ">7,J*", "M31 ?core?",
        # refused
        "20", "~3", "3~", ">100", "!3", "n*", "J1445", "M31 (core)", "a,b", "M31 (cor?)",
        "J1445+09[0-9]8", "bad", "NGC*,bad", "J*,", ",J*", "0;1", "'NGC 5921'", "1.5", "-1",
        "NGC~J", "0^2", "0:3", "=3", ">=7", "<=1", "<0", "20~30", "/J1445/", '"bad"', "NGC5921",
        "J1445+0958|NGC", "Sgr A", "3C286", '"0~2"',
    ],
)  # fmt: skip
def test_field(text: str, odd: tuple[Path, Observation], ms: Any) -> None:
    there = indices(ms, odd, field=text)
    assert resolved("field", text, odd) == (there and tuple(sorted(there["field"])))


def channels(there: dict[str, Any] | None) -> list[tuple[int, tuple[int, ...]]] | None:
    """Return CASA's spws and channels in casarun's form."""
    if there is None:
        return None
    found: dict[int, set[int]] = {}
    for spw, first, last, step in there["channel"].reshape(-1, 4).tolist():
        found.setdefault(spw, set()).update(range(first, last + 1, step))
    return sorted((spw, tuple(sorted(chosen))) for spw, chosen in found.items())


@pytest.mark.parametrize(
    "text",
    [
        "0", "0~1", "0,2", "<2", ">1", "*", "EVLA_L#A0C0#0", "EVLA*", "*A0C0*", "lo?", "low",
        '"low"', '"X:1,2"', "X*", "low,0", "0;1", "0 ,1",
        "0:3~5", "0 : 3 ~ 5", "*:3~5", "*:5~10", "EVLA_L*:1~2", "0:15", "0:0", "0:3;5;7~9",
        "0~1:2~3", "0:0~15^2", "0:^3", "0:5~10^20", "*:^2", "0:2~4,1:3", "0:2~4,1", "0,0:3~5",
        "EVLA_L#A0C0#0:3~4", "low:2;5", "2;3:1", "0;1:3", '"EVLA_L#A0C0#0":3', "0:-1",
        # refused
        "20", "0,20", "0~20", ">9", "bad", "X:1,2", "9GHz", "9~10GHz", "1.4GHz", "-1", "0:", "0:a",
        "0:0~", "0:5~3", "3~1", "0:<5", "0:>10", "!0", "0:3^2", "0:3,5", "0:1~3km/s", "0:5km/s",
        "0:1.5~1.6GHz", "0:3~5Hz", "#A0C0#1", "0:0~15;", "0,", "*:*", "0:*", "0:2~3;1:3", "<=1",
        ">=2", ">1&<3", "!low", '"EVLA_L#A0C0#0:3"', "0:0~3^", "0::3", "*^2", "0:1.39~1.395GHz",
    ],
)  # fmt: skip
def test_spw(text: str, odd: tuple[Path, Observation], ms: Any) -> None:
    ours = resolved("spw", text, odd)
    mine = ours and [(spw.spw_id, spw.channels) for spw in ours]
    assert mine == channels(indices(ms, odd, spw=text))


@pytest.mark.parametrize("text", ["0:100~120", "0:10~100", "0:16", "1:8", "1~3:0~6", "low:2~30"])
def test_channels_that_casa_takes_for_others_are_refused(
    text: str, odd: tuple[Path, Observation], ms: Any
) -> None:
    assert indices(ms, odd, spw=text) is not None
    assert resolved("spw", text, odd) is None


@pytest.mark.parametrize(
    "text",
    [
        "1.4~1.6GHz", "1.4GHz~1.6GHz", ">1.45GHz", "<1.45GHz", "1.3~1.45GHz", "0:1.402~1.405GHz",
        "0:1402~1405MHz", "0:1402MHz", "0:1.402GHz~1.405GHz", "0:1.402~1.405 GHz", "0:1.405GHz",
        "*:1.402~1.405GHz", "*:1.5~1.51GHz", "0:1.39~1.401GHz", "0:1.402~1.408GHz^2MHz",
        "1.4~1.5GHz:2~3", "3:5~5.001GHz", "0:1.402~1.403GHz;1.41~1.412GHz",
    ],
)  # fmt: skip
def test_frequencies_select_at_least_what_casa_takes(
    text: str, odd: tuple[Path, Observation], ms: Any
) -> None:
    mine = {spw.spw_id: set(spw.channels) for spw in selection.spws(text, odd[1])}
    there = channels(indices(ms, odd, spw=text))
    assert there
    assert all(set(chosen) <= mine[spw] for spw, chosen in there)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("ea01", {0}), ("ea01,ea02", {0, 1}), ("ea0*", {0, 1, 2}), ("ea0[12]", {0, 1}),
        ("5", {3}), ("3", {3}), ("5,7", {3, 7}), ("0~2;5", {0, 1, 2, 3}),
        ("0~20", {*range(8)} - {5}), ("/ea0[12]/", {0, 1}),
        ("N12", {0}), ("@N12", {0}), ("ea01@N12", {0}), ("ea01@N*", {0}), ("W*", {1, 5, 6}),
        ("5@E04", {3}), ("*@N12", {0}), ('"CA 7"', {6}), ("CA*", {6}), ("DV-1", {4}),
    ],
)  # fmt: skip
def test_antennas_that_are_named(
    text: str, named: set[int], odd: tuple[Path, Observation], ms: Any
) -> None:
    there = indices(ms, odd, baseline=text)
    assert there is not None
    assert set(there["antenna1"].tolist()) == named
    assert set(selection.antennas(text, odd[1])) == named


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("!ea03", {*range(8)} - {2}), ("!ea01;!ea02", {*range(2, 8)}),
        ("!ea01,ea02", {*range(2, 8)}), ("!ea0*", {*range(3, 8)}), ("*;!ea01", {*range(1, 8)}),
        ("ea01&ea02", {0, 1}), ("!N12", {*range(1, 8)}), ("0~2&4~5", {0, 1, 2, 3, 4}),
        ("!ea01&ea02", {*range(8)}), ("ea01;!ea02", {0}), ("ea0*&ea01", {0, 1, 2}),
    ],
)  # fmt: skip
def test_antennas_that_are_left(
    text: str, left: set[int], odd: tuple[Path, Observation], ms: Any
) -> None:
    assert set(selection.antennas(text, odd[1])) == left
    ms.open(str(odd[0]))
    assert ms.msselect({"baseline": text})
    found = ms.getdata(["antenna1", "antenna2"])
    ms.close()
    pairs = {frozenset(pair) for pair in zip(*(found[key] for key in sorted(found)), strict=True)}
    if ";" in text and not text.startswith(("!", "*")):
        left = {antenna for antenna in range(8) if antenna != 1}
    assert {antenna for pair in pairs for antenna in pair} == left


@pytest.mark.parametrize(
    "text",
    [
        "8", "20", "ea99", "ea01,ea99", "!ea99", "ea06", "CA 7", "CA\\ 7", "ea01&&&ea01", "@",
        "ea01@X", "ea01&!ea02", "{ea01,ea02}", "ea0{1,2}", "&&&", "ea01~ea03", "ea01-ea02", "0-1",
        "ea01&ea02&ea03", "ea01;", "ea01,,ea02", "ea01&ea01", "0&0", ">1km", "!9", "9,12", "20~30",
        "ea03;!ea03", "ea01,!ea02", "!ea03,!ea02", "100~300m", "<100m,ea01", "ea01 ea02", "ea01.",
    ],
)  # fmt: skip
def test_antennas_that_both_refuse(text: str, odd: tuple[Path, Observation], ms: Any) -> None:
    assert rows(ms, odd, baseline=text) == 0
    assert resolved("antenna", text, odd) is None


@pytest.mark.parametrize("text", ["0,9", "ea01,9", "!0,9"])
def test_antenna_ids_that_casa_passes_over_are_refused(
    text: str, odd: tuple[Path, Observation], ms: Any
) -> None:
    assert rows(ms, odd, baseline=text) > 0
    assert resolved("antenna", text, odd) is None


# Whatever CASA finds rows for must pass; what it finds none for is refused.
@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        (
            "scan",
            "1|1~3|1,3|<3|>7|1~3,5|20|1~30|<3,>7|>2&<5| 1 , 2 |1 ~ 3|<=3|>=8|007|> 3|>=20|9~19|21|"
            "!2|!1~3|2,!3|>100|5~2|a|1~3^2|=2|-1|1;2|*|0|1*|~3|3~|<1|>20|>19&<20|1~2,|1.5|1~3;5~6|"
            '1~3&5|>1~3|"1"',
        ),
        ("observation", "0|0~1|<1|1|>0|*|a|-1"),
        (
            "intent",
            "CALIBRATE*|*|OBSERVE_TARGET#ON_SOURCE|*TARGET*|*PHASE*|*FLUX*,*PHASE*|OBSERVE_TARGET#*|"
            "CALIBRATE_FLUX#ON_SOURCE,CALIBRATE_BANDPASS#ON_SOURCE|/.*TARGET.*/|0|0~1|*FLU?*|"
            "*TARGET*&*SOURCE*|*BANDPASS*|*FLUX*ON_SOURCE|{*TARGET*}|>0|"
            "OBSERVE_TARGET|!*FLUX*|bad|*bad*|*target*|OBSERVE_TARGET#ON_SOURCE,bad|"
            "OBSERVE*,!*FLUX*|!bad|CALIBRATE_FLUX*BANDPASS*",
        ),
        (
            "uvrange",
            "0~1000|0~100m|>100|<100|>1klambda|<1klambda|0~1klambda|0~0.1km|0~100:10%|>100m,<50m|"
            "5~10klambda:5%|0~1000 m|<1km|0~100Klambda|0~1e3|>1e2|0 ~ 100|0~100M|0~0.5KLAMBDA|"
            "1~1000lambda|50~100,200~300|0.0001~0.01Mlambda|<100m:10%|1e2~3e2m|"
            "0~1kλ|2~5km|>1Mlambda|abc|100~50|0~100wavelengths|>50m&<100m|!<100m|>5000|0m~100m|"
            "0~100kl|>-5|*|<100cm|0~100KM|0~1Glambda|>=100|50~100;200~300|<0|1000~2000km|<50ft|100|"
            "100m|5klambda|400:20|100~100|0~500Lambda|.1~.5km|0~200meters|>50klambda",
        ),
        (
            "timerange",
            "2020/03/01/08:00:00~2020/03/01/08:05:00|2020/3/1/8:0:0~2020/3/1/8:5:0|"
            "08:00:00~08:05:00|>2020/03/01/08:05:00|<2020/03/01/08:05:00|>08:05:00|"
            "08:00:00+00:05:00|2020/03/01/08:00:00+0:5:0|2020/03/01~2020/03/02|*/*/*/08:05:*|"
            "*:05:*|2020/03/01/08:00:00~08:05:00|08:00:00~08:02:00,08:04:00~08:06:00|52~60|"
            "2020/03/01/08:00:00 ~ 2020/03/01/08:05:00|08:00:00~32:05:00|08:00:50+10|08:00:52|"
            "2020/03/01/08:00:52|08:00:00~08:04:60|2020/03/01/07:00:00+1:30:00|>2020/02/28|"
            "2020/03/01/00:00:00~2020/03/01/24:00:00|2020/02/29~2020/03/02|08:05~08:07:00|"
            "8:0~8:5|08:00~08:05|2020/03/01/08:00~2020/03/01/08:05|00:52~01:30|2020/03/02~2020/03/03|"
            "2020-03-01T08:00:00~2020-03-01T08:05:00|08:00:00~08:02:00;08:04:00~08:06:00|"
            "2020/03/01/09:00:00~2020/03/01/10:00:00|08:05:00~08:00:00|>08:02:00&<08:05:00|abc|"
            "2019/03/01/08:00:00~2019/03/01/08:05:00|24:00:00~25:00:00|0/08:00:00~0/08:05:00|"
            "08h00m00s~08h05m00s|1-Mar-2020/08:00:00~1-Mar-2020/08:05:00|8:00:00~|~08:05:00|"
            "08:99:00~09:00:00|2020/03/02/08:00:00~09:00:00|2020/02/28/08:00:00~09:00:00|2020/02/29|"
            "2020/13/01/08:00:00~2020/14/01|>=08:05:00|2020/03/01/8:05:00~8:7|<08:05",
        ),
        ("correlation", "RR|LL|RR,LL|rr|RR;LL|XX|RR,XX|RL"),
    ],
)  # fmt: skip
def test_what_selects_something_and_what_does_not(
    kind: str, texts: str, odd: tuple[Path, Observation], ms: Any
) -> None:
    name = {
        "intent": "scanintent", "uvrange": "uvdist", "timerange": "time",
        "correlation": "polarization",
    }.get(kind, kind)  # fmt: skip
    differing = [
        text
        for text in texts.split("|")
        if (rows(ms, odd, **{name: text}) > 0) != (resolved(kind, text, odd) is not None)
    ]
    assert differing == []
