"""Is a dataset what it claims to be? Asked before its metadata are read, or an import blamed.

Every refusal says what was expected, what was found, why that may be, and the way out.
"""

from __future__ import annotations

import fcntl
import math
import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import DataError
from .caltable_files import table_type
from .tables import open_table

REQUIRED_SUBTABLES: Final = (
    "ANTENNA", "DATA_DESCRIPTION", "FIELD", "OBSERVATION", "POLARIZATION", "SPECTRAL_WINDOW",
)  # fmt: skip
_REQUIRED_COLUMNS: Final = (
    "ANTENNA1", "ANTENNA2", "DATA_DESC_ID", "FIELD_ID", "FLAG", "FLAG_ROW", "SCAN_NUMBER",
    "TIME", "UVW", "WEIGHT",
)  # fmt: skip
_READ_AT_ENDS: Final = (
    *_REQUIRED_COLUMNS, "CORRECTED_DATA", "DATA", "EXPOSURE", "FLOAT_DATA", "INTERVAL",
    "OBSERVATION_ID", "SIGMA", "STATE_ID", "TIME_CENTROID", "WEIGHT_SPECTRUM",
)  # fmt: skip
_INDICES: Final = {
    "ANTENNA1": "ANTENNA",
    "ANTENNA2": "ANTENNA",
    "DATA_DESC_ID": "DATA_DESCRIPTION",
    "FIELD_ID": "FIELD",
    "OBSERVATION_ID": "OBSERVATION",
    "STATE_ID": "STATE",
}
_MAY_BE_UNSET: Final = ("STATE_ID",)  # -1, or 0 beside an empty STATE, where nothing is known
_AGAIN: Final = "get the data again, whole"
_FITS_RECORD: Final = 2880
_LONGEST_HEADER: Final = 10_000_000
_FLOCK: Final = "hhqqi4x"  # struct flock of Linux: type, whence, start, len, pid


def inspect(vis: Path) -> None:
    """Refuse what is no MeasurementSet, one with parts missing, or one that is being written.

    Parameters
    ----------
    vis : Path
        What should be an MS. It is not opened, for opening waits for who holds its lock.

    Raises
    ------
    DataError
        Saying what it is instead, or what is missing.
    """
    if not vis.is_dir():
        raise DataError(f"{vis}: not a MeasurementSet: it is not a folder")
    if not (vis / "table.dat").is_file():
        raise DataError(f"{vis}: not a MeasurementSet: {_instead(vis)}")
    kind = table_type(vis)
    if kind is None:
        kind = "Measurement Set"  # old tables may lack the file that says it
    if kind != "Measurement Set" and not (vis / "SPECTRAL_WINDOW").is_dir():
        raise DataError(
            f"{vis}: not a MeasurementSet: it is {_TABLE_TYPES.get(kind) or _other(vis, kind)}"
        )
    if kind == "Calibration":
        raise DataError(
            f"{vis}: not a MeasurementSet: it is a calibration table; name the MS that it was "
            "solved from"
        )
    lost = [name for name in REQUIRED_SUBTABLES if not (vis / name / "table.dat").is_file()]
    if len(lost) == len(REQUIRED_SUBTABLES):
        raise DataError(
            f"{vis}: a MeasurementSet without subtables: a selection of another one that was "
            "saved as a reference to it, or an incomplete copy; make a copy that stands alone "
            "with CASA's split, or name the whole MS"
        )
    if lost:
        raise DataError(
            f"{vis}: a broken MeasurementSet: subtable {', '.join(lost)} is missing; the copy is "
            f"incomplete: {_AGAIN}"
        )
    _require_unlocked(vis)


_TABLE_TYPES: Final = {
    "Image": "a CASA image; name the MS that it was made from",
    "Calibration": "a calibration table; name the MS that it was solved from",
}


def _other(vis: Path, kind: str) -> str:
    """Say what a table is that is neither an MS nor another thing that has a name of its own."""
    above = vis.resolve().parent
    if (above / "table.dat").is_file():
        return f"the subtable {vis.name} of {above}; name that"
    if kind:
        return f"a table of the type '{kind}'; name the MS"
    return "another table, perhaps a subtable of an MS (ANTENNA, FIELD, ...); name the MS"


def _instead(vis: Path) -> str:
    """Say what a folder without ``table.dat`` is."""
    entries = sorted(path.name for path in vis.iterdir())
    if not entries:
        return f"the folder is empty; the copy failed: {_AGAIN}"
    if "Main.xml" in entries or "ASDMBinary" in entries:
        return f"it looks like an ASDM, but its ASDM.xml is missing: {_AGAIN}"
    if any((vis / name / "table.dat").is_file() for name in REQUIRED_SUBTABLES):
        return f"it has no table.dat; the copy is incomplete: {_AGAIN}"
    inner = [name for name in entries if (vis / name / "table.dat").is_file()]
    inner += [name for name in entries if (vis / name / "ASDM.xml").is_file()]
    if inner:
        shown = ", ".join(f"'{vis / name}'" for name in inner[:3])
        return f"it has no table.dat; did you mean {shown}?"
    shown = ", ".join(entries[:3]) + (f" and {len(entries) - 3} more" if len(entries) > 3 else "")
    return f"it has no table.dat, only {shown}"


def _require_unlocked(vis: Path) -> None:
    """Refuse an MS, or a subtable of it, on which another process holds a write lock.

    casacore locks the first byte of ``table.lock``; whoever opens the table then waits for
    ever, without a word.
    """
    for path in (vis / "table.lock", *sorted(vis.glob("*/table.lock"))):
        pid = _writer(path)
        if pid is not None:
            who = f"process {pid}" if pid > 0 else "a process on another machine"
            raise DataError(
                f"{vis}: {who} is writing to {path.parent.name} and holds its lock: CASA would "
                "wait for it without end; let it finish or close it, then run again"
            )


def _writer(path: Path) -> int | None:
    """Return the process that holds a write lock; None where nobody does."""
    asked = struct.pack(_FLOCK, fcntl.F_RDLCK, 0, 0, 1, 0)
    try:
        with path.open("rb") as file:
            answer = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
    except OSError:  # no lock file, or a filesystem without locks
        return None
    return int(answer[4]) if answer[0] == fcntl.F_WRLCK else None


def unfinished(vis: Path) -> str:
    """Say what an MS or ASDM still lacks that is being copied or written; empty if nothing.

    Parameters
    ----------
    vis : Path
        A folder, or a file: of which nothing is known.
    """
    if vis.is_file():
        return _cut_short(vis)
    if not vis.is_dir() or (vis / "ASDM.xml").is_file():
        return ""
    if not (vis / "table.dat").is_file():
        return "it has no table.dat"
    lost = [name for name in REQUIRED_SUBTABLES if not (vis / name / "table.dat").is_file()]
    if lost:
        return f"its subtable {', '.join(lost)} is missing"
    try:
        _require_unlocked(vis)
    except DataError as error:
        return str(error).removeprefix(f"{vis}: ").partition(":")[0]
    return ""


def _cut_short(path: Path) -> str:
    """Say that a FITS file ends before its first HDU does, or within a record.

    Its length follows from its header: sections 3.1, 4.4.1 and 6.1 of the FITS standard 4.0.
    """
    with path.open("rb") as stream:
        size = path.stat().st_size
        cards: dict[str, str] = {}
        header = 0
        while "END" not in cards:
            record = stream.read(_FITS_RECORD)
            if header == 0 and not record.startswith(b"SIMPLE  ="):
                return ""  # no FITS file: what it is, the import will tell
            if len(record) < _FITS_RECORD or header > _LONGEST_HEADER:
                return "its header is cut short"
            header += _FITS_RECORD
            for start in range(0, _FITS_RECORD, 80):
                card = record[start : start + 80].decode("ascii", "replace")
                cards.setdefault(card[:8].strip(), card[10:].partition("/")[0].strip())
    try:
        axes = [int(cards[f"NAXIS{n}"]) for n in range(1, int(cards["NAXIS"]) + 1)]
        groups = cards.get("GROUPS") == "T" and axes[:1] == [0]
        pixels = math.prod(axes[1:] if groups else axes) if axes else 0
        per_group = int(cards.get("PCOUNT", 0)) if groups else 0
        count = int(cards.get("GCOUNT", 1)) if groups else 1
        data = abs(int(cards["BITPIX"])) // 8 * count * (per_group + pixels)
    except (KeyError, ValueError):
        return ""
    whole = header - (-data // _FITS_RECORD) * _FITS_RECORD
    if size < whole:
        return f"it has {size:,} of {whole:,} bytes"
    return "" if size % _FITS_RECORD == 0 else "it ends within a record of FITS"


def inspect_main(vis: Path, main: Any) -> None:
    """Refuse an open MAIN table that lacks columns, or points to subtables that are not its own.

    Parameters
    ----------
    vis : Path
        The MS.
    main : casatools.table
        Its open MAIN table.

    Raises
    ------
    DataError
        Saying what is missing or mixed up.
    """
    lost = sorted(set(_REQUIRED_COLUMNS) - set(main.colnames()))
    if lost:
        raise DataError(
            f"{vis}: a broken MeasurementSet: column {', '.join(lost)} of its main table is "
            f"missing: {_AGAIN}"
        )
    here = vis.resolve()
    for name, value in main.getkeywords().items():
        if not (isinstance(value, str) and value.startswith("Table: ")):
            continue
        folder = Path(value.removeprefix("Table: "))
        if here not in (folder.resolve().parent, folder.parent) and not _is_part(vis, name):
            raise DataError(
                f"{vis}: its subtable {name} is that of {folder.parent}: what was saved is a "
                "selection of that MS, or paths are mixed up; make a copy that stands alone with "
                "CASA's split"
            )
        if not (vis / name / "table.dat").is_file() and not (folder / "table.dat").is_file():
            raise DataError(
                f"{vis}: a broken MeasurementSet: its main table names a subtable {name}, which "
                f"is not there, and CASA tasks stop for that: {_AGAIN}"
            )


def _is_part(vis: Path, name: str) -> bool:
    """Tell whether a subtable stands in the MS, be it as a link (as in a multi-MS)."""
    return (vis / name).is_symlink()


def read_ends(vis: Path, main: Any, rows: Sequence[int]) -> None:
    """Read some rows of every column; refuse an MS of which one is cut short.

    Many tasks do not notice: they read no more than they need.

    Parameters
    ----------
    vis : Path
        The MS.
    main : casatools.table
        Its open MAIN table.
    rows : sequence of int
        The first and the last of MAIN.

    Raises
    ------
    DataError
        Naming the column and the row.
    """
    for name in sorted(set(_READ_AT_ENDS) & set(main.colnames())):
        for row in rows:
            try:
                if main.iscelldefined(name, row):
                    main.getcell(name, row)
            except RuntimeError as error:
                first = (str(error).splitlines() or ["no reason given"])[0]
                raise DataError(
                    f"{vis}: a broken MeasurementSet: the column {name} cannot be read in row "
                    f"{row} of {main.nrows()}: {first}; its file is truncated or damaged: {_AGAIN}"
                ) from error


def require_indices(vis: Path, column: str, lowest: int, highest: int, n_rows: int) -> None:
    """Refuse ids in MAIN that their subtable does not have.

    Parameters
    ----------
    vis : Path
        The MS.
    column : str
        The column of MAIN.
    lowest, highest : int
        The ids found.
    n_rows : int
        Rows of the subtable.

    Raises
    ------
    DataError
        With both.
    """
    if column in _MAY_BE_UNSET and (lowest == -1 or n_rows == 0):
        lowest = max(lowest, 0)
        highest = min(highest, -1) if n_rows == 0 and highest == 0 else highest
    if lowest >= 0 and highest < max(n_rows, 0):
        return
    found = highest if highest >= n_rows else lowest
    raise DataError(
        f"{vis}: a broken MeasurementSet: {column} is {found} in its main table, but "
        f"{_INDICES[column]} has {n_rows} row{'s' if n_rows != 1 else ''}, counted from 0: main "
        f"table and subtables come from different datasets, or a copy was mixed up: {_AGAIN}"
    )


def has_model(vis: Path) -> bool:
    """Tell whether an MS holds a model: a column, or a recipe in the keywords of a table."""
    with open_table(vis) as table:
        if "MODEL_DATA" in table.colnames():
            return True
        names = list(table.keywordnames())
    for subtable in ("SOURCE", "FIELD"):
        if (vis / subtable / "table.dat").is_file():
            with open_table(vis / subtable) as table:
                names += table.keywordnames()
    return any(str(name).startswith("definedmodel_field_") for name in names)


def index_columns(main: Any) -> dict[str, str]:
    """Return the subtable by each column of an open MAIN table that holds ids."""
    columns = set(main.colnames())
    return {column: table for column, table in _INDICES.items() if column in columns}


def what_is(path: Path) -> str:
    """Say why a file is no UVFITS, after CASA could not import it.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        A clause for a person; empty where nothing is wrong to see.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(2880)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    if not size:
        return f"it is empty, 0 bytes: {_AGAIN}"
    if head[:2] == b"\x1f\x8b":
        return "it is compressed (gzip) and perhaps cut short: unpack it to see"
    if not head.startswith(b"SIMPLE  ="):
        text = head.decode("latin-1")
        printable = sum(c.isprintable() or c in "\r\n\t" for c in text) > 0.95 * len(text)
        return f"it is {'a text file' if printable else 'no FITS file'}, whatever its name says"
    return _of_fits(path, size)


def _of_fits(path: Path, size: int) -> str:
    """Say what is wrong with a FITS file that is no readable UVFITS."""
    from astropy.io import fits

    try:
        with path.open("rb") as file:
            header = fits.Header.fromfile(file)
            size -= file.tell()
    except (OSError, ValueError) as error:
        return f"its header cannot be read ({error}); it is cut short or damaged: {_AGAIN}"
    groups = header.get("GROUPS") is True and header.get("NAXIS1") == 0
    sides = [int(header.get(f"NAXIS{n + 1}", 0)) for n in range(int(header.get("NAXIS", 0)))]
    if not groups:
        what = " x ".join(map(str, sides)) + " pixels" if sides else "no data in its first HDU"
        return f"it is a FITS file with {what} and no random groups: an image or table, not UVFITS"
    samples = 1
    for side in sides[1:]:
        samples *= side
    per_group = samples + int(header.get("PCOUNT", 0))
    wanted = abs(int(header["BITPIX"])) // 8 * int(header.get("GCOUNT", 1)) * per_group
    if size < wanted:
        return (
            f"it is cut short: its header tells of {wanted} bytes of data, and {size} are there: "
            f"{_AGAIN}"
        )
    return ""


def what_of_asdm(path: Path) -> str:
    """Say which tables of an ASDM are missing, after CASA could not import it."""
    try:
        listed = (path / "ASDM.xml").read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        return f"its ASDM.xml cannot be read: {error.strerror}"
    tables = re.findall(r"<Name>\s*(\w+)\s*</Name>\s*<NumberRows>\s*(\d+)\s*</NumberRows>", listed)
    if not tables:
        return f"its ASDM.xml names no tables: {_AGAIN}"
    lost = [
        name
        for name, rows in tables
        if int(rows) and not any((path / f"{name}.{end}").is_file() for end in ("xml", "bin"))
    ]
    return f"its tables {', '.join(lost[:5])} are missing: {_AGAIN}" if lost else ""
