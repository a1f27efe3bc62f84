"""Two runs compared as a whole, and the verdict: whether they agree."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from ..errors import DataError, LockedError
from ..report import schemas
from ..report.runs import Run, items, mapping, text
from . import flags, measured, skies, solutions, told
from .judged import Judged, Number, OnlyIn, Tolerances, judge

VERSION: Final = 1
"""Of what `Comparison.as_json` returns."""

_T = TypeVar("_T")
Outcome = Literal["identical", "agree", "differ"]

_SAYS_NOTHING: Final = ("table.lock", "table.info")
"""Files of a table that hold no data."""

_READ_WHOLE_BYTES: Final = 2_000_000_000
"""Files of tables are held against each other up to this size; CASA reads less of larger ones."""

_UNFINISHED: Final = {
    "failed": "a step of it failed",
    "interrupted": "it was interrupted",
    "died": "it was killed",
}


@dataclass(frozen=True)
class ImagePair:
    """An image that both runs have: how it differs, or why that is not known."""

    subject: str
    difference: skies.SkyDifference | None
    note: str = ""


@dataclass
class Comparison:
    """How two runs differ.

    Attributes
    ----------
    a, b : Run
        The runs.
    tolerances : Tolerances
        What counts as the same.
    told : Told
        What they were told and chose.
    only : list of OnlyIn
        What one has alone.
    numbers : list of Judged
        All numbers, with verdicts.
    images, tables, flags : list
        Of what both have, in detail.
    notes : list of str
        What the reader should know first.
    unknown : list of str
        What could not be compared: runs do not agree as long as there is something of it.
    """

    a: Run
    b: Run
    tolerances: Tolerances
    told: told.Told
    only: list[OnlyIn] = field(default_factory=list)
    numbers: list[Judged] = field(default_factory=list)
    images: list[ImagePair] = field(default_factory=list)
    tables: list[solutions.TableDifference] = field(default_factory=list)
    flags: list[flags.FlagDifference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def differing(self) -> list[Judged]:
        """The numbers beyond their tolerances."""
        return [one for one in self.numbers if one.verdict == "differs"]

    @property
    def outcome(self) -> Outcome:
        """Whether the runs made the same, agree within the tolerances, or differ."""
        if self.only or self.differing or self.unknown:
            return "differ"
        parts = chain((pair.difference for pair in self.images), self.tables, self.flags)
        same = all(part is not None and part.identical for part in parts)
        return "identical" if same and all(n.verdict == "same" for n in self.numbers) else "agree"

    def summary(self) -> str:
        """Say it in a sentence."""
        n_numbers = len(self.numbers)
        if self.outcome == "identical":
            counted = (f"{len(part)} {name}{'s' if len(part) != 1 else ''}" for part, name in (
                (self.images, "image"), (self.tables, "calibration table")))  # fmt: skip
            return f"the same to the bit: {', '.join(counted)}, all flags and {n_numbers} numbers"
        within = f"within {self.tolerances.default}"
        if self.outcome == "agree":
            changed = sum(one.verdict != "same" for one in self.numbers)
            return f"they agree {within}: {changed} of {n_numbers} numbers are not the same"
        said = []
        if self.differing:
            said.append(f"{len(self.differing)} of {n_numbers} numbers are not {within}")
        if self.only:
            number = len(self.only)
            one = "1 thing is" if number == 1 else f"{number} things are"
            said.append(f"{one} in one of them only")
        if self.unknown:
            said.append(f"{len(self.unknown)} could not be compared")
        return f"they differ: {'; '.join(said)}"

    def as_json(self) -> dict[str, Any]:
        """Return all of it for programs."""
        return {
            "compare_version": VERSION,
            "a": _about(self.a),
            "b": _about(self.b),
            "outcome": self.outcome,
            "agree": self.outcome != "differ",
            "summary": self.summary(),
            "tolerances": {
                "rtol": self.tolerances.default.rtol,
                "sigma": self.tolerances.default.sigma,
                "by_name": {name: asdict(own) for name, own in self.tolerances.by_name},
            },
            "notes": self.notes,
            "unknown": self.unknown,
            "told": asdict(self.told),
            "only": [asdict(one) for one in self.only],
            "numbers": [one.as_json() for one in self.numbers],
            "images": [_image_json(pair) for pair in self.images],
            "tables": [_table_json(table) for table in self.tables],
            "flags": [asdict(one) for one in self.flags],
        }


def _about(run: Run) -> dict[str, Any]:
    return {
        "folder": str(run.folder.root),
        "state": run.state,
        "verdict": run.verdict,
        "started": text(run.about.get("started")),
    }


def _image_json(pair: ImagePair) -> dict[str, Any]:
    found: dict[str, Any] = {"subject": pair.subject, "note": pair.note}
    if pair.difference is not None:
        plain = vars(pair.difference)
        found |= {key: value for key, value in plain.items() if key not in ("planes", "sky")}
    return found


def _table_json(table: solutions.TableDifference) -> dict[str, Any]:
    found = asdict(table)
    del found["numbers"]  # they are judged among all numbers
    return found


def compare(a: Run, b: Run, tolerances: Tolerances) -> Comparison:
    """Compare two runs.

    CASA is only asked about calibration tables and flags whose files are not the same bits.

    Raises
    ------
    DataError
        If one of them has no numbers to compare, or both are one.
    LockedError
        If one of them goes on: what it is made of changes meanwhile.
    """
    _require_comparable(a, b)
    found = Comparison(a, b, tolerances, told.compare(a, b), measured.only(a.metrics, b.metrics))
    found.notes += _notes(a, b)
    numbers = [*measured.numbers(a.metrics, b.metrics)]
    found.images = list(_images(a, b))
    found.tables = list(_tables(a, b))
    found.flags = list(_flags(a, b))
    for pair in found.images:
        numbers += _of_image(pair)
    for table in found.tables:
        numbers += table.numbers
    for one in found.flags:
        numbers += _of_flags(one)
    order = {subject: n for n, subject in enumerate(dict.fromkeys(n.subject for n in numbers))}
    numbers.sort(key=lambda number: order[number.subject])
    found.numbers = [judge(number, tolerances) for number in numbers]
    said = [(part.subject, part.note) for part in found.images]
    said += [(part.subject, part.note) for part in found.tables]
    said += [(part.subject, part.note) for part in found.flags]
    found.unknown = [f"{subject}: {note}" for subject, note in said if note]
    return found


def _require_comparable(a: Run, b: Run) -> None:
    if a.folder.root.resolve() == b.folder.root.resolve():
        raise DataError(f"{a.folder.root}: both are one run folder")
    for run in (a, b):
        root = run.folder.root
        if run.problem:
            raise DataError(f"{root}: {run.problem}")
        if run.state == "running":
            raise LockedError(f"{root}: the run goes on; compare it when it has ended")
        if not run.folder.metrics.is_file():
            raise DataError(
                f"{root}: there is no qa/metrics.json to compare: the run did not come to its "
                "report; run its recipe again to go on"
            )
        # What is not there would seem to agree.
        wrong = schemas.damage(run.metrics, "metrics")
        if wrong:
            raise DataError(
                f"{run.folder.metrics} is damaged: {wrong}; casarun report {root} writes it anew"
            )


def _notes(a: Run, b: Run) -> Iterator[str]:
    for side, run in (("A", a), ("B", b)):
        if run.state in _UNFINISHED:
            yield f"{side} is not complete: {_UNFINISHED[run.state]}"
    if a.verdict != b.verdict:
        yield f"the QA verdict of A is {a.verdict or 'unknown'}, that of B {b.verdict or 'unknown'}"


# -- images


def _images(a: Run, b: Run) -> Iterator[ImagePair]:
    first, second = (mapping(run.metrics.get("images")) for run in (a, b))
    for target in first:
        if target not in second:
            continue
        for name, numbers in mapping(first[target]).items():
            other = mapping(second[target]).get(name)
            if other is not None:
                yield _pair(a, b, f"{target}, {name}", mapping(numbers), mapping(other))
    first, second = (mapping(run.metrics.get("cubes")) for run in (a, b))
    for name in first:
        both = [mapping(one.get(name)) for one in (first, second)]
        if all(text(one.get("fits")) for one in both):
            yield _pair(a, b, f"cube {name}", both[0], both[1])


def _pair(
    a: Run, b: Run, subject: str, mine: Mapping[str, Any], its: Mapping[str, Any]
) -> ImagePair:
    paths = a.inside(mine.get("fits")), b.inside(its.get("fits"))
    if paths[0] is None or paths[1] is None:
        gone = "A" if paths[0] is None else "B"
        return ImagePair(subject, None, f"the FITS file of {gone} is gone")
    try:
        noise = measured.noise_of(mine, its)
        return ImagePair(subject, skies.compare(paths[0], paths[1], noise))
    except DataError as error:
        return ImagePair(subject, None, str(error))


def _of_image(pair: ImagePair) -> Iterator[Number]:
    """Yield the numbers of a pair of images to be judged."""
    found = pair.difference
    if found is None:
        return
    jansky = found.unit == "Jy/beam"
    unit = "_jy_per_beam" if jansky else ""
    for name, value in (("largest_difference", found.largest), ("difference_rms", found.rms)):
        yield Number("pixels", pair.subject, f"{name}{unit}", 0.0, value, found.noise, found.peak)
    if found.blank_in_one and not found.regridded:
        yield Number(
            "pixels", pair.subject, "blank_in_one_only", 0.0, found.blank_in_one, scale=1.0
        )
    if found.flux_a is not None and jansky:
        yield Number("pixels", pair.subject, "flux_density_in_sources_jy", found.flux_a,
                     found.flux_b, found.flux_error)  # fmt: skip
    if found.shift_arcsec is not None and not found.identical:
        east, north = found.shift_arcsec
        yield Number("pixels", pair.subject, "position_shift_arcsec", 0.0,
                     float((east**2 + north**2) ** 0.5), found.shift_error_arcsec,
                     found.beam_arcsec, f"{east:+.3g} east, {north:+.3g} north")  # fmt: skip
        yield Number("pixels", pair.subject, "brightness_ratio", 1.0, found.ratio,
                     found.ratio_error)  # fmt: skip


# -- calibration tables


def _tables(a: Run, b: Run) -> Iterator[solutions.TableDifference]:
    for dataset, mine, its in _both(a, b):
        others = {text(one.get("kind")): one for one in map(mapping, items(its.get("caltables")))}
        for one in map(mapping, items(mine.get("caltables"))):
            kind = text(one.get("kind"))
            if kind in others:
                subject = f"{dataset}, {kind}"
                paths = a.inside(one.get("path")), b.inside(others[kind].get("path"))
                yield _table(subject, *paths)


def _both(a: Run, b: Run) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    first, second = (mapping(run.metrics.get("datasets")) for run in (a, b))
    for name in first:
        if name in second:
            yield name, mapping(first[name]), mapping(second[name])


def _table(subject: str, a: Path | None, b: Path | None) -> solutions.TableDifference:
    if a is None or b is None:
        if a is b:  # neither was made: the numbers say so
            return solutions.TableDifference(subject, identical=True)
        gone = "A" if a is None else "B"
        return solutions.TableDifference(subject, note=f"the table of {gone} is gone")
    if same_files(a, b):
        return solutions.TableDifference(subject, identical=True)
    from ..casa import read

    return _asked(
        lambda: solutions.compare(subject, read.caltable(a), read.caltable(b)),
        lambda note: solutions.TableDifference(subject, note=note),
    )


def _asked(ask: Callable[[], _T], otherwise: Callable[[str], _T]) -> _T:
    """Ask CASA; what it cannot read is said, and does not end the comparison."""
    try:
        return ask()
    except (DataError, RuntimeError, ValueError, KeyError, IndexError) as error:
        return otherwise(f"cannot be read: {' '.join(str(error).split())}")


def same_files(a: Path, b: Path, pattern: str = "**/*") -> bool:
    """Say whether the files of two tables are the same bits; a lock is no content.

    More than `_READ_WHOLE_BYTES` are not read for that.
    """
    first, second = ({p.relative_to(top): p for p in _content(top, pattern)} for top in (a, b))
    sizes = [{name: path.stat().st_size for name, path in one.items()} for one in (first, second)]
    if not first or sizes[0] != sizes[1] or sum(sizes[0].values()) > _READ_WHOLE_BYTES:
        return False
    return all(filecmp.cmp(path, second[name], shallow=False) for name, path in first.items())


def _content(top: Path, pattern: str) -> Iterator[Path]:
    return (
        path
        for path in top.glob(pattern)
        if path.is_file() and not path.is_symlink() and path.name not in _SAYS_NOTHING
    )


# -- flags


def _flags(a: Run, b: Run) -> Iterator[flags.FlagDifference]:
    for dataset, _, _ in _both(a, b):
        paths = [_working_ms(run, dataset) for run in (a, b)]
        if paths[0] is None or paths[1] is None:
            continue  # kept only as long as a run needs them: the flagged fractions tell
        yield _flags_of(dataset, paths[0], paths[1])


def _working_ms(run: Run, dataset: str) -> Path | None:
    for step in map(mapping, items(run.plan.get("steps"))):
        if step.get("action") == "measure.dataset" and step.get("dataset") == dataset:
            return run.inside(mapping(step.get("params")).get("ms"))
    return None


def _flags_of(subject: str, a: Path, b: Path) -> flags.FlagDifference:
    if same_files(a, b, "table.f*"):  # what the rows hold; subtables name processes and times
        return flags.FlagDifference(subject)
    from ..casa import read

    def ask() -> flags.FlagDifference:
        about = read.layout(a), read.layout(b)
        sides = ((about[0], read.rows(a, about[0])), (about[1], read.rows(b, about[1])))
        return flags.compare(subject, *sides)

    return _asked(ask, lambda note: flags.FlagDifference(subject, note=note))


def _of_flags(one: flags.FlagDifference) -> Iterator[Number]:
    if not one.note and one.visibilities:
        changed = (one.only_a + one.only_b) / one.visibilities
        yield Number("flags", one.subject, "flags_changed", 0.0, changed, scale=1.0,
                     note=f"flagged only in A {one.only_a}, only in B {one.only_b}, "
                          f"of {one.visibilities}")  # fmt: skip
