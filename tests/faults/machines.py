"""Machines on which a run cannot work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from casarun.lock import FolderLock

from .fault import Fault, call, lacking, plain
from .parts import GOOD, MAP


def _thesis(folder: Path, _: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "main.tex").write_text("years of work")


def _file(folder: Path, _: Path) -> None:
    (folder / "run").write_text("")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    with FolderLock(folder / "run" / ".casarun" / "lock"):
        yield


def _no_casadata(folder: Path, _: Path) -> None:
    """Put a casadata without data before the installed one."""
    (folder / "site" / "casadata").mkdir(parents=True)
    (folder / "site" / "casadata" / "__init__.py").write_text("datapath = '/nowhere'\n")


def _no_six(folder: Path, _: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "six.py").write_text(
        "raise ModuleNotFoundError(\"No module named 'six'\")\n"
    )


_SITE = {"PYTHONPATH": "{here}/site", "HOME": "{here}"}
_IMPORT = plain(call("listobs", vis="{vis}"))

MACHINES: tuple[Fault, ...] = (
    Fault("disk-small", "began a run on a disk that is too small for it", GOOD, "check",
          lacking("a script finds it when the disk is full"), kind="machine", shared=False,
          inside="size=1m"),
    Fault("disk-read-only", "put the run folder on a disk that is read-only", GOOD, "check",
          plain(call("gaincal", vis="{vis}", caltable="/proc/g", field="1", refant="ea01")),
          kind="machine", shared=False, inside="ro"),
    Fault("output-not-ours", "put the run folder where something else is", GOOD, "check",
          lacking("a script writes beside whatever is there"), kind="machine", shared=False,
          build=_thesis),
    Fault("output-file", "gave a file as the run folder", GOOD, "check",
          lacking("a script writes into the current folder"), kind="machine", shared=False,
          build=_file),
    Fault("memory-small", "asked for an image larger than the machine's memory",
          GOOD + MAP + "imsize = «[100000, 100000]»\ncell = '10arcsec'\n", "check",
          lacking("it would take the memory of all that runs on the machine"), kind="machine",
          arguments=("--set", "resources.disk_factor=0")),
    Fault("memory-too-little", "gave the run far less memory than a step needs",
          GOOD + '[resources]\nmemory = «"100MB"»\n', "check",
          lacking("nothing limits what a script takes"), kind="machine"),
    Fault("memory-tight", "gave the run a little less memory than a step needs",
          GOOD + '[resources]\nmemory = «"250MB"»\n', "check",
          lacking("nothing limits what a script takes"), kind="machine", warns=True, exit_code=0),
    Fault("run-in-use", "began a run twice in one folder", GOOD, "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                call("gaincal", vis="{vis}", caltable="g", field="0", refant="ea01")),
          kind="machine", exit_code=4, during=_held),
    Fault("no-casadata", "has no data for CASA's measures", GOOD, "check", _IMPORT,
          kind="machine", shared=False, environ=_SITE, build=_no_casadata),
    Fault("no-six", "has a CASA that lacks a package it does not declare", GOOD, "check",
          _IMPORT, kind="machine", shared=False, environ=_SITE, build=_no_six),
)  # fmt: skip
