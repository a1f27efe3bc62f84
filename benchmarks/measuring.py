"""What all benchmarks share: fresh processes in turns, medians, and a table of them.

A benchmark is a part of ``benchmarks/all.py``. It measures processes from their start to their
end (`timed`), those that are compared in turns (`in_turns`), gathers a `Part`, and ends with
`finish`, which prints the table as Markdown and writes it as JSON (``--json FILE``).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__).resolve().parent
RECIPE = HERE.parent / "recipes" / "ngc5921.toml"
CASARUN = (sys.executable, "-P", "-c", "import sys; from casarun.cli import main; sys.exit(main())")
"""The command ``casarun``, as its entry point starts it."""

THREADS = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR")
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SAMPLE_S = 0.2


@dataclass(frozen=True)
class Sample:
    """What one process took with all below it.

    Attributes
    ----------
    who : str
        Which of those that are compared.
    wall_s, cpu_s : float
        From its start to its end, in s; the CPU time of all of its processes.
    peak_memory_bytes : int
        The most that its processes held at a time, shared pages counted once (PSS); 0 where it was
        not looked at.
    """

    who: str
    wall_s: float
    cpu_s: float
    peak_memory_bytes: int = 0


@dataclass(frozen=True)
class Figure:
    """A number to be judged.

    Attributes
    ----------
    name : str
        What it is: ``wall time over the script's``.
    value : float
        The number.
    unit : str
        Empty for a ratio.
    most, least : float or None
        The bar.
    """

    name: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def bar(self) -> str:
        """The bar in words; empty where there is none."""
        if self.most is not None:
            return f"at most {self.most:g}"
        return "" if self.least is None else f"at least {self.least:g}"

    @property
    def kept(self) -> bool:
        """Whether the bar is kept; where there is none, it is."""
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )


@dataclass
class Part:
    """What one benchmark found.

    Attributes
    ----------
    name, title : str
        A short name, and what is measured.
    figures : list of Figure
        The ratios.
    samples : list of Sample
        All runs.
    skipped : dict of str to str
        Who is missing from the comparison, and why.
    wrong : list of str
        What makes the comparison void: products that differ.
    notes : list of str
        What else is to be known.
    """

    name: str
    title: str
    figures: list[Figure] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def median(self, who: str, key: str = "wall_s") -> float:
        """Return the median of one's runs."""
        return statistics.median(getattr(s, key) for s in self.samples if s.who == who)

    def ratio(self, who: str, other: str, key: str = "wall_s") -> float:
        """Return the ratio of two medians."""
        return self.median(who, key) / self.median(other, key)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data, with the medians and the bars' verdicts."""
        names = dict.fromkeys(sample.who for sample in self.samples)
        keys = ("wall_s", "cpu_s", "peak_memory_bytes")
        return {
            **asdict(self),
            "figures": [{**asdict(f), "bar": f.bar, "kept": f.kept} for f in self.figures],
            "medians": {who: {key: self.median(who, key) for key in keys} for who in names},
        }


def parser(description: str | None, times: int = 3) -> argparse.ArgumentParser:
    """Return a parser with the options that all benchmarks have."""
    found = argparse.ArgumentParser(description=(description or "").split("\n", maxsplit=1)[0])
    found.add_argument("--times", type=int, default=times, help=f"how often each is run ({times})")
    found.add_argument("--scratch", type=Path, help="folder to work in; the system's by default")
    found.add_argument("--json", type=Path, help="write all numbers there, too")
    found.add_argument("--quick", action="store_true", help="a small case, once: does it work")
    return found


@contextlib.contextmanager
def scratch_folder(options: argparse.Namespace) -> Iterator[Path]:
    """Give a folder to work in, on the disk that was asked for, and remove it at the end."""
    with tempfile.TemporaryDirectory(prefix="casarun-benchmark-", dir=options.scratch) as folder:
        yield Path(folder)


def bare_environment() -> dict[str, str]:
    """Return this environment without settings of threads, as most people have it."""
    of_threads = {f"{name}_NUM_THREADS" for name in THREADS} | {"OMP_WAIT_POLICY"}
    return {name: value for name, value in os.environ.items() if name not in of_threads}


def timed(
    who: str,
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    memory: bool = False,
    limit_s: float | None = None,
    codes: Sequence[int] = (0,),
) -> Sample:
    """Run a command to its end and say what it took.

    Parameters
    ----------
    who : str
        Its name in the table.
    command : sequence of str or Path
        What is run, in a session of its own.
    cwd, env
        Its folder and environment; by default `bare_environment`.
    memory : bool
        Look at its memory five times a second.
    limit_s : float, optional
        End it after so long.
    codes : sequence of int
        Exit codes that count as success.

    Raises
    ------
    SystemExit
        With what it said, where it fails or takes too long.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    with tempfile.TemporaryFile() as said, orphans_adopted():
        process = subprocess.Popen(
            [str(word) for word in command], cwd=cwd,
            env=bare_environment() if env is None else env,
            stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        with watched(process.pid) if memory else contextlib.nullcontext([0]) as peak:
            try:
                code: int | None = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                code = None
                end_session(process.pid)
                process.wait()
        wall_s = time.perf_counter() - started
        wait_for_orphans(process.pid)
        if code not in codes:
            said.seek(0)
            words = said.read().decode(errors="replace")
            how = f"took more than {limit_s} s" if code is None else f"ended with {code}"
            raise SystemExit(f"{who} {how}:\n{words}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(who, wall_s, cpu_s, peak[0])


def end_session(leader: int) -> None:
    """Kill all processes of a session that was started here."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if _session(process.pid) == leader:
                process.send_signal(signal.SIGKILL)


@contextlib.contextmanager
def orphans_adopted() -> Iterator[None]:
    """Have the system hand over orphaned grandchildren, so that their CPU time is counted.

    casarun's steps are forked from a server process that outlives casarun by a moment.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def wait_for_orphans(leader: int) -> None:
    """Wait for the processes of a session that were handed over."""
    while mine := [p.pid for p in psutil.Process().children() if _session(p.pid) == leader]:
        for pid in mine:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def _session(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid)
    return 0


@contextlib.contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """Sample the memory of a process and all below it; the list's only item is the peak in bytes.

    Pages that processes share are divided among them (``Pss`` in proc(5)), so that the sum counts
    each once.
    """
    peak = [0]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(SAMPLE_S):
            with contextlib.suppress(psutil.Error):
                family = [p.pid for p in psutil.Process(pid).children(recursive=True)]
                peak[0] = max(peak[0], sum(_pss_bytes(one) for one in (pid, *family)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def in_turns(
    times: int, names: Sequence[str], run: Callable[[str, int], Sample | None]
) -> Iterator[Sample]:
    """Run each in turns, every other turn the other way round, so that no one is always first.

    Parameters
    ----------
    times : int
        How often.
    names : sequence of str
        Who.
    run : callable
        Runs one of them once; takes its name and the number of the turn. None where it could not.
    """
    for turn in range(times):
        for name in names if turn % 2 == 0 else reversed(names):
            if (sample := run(name, turn)) is not None:
                yield sample


def installed(command: Sequence[str | Path]) -> bool:
    """Say whether a command succeeds, as a peer's does that is installed."""
    try:
        return not subprocess.run(command, capture_output=True).returncode
    except OSError:
        return False


def conditions(scratch: Path | None = None) -> dict[str, Any]:
    """Return on what was measured: machine, system, versions, load."""
    folder = scratch or Path(tempfile.gettempdir())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory_bytes": psutil.virtual_memory().total,
        "filesystem": _filesystem(folder),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": _versions(),
        "commit": _commit(),
        "load_average": round(os.getloadavg()[0], 2),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """Return the type of the filesystem that a folder is on."""
    best, kind = Path("/"), ""
    for partition in psutil.disk_partitions(all=True):
        mount = Path(partition.mountpoint)
        if folder.resolve().is_relative_to(mount) and len(mount.parts) >= len(best.parts):
            best, kind = mount, partition.fstype
    return kind


def _versions() -> dict[str, str]:
    found = {}
    for name in ("casarun", "casatasks", "casatools", "casadata", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _commit() -> str:
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(
        ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    return done.stdout.strip()


def finish(parts: Iterable[Part], options: argparse.Namespace) -> int:
    """Print and write what was found; return 1 where a bar is missed or a comparison void."""
    parts = list(parts)
    found = {
        "conditions": conditions(options.scratch),
        "quick": options.quick,
        "parts": [part.to_json() for part in parts],
    }
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(markdown(found))
    good = all(figure.kept for part in parts for figure in part.figures)
    return 0 if good and not any(part.wrong for part in parts) else 1


def markdown(found: Mapping[str, Any]) -> str:
    """Return what `finish` writes as Markdown tables."""
    here = found["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    lines = [
        f"{here['cores']} cores of {here['processor']}, {here['memory_bytes'] / 1e9:.0f} GB, "
        f"{here['filesystem']}; Python {here['python']}, {versions}, commit {here['commit']}; "
        f"load average {here['load_average']} at the end, {here['at']}",
        *(["", "Quick: small cases, run once; no figures to go by."] if found["quick"] else []),
        "",
        "| part | figure | measured | bar | kept |",
        "|---|---|---|---|---|",
    ]
    for part in found["parts"]:
        for figure in part["figures"]:
            kept = ("yes" if figure["kept"] else "**no**") if figure["bar"] else ""
            value = f"{figure['value']:.3g} {figure['unit']}".strip()
            lines.append(
                f"| {part['name']} | {figure['name']} | {value} | {figure['bar']} | {kept} |"
            )
    for part in found["parts"]:
        lines += _details(part)
    return "\n".join(lines) + "\n"


def _details(part: Mapping[str, Any]) -> list[str]:
    """Return the table of one part's medians, and what is to be said of it."""
    lines = ["", f"**{part['name']}**: {part['title']}", ""]
    if part["medians"]:
        lines += ["| median of | runs | wall s | CPU s | peak memory MB |", "|---|---|---|---|---|"]
    for who, median in part["medians"].items():
        runs = sum(sample["who"] == who for sample in part["samples"])
        peak = median["peak_memory_bytes"]
        lines.append(
            f"| {who} | {runs} | {median['wall_s']:.2f} | {median['cpu_s']:.2f} | "
            f"{f'{peak / 1e6:.0f}' if peak else ''} |"
        )
    said = [f"{who}: skipped, {why}" for who, why in part["skipped"].items()]
    said += [f"**wrong**: {words}" for words in part["wrong"]]
    return [*lines, *(f"\n{words}" for words in (*said, *part["notes"]))]
