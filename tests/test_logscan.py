from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from casarun.casa.logscan import LogFindings, scan
from conftest import CasaTask
from support import skies

STAMP = "2026-11-22 16:25:25"
LEAP = "MeasTable::dUTC(Double) (file MeasTable.cc, line 4290)"


def write(tmp_path: Path, *records: tuple[str, str, str]) -> Path:
    path = tmp_path / "casa.log"
    lines = [f"{STAMP}\t{level}\t{origin}\t{message}" for level, origin, message in records]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_levels_are_told_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("INFO", "gaincal::::casa", "SEVERE is only a word here"),
        ("SEVERE", "FluxStandard::compute   ", "NGC 1 is not recognized by Perley-Butler 2017"),
        ("WARN", "ms::msselect", "No match found"),
        ("DEBUG1", "x", "y"),
    )
    assert scan(path) == LogFindings(
        ("NGC 1 is not recognized by Perley-Butler 2017",), ("No match found",)
    )


def test_an_error_that_a_task_provokes_itself_is_none(tmp_path: Path) -> None:
    said = "Exception Reported: TableProxy::getCell: no such row"
    asks = ("INFO", "tclean::::casa", "Checking for unpopulated POINTING table in first MS ...")
    asks_again = ("INFO", "tclean::::casa", "Checking for unpopulated POINTING table ...")
    tried = ("SEVERE", "getcell::TIME", said)
    path = write(tmp_path, asks, tried, asks_again, tried)
    assert scan(path) == LogFindings()
    # Nowhere else, and no other one.
    assert scan(write(tmp_path, ("INFO", "x", "y"), tried)).severe == (said,)
    assert scan(write(tmp_path, asks, tried, tried)).severe == (said,)
    other = ("SEVERE", "getcell::UVW", said)
    assert scan(write(tmp_path, asks, other)).severe == (said,)


def test_continuation_lines_belong_to_their_message(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("SEVERE", "imager::setjy()", "Exception: no match for name"),
        ("SEVERE", "imager::setjy()+", "(near char. 6)"),
        ("SEVERE", "other::task", "Another"),
        ("INFO", "other::task", "fine"),
        ("INFO", "other::task+", "still fine"),
    )
    assert scan(path).severe == ("Exception: no match for name (near char. 6)", "Another")


def test_text_without_a_stamp_goes_on_with_the_message(tmp_path: Path) -> None:
    path = tmp_path / "casa.log"
    path.write_text(f"{STAMP}\tWARN\ta::b\tfirst\nsecond\n{STAMP}\tINFO\ta::b\tthird\nfourth\n")
    assert scan(path) == LogFindings((), ("first second",))


def test_an_empty_origin_is_no_continuation(tmp_path: Path) -> None:
    assert scan(write(tmp_path, ("WARN", "", "No match for ea99"))).warnings == (
        "No match for ea99",
    )


def test_leap_seconds_are_left_out_with_their_continuation(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        ("SEVERE", LEAP, "Leap second table TAI_UTC seems out-of-date."),
        ("SEVERE", f"{LEAP}+", "Until the table is updated,"),
        ("SEVERE", f"{LEAP}+", "times could be wrong by 1s or more."),
    )
    assert scan(path) == LogFindings()


def test_messages_that_differ_in_numbers_stand_once(tmp_path: Path) -> None:
    records = [("WARN", "x", f"minor axis 0.{n} arcsec is less than 2{n} arcsec") for n in range(7)]
    assert scan(write(tmp_path, *records)).warnings == (
        "minor axis 0.0 arcsec is less than 20 arcsec (7 times)",
    )


def test_names_that_hold_numbers_stay_apart(tmp_path: Path) -> None:
    records = [("WARN", "x", f'Cannot create agent Manual_{n}: no "ea0{n}"') for n in (1, 2)]
    assert len(scan(write(tmp_path, *records)).warnings) == 2


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert scan(tmp_path / "none.log") == LogFindings()


def test_a_log_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        scan(tmp_path)


def test_bytes_that_are_no_text_do_not_stop_the_scan(tmp_path: Path) -> None:
    path = tmp_path / "casa.log"
    path.write_bytes(b"\xff\xfe\n" + f"{STAMP}\tSEVERE\tx\tbad ".encode() + b"\xff\n")
    assert scan(path).severe == ("bad \ufffd",)


def test_memory_stays_bounded(tmp_path: Path) -> None:
    path = tmp_path / "casa.log"
    with path.open("w") as stream:
        for number in range(20_000):
            word = "".join(chr(97 + int(digit)) for digit in str(number))
            stream.write(f"{STAMP}\tWARN\tx\tword {word}\n")
        stream.write(f"{STAMP}\tSEVERE\tx\t" + "z" * 20_000_000 + "\n")
        stream.write(f"{STAMP}\tSEVERE\tx\tlast\n")
    tracemalloc.start()
    found = scan(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000
    assert len(found.warnings) == 201
    assert found.warnings[-1] == "19800 more messages"
    assert found.severe[1] == "last"
    assert len(found.severe[0]) == 1000


@pytest.mark.casa
def test_several_ms_without_pointings_are_imaged_without_a_word(
    casa: CasaTask, tmp_path: Path
) -> None:
    from casarun.casa.tables import open_table

    sky = skies.Sky(fields=(skies.TARGET,), scans=(0,), integrations=1, n_antennas=6)
    for name in ("a.ms", "b.ms"):
        skies.build(tmp_path / name, sky)
        with open_table(tmp_path / name / "POINTING", change=True) as table:
            table.removerows(list(range(table.nrows())))
    _, found = casa(
        "tclean", vis=["a.ms", "b.ms"], imagename="x", imsize=64, cell="60arcsec", niter=0,
        datacolumn="data",
    )  # fmt: skip
    assert "unpopulated POINTING" in (tmp_path / "casa-1.log").read_text()
    assert found.severe == ()
