"""The images that a person names: files, or images of a run by their names in its recipe."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..errors import DataError, did_you_mean
from ..folder import RunFolder, file_safe
from ..report import runs
from ..report.runs import Run

_BEGIN: Final = b"SIMPLE  =                    T"
_BLOCK_BYTES: Final = 2880
_PACKED: Final = (".fits.gz", ".fit.gz", ".fts.gz")
_TERM: Final = ".tt0"


@dataclass(frozen=True)
class Picture:
    """An image to look at.

    Attributes
    ----------
    path : Path
        A FITS file or a CASA image; absolute.
    name : str
        What it is called on the screen.
    run : Run or None
        The run that it is of.
    prefix : str
        The path, in the run folder, that all images of its kind share: ``images/M31.hi``. Empty
        where that is not known.
    """

    path: Path
    name: str
    run: Run | None = None
    prefix: str = ""

    @property
    def is_fits(self) -> bool:
        """Whether it can be opened as it is."""
        return not self.path.is_dir()

    def beside(self, kind: str) -> Path | None:
        """Return another image of its kind in the run: ``mask``, ``pb``; None where there is none.

        Of images with Taylor terms it is the first one's.
        """
        if self.run is None or not self.prefix:
            return None
        for suffix in ("", _TERM):
            found = self.run.inside(f"{self.prefix}.{kind}{suffix}")
            if found is not None:
                return found
        return None


def find(words: Sequence[str]) -> list[Picture]:
    """Find the images that words name.

    Parameters
    ----------
    words : sequence of str
        Paths of FITS files and CASA images; run folders, each with the names of some of its images
        behind it: ``hi`` (of all targets), ``M31.hi``, ``hi.residual``. A run folder alone stands
        for all images of its recipe.

    Raises
    ------
    DataError
        If a word names none.
    """
    found: list[Picture] = []
    run: Run | None = None
    alone = False
    for word in words:
        path = Path(word)
        named = [] if run is None else _named(run, word)
        if RunFolder(path.absolute()).journal.is_file():
            found += _all_of(run) if alone and run else []
            run, alone = _read(path), True
        elif named:
            found, alone = [*found, *named], False
        else:
            found.append(_file(path, word, run))
            alone = alone and path.exists()
    found += _all_of(run) if alone and run else []
    return found


def _read(path: Path) -> Run:
    run = runs.read(RunFolder(path.absolute()))
    if run.problem:
        raise DataError(f"{path}: {run.problem}")
    return run


def _file(path: Path, word: str, run: Run | None) -> Picture:
    """Return an image that is named by its path."""
    real = path.absolute()
    if real.is_dir() and not (real / "table.dat").is_file():
        raise DataError(f"{word}: a folder that is neither a CASA image nor a run folder")
    if not real.is_dir() and not real.is_file():
        known = [] if run is None else sorted(set(_names(run)))
        where = "no such image"
        if run is not None:
            where += f", neither as a file nor in {run.folder.root}, which has {', '.join(known)}"
        raise DataError(f"{word}: {where}{did_you_mean(word, known)}")
    if real.is_file():
        _require_fits(real, word)
    for above in real.parents:
        if RunFolder(above).journal.is_file():
            own = runs.read(RunFolder(above))
            return Picture(real, real.name, own, _prefix_of(real, own))
    return Picture(real, real.name)


def _require_fits(path: Path, word: str) -> None:
    """Refuse what is no FITS file: DS9 8.4 dies of what only begins like one."""
    name = path.name.lower()
    with path.open("rb") as file:
        begin = file.read(_BLOCK_BYTES)
    plain = begin.startswith(_BEGIN) and begin[80:86] == b"BITPIX" and len(begin) == _BLOCK_BYTES
    if not plain and not (name.endswith(_PACKED) and begin.startswith(b"\x1f\x8b")):
        raise DataError(f"{word}: neither a FITS file nor a CASA image")


def _prefix_of(path: Path, run: Run) -> str:
    """Return the prefix of a run's image; the longest one that its name begins with."""
    inside = path.relative_to(run.folder.root).as_posix()
    prefixes = [prefix for _, _, prefix in _images(run) if inside.startswith(f"{prefix}.")]
    return max(prefixes, key=len, default="")


def _images(run: Run) -> Iterator[tuple[str, str, str]]:
    """Give target, name and prefix of each image that a run's plan makes."""
    known: dict[tuple[str, str], None] = {}
    for step in runs.items(run.plan.get("steps")):
        of = runs.mapping(step)
        target, image = runs.text(of.get("target")), runs.text(of.get("image"))
        if image:
            known[file_safe(target) if target else "", image] = None
    for target, image in known:
        yield target, image, f"images/{target}.{image}" if target else f"images/{image}"


def _names(run: Run) -> Iterable[str]:
    return [image for _, image, _ in _images(run)]


def _named(run: Run, word: str) -> list[Picture]:
    """Return the images of a run that a word names: images by their names, else products."""
    whole: list[Picture] = []
    products: list[Picture] = []
    for target, image, prefix in _images(run):
        name = f"{target}.{image}" if target else image
        for stem in dict.fromkeys((image, name)):
            kind = word[len(stem) + 1 :]
            if word != stem and not (kind and word.startswith(f"{stem}.")):
                continue
            path = _product(run, prefix, kind)
            if path is not None:
                called = f"{name}.{kind}" if kind else name
                (products if kind else whole).append(Picture(path, called, run, prefix))
    return whole or products


def _all_of(run: Run) -> list[Picture]:
    found = []
    for target, image, prefix in _images(run):
        path = _product(run, prefix, "")
        if path is not None:
            found.append(Picture(path, f"{target}.{image}" if target else image, run, prefix))
    if not found:
        raise DataError(f"{run.folder.root}: the run has made no image yet")
    return found


def _product(run: Run, prefix: str, kind: str) -> Path | None:
    """Return the file of an image's product, FITS where there is one."""
    kinds = (kind,) if kind else ("image",)
    fits = f"{prefix}.{kind}.fits" if kind else f"{prefix}.fits"
    names = [fits, *(f"{prefix}.{each}{suffix}" for each in kinds for suffix in ("", _TERM))]
    return next((path for path in map(run.inside, names) if path is not None), None)
