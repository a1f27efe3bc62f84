"""Self-calibrate the same simulated MSs by casarun, by hand and by auto-selfcal, and compare.

For each sky: an MS whose truth is known is built, with errors and without. Then, one after the
other and each from the start of its process to the end, a copy is self-calibrated by

- ``selfcal_script.py``: what an expert would type who has seen this MS. Nothing else it does;
- casarun with ``[[selfcal]] target = "target"`` and one image, with all that it does besides;
- auto-selfcal (``pip install auto-selfcal`` into a virtualenv of its own, ``--peer
  VENV/bin/python`` or ``CASARUN_BENCHMARK_PEER``), on 256 pixels of 8 arcsec like the others,
  or with ``--peer-own-pixels`` on the pixels that it chooses. A spectral window of the
  simulation lacks what one of the VLA has and auto-selfcal reads: the receiver in its name and
  BBC_NO, its baseband converter. Its copy gets them.

What each leaves is imaged with the same parameters and measured by the same code, and so are the
data as they were and the data without errors. All that run are given the same time limit.

    python benchmarks/selfcal.py --peer ~/auto-selfcal/bin/python --json numbers.json
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import math
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

from support.selfcal_skies import NOISE_ONLY, SMALL, SelfcalSky, build  # noqa: E402
from support.skies import Source, Spw  # noqa: E402

WHO = ("script", "casarun", "auto-selfcal")
PEER = "CASARUN_BENCHMARK_PEER"
CELL_ARCSEC, PIXELS = 4.0, 512
MASK_ARCSEC = 64.0
TOLERANCE = 0.03  # the noise of an image of a thousand synthesized beams is known no better
RECIPE = """casarun = 1
[[dataset]]
name = "sim"
vis = "target.ms"
calibrated = true
[[image]]
name = "continuum"
imsize = 256
cell = "8arcsec"
niter = 10000
[[selfcal]]
target = "target"
"""
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A sky, what it is, and the options of the script for it; None where no expert would try."""

    title: str
    sky: SelfcalSky
    script: tuple[str, ...] | None = ()


MAIN = Source(0.2, 1.5, 1.1)  # off the pixel's centre, as sources are, and as phases leave it
FAINT = Source(0.002, 400.0, -300.0)
SPWS = (Spw(1.400e9, 1e6, 2), Spw(1.402e9, 1e6, 2))
FULL = SelfcalSky(sources=(MAIN,), spws=SPWS)
FEW = replace(SMALL, sources=(MAIN, FAINT), spws=SPWS)
CASES = {
    "phase": Case("27 antennas, 0.2 Jy, phases 30 deg", FULL),
    "single": Case("the same in one spectral window", replace(FULL, spws=(Spw(),))),
    "amp": Case("27 antennas, 0.2 Jy, phases 30 deg, amplitudes 20 %", replace(FULL, amp=0.2),
                ("--amp",)),
    "two": Case("12 antennas, 200 and 2 mJy", FEW, ("--second", "78", "90.5")),
    "weak": Case("12 antennas, 4 mJy", replace(FEW, sources=(replace(MAIN, flux_jy=0.004),)), None),
    "noise": Case("12 antennas, noise only", replace(NOISE_ONLY, spws=SPWS), None),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one of them made of one sky; None for what could not be measured.

    `of_error_free` is the ratio of the dynamic range to that of the error-free data. Errors of
    fluxes are fractions of the truth; `faint_flux_error` is that of the second source. `steps_s` is
    what casarun's steps of the self-calibration took of `wall_s`, plots left out. Without a source
    `dynamic_range` is that of the highest pixel: 4 to 5 for noise.
    """

    sky: str
    who: str
    ended: str
    wall_s: float | None = None
    steps_s: float | None = None
    cpu_s: float | None = None
    load_average: float | None = None
    dynamic_range: float | None = None
    of_error_free: float | None = None
    peak_jy_per_beam: float | None = None
    rms_noise_jy_per_beam: float | None = None
    flux_error: float | None = None
    faint_flux_error: float | None = None
    position_error_arcsec: float | None = None


@dataclass(frozen=True)
class Run:
    """A process that has ended: how, and what it said and took. No exit code: out of time."""

    code: int | None
    said: str
    wall_s: float
    cpu_s: float


def main() -> int:
    """Run the comparison; 1 where casarun's dynamic range is 3 % and more below the peer's."""
    options = _options()
    if options.build:
        return _build_here(options.build[0], Path(options.build[1]))
    if options.measure:
        return _measure_here(options.measure[0], *map(Path, options.measure[1:]))
    _adopt_orphans()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="selfcal-", dir=options.scratch) as scratch:
        for name in options.only or CASES:
            sys.stdout.write(f"\n{name}: {CASES[name].title}\n{_heading()}")
            for row in _compare(name, Path(scratch) / name, options):
                rows.append(row)
                sys.stdout.write(_line(row))
                sys.stdout.flush()
                _keep(rows, options.json)
            shutil.rmtree(Path(scratch) / name)
    behind = _behind(rows)
    sys.stdout.write("".join(f"{line}\n" for line in behind))
    return 1 if behind else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", nargs="+", default=[], choices=list(CASES), help="these skies")
    parser.add_argument("--who", nargs="+", default=WHO, choices=WHO, help="run only these")
    parser.add_argument("--peer", type=Path, default=os.environ.get(PEER, sys.executable),
                        metavar="PYTHON", help=f"that has auto-selfcal (${PEER})")  # fmt: skip
    parser.add_argument("--peer-own-pixels", action="store_true", help="it chooses its own")
    parser.add_argument("--limit", type=float, default=600, metavar="S", help="for each run (600)")
    parser.add_argument("--times", type=int, default=1, help="how often each is run (1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    parser.add_argument("--scratch", type=Path, help="folder to work in; the system's by default")
    parser.add_argument("--build", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def _adopt_orphans() -> None:
    """Have the system hand over orphaned grandchildren, so that their CPU time is counted."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def _compare(name: str, folder: Path, options: argparse.Namespace) -> Any:
    """Yield the rows of a sky as they come."""
    folder.mkdir()
    _again("--build", name, folder)
    free = _measured(name, folder / "free.ms", folder)
    yield _row(name, "error-free data", "", free, free)
    yield _row(name, "as it was", "", _measured(name, folder / "target.ms", folder), free)
    for who in options.who:
        why_not = _why_not(who, name, options)
        if why_not:
            yield Row(name, who, why_not)
            continue
        runs: list[Run] = []
        steps_s: list[float] = []
        for turn in range(options.times):
            at = folder / f"{who}-{turn}"
            runs.append(_run(*_command(who, name, folder, at, options), options.limit))
            if who == "casarun":
                steps_s.append(_steps_s(at))
        ended, vis = _ended(who, runs[-1], at)
        found = _measured(name, vis, folder) if vis else {}
        row = _row(name, who, ended, found, free)
        wall_s = statistics.median(run.wall_s for run in runs)
        cpu_s = statistics.median(run.cpu_s for run in runs)
        yield replace(
            row, wall_s=wall_s, cpu_s=cpu_s, load_average=os.getloadavg()[0],
            steps_s=statistics.median(steps_s) if steps_s else None,
        )  # fmt: skip


def _steps_s(at: Path) -> float:
    """Add up the wall times of the self-calibration's steps of a run, but for its plots."""
    found = at.glob("logs/target.selfcal.*/result.json")
    results = [path for path in found if not path.parent.name.endswith(".plots")]
    return sum(float(json.loads(path.read_text())["wall_s"]) for path in results)


def _why_not(who: str, name: str, options: argparse.Namespace) -> str:
    if who == "script" and CASES[name].script is None:
        return "not tried: no expert would"
    if who == "auto-selfcal" and not _has_peer(options.peer):
        return f"not installed for {options.peer}: skipped (pip install auto-selfcal; --peer)"
    return ""


def _has_peer(python: Path) -> bool:
    find = "import importlib.util as u, sys; sys.exit(u.find_spec('auto_selfcal') is None)"
    try:
        return subprocess.run([python, "-c", find], capture_output=True).returncode == 0
    except OSError:
        return False


def _command(
    who: str, name: str, folder: Path, at: Path, options: argparse.Namespace
) -> tuple[list[str | Path], Path]:
    """Prepare a run in a folder `at`; return its command and the folder to run it in."""
    if who == "script":
        more = CASES[name].script or ()
        return [sys.executable, HERE / "selfcal_script.py", folder / "target.ms", at, *more], folder
    if who == "casarun":
        (folder / "recipe.toml").write_text(RECIPE)
        start = "import sys; from casarun.cli import main; sys.exit(main())"
        recipe = folder / "recipe.toml"
        return [sys.executable, "-P", "-c", start, recipe, "--output", at], folder
    at.mkdir()
    shutil.copytree(folder / "peer.ms", at / "sim_target.ms")
    pixels = () if options.peer_own_pixels else ("256", "8arcsec")
    return [options.peer, HERE / "selfcal_peer.py", "sim_target.ms", *pixels], at


def _run(command: Sequence[str | Path], cwd: Path, limit_s: float) -> Run:
    """Run a process to its end or its time limit."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    )  # fmt: skip
    code: int | None = None
    try:
        said, _ = process.communicate(timeout=limit_s)
        code = process.returncode
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
    wall_s = time.perf_counter() - started
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(code, said, wall_s, cpu_s)


def _ended(who: str, run: Run, at: Path) -> tuple[str, Path | None]:
    """Return how a run ended, in a phrase, and the MS with its result."""
    vis, tell = _RESULTS[who]
    if run.code is None:
        return f"out of time after {run.wall_s:.0f} s", None
    if run.code:
        return f"exit code {run.code}: {_last_words(run.said)}", None
    return tell(run.said, at), at / vis


def _last_words(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line.split(":")[0] and " " not in line[:10]]
    return (errors or lines or ["nothing said"])[-1]


def _told_by_script(_said: str, _at: Path) -> str:
    return "done"


def _told_by_casarun(_said: str, at: Path) -> str:
    """Return which rounds were accepted, and why it ended."""
    [path] = (at / "qa" / "data" / "selfcal").glob("target.json")
    summary = json.loads(path.read_text())
    words = []
    for state in summary["rounds"]:
        if state.get("solve") and not state["skipped"]:
            solve = state["solve"]
            verdict = "accepted" if state["accepted"] else "taken back"
            words.append(f"{solve['calmode']} {solve['solint']} {verdict}")
    return "; ".join([*words, summary["reason"]])


def _told_by_peer(said: str, _at: Path) -> str:
    """Return its final solution interval, or why there is none."""
    lines = [line.strip() for line in said.splitlines()]
    final = [line for line in lines if line.startswith("Final solint:")]
    if not final:
        return "no summary"
    solint = final[-1].split(":")[1].strip()
    reasons = [line for line in lines if "Empty model" in line or "FAILED" in line.upper()]
    why = f" ({reasons[-1]})" if solint == "None" and reasons else ""
    return f"declined{why}" if solint == "None" else f"final solint {solint}"


_RESULTS: dict[str, tuple[str, Callable[[str, Path], str]]] = {
    "script": ("target.ms", _told_by_script),
    "casarun": ("calibrated/sim.target.selfcal.ms", _told_by_casarun),
    "auto-selfcal": ("sim_target.ms", _told_by_peer),
}


def _row(name: str, who: str, ended: str, found: dict[str, Any], free: dict[str, Any]) -> Row:
    of_free = found["dynamic_range"] / free["dynamic_range"] if found else None
    return Row(name, who, ended, of_error_free=of_free, **found)


def _again(*arguments: str | Path) -> str:
    """Run this script for a part of the work, in a process of its own: CASA talks and crashes."""
    command = [sys.executable, __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=900)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout


def _measured(name: str, vis: Path, folder: Path) -> dict[str, Any]:
    said = _again("--measure", name, vis, folder / "measuring" / vis.parent.name / vis.name)
    return dict(json.loads(said.splitlines()[-1]))


def _build_here(name: str, folder: Path) -> int:
    """Make target.ms, free.ms without errors, and peer.ms with what VLA data have besides."""
    build(folder / "target.ms", CASES[name].sky)
    build(folder / "free.ms", CASES[name].sky.without_errors())
    from casatools import table

    shutil.copytree(folder / "target.ms", folder / "peer.ms")
    tool = table()
    tool.open(str(folder / "peer.ms" / "SPECTRAL_WINDOW"), nomodify=False)
    number = tool.nrows()
    tool.putcol("NAME", [f"EVLA_L#A0C0#{spw_id}" for spw_id in range(number)])
    tool.addcols({"BBC_NO": {"valueType": "int", "comment": "baseband converter"}})
    tool.putcol("BBC_NO", np.full(number, 12))
    tool.close()
    return 0


def _measure_here(name: str, vis: Path, prefix: Path) -> int:
    """Image an MS and print what is in the image; CORRECTED where there is one, else DATA."""
    from casarun.casa.config import configure

    configure()
    from casatasks import tclean
    from casatools import image

    sky = CASES[name].sky
    shutil.rmtree(prefix.parent, ignore_errors=True)
    prefix.parent.mkdir(parents=True)
    circles = [_circle(source) for source in sky.sources]
    (prefix.parent / "mask.crtf").write_text("\n".join(["#CRTFv0", *circles, ""]))
    # Without CORRECTED_DATA, tclean's "corrected" is DATA.
    tclean(
        vis=str(vis), imagename=str(prefix), datacolumn="corrected", imsize=PIXELS,
        cell=f"{CELL_ARCSEC}arcsec", specmode="mfs", gridder="standard", weighting="briggs",
        robust=0.5, deconvolver="hogbom", niter=5000 if circles else 0, cyclefactor=1.5,
        threshold=f"{3 * _thermal_jy(sky)}Jy", usemask="user", savemodel="none", pblimit=-0.1,
        mask=str(prefix.parent / "mask.crtf") if circles else "",
    )  # fmt: skip
    pixels = []
    for kind in ("image", "residual"):
        tool = image()
        tool.open(f"{prefix}.{kind}")
        pixels.append(tool.getchunk().squeeze())
        tool.close()
    shutil.rmtree(prefix.parent)
    sys.stdout.write("\n" + json.dumps(_numbers(pixels[0], pixels[1], sky)) + "\n")
    return 0


def _thermal_jy(sky: SelfcalSky) -> float:
    """Return the noise of a naturally weighted image, in Jy/beam."""
    samples = sky.n_antennas * (sky.n_antennas - 1) * sky.scans * sky.integrations
    weights = [samples * spw.n_chan / sky.noise_of(i) ** 2 for i, spw in enumerate(sky.spws)]
    return float(sum(weights) ** -0.5)


def _pixel(source: Source) -> tuple[float, float]:
    """Return a source's true pixel (x, y); right ascension grows to the left."""
    x = PIXELS // 2 - source.east_arcsec / CELL_ARCSEC
    return x, PIXELS // 2 + source.north_arcsec / CELL_ARCSEC


def _circle(source: Source) -> str:
    x, y = _pixel(source)
    return f"circle[[{x:.2f}pix, {y:.2f}pix], {MASK_ARCSEC / CELL_ARCSEC:.2f}pix]"


def _numbers(restored: Floats, residual: Floats, sky: SelfcalSky) -> dict[str, Any]:
    """Measure an image, shape (x, y): the noise off the sources, and each source's peak."""
    x, y = np.indices(restored.shape)
    distances = [np.hypot(x - at[0], y - at[1]) * CELL_ARCSEC for at in map(_pixel, sky.sources)]
    off = np.all([distance > MASK_ARCSEC for distance in distances], axis=0)
    spread = residual[off] if distances else residual.ravel()
    rms = 1.4826 * float(np.median(np.abs(spread - np.median(spread))))
    if not distances:
        peak = float(restored.max())
        return {"dynamic_range": peak / rms, "peak_jy_per_beam": peak, "rms_noise_jy_per_beam": rms}
    fits = [_fit(np.where(one <= MASK_ARCSEC, restored, -np.inf)) for one in distances]
    errors = [fit[0] / one.flux_jy - 1 for fit, one in zip(fits, sky.sources, strict=True)]
    off_pixels = np.subtract(fits[0][1:], _pixel(sky.sources[0]))
    return {
        "dynamic_range": fits[0][0] / rms,
        "peak_jy_per_beam": fits[0][0],
        "rms_noise_jy_per_beam": rms,
        "flux_error": errors[0],
        "faint_flux_error": errors[1] if len(errors) > 1 else None,
        "position_error_arcsec": CELL_ARCSEC * float(np.hypot(*off_pixels)),
    }


def _fit(pixels: Floats) -> tuple[float, float, float]:
    """Fit a Gaussian to the highest pixel and its neighbours: its peak, and its place (x, y).

    The logarithm of a Gaussian is a paraboloid; least squares through nine pixels.
    """
    top = np.unravel_index(int(np.argmax(pixels)), pixels.shape)
    dx, dy = (part.ravel() - 1.0 for part in np.indices((3, 3)))
    values = np.log(pixels[top[0] - 1 : top[0] + 2, top[1] - 1 : top[1] + 2].ravel())
    terms = np.stack([np.ones(9), dx, dy, dx * dx, dx * dy, dy * dy], axis=1)
    c = np.linalg.lstsq(terms, values, rcond=None)[0]
    at = np.linalg.solve([[2 * c[3], c[4]], [c[4], 2 * c[5]]], -c[1:3])
    peak = float(np.exp(c[0] + c[1:3] @ at / 2))
    return peak, float(top[0] + at[0]), float(top[1] + at[1])


def _behind(rows: Sequence[Row]) -> list[str]:
    """Say where casarun's dynamic range, with a source, is below the peer's."""
    found = {(row.sky, row.who): row.dynamic_range for row in rows}
    lines = []
    for sky, case in CASES.items():
        own, peers = found.get((sky, "casarun")), found.get((sky, "auto-selfcal"))
        if not case.sky.sources or peers is None:
            continue
        if (sky, "casarun") in found and (own is None or own < (1 - TOLERANCE) * peers):
            lines.append(f"{sky}: casarun's dynamic range {own} is below the peer's {peers:.0f}")
    return lines


def _keep(rows: Sequence[Row], path: Path | None) -> None:
    if path:
        result = {"cores": len(os.sched_getaffinity(0)), "rows": [asdict(row) for row in rows]}
        path.write_text(json.dumps(result, indent=1) + "\n")


def _heading() -> str:
    return (
        f"{'':16}{'DR':>7}{'of free':>8}{'flux':>8}{'faint':>8}{'arcsec':>7}"
        f"{'wall s':>8}{'steps s':>8}{'CPU s':>7}{'load':>6}  ended\n"
    )


def _line(row: Row) -> str:
    def show(value: float | None, form: str, width: int) -> str:
        known = value is not None and math.isfinite(value)
        return f"{value:{form}}".rjust(width) if known else "-".rjust(width)

    return (
        f"{row.who:16}{show(row.dynamic_range, '.0f', 7)}{show(row.of_error_free, '.2f', 8)}"
        f"{show(row.flux_error, '+.1%', 8)}{show(row.faint_flux_error, '+.1%', 8)}"
        f"{show(row.position_error_arcsec, '.2f', 7)}{show(row.wall_s, '.1f', 8)}"
        f"{show(row.steps_s, '.1f', 8)}"
        f"{show(row.cpu_s, '.1f', 7)}{show(row.load_average, '.1f', 6)}  {row.ended[:160]}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
