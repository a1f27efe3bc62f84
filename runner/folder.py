"""The run folder: where everything of one run lives, by name.

Paths in a plan are relative to the run folder, so that a run can be moved and two runs
of one recipe can be compared.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

PRODUCT_FOLDERS = ("raw", "caltables", "calibrated", "images", "scripts", "logs", "qa", "docs")
SLICES = "slices"
"""Name of the folder of what slices of a run keep for themselves."""
_UNSAFE = re.compile(r"[^A-Za-z0-9+_.-]")
_LONGEST = 64
_COMPONENT = 220
"""Filesystems take 255 bytes; the names of CASA's products go on."""
RECORDS = ("scripts", "logs", "qa", "docs")
"""Folders of small files that casarun itself writes and reads."""


@dataclass(frozen=True)
class RunFolder:
    """Names of the places in a run folder.

    Parameters
    ----------
    root : Path
        The absolute path of the folder.
    part : str
        Where only a slice of a run works (see `casarun.engine.slices`), its name: it has journal,
        lock, status and work of its own, beside those of others.
    attempt : str
        Which of its attempts that is: each has a work folder of its own.
    """

    root: Path
    part: str = ""
    attempt: str = ""

    @property
    def private(self) -> Path:
        """What casarun keeps for itself: lock, journal, ledgers, saved states, status, work."""
        return self.root / ".casarun"

    @property
    def slices(self) -> Path:
        """What the slices of a run keep for themselves, a folder each."""
        return self.private / SLICES

    @property
    def own(self) -> Path:
        """What only the one who works here writes."""
        return self.slices / self.part if self.part else self.private

    @property
    def journal(self) -> Path:
        """The append-only record of everything that happened."""
        return self.own / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the one run that may work here."""
        return self.own / "lock"

    @property
    def status(self) -> Path:
        """The heartbeat of the run, rewritten as it goes."""
        return self.own / "status.json"

    @property
    def batch(self) -> Path:
        """What was handed to a batch system for this folder."""
        return self.private / "batch.json"

    @property
    def ledgers(self) -> Path:
        """One ledger a MeasurementSet that is changed in place."""
        return self.private / "ledgers"

    @property
    def saved(self) -> Path:
        """States of such MeasurementSets, saved before their changes."""
        return self.private / "saved"

    @property
    def recipe(self) -> Path:
        """The recipe of the last run with the command line's overrides, as JSON."""
        return self.root / "scripts" / "recipe.json"

    @property
    def seen(self) -> Path:
        """How the products looked when they were last looked at."""
        return self.own / "seen.json"

    @property
    def settled(self) -> Path:
        """The plan of which nothing had to run, and what that was found from."""
        return self.private / "settled.json"

    @property
    def watched(self) -> Path:
        """The datasets that came to a recipe that watches for them."""
        return self.private / "watched.json"

    @property
    def notified(self) -> Path:
        """What was last told of the run, and to whom."""
        return self.private / "notified.json"

    @property
    def plan(self) -> Path:
        """The plan of the last run."""
        return self.root / "scripts" / "plan.json"

    @property
    def recipe_text(self) -> Path:
        """The recipe of the last run as it was run, in one piece."""
        return self.root / "scripts" / "recipe.toml"

    @property
    def crate(self) -> Path:
        """What describes the run as an RO-Crate, once that was asked for."""
        return self.root / "ro-crate-metadata.json"

    @property
    def citation(self) -> Path:
        """What lay beside the recipe to say how it is cited."""
        return self.root / "docs" / "CITATION.cff"

    def recipe_of(self, digest: str) -> Path:
        """Return where a recipe that was once run here is kept, by its SHA-256."""
        return self.root / "docs" / "recipes" / f"{digest}.toml"

    @property
    def script(self) -> Path:
        """What was done, as a CASA script."""
        return self.root / "scripts" / "casa_script.py"

    @property
    def metrics(self) -> Path:
        """The QA numbers and verdict."""
        return self.root / "qa" / "metrics.json"

    @property
    def report(self) -> Path:
        """The QA report's first page."""
        return self.root / "qa" / "index.html"

    def left(self, record: Path) -> Path:
        """Return the file that says as what a record was left; see `casarun.files.product_state`.

        One that is as casarun wrote it need not be looked through.
        """
        return self.private / f"{record.stem}.state"

    @property
    def works(self) -> Path:
        """Where steps work."""
        work = self.private / "work"
        return work / "slices" / self.part if self.part else work

    def work(self, step_id: str) -> Path:
        """Return the folder in which a step works until its products are proven."""
        return self.works / self.attempt / step_id

    def log(self, step_id: str) -> Path:
        """Return the folder of a step's logs; each attempt has one of its own below it."""
        return self.root / "logs" / step_id


def is_inside(path: str) -> bool:
    """Say whether a path, relative to the run folder, stays in it."""
    return not path.startswith("/") and ".." not in path.split("/") and "\0" not in path


def strange_in(folder: RunFolder, records: Collection[str] = RECORDS) -> tuple[Path, str] | None:
    """Find what may lead out of a run folder, or block: casarun makes nothing of the kind.

    Looked through are all places where casarun itself writes or reads; what steps touch
    among the products is looked at when they do (`casarun.engine.workplace`).

    Parameters
    ----------
    folder : RunFolder
        The folder.
    records : collection of str
        The folders of records to look through; by default all.

    Returns
    -------
    tuple of Path and str, or None
        The first such thing, and what it is: ``a symbolic link``, or ``no regular file``.
    """
    tops = [folder.private, *(folder.root / name for name in PRODUCT_FOLDERS)]
    for top in tops:
        if top.is_symlink():
            return top, "a symbolic link"
    for top in (folder.private, *(folder.root / name for name in records)):
        entry = _strange_below(top, str(folder.private / "work"))
        if entry is not None:
            what = "a symbolic link" if entry.is_symlink() else "no regular file"
            return Path(entry.path), what
    return None


def _strange_below(top: Path, leaving_out: str) -> os.DirEntry[str] | None:
    """Return an entry below a folder, but for those of one folder, that is neither file nor folder.

    A link is neither; nothing is looked up that the folder's own list of entries tells.
    """
    waiting = [str(top)]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        continue
                    if not entry.is_dir(follow_symlinks=False):
                        return entry
                    if entry.path != leaving_out:
                        waiting.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            continue
    return None


@lru_cache(maxsize=4096)
def file_safe(name: str) -> str:
    """Make a name from data safe as a single path component.

    Letters, digits, ``+ - _ .`` stay; anything else becomes ``_``. Leading dots go, so that
    no name means a parent folder or hides. Of a name of more than 64 characters the end gives
    way to a mark, which tells it from others that begin like it.

    Examples
    --------
    >>> file_safe("../../x")
    '_.._x'
    """
    safe = _UNSAFE.sub("_", name).lstrip(".")
    if len(safe) <= _LONGEST:
        return safe or "_"
    mark = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{safe[: _LONGEST - 9]}-{mark}"


def is_file_safe(name: str) -> bool:
    """Say whether a name can be a single path component, as `file_safe` makes them."""
    return 0 < len(name) <= _COMPONENT and name[0] != "." and not _UNSAFE.search(name)
