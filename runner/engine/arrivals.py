"""Datasets that come one after the other: which are whole by now, and which were reduced.

What was reduced stays reduced when its files go away: the run folder holds its products, and
here stands what it was (``.casarun/watched.json``).
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ..casa.integrity import unfinished
from ..errors import DataError
from ..files import now, read_json, seconds_since, write_json
from ..folder import RunFolder
from ..quantities import human_seconds
from .seen import look

LONG_S: Final = 86_400.0
"""A dataset that is not whole after so long needs a word to its user."""


@dataclass
class Arrival:
    """What is known of one dataset that came.

    Attributes
    ----------
    name, path, form, pattern : str
        Its name and path, what it is (`casarun.stages.draft.kind`), and which ``vis`` found it.
    since : str
        When it was first seen.
    identity : str
        Of its files as they were reduced; see `casarun.files.identity`.
    taken : bool
        All that is read of its files has been read: they may go.
    waits : str
        What it was left for the last time.
    refused, refused_for : str
        Why it was set aside, and a digest of what would have to change for another try.
    told : str
        What its user has been told of it already.
    """

    name: str
    path: str
    form: str = ""
    pattern: str = ""
    since: str = ""
    identity: str = ""
    taken: bool = False
    waits: str = ""
    refused: str = ""
    refused_for: str = ""
    told: str = ""

    def is_news(self, said: str) -> bool:
        """Tell whether this has not been said before, and note it."""
        was, self.told = self.told, said
        return was != said


@dataclass
class Arrivals:
    """The datasets that came to a run folder, by their paths."""

    folder: RunFolder
    known: dict[str, Arrival] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    """Of those whose files are gone or change again: the identities by which they are known."""

    def keep(self) -> None:
        """Write the memory. The caller holds the folder."""
        known = {path: asdict(arrival) for path, arrival in sorted(self.known.items())}
        write_json(self.folder.watched, {"datasets": known, "kept": self.kept})


def arrivals(folder: RunFolder) -> Arrivals:
    """Read what came to a run folder before; nothing where that cannot be read.

    Raises
    ------
    DataError
        If it is there and is none: what was made of datasets that are gone would be made anew
        without them.
    """
    try:
        data = read_json(folder.watched)
    except OSError:
        return Arrivals(folder)
    try:
        known = {path: _arrival(path, table) for path, table in data["datasets"].items()}
        kept = {str(path): str(state) for path, state in data["kept"].items()}
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder.watched} is damaged: put it back from a backup; or remove it, and datasets "
            "whose files are gone are left out of the run"
        ) from error
    return Arrivals(folder, known, kept)


def _arrival(path: str, table: dict[str, Any]) -> Arrival:
    types = {one.name: bool if one.name == "taken" else str for one in fields(Arrival)}
    if table["path"] != path or any(not isinstance(v, types[k]) for k, v in table.items()):
        raise TypeError(path)
    return Arrival(**table)


def remembered(folder: RunFolder) -> dict[str, str]:
    """Return the identities of inputs that nobody can look at any more, by their paths."""
    return arrivals(folder).kept if folder.watched.exists() else {}


def waits_for(path: Path, settle_s: float) -> str:
    """Say why a dataset is not to be taken yet; empty if it is.

    A copy sets modification times back, so the times count at which files were changed at all,
    which nobody can set.

    Parameters
    ----------
    path : Path
        What has come.
    settle_s : float
        How long nothing of it must have changed, in s.
    """
    try:
        mark, newest_ns = look(str(path.resolve()))
        lacks = unfinished(path)
    except OSError as error:  # it comes and goes
        return f"it cannot be read: {error.strerror}"
    if not mark:
        return "it is gone again"
    quiet_s = (time.time_ns() - newest_ns) / 1e9
    if quiet_s < settle_s:
        ago = f"{human_seconds(quiet_s)} ago" if quiet_s > 0.5 else "just now"
        return f"it was changed {ago}; it must be quiet for {human_seconds(settle_s)}"
    return lacks


def waited_long(arrival: Arrival) -> bool:
    """Tell whether a dataset has come so long ago that it will hardly be whole by itself."""
    return (seconds_since(arrival.since) or 0.0) > LONG_S


def came(path: str, name: str, pattern: str) -> Arrival:
    """Return what there is to know of a dataset that is new."""
    return Arrival(name, path, pattern=pattern, since=now())
