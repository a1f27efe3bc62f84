"""Post-conditions of what is done to a MeasurementSet: copies, flags, applied calibration."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..errors import Cause, StepFailedError, listing
from . import sampling
from .checks_evidence import Evidence, Json, failed
from .tables import open_table

Array = npt.NDArray[Any]

_CHUNK_SAMPLES: Final = 4_000_000
"""Visibilities read at a time: 64 MB of complex doubles."""

_TELL_ENOUGH: Final = 1_000_000
"""Visibilities of a window that tell whether they are finite."""

_TELL_APART: Final = 50_000
"""Visibilities of a window that tell whether it was calibrated, if any of them is unflagged."""

_SKIPPED = (
    re.compile(r"Cannot create agent \w+: (?P<reason>.*)", re.S),
    re.compile(r"(?P<reason>Mode (?P<token>\S+) is not valid or doesn't exist)"),
)


def ms(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a MeasurementSet can be read and is not empty, broken or all flagged.

    Parameters
    ----------
    given : mapping
        ``path``; ``column`` (default ``DATA``); ``fields``, ids that each must have unflagged
        data (default: the MS as a whole); ``raw``, true where NaN may still be flagged.
    evidence : Evidence
        What is known of the step.

    Returns
    -------
    dict
        ``n_rows``.

    Raises
    ------
    StepFailedError
        If it is no MS, has no rows, its first or last rows cannot be read, a sample of it is not
        finite where unflagged or has no weights, or all is flagged.
    """
    path, column = Path(given["path"]), str(given.get("column", "DATA"))
    raw = bool(given.get("raw"))
    n_rows = _n_rows(path, column, evidence)
    try:
        with open_table(path) as table:
            for row in {*range(min(n_rows, 5)), *range(max(n_rows - 5, 0), n_rows)}:
                _read_row(table, path, column, row, raw=raw)
    except RuntimeError as error:
        raise failed(
            f"expected to read {column} and weights of {path} from the first row to the last, but "
            f"CASA failed: {_first_line(error)}; the file is truncated or damaged",
            "Get the data again (dataset.vis); check the free disk space.",
        ) from error
    fields = [int(number) for number in given.get("fields") or ()]
    _require_unflagged(path, fields, raw=raw)
    if not raw:
        _require_values(path, column)
    return {"n_rows": n_rows}


def _require_values(path: Path, column: str) -> None:
    """Refuse an MS with unflagged NaN, or without weights, in a sample of bounded size."""
    with open_table(path / "DATA_DESCRIPTION") as table:
        n_parts = int(table.nrows())
    with open_table(path) as table:
        sample = sampling.take(table, n_parts, column)
    bad, n = sum(sample.not_finite.values()), sum(sample.n.values())
    if bad:
        fields = [str(number) for number, count in sorted(sample.not_finite.items()) if count]
        raise failed(
            f"expected finite visibilities in {column} of {path}, found {bad} of {n} unflagged "
            f"ones NaN or infinite, of field {listing(fields)}: one of them blanks a whole image",
            "Set flag.zeros = true (its clip flags NaN too), or flag the rows with flag.manual.",
        )
    weightless, rows = sum(sample.no_weight.values()), sum(sample.rows.values())
    if rows and weightless == rows:
        raise failed(
            f"expected positive weights in {path}, found none in {rows} rows with unflagged data: "
            "CASA leaves such rows out without a word",
            "Check steps that change weights (statwt, calibrate.calwt), or set them anew with a "
            "[[step]] of initweights.",
        )


def _n_rows(path: Path, column: str, evidence: Evidence) -> int:
    """Return the number of rows of an MS; refuse what is none, or has none."""
    if not (path / "table.dat").is_file():
        raise failed(
            f"expected the MeasurementSet {path}, found "
            f"{'a folder that is none' if path.is_dir() else 'none'}{evidence.log_says()}",
            "Check dataset.vis, and the selection of the step that makes it.",
        )
    with open_table(path) as table:
        columns, n_rows = table.colnames(), int(table.nrows())
    if column not in columns:
        raise failed(
            f"expected the column {column} in {path}, found {listing(sorted(columns), 40)}",
            "Check dataset.datacolumn.",
        )
    if not n_rows:
        raise failed(
            f"expected visibilities in {path}, found no rows: the selection left nothing",
            "Check targets.fields and the spw selections.",
        )
    return n_rows


def _read_row(table: Any, path: Path, column: str, row: int, *, raw: bool) -> None:
    """Read a row of an open MS; refuse one that is not finite where it is unflagged."""
    if not table.iscelldefined(column, row):
        return
    data, flag = table.getcell(column, row), table.getcell("FLAG", row)
    for name in ("WEIGHT", "SIGMA"):  # where SIGMA is cut off, gaincal only lacks solutions
        if table.iscelldefined(name, row):
            table.getcell(name, row)
    flagged = bool(table.getcell("FLAG_ROW", row))
    if not raw and not flagged and not np.isfinite(data[~flag]).all():
        raise failed(
            f"expected finite visibilities in {column} of {path}, found NaN or infinity in row "
            f"{row}, unflagged: one of them blanks a whole image",
            "Set flag.zeros = true (its clip flags NaN too), or flag the rows with flag.manual.",
        )


def _require_unflagged(path: Path, fields: Sequence[int], *, raw: bool) -> None:
    """Refuse an MS all of which, or all of one of whose fields, is flagged."""
    missing = set(fields) or {-1}
    for chunk in chunks(path, ()):
        good = ~chunk.flagged.all(axis=(0, 1))
        missing -= set(chunk.field[good].tolist()) if fields else ({-1} if good.any() else set())
        if not missing:
            return
    ids = listing([str(number) for number in sorted(missing)])
    raise failed(
        f"expected unflagged data {f'of field {ids} ' if fields else ''}in {path}, "
        "found all of it flagged",
        "It came so: restore its flags (CASA's flagmanager), or get the data again."
        if raw
        else "Look at [flag]; compare the flagged fractions of the steps before.",
    )


_COMMAND_ADVICE: Final = (
    "Correct flag.manual: antennas, spws, fields and times must exist in the data."
)


@dataclass(frozen=True)
class Chunk:
    """Rows of one data description.

    Attributes
    ----------
    spw : int
        The spectral window.
    field : ndarray of int, shape (rows,)
        Field ids.
    cross : ndarray of bool, shape (rows,)
        True for cross-correlations.
    flagged : ndarray of bool, shape (correlations, channels, rows)
        FLAG, or FLAG_ROW.
    columns : mapping of str to ndarray, shape (correlations, channels, rows)
        The data columns that were asked for.
    """

    spw: int
    field: Array
    cross: Array
    flagged: Array
    columns: Mapping[str, Array]


def chunks(
    path: Path,
    columns: Sequence[str],
    where: str = "",
    done: Container[int] = (),
    samples: int = _CHUNK_SAMPLES,
) -> Iterator[Chunk]:
    """Yield an MS in pieces of bounded memory, a data description at a time.

    Parameters
    ----------
    path : Path
        The MS.
    columns : sequence of str
        Data columns to read beside the flags.
    where : str
        TaQL condition on the rows, made of numbers only.
    done : container of int
        Spectral windows to read no more of; may grow between the pieces.
    samples : int
        How many visibilities a piece has at the most.
    """
    with open_table(path / "DATA_DESCRIPTION") as table:
        spws = [int(spw) for spw in table.getcol("SPECTRAL_WINDOW_ID")]
    with open_table(path) as table:
        for number, spw in enumerate(spws):
            condition = f"DATA_DESC_ID=={number}" + (f" && ({where})" if where else "")
            part = table.query(condition)
            try:
                yield from _pieces(part, spw, columns, done, samples)
            finally:
                part.close()


def _pieces(
    part: Any, spw: int, columns: Sequence[str], done: Container[int], samples: int
) -> Iterator[Chunk]:
    """Yield the rows of one data description in pieces."""
    n_rows = int(part.nrows())
    if not n_rows:
        return
    step = max(1, samples // max(1, part.getcell("FLAG", 0).size))
    for start in range(0, n_rows, step):
        if spw in done:
            return
        rows = {"startrow": start, "nrow": min(step, n_rows - start)}
        flag = part.getcol("FLAG", **rows) | part.getcol("FLAG_ROW", **rows)
        yield Chunk(
            spw,
            part.getcol("FIELD_ID", **rows),
            part.getcol("ANTENNA1", **rows) != part.getcol("ANTENNA2", **rows),
            flag,
            {name: part.getcol(name, **rows) for name in columns},
        )


def flagged_fraction(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check how much of each field is flagged.

    Parameters
    ----------
    given : mapping
        ``path``; ``fields``, ids (empty for all that have data); ``limit``, the largest
        fraction that may be flagged (default 1; all flagged fails in any case); ``came_over``,
        ids of fields that came with more than that, for which the limit does not hold.
    evidence : Evidence
        What is known of the step.

    Returns
    -------
    dict
        ``flagged_fraction`` of the cross-correlations by field id, and ``total`` over them.

    Raises
    ------
    StepFailedError
        If a field is all flagged, over the limit, or has no cross-correlations.
    """
    path, limit = Path(given["path"]), float(given.get("limit", 1.0))
    wanted = [int(number) for number in given.get("fields") or ()]
    flagged, total = _count_flags(path, wanted)
    absent = [str(number) for number in wanted if not total.get(number)]
    if absent:
        raise failed(
            f"expected visibilities of field {listing(absent)} in {path}, found none",
            "Check [targets] and [calibrators].",
        )
    fractions = {number: flagged[number] / total[number] for number in sorted(total)}
    came_over = {int(number) for number in given.get("came_over") or ()}
    for number, fraction in fractions.items():
        if fraction >= 1 or (fraction > limit and number not in came_over):
            allowed = "some unflagged data" if fraction >= 1 else f"at most {limit:.0%} flagged"
            raise failed(
                f"expected {allowed} of field {number} in {path}, found {fraction:.1%} flagged "
                "after this step" + _flagging_cause(evidence.params),
                _flagging_advice(evidence.params)
                + (" Or raise qa.max_flagged_fraction." if fraction < 1 else ""),
            )
    everything = sum(flagged.values()) / max(1, sum(total.values()))
    return {
        "flagged_fraction": {str(number): value for number, value in fractions.items()},
        "total": everything,
    }


def _count_flags(path: Path, wanted: Sequence[int]) -> tuple[dict[int, int], dict[int, int]]:
    """Count flagged and all samples of cross-correlations by field id."""
    flagged: dict[int, int] = {}
    total: dict[int, int] = {}
    where = f"FIELD_ID in [{','.join(map(str, wanted))}]" if wanted else ""
    for chunk in chunks(path, (), where):
        per_row = chunk.flagged.sum(axis=(0, 1))
        samples = chunk.flagged.shape[0] * chunk.flagged.shape[1]
        for number in np.unique(chunk.field).tolist():
            mine = (chunk.field == number) & chunk.cross
            if mine.any():
                flagged[number] = flagged.get(number, 0) + int(per_row[mine].sum())
                total[number] = total.get(number, 0) + samples * int(mine.sum())
    return flagged, total


def _flagging_cause(params: Mapping[str, Any]) -> str:
    """Return the likely cause of too many flags, to end a sentence with."""
    if "gaintable" in params:
        return ": the solutions for it are flagged, and applycal flags what they would calibrate"
    return f": flagdata mode '{params['mode']}' took it" if "mode" in params else ""


def _flagging_advice(params: Mapping[str, Any]) -> str:
    """Return what to change after too many flags."""
    if "gaintable" in params:
        return (
            "Look at the calibration tables; lower calibrate.minsnr, lengthen calibrate.solint, "
            "or set calibrate.applymode = 'calonly'."
        )
    return "Look at [flag]: flag.manual, flag.quack, flag.edge and flag.rfi."


def corrected(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a calibration was applied.

    applycal leaves CORRECTED_DATA = DATA in a spectral window that the tables lack.

    Parameters
    ----------
    given : mapping
        ``path``; ``fields``, ids.
    evidence : Evidence
        What is known of the step.

    Returns
    -------
    dict
        ``spws``: the calibrated windows by field id; ``warnings`` where one is all flagged.

    Raises
    ------
    StepFailedError
        If there is no CORRECTED_DATA, or a field has none that is unflagged, finite and
        different from DATA, in each window that has unflagged data.
    """
    path = Path(given["path"])
    _n_rows(path, "CORRECTED_DATA", evidence)
    calibrated: dict[str, list[int]] = {}
    warnings = []
    for number in [int(field) for field in given["fields"]]:
        usable, empty = _calibrated_windows(path, number)
        if empty:
            warnings.append(
                f"field {number}: all data of spw {listing([str(s) for s in empty])} are flagged"
            )
        calibrated[str(number)] = usable
    return {"spws": calibrated} | ({"warnings": warnings} if warnings else {})


def _calibrated_windows(path: Path, field: int) -> tuple[list[int], list[int]]:
    """Return a field's calibrated spws and those all flagged, or raise: see `corrected`."""
    states = _states(path, field)
    same = sorted(spw for spw, state in states.items() if state == "same")
    if same:
        raise failed(
            f"expected field {field} of {path} to be calibrated, found CORRECTED_DATA equal "
            f"to DATA in spw {listing([str(spw) for spw in same])}: the calibration tables "
            "have no solutions there",
            "Give the calibrators the same spectral windows as the targets (calibrate.spw), or "
            "map them with calibrate.applycal.spwmap.",
        )
    usable = sorted(spw for spw, state in states.items() if state == "calibrated")
    if not usable:
        raise failed(
            f"expected calibrated data of field {field} in {path}, found "
            f"{'all of it flagged' if states else 'no visibilities of it'}",
            _flagging_advice({"gaintable": ()}),
        )
    return usable, sorted(spw for spw, state in states.items() if state == "flagged")


def _states(path: Path, field: int) -> dict[int, str]:
    """Return ``calibrated``, ``same`` or ``flagged`` by spectral window of a field.

    Reads of a window no more than shows that it is calibrated, and finite.
    """
    states: dict[int, str] = {}
    done: set[int] = set()
    where = f"FIELD_ID=={field} && ANTENNA1!=ANTENNA2"
    for chunk in chunks(path, ("CORRECTED_DATA",), where, done, _TELL_ENOUGH):
        states.setdefault(chunk.spw, "flagged")
        if _finite_corrected(chunk, path, field).size:
            states[chunk.spw] = "same"
            done.add(chunk.spw)
    done = {spw for spw, state in states.items() if state == "flagged"}
    for chunk in chunks(path, ("DATA", "CORRECTED_DATA"), where, done, _TELL_APART):
        new = _finite_corrected(chunk, path, field)
        if not np.allclose(new, chunk.columns["DATA"][~chunk.flagged], rtol=1e-6, atol=0):
            states[chunk.spw] = "calibrated"
            done.add(chunk.spw)
    return states


def _finite_corrected(chunk: Chunk, path: Path, field: int) -> Array:
    """Return the unflagged corrected data of a piece; refuse what is not finite."""
    new: Array = chunk.columns["CORRECTED_DATA"][~chunk.flagged]
    if not np.isfinite(new).all():
        raise failed(
            f"expected finite CORRECTED_DATA of field {field} in {path}, found NaN or "
            f"infinity in spw {chunk.spw}, unflagged: a solution or a datum is not finite",
            "Set flag.zeros = true (its clip flags NaN too), or flag it with flag.manual.",
        )
    return new


def flag_commands(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that CASA took every flag command.

    ``flagdata(mode="list")`` skips a command whose selection matches nothing and returns
    normally; only a WARN line in the log tells.

    Parameters
    ----------
    given : mapping
        ``n``: how many commands there are.
    evidence : Evidence
        Its log findings, and ``inpfile`` of its parameters.

    Returns
    -------
    dict
        ``n_commands``.

    Raises
    ------
    StepFailedError
        Naming each command that was skipped, with CASA's reason.
    """
    problems = _skipped(evidence)
    if problems:
        raise failed(
            f"expected all {int(given['n'])} flag commands to take effect, but CASA skipped "
            + "; ".join(problems),
            _COMMAND_ADVICE,
        )
    return {"n_commands": int(given["n"])}


def _skipped(evidence: Evidence) -> list[str]:
    """Return the flag commands that CASA skipped, each with its reason.

    CASA numbers its agents after it has merged commands that differ in their time range only;
    so a command is known by what CASA quotes of it, not by the number.
    """
    commands = evidence.params.get("inpfile", ())
    commands = [commands] if isinstance(commands, str) else [str(command) for command in commands]
    problems = []
    for line in (*evidence.findings.severe, *evidence.findings.warnings):
        match = next(filter(None, (pattern.match(line) for pattern in _SKIPPED)), None)
        if match is None:
            continue
        quoted = re.findall(r'"([^"]+)"', match["reason"])
        token = match.groupdict().get("token") or (quoted[-1] if quoted else "")
        blamed = [f"`{command}`" for command in commands if token and token in command]
        problems.append(f"{' or '.join(blamed) or 'one of them'}: {match['reason']}")
    return problems


def explain_flag_commands(error: BaseException, evidence: Evidence) -> StepFailedError | None:
    """Say what is wrong where ``flagdata(mode="list")`` raised for its commands.

    With no valid command at all it raises ``KeyError: 'nreport'``, and with none that selects
    data an error about zero rows.

    Returns
    -------
    StepFailedError or None
        None where the error is about something else.
    """
    text = str(error)
    if evidence.params.get("mode") != "list":
        return None
    if isinstance(error, KeyError) and "nreport" in text:
        what = f"CASA could take none of the flag commands: {'; '.join(_skipped(evidence))}"
    elif "MSSelectionNullSelection" in text:
        what = "none of the flag commands selects any data" + evidence.log_says()
    else:
        return None
    return StepFailedError(Cause.PARAMETER, what, _COMMAND_ADVICE)


def _first_line(error: BaseException) -> str:
    """Return the first line of an error's text."""
    return (str(error).splitlines() or [type(error).__name__])[0]
