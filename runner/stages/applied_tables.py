"""Calibration tables, and how they are applied to data while solving and in the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .. import heuristics
from ..plan import Json
from .draft import Subject, ids


@dataclass(frozen=True)
class Known:
    """How a table is applied that was not solved for: as the recipe says.

    Attributes
    ----------
    title : str
        What it is, for a person.
    gainfield : str
        The fields of the table that are taken, in CASA's syntax.
    spwmap : tuple of int
        For each window the one whose solutions it takes; empty for its own.
    calwt : {"auto", "yes", "no"}
        Whether it scales the weights; ``auto``: as the tables that are solved for.
    beside : str
        Path of a JSON file that says under ``origin`` where its numbers come from, if there is
        one.
    """

    title: str
    gainfield: str = ""
    spwmap: tuple[int, ...] = ()
    calwt: Literal["auto", "yes", "no"] = "auto"
    beside: str = ""


@dataclass(frozen=True)
class Table:
    """A calibration table.

    `per_field` tables are taken from a field of their own when they are applied; the others
    (delay, bandpass) serve all fields alike. What is `known` before the first solution is
    applied as it says itself.
    """

    kind: str
    path: str
    per_field: bool
    interp: str
    fields: tuple[int, ...] = ()
    known: Known | None = None

    def row(
        self, subject: Subject, source: tuple[int, ...], to: tuple[int, ...], *, solving: bool
    ) -> dict[str, Json]:
        """Return the table's entries of ``gaintable``, ``gainfield``, ``interp``, ``spwmap``."""
        if self.known:
            own = {"gainfield": self.known.gainfield, "spwmap": list(self.known.spwmap)}
            return {"gaintable": self.path, "interp": self.interp, **own}
        observation = subject.observation
        solved = set(source) if self.per_field else set(self.fields)
        wanted = observation.spws_of_fields(set(to))
        spws = {spw.id: spw for spw in observation.spws}
        gainfield = ids(source) if self.per_field else ids(self.fields)
        return {
            "gaintable": self.path,
            "gainfield": "" if solving and self.per_field else gainfield,
            "interp": "nearest" if solving else self.interp,
            "spwmap": heuristics.spwmap(wanted, observation.spws_of_fields(solved), spws),
        }


Tables = Mapping[str, Table]


def table_path(subject: Subject, kind: str) -> str:
    """Return where a calibration table of a dataset stands."""
    return f"caltables/{subject.name}.{kind}"


def applied(
    tables: list[Table],
    subject: Subject,
    *,
    source: tuple[int, ...],
    to: tuple[int, ...],
    solving: bool = False,
) -> dict[str, Json]:
    """Return the parameters that apply tables to fields.

    Parameters
    ----------
    tables : list of Table
        In the order in which they are applied.
    subject : Subject
        The dataset.
    source : tuple of int
        The fields from which per-field tables are taken.
    to : tuple of int
        The fields that are corrected.
    solving : bool
        While solving, several calibrators are corrected in one call. Each takes per-field
        solutions from itself, which in CASA is what an empty ``gainfield`` with ``nearest`` in
        time gives.

    Returns
    -------
    dict
        ``gaintable``, ``gainfield``, ``interp`` and ``spwmap``, entry by entry alike.
    """
    rows = [table.row(subject, source, to, solving=solving) for table in tables]
    params = {key: [row[key] for row in rows] for key in ("gaintable", "gainfield", "interp")}
    maps = [row["spwmap"] for row in rows]
    return {**params, "spwmap": maps if any(maps) else []}
