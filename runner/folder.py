"""The run folder: where everything of one run lives, by name.

Paths in a plan are relative to the run folder, so that a run can be moved and two runs
of one recipe can be compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PRODUCT_FOLDERS = ("raw", "caltables", "calibrated", "images", "scripts", "logs", "qa", "docs")


@dataclass(frozen=True)
class RunFolder:
    """Names of the places in a run folder.

    Parameters
    ----------
    root : Path
        The absolute path of the folder.
    """

    root: Path

    @property
    def private(self) -> Path:
        """What casarun keeps for itself: lock, journal, ledgers, status, work folders."""
        return self.root / ".casarun"

    @property
    def journal(self) -> Path:
        """The append-only record of everything that happened."""
        return self.private / "journal.jsonl"

    @property
    def lock(self) -> Path:
        """Held by the one run that may work here."""
        return self.private / "lock"

    @property
    def status(self) -> Path:
        """The heartbeat of the run, rewritten as it goes."""
        return self.private / "status.json"

    @property
    def ledgers(self) -> Path:
        """One ledger a MeasurementSet that is changed in place."""
        return self.private / "ledgers"

    @property
    def plan(self) -> Path:
        """The plan of the last run."""
        return self.root / "scripts" / "plan.json"

    @property
    def metrics(self) -> Path:
        """The QA numbers and verdict."""
        return self.root / "qa" / "metrics.json"

    @property
    def report(self) -> Path:
        """The QA report's first page."""
        return self.root / "qa" / "index.html"

    def work(self, step_id: str) -> Path:
        """Return the folder in which a step works until its products are proven."""
        return self.private / "work" / step_id

    def log(self, step_id: str) -> Path:
        """Return the folder of a step's logs; each attempt has one of its own below it."""
        return self.root / "logs" / step_id


def file_safe(name: str) -> str:
    """Make a name from data safe as a single path component.

    Letters, digits, ``+ - _ .`` stay; anything else becomes ``_``. Leading dots go, so that
    no name means a parent folder or hides.

    Examples
    --------
    >>> file_safe("../../x")
    '_.._x'
    """
    safe = re.sub(r"[^A-Za-z0-9+_.-]", "_", name).lstrip(".")
    return safe[:100] or "_"
