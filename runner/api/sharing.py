"""A run described for others, packed for others, and what others have packed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ..errors import DataError
from ..files import write_atomic
from ..report import schemas
from ..report.conclude import read_plan
from ..share import bundle as bundles
from ..share import bundle_check
from .opening import held, run_folder

_SCHEMAS = {"scripts/plan.json": "plan", "qa/metrics.json": "metrics"}


@dataclass(frozen=True)
class Verified:
    """What came of a check: what is wrong, and how many files there are."""

    problems: tuple[str, ...]
    files: int


def describe(run: Path) -> Path:
    """Write ``ro-crate-metadata.json`` into a run's folder, about all that is in it.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    DataError
        If it is no run folder, the run has not ended yet, or the library is missing.
    LockedError
        If the run goes on.
    """
    folder = run_folder(run)
    with held(folder):
        found = bundles.describe(bundles.Packing(folder, read_plan(folder), everything=True))
        write_atomic(folder.crate, json.dumps(found, indent=1) + "\n")
    return folder.crate


def bundle(run: Path, output: Path | None, *, everything: bool, data: bool) -> Path:
    """Pack a run into an archive.

    Parameters
    ----------
    run : Path
        Its folder.
    output : Path or None
        The archive; by default ``<name of the folder>.crate.zip`` in the current folder.
    everything : bool
        With MeasurementSets and CASA's images.
    data : bool
        With the data that it was made from.

    Raises
    ------
    DataError
        As of `describe`; or if the archive is there.
    LockedError
        If the run goes on.
    """
    folder = run_folder(run)
    out = output or Path(f"{folder.root.name}.crate.zip")
    with held(folder):
        return bundles.pack(bundles.Packing(folder, read_plan(folder), everything, data), out)


def verify(path: Path, unpack_to: Path | None = None) -> Verified:
    """Check a bundle, an archive or the folder it was unpacked to; unpack it if it is in order.

    Raises
    ------
    DataError
        If it cannot be read, or the folder to unpack to is there.
    """
    with bundle_check.opened(path) as found:
        wrong = bundle_check.problems(found)
        if not wrong:
            wrong = [*_misshapen(found)]
        if not wrong and unpack_to is not None:
            bundle_check.unpack(found, unpack_to)
        return Verified(tuple(wrong), len(found.files))


def _misshapen(found: bundle_check.Found) -> list[str]:
    """Return which records are not as their schemas have them."""
    wrong = []
    for name, schema in _SCHEMAS.items():
        if name not in found.files:
            continue
        try:
            damage = schemas.damage(bundle_check.read(found, name), schema)
        except DataError as error:
            damage = str(error)
        if damage:
            wrong.append(f"{name}: {damage}")
    return wrong
