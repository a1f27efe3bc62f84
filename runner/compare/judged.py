"""Numbers of two runs, and whether they agree within tolerances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final, Literal

from ..errors import DataError

Verdict = Literal["same", "agrees", "differs"]

RTOL: Final = 0.01
SIGMA: Final = 1.0
"""Two reductions of the same data share their noise: what they differ by is not noise."""

BETWEEN: Final = (
    "largest_difference", "difference_rms", "position_shift", "flags_changed", "blank_in_one",
    "phase_difference", "delay_difference",
)  # fmt: skip
"""How the names of numbers begin that two runs have together."""


@dataclass(frozen=True)
class Tolerance:
    """How far two numbers may be apart: either is enough to agree.

    Attributes
    ----------
    rtol : float
        Relative to the larger of the two, or to what the number is measured against.
    sigma : float
        In units of the number's error.
    """

    rtol: float = RTOL
    sigma: float = SIGMA

    def __str__(self) -> str:
        """Write it for a person."""
        return f"{100 * self.rtol:.3g} % or {self.sigma:g} sigma"


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of all numbers, and of some by name.

    Attributes
    ----------
    default : Tolerance
        Of all others.
    by_name : tuple of (str, Tolerance)
        By the number's name, or a pattern for it; the last that fits counts.
    """

    default: Tolerance = field(default_factory=Tolerance)
    by_name: tuple[tuple[str, Tolerance], ...] = ()

    def of(self, name: str) -> Tolerance:
        """Return the tolerance of a number."""
        fitting = [own for pattern, own in self.by_name if fnmatchcase(name, pattern)]
        return fitting[-1] if fitting else self.default


def tolerances(rtol: float, sigma: float, own: Sequence[str]) -> Tolerances:
    """Read the tolerances that the command line gives.

    Parameters
    ----------
    rtol, sigma : float
        Of all numbers.
    own : sequence of str
        Each ``NAME=VALUE`` with a share, per cent, or sigma: ``dynamic_range=5%``,
        ``peak_jy_per_beam=3sigma``, ``bm*_arcsec=0.001``. It replaces both others.

    Raises
    ------
    DataError
        If one is none.
    """
    found = []
    for option in own:
        name, equals, value = option.partition("=")
        try:
            if not equals or not name:
                raise ValueError
            found.append((name.strip(), _tolerance(value.strip())))
        except ValueError:
            raise DataError(
                f"--tolerance {option}: expected NAME=VALUE, for example dynamic_range=5% or "
                "peak_jy_per_beam=3sigma"
            ) from None
    return Tolerances(Tolerance(rtol, sigma), tuple(found))


def _tolerance(value: str) -> Tolerance:
    if value.endswith("sigma"):
        return Tolerance(0.0, _not_negative(value.removesuffix("sigma")))
    if value.endswith("%"):
        return Tolerance(_not_negative(value.removesuffix("%")) / 100, 0.0)
    return Tolerance(_not_negative(value), 0.0)


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < math.inf:
        raise ValueError(text)
    return value


@dataclass(frozen=True)
class Number:
    """One number of two runs.

    Attributes
    ----------
    part : str
        ``image``, ``pixels``, ``flux``, ``flags``, ``table`` or ``selfcal``.
    subject : str
        Of which image, field, antenna or table.
    name : str
        As in ``qa/metrics.json``, with its unit.
    a, b : float or None
        Its values; None where not measured.
    error : float or None
        By how much the difference may be off, one sigma.
    scale : float or None
        What a relative tolerance is a share of; by default the larger of the two values.
    note : str
        What the reader must know of it.
    minor : bool
        One of many of its kind: shown only where it differs.
    """

    part: str
    subject: str
    name: str
    a: float | None
    b: float | None
    error: float | None = None
    scale: float | None = None
    note: str = ""
    minor: bool = False

    @property
    def of_both(self) -> bool:
        """Whether it is one number of the two runs together, measured against 0."""
        return self.name.startswith(BETWEEN)

    @property
    def difference(self) -> float | None:
        """Second minus first."""
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def relative(self) -> float | None:
        """The difference as a share of the scale."""
        if self.a is None or self.b is None:
            return None
        scale = max(abs(self.a), abs(self.b)) if self.scale is None else abs(self.scale)
        return (self.b - self.a) / scale if scale else (0.0 if self.a == self.b else None)

    @property
    def significance(self) -> float | None:
        """The difference in units of its error."""
        difference = self.difference
        return None if difference is None or not self.error else difference / self.error


@dataclass(frozen=True)
class Judged:
    """A number with the verdict on it."""

    number: Number
    verdict: Verdict

    def as_json(self) -> dict[str, Any]:
        """Return it as ``compare.json`` has it."""
        of = self.number
        return {
            "part": of.part,
            "subject": of.subject,
            "name": of.name,
            "a": of.a,
            "b": of.b,
            "difference": of.difference,
            "relative": of.relative,
            "error": of.error,
            "significance": of.significance,
            "verdict": self.verdict,
            "note": of.note,
        }


def judge(number: Number, allowed: Tolerances) -> Judged:
    """Say whether the two values of a number agree."""
    if number.a == number.b:
        return Judged(number, "same")
    within = allowed.of(number.name)
    relative, significance = number.relative, number.significance
    near = relative is not None and abs(relative) <= within.rtol
    near |= significance is not None and abs(significance) <= within.sigma
    return Judged(number, "agrees" if near else "differs")


@dataclass(frozen=True)
class OnlyIn:
    """Something that one run has and the other has not."""

    side: Literal["A", "B"]
    kind: str
    name: str

    def __str__(self) -> str:
        """Write it for a person."""
        return f"{self.kind} {self.name} is only in {self.side}"


def one_sided(kind: str, a: Mapping[str, Any], b: Mapping[str, Any], of: str = "") -> list[OnlyIn]:
    """Return what is in one of two mappings only."""
    prefix = f"{of}, " if of else ""
    first = [OnlyIn("A", kind, f"{prefix}{name}") for name in a if name not in b]
    return first + [OnlyIn("B", kind, f"{prefix}{name}") for name in b if name not in a]
