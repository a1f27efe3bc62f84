"""Where the faults are acted out: shared datasets, a folder each, and what the command said."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from support.cli import casarun as in_a_process
from support.cli import with_tmpfs

from . import datasets
from .fault import Fault

Run = Callable[[Sequence[str], Path], tuple[int, str, str]]
_PLACE = re.compile(r"^(?P<recipe>[\w.-]+\.toml)(:(?P<line>\d+):(?P<column>\d+))?: ")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")
_SNIPPET = re.compile(r"^ {5} \| (?P<before> *)(?P<carets>\^+)$")


@dataclass(frozen=True)
class Told:
    """What a command did and said.

    Attributes
    ----------
    exit_code : int
        Of the command.
    said : list of str
        Its messages without their places; the fault's folder as ``{here}``, the shared one as
        ``{shared}``.
    marks : list of tuple of int
        Line, column and length of what it pointed at.
    events : list of dict
        What it wrote to the journal.
    """

    exit_code: int
    said: list[str]
    marks: list[tuple[int, int, int]]
    events: list[dict[str, Any]]

    @property
    def started(self) -> set[str]:
        """The steps that it started."""
        return {e["step"] for e in self.events if e["event"] == "step-started"}

    @property
    def done(self) -> set[str]:
        """The steps that it did."""
        return {e["step"] for e in self.events if e["event"] == "step-done"}

    @property
    def failed(self) -> set[str]:
        """The steps that failed."""
        return {e["step"] for e in self.events if e["event"] == "step-failed"}


def prepare(shared: Path) -> None:
    """Build the shared datasets, and a run folder that holds all their metadata.

    Steps up to the metadata are done there, so that a check against the data needs no process
    of CASA.
    """
    if not shared.is_dir():
        shared.mkdir(parents=True)
        datasets.build(shared)
    names = [f'[[dataset]]\nvis = "{name}.ms"\ncalibrated = true\n' for name in datasets.SHARED]
    text = "casarun = 1\n" + "".join(names) + '[targets]\nfields = ["*"]\n'
    (shared / "all.toml").write_text(text)
    code, _, stderr = here(["check", "all.toml", "-o", "run"], shared)
    missing = [n for n in datasets.SHARED
               if not (shared / f"run/raw/{n}.observation.json").is_file()]  # fmt: skip
    if missing:
        raise RuntimeError(f"metadata of {missing} were not read ({code}):\n{stderr}")


def here(arguments: Sequence[str], cwd: Path) -> tuple[int, str, str]:
    """Run a command in this process; return exit code, stdout and stderr."""
    from casarun.cli import run

    out, err = StringIO(), StringIO()
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        code = run(list(arguments))
    return code, out.getvalue(), err.getvalue()


def folder_of(fault: Fault, shared: Path, place: Path) -> Path:
    """Make a fault's folder: its recipe, its data, its run folder."""
    folder = place / fault.id
    folder.mkdir(parents=True)
    (folder / f"{fault.id}.toml").write_text(fault.text(shared))
    if fault.build:
        fault.build(folder, shared)
    if fault.shared and fault.where != "static" and not fault.inside:
        shutil.copytree(shared / "run", folder / "run", symlinks=True)
    return folder


def command(fault: Fault) -> list[str]:
    """Return the arguments of the command that meets the fault."""
    recipe = f"{fault.id}.toml"
    if fault.where == "static":
        return ["check", "--static", recipe, *fault.arguments]
    verb = "check" if fault.where == "check" and fault.exit_code != 4 else "run"
    return [verb, recipe, "-o", "small/run" if fault.inside else "run", *fault.arguments]


def act(fault: Fault, folder: Path, shared: Path, *, own_process: bool = False) -> Told:
    """Run the command in a fault's folder; say what came of it."""
    before = _events(folder)
    with fault.during(folder):
        if fault.inside or fault.environ or own_process:
            code, out, err = _apart(fault, folder)
        else:
            code, out, err = here(command(fault), folder)
    text = out + err if fault.where == "step" or fault.warns else err
    said, marks = read(_placeless(text, folder, shared), fault)
    return Told(code, said, marks, _events(folder)[len(before) :])


def _apart(fault: Fault, folder: Path) -> tuple[int, str, str]:
    """Run the command in a process of its own, on a small filesystem where that is asked for."""
    (folder / "small").mkdir(exist_ok=True)
    small = with_tmpfs(folder / "small", fault.inside) if fault.inside else []
    environ = [f"{key}={value.format(here=folder)}" for key, value in fault.environ.items()]
    done = in_a_process(*command(fault), cwd=folder, inside=[*small, "env", *environ])
    return done.returncode, done.stdout, done.stderr


def _events(folder: Path) -> list[dict[str, Any]]:
    journal = folder / "run" / ".casarun" / "journal.jsonl"
    if not journal.is_file():
        return []
    return [json.loads(line) for line in journal.read_text().splitlines()]


def _placeless(text: str, folder: Path, shared: Path) -> str:
    """Replace what differs from one run to the next."""
    for path, name in ((folder, "here"), (shared, "shared"), (Path(sys.prefix), "python")):
        text = text.replace(str(path), f"{{{name}}}")
    text = re.sub(r"process \d+ on \S+, since \S+", "process {pid} on {host}, since {time}", text)
    text = re.sub(r"\bprocess \d+\b", "process {pid}", text)
    text = re.sub(r"can have [\d.]+ \w+ \([^)]*\)", "can have {memory}", text)
    return re.sub(r"[\d.]+ \w?B are free", "{free} are free", text)


def read(text: str, fault: Fault) -> tuple[list[str], list[tuple[int, int, int]]]:
    """Return the messages of a command's output, and what they point at."""
    said: list[str] = []
    marks: list[tuple[int, int, int]] = []
    place = (0, 0)
    for line in text.splitlines():
        snippet = _SNIPPET.match(line)
        if snippet:
            marks.append((*place, len(snippet["carets"])))
        elif re.match(r"^ {0,4}\d+ \| ", line):
            continue
        else:
            match = _PLACE.match(line)
            if match and match["line"]:
                place = int(match["line"]), int(match["column"])
            said.append(_PLACE.sub("", line))
    said = [line for line in said if ": warning: resources.disk_factor: " not in line]
    if fault.where == "step":
        said = _of_failures(said)
    elif fault.warns:
        said = [line for line in said if not re.match(r"fine |about .* on \d+ core", line)]
    return said, sorted(set(marks))


def _of_failures(lines: list[str]) -> list[str]:
    """Return, of a run's output, the failures' messages with their advice."""
    found: list[str] = []
    lines = [_STAMP.sub("", line) for line in lines]
    for before, line in zip(["", *lines], lines, strict=False):
        failed = re.match(r"^\S+ failed \(", line)
        advice = line.startswith("  ") and re.match(r"^\S+ failed \(", before)
        if failed or advice:
            found.append(line.strip())
    return found
