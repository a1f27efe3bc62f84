"""Casarun's command line in a process of its own, as a user has it."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-c", "from casarun.cli import main; main()")
Done = subprocess.CompletedProcess[str]


def casarun(
    *arguments: str | Path,
    cwd: Path,
    inside: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout: float = 600,
) -> Done:
    """Run a command to its end, and print what it printed, which pytest shows where a test fails.

    Parameters
    ----------
    *arguments : str or Path
        What follows ``casarun``.
    cwd : Path
        The current folder.
    inside : sequence of str
        A command that runs the command given after it; see `with_tmpfs`.
    env : mapping of str to str, optional
        The whole environment.
    timeout : float
        In s.
    """
    command = [*inside, *COMMAND, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=env, check=False
    )
    print("$ casarun", *arguments, f"\n{done.stdout}{done.stderr}exit code {done.returncode}")
    return done


def recipe(folder: Path, text: str, name: str = "recipe.toml") -> Path:
    """Write a recipe, with the line that all begin with; return its path."""
    path = folder / name
    path.write_text(f"casarun = 1\n{text}")
    return path


def with_tmpfs(at: Path, options: str) -> list[str]:
    """Return a command that runs another where a small filesystem is mounted at a folder.

    Only that command sees it (it has a mount namespace of its own), so nothing stays mounted.

    Parameters
    ----------
    at : Path
        The folder, which exists.
    options : str
        Of the tmpfs: ``ro``, or ``size=1m``.

    Raises
    ------
    OSError
        If this machine does not let us.
    """
    for own in (("unshare", "--mount"), ("unshare", "--mount", "--map-root-user")):
        if _may_mount(own):
            script = 'mount -t tmpfs -o "$1" casarun-test "$2" && shift 2 && exec "$@"'
            return [*own, "sh", "-c", script, "sh", options, str(at)]
    raise OSError("mounting a tmpfs is not permitted here")


@lru_cache
def _may_mount(own: Sequence[str]) -> bool:
    try:
        trial = subprocess.run(
            [*own, "mount", "-t", "tmpfs", "trial", "/mnt"], capture_output=True, check=False
        )
    except OSError:
        return False
    return trial.returncode == 0


def events(run: Path) -> list[dict[str, Any]]:
    """Return the events of a run's journal."""
    lines = (run / ".casarun" / "journal.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def metrics(run: Path) -> dict[str, Any]:
    """Return the content of a run's ``qa/metrics.json``."""
    found: dict[str, Any] = json.loads((run / "qa" / "metrics.json").read_text())
    return found


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder, by its path from there."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
