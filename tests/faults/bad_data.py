"""Datasets that are bad: caught when their metadata are read."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from casarun.recipe.paths import casadata_folder

from . import datasets
from .fault import Fault, Plain, call, plain
from .parts import tclean

Build = Callable[[Path, Path], object]


def _bad(name: str, did: str, build: Build, same: Plain | None = None, vis: str = "bad.ms",
         **more: object) -> Fault:  # fmt: skip
    """Return a fault of a dataset in the fault's own folder."""
    return Fault(
        name, did, f'[[dataset]]\nvis = «"{vis}"»\n', "check", same or _gaincal(), kind="data",
        build=build, **more,
    )  # type: ignore[arg-type]  # fmt: skip


def _gaincal() -> Plain:
    return plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                 vis="bad.ms")  # fmt: skip


def _listobs(vis: str = "bad.ms") -> Plain:
    return plain(call("listobs", vis="{vis}"), vis=vis)


def _uvfits(name: str) -> Plain:
    return plain(call("importuvfits", fitsfile="{vis}", vis="out.ms"), vis=name)


def _demo(name: str) -> Path:
    return casadata_folder() / "demo" / name


def _image(folder: Path, _: Path) -> None:
    from casarun.casa.config import configure

    configure()
    from casatools import image

    tool = image()
    tool.fromshape(str(folder / "bad.ms"), [16, 16, 1, 1])
    tool.done()


def _caltable(folder: Path, shared: Path) -> None:
    with datasets.opened(shared / "good.ms/ANTENNA") as table:
        table.copy(str(folder / "bad.ms"), deep=True).close()


def _cut_fits(folder: Path, _: Path) -> None:
    with _demo("NGC5921.fits").open("rb") as source:
        (folder / "bad.fits").write_bytes(source.read(2_000_000))


def _tar(folder: Path, _: Path) -> None:
    (folder / "notes.txt").write_text("nothing to see")
    with tarfile.open(folder / "bad.tar", "w") as archive:
        archive.add(folder / "notes.txt", "notes.txt")


def _escaping_tar(folder: Path, _: Path) -> None:
    (folder / "notes.txt").write_text("nothing to see")
    with tarfile.open(folder / "bad.tar", "w") as archive:
        archive.add(folder / "notes.txt", "../../bad.ms/table.dat")


def _swapped(folder: Path, shared: Path) -> None:
    """Point the rows at fields that the FIELD subtable does not have."""
    with datasets.opened(datasets.copied(folder, shared) / "FIELD", change=True) as table:
        table.removerows([2])


def _asdm(folder: Path, _: Path) -> None:
    (folder / "bad.ms" / "ASDMBinary").mkdir(parents=True)
    (folder / "bad.ms" / "Antenna.xml").write_text("<AntennaTable/>")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let another process hold the MS, as a viewer left open does."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder / "bad.ms")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert holder.stdout
        for line in holder.stdout:
            if line.strip() == b"held":
                break
        yield
    finally:
        holder.kill()
        holder.communicate()


_HOLD = """
import sys
from casarun.casa.config import configure
configure()
from casatools import table
tool = table()
tool.open(sys.argv[1], nomodify=False, lockoptions={"option": "permanent"})
print("held", flush=True)
sys.stdin.read()
"""


DATA: tuple[Fault, ...] = (
    _bad("data-empty-folder", "gave an empty folder",
         lambda folder, _: (folder / "bad.ms").mkdir(), _listobs()),
    _bad("data-no-main", "copied an MS without its main table", datasets.without("table.dat")),
    _bad("data-image", "gave an image in place of an MS", _image,
         plain(call("vishead", vis="{vis}", mode="list"), vis="bad.ms")),
    _bad("data-subtable", "gave a subtable in place of its MS", _caltable, _listobs()),
    _bad("data-subtable-inside", "named a subtable of the MS",
         lambda folder, shared: datasets.copied(folder, shared), _listobs("bad.ms/ANTENNA"),
         "bad.ms/ANTENNA"),
    _bad("data-asdm", "gave an ASDM without its ASDM.xml", _asdm,
         plain(call("importasdm", asdm="{vis}", vis="out.ms"), vis="bad.ms")),
    _bad("data-no-field", "copied an MS without its FIELD table", datasets.without("FIELD")),
    _bad("data-no-spw", "copied an MS without its SPECTRAL_WINDOW table",
         datasets.without("SPECTRAL_WINDOW")),
    _bad("data-no-state", "copied an MS without its STATE table", datasets.without("STATE"),
         tclean("bad.ms")),
    _bad("data-no-source", "copied an MS without its SOURCE table", datasets.without("SOURCE"),
         plain(call("split", vis="{vis}", outputvis="out.ms", datacolumn="data"), vis="bad.ms")),
    _bad("data-no-history", "copied an MS without its HISTORY table",
         datasets.without("HISTORY"),
         plain(call("split", vis="{vis}", outputvis="out.ms", datacolumn="data"), vis="bad.ms")),
    _bad("data-antenna-empty", "copied an MS whose ANTENNA table came out empty",
         lambda folder, shared: (datasets.copied(folder, shared) / "ANTENNA/table.f0").write_bytes(
             b"")),
    _bad("data-cut-data", "copied half of the visibilities", datasets.truncated("DATA"),
         _listobs()),
    _bad("data-cut-flag", "copied half of the flags", datasets.truncated("FLAG"), _listobs()),
    _bad("data-cut-weight", "copied half of the weights", datasets.truncated("WEIGHT")),
    _bad("data-cut-uvw", "copied half of the baselines", datasets.truncated("UVW")),
    _bad("data-no-rows", "gave an MS without rows, as a wrong split leaves it",
         datasets.no_rows),
    _bad("data-all-flagged", "gave an MS of which everything is flagged",
         datasets.written("FLAG", True)),
    _bad("data-no-data", "gave an MS without a DATA column", datasets.no_column("DATA")),
    _bad("data-swapped", "put another observation's FIELD table into an MS", _swapped),
    _bad("data-nan", "gave data with a value that is not a number", datasets.one_nan,
         tclean("bad.ms"), warns=True, exit_code=0),
    _bad("data-all-nan", "gave data none of which are numbers",
         datasets.written("DATA", float("nan"))),
    _bad("data-all-zero", "gave data that are all zero", datasets.written("DATA", 0)),
    _bad("data-locked", "left another program open that holds the MS",
         lambda folder, shared: datasets.copied(folder, shared), _listobs(), during=_locked),
    _bad("data-zero-weight", "gave data whose weights are all zero",
         datasets.written("WEIGHT", 0)),
    Fault("data-future", "gave data newer than the tables of the Earth's rotation",
          '[[dataset]]\nvis = «"{shared}/future.ms"»\n', "check",
          plain(call("gaincal", vis="{vis}", caltable="g", field="1", refant="ea01"),
                vis="future"), kind="data", warns=True, exit_code=0),
    _bad("uvfits-cut", "broke off the download of a UVFITS file", _cut_fits, _uvfits("bad.fits"),
         "bad.fits"),
    _bad("uvfits-image", "gave a FITS image in place of UVFITS",
         lambda folder, _: shutil.copy(_demo("Images/test_image.fits"), folder / "bad.fits"),
         _uvfits("bad.fits"), "bad.fits"),
    _bad("uvfits-text", "saved a web page as UVFITS",
         lambda folder, _: (folder / "bad.fits").write_text("<html>404 not found</html>"),
         _uvfits("bad.fits"), "bad.fits"),
    _bad("tar-without-ms", "gave a tar without an MS", _tar, _listobs("bad.tar"), "bad.tar"),
    _bad("tar-escaping", "gave a tar whose files lead out of its folder", _escaping_tar,
         _listobs("bad.tar"), "bad.tar"),
)  # fmt: skip
