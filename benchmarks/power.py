"""Cut the power of the disk that a run works on, at random instants, and compare what it leaves.

The run folder is on a filesystem (ext4) in a file, and that file on another (XFS) that copies
files in an instant. The copy is what the disk had got at that instant: what was still in memory is
lost. The run is killed, the copy mounted in the disk's place as after a loss of power, and the run
gone on with; in the end its products are held against those of a run that nothing befell.
Exits with 1 where they differ. Needs root, mkfs.xfs and mkfs.ext4.

    python benchmarks/power.py --losses 20 [--seed 1] [--recipe FILE] [--scratch DIR]
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))

from support import crashes  # noqa: E402

MOST_LOSSES_OF_A_RUN = 5
SIZE_BYTES = 3_000_000_000


class Disk:
    """A disk whose power can be cut.

    Parameters
    ----------
    scratch : Path
        Where it is made.
    """

    def __init__(self, scratch: Path) -> None:
        self._host, self.place = scratch / "host", scratch / "disk"
        self._image, self._copy = self._host / "disk.img", self._host / "copy.img"
        _make_image(scratch / "host.img", 2 * SIZE_BYTES)
        _run("mkfs.xfs", "-q", "-m", "reflink=1", scratch / "host.img")
        self._host.mkdir()
        self.place.mkdir()
        _run("mount", "-o", "loop", scratch / "host.img", self._host)
        _make_image(self._image, SIZE_BYTES)
        _run("mkfs.ext4", "-q", "-F", self._image)
        self.mount()

    def mount(self) -> None:
        """Mount it; its own journal is replayed."""
        _run("mount", "-o", "loop", self._image, self.place)

    def cut(self) -> None:
        """Keep what it has got by now."""
        _run("cp", "--reflink=always", self._image, self._copy)

    def lose(self) -> None:
        """Be as at the last cut. Who uses it must end, which may take those killed a moment."""
        for _ in range(200):
            if not subprocess.run(["umount", "-q", str(self.place)], check=False).returncode:
                break
            time.sleep(0.05)
        self._copy.replace(self._image)
        self.mount()

    def close(self) -> None:
        """Unmount all."""
        subprocess.run(["umount", "--lazy", str(self.place)], check=False)
        subprocess.run(["umount", "--lazy", str(self._host)], check=False)


def _make_image(path: Path, size_bytes: int) -> None:
    with path.open("wb") as stream:
        stream.truncate(size_bytes)


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def one_run(
    disk: Disk, recipe: Path, wanted_s: float, losses: int, dice: random.Random
) -> tuple[Path, list[str], int]:
    """Run with so many losses of power; return the run folder, what happened, the exit code."""
    run = disk.place / "run"
    told = []
    process = crashes.start(recipe, run, crashes.SETTINGS)
    for _ in range(losses):
        until = time.monotonic() + dice.uniform(0.1, 0.8) * wanted_s
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        if process.poll() is not None:
            break
        disk.cut()
        seen = crashes.events(run)
        crashes.strike(process, "group", dice)
        disk.lose()
        kept = crashes.events(run)
        told.append(f"after {len(seen)} events, {len(kept)} kept")
        process = crashes.start(recipe, run, crashes.SETTINGS)
    return run, told, process.wait()


def main() -> int:
    """Cut, resume, compare; 1 where a product differs or a run does not end well."""
    options = _options()
    dice, bad, done, runs = random.Random(options.seed), 0, 0, 0
    with tempfile.TemporaryDirectory(prefix="power-", dir=options.scratch) as name:
        scratch = Path(name)
        recipe = options.recipe.resolve() if options.recipe else crashes.small(scratch)
        started = time.monotonic()
        if crashes.start(recipe, scratch / "reference", crashes.SETTINGS).wait():
            raise SystemExit((scratch / "reference.said").read_text())
        wanted_s = time.monotonic() - started
        wanted = crashes.products(scratch / "reference")
        disk = Disk(scratch)
        try:
            while done < options.losses:
                most = min(options.losses - done, dice.randint(1, MOST_LOSSES_OF_A_RUN))
                run, told, code = one_run(disk, recipe, wanted_s, most, dice)
                wrong = crashes.mismatches(wanted, crashes.products(run))
                done, runs, bad = done + len(told), runs + 1, bad + bool(code or wrong)
                end = f"DIFFERS in {', '.join(wrong[:5])}" if wrong else "as the reference"
                _say(f"{'; '.join(told) or 'no loss'}: exit code {code}, {end}")
                if code:
                    _say(run.with_suffix(".said").read_text()[-2000:])
                shutil.rmtree(run)
        finally:
            disk.close()
    _say(f"{done} losses of power in {runs} runs: {bad} did not end as the reference")
    return 1 if bad else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--losses", type=int, default=10, help="how many in all")
    parser.add_argument("--seed", type=int, default=1, help="of the random numbers")
    parser.add_argument("--recipe", type=Path, help="another recipe than the small one")
    parser.add_argument("--scratch", type=Path, help="folder to work in; the system's by default")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
