"""Where an action works."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Scene:
    """What an action is told besides its step and parameters.

    Attributes
    ----------
    work : Path
        The work folder, which is also the current folder. A declared path of the run folder
        is found in it at the same relative place.
    log_file : Path
        Where CASA shall write its log.
    attempt : int
        1 for the first attempt of this run.
    recipe : Path, optional
        The recipe as run; None where there is none.
    fingerprint : str
        Of the step.
    """

    work: Path
    log_file: Path
    attempt: int
    recipe: Path | None = None
    fingerprint: str = ""
