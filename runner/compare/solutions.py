"""Two calibration tables: amplitudes, phases and flags of the solutions that both have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..casa.read import CalTable
from .judged import Number

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_RADIAN_DEG: Final = 180 / np.pi


@dataclass(frozen=True)
class AntennaSolutions:
    """How the solutions of one antenna differ.

    Attributes
    ----------
    antenna : str
        Its name.
    matched : int
        Solutions that both tables have, flagged or not.
    flagged_a, flagged_b : float
        Share of these that is flagged.
    amplitude_ratio : float or None
        Median of B over A.
    phase_rms_deg : float or None
        Root of the mean square of the phase differences.
    delay_rms_ns : float or None
        Likewise for delays.
    """

    antenna: str
    matched: int
    flagged_a: float
    flagged_b: float
    amplitude_ratio: float | None = None
    phase_rms_deg: float | None = None
    delay_rms_ns: float | None = None


@dataclass(frozen=True)
class TableDifference:
    """How two calibration tables differ.

    Attributes
    ----------
    subject : str
        Of which dataset and kind.
    identical : bool
        Values and flags of all solutions are the same bits.
    matched, only_a, only_b : int
        Rows that both have, and that one has.
    reference : str
        The antenna that phases of both are referred to; empty for none.
    antennas : tuple of AntennaSolutions
        By antenna.
    numbers : tuple of Number
        Of the table as a whole, to be judged.
    note : str
        Why something could not be compared.
    """

    subject: str
    identical: bool = False
    matched: int = 0
    only_a: int = 0
    only_b: int = 0
    reference: str = ""
    antennas: tuple[AntennaSolutions, ...] = ()
    numbers: tuple[Number, ...] = ()
    note: str = ""


def compare(subject: str, a: CalTable, b: CalTable) -> TableDifference:
    """Compare two calibration tables.

    Solutions belong together that are of one antenna, spectral window and field, and nearest in
    time. Phases (and delays) are referred to one antenna first, that with most unflagged
    solutions in both: another reference antenna by itself is no difference.

    Parameters
    ----------
    subject : str
        What they are of.
    a, b : CalTable
        The tables.
    """
    if _identical(a, b):
        return TableDifference(subject, identical=True, matched=len(a.antenna))
    if np.iscomplexobj(a.values) != np.iscomplexobj(b.values):
        return TableDifference(subject, note="one holds gains, the other delays")
    if a.values.shape[:2] != b.values.shape[:2]:
        return TableDifference(
            subject, note=f"polarizations and channels differ: {_shape(a)} and {_shape(b)}"
        )
    rows_a, rows_b = _matched(a, b)
    lost = len(a.antenna) - len(rows_a), len(b.antenna) - len(rows_b)
    if not len(rows_a):
        return TableDifference(subject, only_a=lost[0], only_b=lost[1],
                               note="they have no solution in common")  # fmt: skip
    flags = a.flag[:, :, rows_a], b.flag[:, :, rows_b]
    antenna = np.asarray(a.antennas)[a.antenna[rows_a]]
    slots = _slots(a, rows_a)
    values, reference = _referred(
        (a.values[:, :, rows_a], b.values[:, :, rows_b]), flags, antenna, slots
    )
    by_antenna = tuple(_antennas(values, flags, antenna))
    numbers = tuple(_numbers(subject, values, flags, _snr(a, rows_a, b, rows_b)))
    return TableDifference(subject, False, len(rows_a), *lost, reference, by_antenna, numbers)


def _identical(a: CalTable, b: CalTable) -> bool:
    pairs = ((a.values, b.values), (a.flag, b.flag), (a.antenna, b.antenna), (a.spw, b.spw),
             (a.field, b.field), (a.time_s, b.time_s))  # fmt: skip
    named = (a.antennas, a.fields) == (b.antennas, b.fields)
    return named and all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def _shape(table: CalTable) -> str:
    return f"{table.values.shape[0]} x {table.values.shape[1]}"


def _matched(a: CalTable, b: CalTable) -> tuple[Ints, Ints]:
    """Return the rows of both tables that belong together."""
    found_a, found_b = [], []
    of_b = _groups(b)
    for key, mine in _groups(a).items():
        others = of_b.get(key)
        if others is None:
            continue
        times, other_times = a.time_s[mine], b.time_s[others]
        nearest = np.abs(other_times[None, :] - times[:, None]).argmin(axis=1)
        back = np.abs(times[None, :] - other_times[:, None]).argmin(axis=1)
        mutual = back[nearest] == np.arange(len(times))
        apart = np.abs(other_times[nearest] - times)
        close = mutual & (apart <= _half_interval_s(times, other_times))
        found_a.append(mine[close])
        found_b.append(others[nearest[close]])
    if not found_a:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    return np.concatenate(found_a), np.concatenate(found_b)


def _half_interval_s(*times: Floats) -> float:
    """Return half of the least time between solutions; without end for a single one each."""
    steps = [np.diff(np.sort(one)) for one in times]
    least = min((float(step.min()) for step in steps if len(step)), default=np.inf)
    return 0.5 * least


def _groups(table: CalTable) -> dict[tuple[str, int, str], Ints]:
    """Return the rows by antenna, spectral window and field."""
    keys = zip(table.antenna.tolist(), table.spw.tolist(), table.field.tolist(), strict=True)
    found: dict[tuple[str, int, str], list[int]] = {}
    for row, (antenna, spw, field) in enumerate(keys):
        name = table.fields[field] if 0 <= field < len(table.fields) else str(field)
        found.setdefault((table.antennas[antenna], spw, name), []).append(row)
    return {key: np.asarray(rows) for key, rows in found.items()}


def _slots(table: CalTable, rows: Ints) -> Ints:
    """Give each solution interval a number: antennas that were solved together share one."""
    together = np.stack([table.time_s[rows], table.spw[rows], table.field[rows]])
    _, slots = np.unique(together, axis=1, return_inverse=True)
    return np.asarray(slots, np.int64).ravel()


def _referred(
    values: tuple[Any, Any], flags: tuple[Bools, Bools], antenna: Any, slots: Ints
) -> tuple[tuple[Any, Any], str]:
    """Refer phases or delays of both tables to one antenna, where it has solutions."""
    good = (~flags[0] & ~flags[1]).sum(axis=(0, 1))
    names = np.unique(antenna)
    counts = [int(good[antenna == name].sum()) for name in names]
    if not max(counts, default=0):
        return values, ""
    name = str(names[int(np.argmax(counts))])
    rows = np.full(int(slots.max()) + 1, -1)
    rows[slots[antenna == name]] = np.flatnonzero(antenna == name)
    mine = rows[slots]
    known = mine >= 0
    found = []
    for value, flag in zip(values, flags, strict=True):
        reference = value[:, :, mine]
        usable = known[None, None, :] & ~flag[:, :, mine]
        if np.iscomplexobj(value):
            size = np.abs(reference)
            turn = np.where(
                usable & (size > 0), np.conj(reference) / np.where(size > 0, size, 1), 1
            )
            found.append(value * turn)
        else:
            found.append(value - np.where(usable, reference, 0))
    return (found[0], found[1]), name


def _antennas(
    values: tuple[Any, Any], flags: tuple[Bools, Bools], antenna: Any
) -> Iterator[AntennaSolutions]:
    for name in dict.fromkeys(antenna.tolist()):
        mine = antenna == name
        flag = flags[0][:, :, mine], flags[1][:, :, mine]
        good = ~flag[0] & ~flag[1]
        first, second = values[0][:, :, mine][good], values[1][:, :, mine][good]
        yield AntennaSolutions(str(name), int(good.size), float(flag[0].mean()),
                               float(flag[1].mean()), **_apart(first, second))  # fmt: skip


def _apart(first: Any, second: Any) -> dict[str, float]:
    if not len(first):
        return {}
    if not np.iscomplexobj(first):
        return {"delay_rms_ns": float(np.sqrt(np.mean((second - first) ** 2)))}
    sizes = np.abs(first), np.abs(second)
    usable = (sizes[0] > 0) & (sizes[1] > 0)
    if not usable.any():
        return {}
    turned = np.angle(second[usable] * np.conj(first[usable]))
    return {
        "amplitude_ratio": float(np.median(sizes[1][usable] / sizes[0][usable])),
        "phase_rms_deg": float(_RADIAN_DEG * np.sqrt(np.mean(turned**2))),
    }


def _snr(a: CalTable, rows_a: Ints, b: CalTable, rows_b: Ints) -> float | None:
    """Return the median signal to noise of the solutions that both have."""
    good = ~a.flag[:, :, rows_a] & ~b.flag[:, :, rows_b]
    both = np.minimum(a.snr[:, :, rows_a], b.snr[:, :, rows_b])[good]
    middle = float(np.median(both)) if len(both) else 0.0
    return middle if middle > 0 else None


def _numbers(
    subject: str, values: tuple[Any, Any], flags: tuple[Bools, Bools], snr: float | None
) -> Iterator[Number]:
    """Yield the numbers of the tables as a whole; the error is that of one solution."""
    good = ~flags[0] & ~flags[1]
    changed = float((flags[0] != flags[1]).mean())
    yield Number("table", subject, "flags_changed", 0.0, changed, scale=1.0)
    apart = _apart(values[0][good], values[1][good])
    if "delay_rms_ns" in apart:
        yield Number("table", subject, "delay_difference_rms_ns", 0.0, apart["delay_rms_ns"],
                     scale=float(np.ptp(values[0][good])) or None)  # fmt: skip
    if "amplitude_ratio" in apart:
        one, other = (float(np.median(np.abs(value[good]))) for value in values)
        yield Number("table", subject, "amplitude_median", one, other,
                     error=max(one, other) / snr if snr else None)  # fmt: skip
        yield Number("table", subject, "phase_difference_rms_deg", 0.0, apart["phase_rms_deg"],
                     error=_RADIAN_DEG / snr if snr else None, scale=_RADIAN_DEG)  # fmt: skip
