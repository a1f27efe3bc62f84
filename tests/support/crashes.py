"""Kill runs of casarun, and hold what a run left against what another one left."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from astropy.io import fits

from . import skies
from .cli import COMMAND

WHOM = ("runner", "worker", "server", "group")
"""What can be killed: the run's own process, that of a step, the one from which steps are
forked, or the process group of the run."""

SETTINGS = ("retry.wait=0.1s", "resources.cores=2")
SMALL = """casarun = 1
[project]
name = "small"
[[dataset]]
name = "day"
vis = "day.ms"
[flag]
quack = "10s"
[[image]]
name = "mfs"
imsize = 64
cell = "10arcsec"
niter = 100
mask = "none"
"""
SKY = skies.Sky(
    n_antennas=8, integrations=3, spws=(skies.Spw(n_chan=8),),
    gain_amp=0.1, gain_phase_deg=40, phase_drift_deg=10,
)  # fmt: skip
"""The sky of `SMALL`, a reduction that is cheap enough to be killed often."""

FOLDERS = ("raw", "caltables", "calibrated", "images", "qa")
_NOTES = frozenset({"HISTORY", "logtable"})
"""Tables of what was done when: log text, not products."""

_TIMES = frozenset({"created", "ended", "since", "started", "updated", "wall_s", "cpu_s",
                    "peak_memory_bytes", "cachesize", "nantenna", "run",
                    "t"})  # fmt: skip
"""Keys of JSON and of keywords. `nantenna` is memory that CASA's model records never set."""
_FREE_MEMORY = "memavail"
"""A joined image has one of each of its parts, numbered."""
_OF_THE_MOMENT = frozenset({"DATE", "HISTORY", "COMMENT", "CHECKSUM", "DATASUM", "MEMAVAIL",
                            "RECIPSHA"})  # fmt: skip
"""FITS keywords; ``tclean`` notes how much memory was free, and the recipe is that of its time."""

_SLICE = re.compile(r"/work/slices/[^/]+/[^/]+/")
"""Where steps of a slice of a run work, as ``setjy`` notes it."""

_PROCESS = re.compile(r"FT_MODEL\d+_\d+")
"""``setjy`` and ``tclean`` name the image of a model after their process."""


# -- runs to be killed


def small(folder: Path) -> Path:
    """Simulate the observation of `SMALL` in a folder; write its recipe there, return its path."""
    skies.build(folder / "day.ms", SKY)
    path = folder / "small.toml"
    path.write_text(SMALL)
    return path


def start(recipe: Path, run: Path, settings: Sequence[str] = ()) -> subprocess.Popen[bytes]:
    """Start a run in a process group of its own; what it says goes beside its folder."""
    command = [*COMMAND, str(recipe), "--output", str(run)]
    for setting in settings:
        command += ["--set", setting]
    with run.with_suffix(".said").open("ab") as said:
        return subprocess.Popen(
            command,
            cwd=recipe.parent,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def servers_of(process: subprocess.Popen[Any] | psutil.Process) -> list[psutil.Process]:
    """Return the processes that a run forks its steps from: one, or none yet."""
    return [
        child
        for child in psutil.Process(process.pid).children()
        if "multiprocessing.forkserver" in " ".join(child.cmdline())
    ]


def strike(process: subprocess.Popen[bytes], whom: str, dice: random.Random) -> bool:
    """Send SIGKILL to a part of a run; say whether there was one to kill.

    A run goes on without a worker or a server. Without runner or group it is over.
    """
    if whom in {"runner", "group"}:
        with contextlib.suppress(ProcessLookupError):
            (os.kill if whom == "runner" else os.killpg)(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL
    with contextlib.suppress(psutil.Error):
        servers = servers_of(process)
        workers = [worker for server in servers for worker in server.children()]
        victims = servers if whom == "server" else workers
        if victims:
            dice.choice(victims).kill()
            return True
    return False


def await_event(
    process: subprocess.Popen[bytes], run: Path, event: str, step: str, since: int = 0
) -> dict[str, Any]:
    """Wait until the journal has an event of a step, and return it.

    Parameters
    ----------
    process : Popen
        The run; it must not end before.
    run : Path
        Its folder.
    event, step : str
        What to wait for.
    since : int
        How many events to pass over.
    """
    until = time.monotonic() + 300
    while time.monotonic() < until:
        # Its folder, and with it the journal, may be removed at any time.
        with contextlib.suppress(OSError):
            for entry in events(run)[since:]:
                if (entry["event"], entry.get("step")) == (event, step):
                    return entry
        if process.poll() is not None:
            break
        time.sleep(0.002)
    said = run.with_suffix(".said").read_text()[-2000:]
    raise AssertionError(f"{event} of {step} never came:\n{said}")


def events(run: Path) -> list[dict[str, Any]]:
    """Return the events of a journal that may be cut or still be written."""
    from casarun.engine.journal import read_events

    return list(read_events(run / ".casarun" / "journal.jsonl"))


# -- what a run left


def products(run: Path, apart_from: frozenset[str] = frozenset()) -> dict[str, str]:
    """Return a digest of every product of a run by what it is of.

    Tables are read column by column (``raw/x.ms:FLAG``), keywords apart from paths; FITS by
    header and pixels; JSON by value. Times, paths, logs and notes of what was done when do not
    count, nor do some keywords of FITS.
    """
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for path in _files(run / folder):
            name = _PROCESS.sub("FT_MODEL", str(path.relative_to(run)))
            for part, content in _parts(path, str(run), _OF_THE_MOMENT | apart_from):
                found[f"{name}:{part}" if part else name] = hashlib.sha256(content).hexdigest()
    return found


def mismatches(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Return what two runs do not have in common."""
    return sorted(n for n in {*wanted, *found} if wanted.get(n) != found.get(n))


def _files(folder: Path) -> Iterator[Path]:
    """Yield all tables, as folders, and all files that belong to none."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.name not in _NOTES:
            if (path / "table.dat").exists():
                yield path
            yield from _files(path)
        elif path.is_file() and not (folder / "table.dat").exists():
            yield path


def _parts(path: Path, run: str, apart_from: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        yield from _columns(path, run)
    elif path.suffix == ".fits":
        yield from _units(path, apart_from)
    elif path.suffix == ".json":
        yield "", json.dumps(_timeless(json.loads(path.read_text())), sort_keys=True).encode()
    elif path.suffix != ".html":
        yield "", path.read_bytes()


def _columns(path: Path, run: str) -> Iterator[tuple[str, bytes]]:
    from casarun.casa.tables import open_table

    with open_table(path) as table:
        yield "keywords", _bytes(table.getkeywords(), run)
        for name in table.colnames():
            record = table.coldatatype(name) == "record"
            if not record and not table.isvarcol(name):
                yield name, _bytes(table.getcol(name)) if table.nrows() else b""
                continue
            cells = (
                _bytes(table.getcell(name, row), run) if table.iscelldefined(name, row) else b"none"
                for row in range(table.nrows())
            )
            yield name, b"\n".join(cells)


def _units(path: Path, apart_from: frozenset[str]) -> Iterator[tuple[str, bytes]]:
    with fits.open(path) as units:
        for number, unit in enumerate(units):
            cards = [
                (c.keyword, str(c.value)) for c in unit.header.cards if c.keyword not in apart_from
            ]
            yield f"{number}.header", json.dumps(cards).encode()
            yield f"{number}.data", b"" if unit.data is None else _bytes(np.asarray(unit.data))


def _bytes(value: Any, run: str = "") -> bytes:
    if isinstance(value, dict):
        text = json.dumps(_timeless(value), sort_keys=True, default=_plain)
        text = _SLICE.sub("/work/", text)
        return _PROCESS.sub("FT_MODEL", text.replace(run, "") if run else text).encode()
    array = np.asarray(value)
    if array.dtype.kind in "OUS":
        return json.dumps(array.tolist()).encode()
    return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _timeless(data: Any) -> Any:
    if isinstance(data, dict):
        kept = (key for key in data if key not in _TIMES and not key.startswith(_FREE_MEMORY))
        return {key: _timeless(data[key]) for key in kept}
    return [_timeless(value) for value in data] if isinstance(data, list) else data
