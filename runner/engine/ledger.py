"""The ledger: which changes a product holds that is changed in place.

Each such path has a file of JSON lines; the last line rules. A line is made durable before
the product is touched (with `doing`), and another after the change is proven (without).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..files import now
from ..folder import file_safe
from .journal import Journal, append_line, last_event


@dataclass(frozen=True)
class LedgerState:
    """What a product changed in place holds.

    Attributes
    ----------
    path : str
        The product, relative to the run folder.
    holds : tuple of str
        Fingerprints of the changes that it holds for certain, the one that made it first.
    doing : str
        Fingerprint of the change that was begun and not ended; then it may hold a part of it.
    step : str
        Whose change was the last.
    signature : str
        The product's signature after the last proven change; empty if not known.
    """

    path: str
    holds: tuple[str, ...] = ()
    doing: str = ""
    step: str = ""
    signature: str = ""

    @property
    def fingerprint(self) -> str | None:
        """The last change, or None if the product is dirty: it may hold a part of one."""
        return None if self.doing or not self.holds else self.holds[-1]


class Ledgers:
    """The ledgers of a run folder.

    Parameters
    ----------
    folder : Path
        Where they are kept; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def states(self) -> dict[str, LedgerState]:
        """Return what each product with a ledger holds, by its path."""
        found = {}
        for file in sorted(self._folder.glob("*.jsonl")):
            last = last_event(file)
            if last is not None:
                state = _from_json(last)
                found[state.path] = state
        return found

    def begin(self, path: str, holds: Sequence[str], fingerprint: str, step: str) -> None:
        """Say, durably, that a change is about to begin.

        Parameters
        ----------
        path : str
            The product, relative to the run folder.
        holds : sequence of str
            The changes that it holds now.
        fingerprint, step : str
            The change, and whose it is.
        """
        self._append("change-started", LedgerState(path, tuple(holds), fingerprint, step))

    def end(self, path: str, holds: Sequence[str], step: str, signature: str) -> None:
        """Say, durably, that a change is complete and proven."""
        self._append("change-done", LedgerState(path, tuple(holds), "", step, signature))

    def _append(self, event: str, state: LedgerState) -> None:
        file = self._file(state.path)
        if not file.exists():
            Journal(file).close()
        descriptor = os.open(file, os.O_RDWR | os.O_APPEND)
        try:
            append_line(descriptor, {"t": now(), "event": event, **_to_json(state)})
        finally:
            os.close(descriptor)

    def repair(self, paths: Collection[str] | None = None) -> None:
        """Cut off last lines that a crash left unfinished; of some products' ledgers, or of all."""
        files = self._folder.glob("*.jsonl") if paths is None else map(self._file, paths)
        for file in files:
            if file.exists():
                Journal(file).close()

    def _file(self, path: str) -> Path:
        short = hashlib.sha256(path.encode()).hexdigest()[:8]
        return self._folder / f"{file_safe(PurePosixPath(path).name)}-{short}.jsonl"


def _to_json(state: LedgerState) -> dict[str, Any]:
    return {
        "path": state.path,
        "holds": list(state.holds),
        "doing": state.doing,
        "step": state.step,
        "signature": state.signature,
    }


def _from_json(entry: dict[str, Any]) -> LedgerState:
    return LedgerState(
        str(entry.get("path", "")),
        tuple(entry.get("holds", ())),
        str(entry.get("doing", "")),
        str(entry.get("step", "")),
        str(entry.get("signature", "")),
    )
