"""``[[dataset]]`` from an observing log: a dataset for each row of a CSV or ECSV file.

Texts of the table hold ``${column}``, which a row fills; what begins with a column starts, as a
path, from the log's own folder. The log is someone's notes: every bad row is told with its line.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import KeyPath, Problem, did_you_mean
from .expanded import Expanded
from .paths import REFERENCE, expanded
from .positions import Origin, Source, refused
from .reading import beside, named, read
from .rules import tables
from .schema import shown
from .variables import Variables

SUFFIXES: Final = (".csv", ".ecsv")
MOST: Final = 10_000
"""Rows of a log."""
_BYTES: Final = 5_000_000
_DELIMITERS: Final = (",", ";", "\t")
_ECSV: Final = "# %ECSV"
_ECSV_DELIMITER: Final = "# delimiter:"


@dataclass(frozen=True)
class Row:
    """A row of a log: its line, and its texts by the columns' names."""

    line: int
    texts: Mapping[str, str]


def with_logs(
    document: dict[str, Any], source: Source, variables: Variables, environ: Mapping[str, str]
) -> tuple[dict[str, Any], Source]:
    """Return a document in which each row of an observing log is a dataset.

    Parameters
    ----------
    document : dict
        In which the tables that have a `log` are not filled with variables.
    source : Source
        Where its values stand.
    variables : Variables
        Of the recipe.
    environ : mapping of str to str
        What ``${VAR}`` in the log's path stands for.

    Raises
    ------
    RefusedError
        If a log is not there, or has bad rows.
    """
    if not any("log" in table for _, table in tables(document, "dataset")):
        return document, source
    result = Expanded("dataset")
    problems: list[Problem] = []
    for index, table in enumerate(document["dataset"]):
        if not isinstance(table, dict) or "log" not in table:
            result.add(index, table, source)
            continue
        key: KeyPath = ("dataset", index)
        try:
            log, rows = _open(table["log"], source, environ)
        except ValueError as error:
            problems += [Problem(message, (*key, "log")) for message in error.args]
            continue
        template = {name: value for name, value in table.items() if name != "log"}
        problems += _columns_missing(template, rows[0], key, variables, environ)
        if not problems:
            _add_rows(result, index, template, log, rows, source, variables)
    if problems:
        raise refused(problems, source)
    return result.finish(document, source)


def _open(value: Any, source: Source, environ: Mapping[str, str]) -> tuple[Source, list[Row]]:
    """Read the log that a table names.

    Raises
    ------
    ValueError
        If there is none that may be read.
    RefusedError
        If there are bad rows in it.
    """
    if not isinstance(value, str):
        raise ValueError("expected the path of a CSV or ECSV file")
    text = expanded(value, environ)
    path = named(source.folder, value, text, SUFFIXES)
    name = beside(source, text)
    log = Source(read(path, name, "an observing log", _BYTES), name, folder=path.absolute().parent)
    return log, _rows(log)


def _rows(log: Source) -> list[Row]:
    """Return the rows of a log.

    Raises
    ------
    RefusedError
        With every bad row.
    """
    lines = [
        (number, line)
        for number, line in enumerate(log.lines, 1)
        if line.strip() and not line.startswith("#")
    ]
    if len(lines) < 2:
        raise refused([Problem("has no rows: a line of column names, then one a dataset")], log)
    if len(lines) - 1 > MOST:
        raise refused([Problem(f"has more than {MOST:,} rows: make a recipe of each part")], log)
    delimiter = _delimiter(log.lines, lines[0][1])
    (head, first), *others = lines
    columns = _cells(first, delimiter)
    problems = [
        Problem(f"the column {shown(name)} stands here twice" if name else "a column has no name",
                line=head, column=1)
        for place, name in enumerate(columns)
        if not name or name in columns[:place]
    ]  # fmt: skip
    rows: list[Row] = []
    for number, line in others:
        try:
            cells = _cells(line, delimiter)
            if len(cells) != len(columns):
                values = f"{len(cells)} value{'s' if len(cells) != 1 else ''}"
                raise ValueError(f"{values}, where the header has {len(columns)}")
        except ValueError as error:
            problems.append(Problem(str(error), line=number, column=1))
        else:
            rows.append(Row(number, dict(zip(columns, cells, strict=True))))
    if problems:
        raise refused(problems, log)
    return rows


def _cells(line: str, delimiter: str) -> list[str]:
    """Split one line.

    Raises
    ------
    ValueError
        If a quote in it is never closed.
    """
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter, strict=True))]
    except csv.Error as error:
        raise ValueError(f"cannot be read: {error}") from None


def _delimiter(lines: Sequence[str], header: str) -> str:
    """Return what separates columns: as an ECSV file says, else what its header has most of."""
    if lines[0].startswith(_ECSV):
        given = [line for line in lines if line.startswith(_ECSV_DELIMITER)]
        text = given[0].removeprefix(_ECSV_DELIMITER).strip() if given else ""
        return text.strip("'\"")[:1] or " "
    return max(_DELIMITERS, key=header.count)


def _columns_missing(
    template: Mapping[str, Any], row: Row, key: KeyPath, variables: Variables,
    environ: Mapping[str, str],
) -> Iterator[Problem]:  # fmt: skip
    """Yield names in a table's texts that are neither columns nor variables."""
    there = f"(columns of the log: {', '.join(row.texts)})"
    filled = variables.with_texts(row.texts, Path())
    filled.fill(template, key, Path(), Path())
    for problem in filled.problems:
        yield Problem(f"{problem.message} {there}", problem.key)
    vis = template.get("vis")
    for escape, name, end in REFERENCE.findall(vis) if isinstance(vis, str) else ():
        if end and not escape and name not in {**filled.known, **environ}:
            near = did_you_mean(name, row.texts)
            yield Problem(f"no column {shown(name)} in the log{near} {there}", (*key, "vis"))


def _add_rows(
    result: Expanded, index: int, template: Mapping[str, Any], log: Source, rows: Sequence[Row],
    source: Source, variables: Variables,
) -> None:  # fmt: skip
    """Add a dataset for each row of a log."""
    key: KeyPath = ("dataset", index)
    home, given = source.folder, source.override((*key, "vis")) is not None
    folder = home if given else source.origin((*key, "vis")).source.folder
    # What the rows do not fill stands in the recipe.
    own: dict[str | int, Origin] = {
        name: source.origin((*key, name))
        for name, value in template.items()
        if not (isinstance(value, str) and _uses(value, rows[0]))
    }
    for row in rows:
        texts = variables.with_texts(row.texts, log.folder)
        table = texts.fill(template, key, folder, home)
        result.add(index, table, source, Origin(log, (), row.line, dict(own)))


def _uses(text: str, row: Row) -> bool:
    return any(match[2] in row.texts for match in REFERENCE.finditer(text))
