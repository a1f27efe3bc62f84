"""The doctor on the machine: cores, memory, the run folder's filesystem, limits, other tools."""

from __future__ import annotations

import fcntl
import locale
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

import psutil

from ..files import nearest_existing
from ..quantities import human_bytes
from .finding import Finding, State
from .forecast import lacks
from .machine import Machine

_FICLONE: Final = 0x40049409
_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - looked at, never written
_NETWORK: Final = (
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "9p",
    "panfs", "orangefs", "glusterfs",
)  # fmt: skip
_OPEN_FILES: Final = 1024
_FEWEST_OPEN_FILES: Final = 128
_LOW_MEMORY_BYTES: Final = 2e9
_LEAST_MEMORY_BYTES: Final = 4e8
_LOW_DISK_BYTES: Final = 10e9
_LEAST_DISK_BYTES: Final = 1e8

_TOOLS: Final = {
    "ds9": "looking at images in DS9",
    "carta": "looking at images in CARTA",
    "sbatch": "batch jobs on Slurm",
    "srun": "steps as tasks of a Slurm job",
}


def machine_findings(here: Machine) -> list[Finding]:
    """Say how many cores and how much memory a run may use, and who limits them."""
    cores = here.cores
    number = f"{cores.value} core{'s' if cores.value > 1 else ''}"
    findings = [Finding("cores", "good", f"{number} may be used ({cores.source})")]
    free, most = here.free_memory, here.memory
    text = (
        f"{human_bytes(free.value)} of memory are free ({free.source}), of "
        f"{human_bytes(most.value)} at the most ({most.source})"
    )
    if free.value < _LEAST_MEMORY_BYTES:
        state: State = "bad"
        advice = "A process with CASA in it takes 0.3 GB: end other programs, or ask for more."
    elif free.value < _LOW_MEMORY_BYTES:
        state, advice = "warn", "Images of over 2000 pixels a side may not fit: ask for more."
    else:
        state, advice = "good", ""
    return [*findings, Finding("memory", state, text, advice)]


def folder_findings(folder: Path) -> list[Finding]:
    """Look at the disk and filesystem that a run in `folder` would use."""
    place = nearest_existing(folder)
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        return [
            Finding(
                "folder",
                "bad",
                f"{place} cannot be written",
                "Name a folder that can: casarun doctor FOLDER, and --output for runs.",
            )
        ]
    free = shutil.disk_usage(place).free
    text = f"{human_bytes(free)} of disk are free in {place}"
    if free < _LEAST_DISK_BYTES:
        findings = [Finding("disk", "bad", text, "Free some, or choose another folder.")]
    elif free < _LOW_DISK_BYTES:
        advice = "A run takes about five times its input; see resources.disk_factor."
        findings = [Finding("disk", "warn", text, advice)]
    else:
        findings = [Finding("disk", "good", text)]
    return [*findings, *_filesystem(place)]


def _filesystem(place: Path) -> list[Finding]:
    """Look at what the filesystem of a folder can do."""
    kind = filesystem_kind(place)
    findings = [
        Finding("filesystem", "bad", f"the filesystem of {place} ({kind or 'unknown'}) {lack}",
                "Choose a folder on a local disk.")
        for lack in lacks(place)
    ]  # fmt: skip
    if findings:
        return findings
    if kind in _NETWORK or kind.startswith("fuse"):
        findings.append(
            Finding(
                "filesystem",
                "warn",
                f"{place} is on a network filesystem ({kind}): CASA's table locks may be slow or "
                "hang there",
                "Keep run folders on a local disk where there is one, and copy the products.",
            )
        )
    if can_reflink(place):
        text = f"copies of data cost nothing in {place} (reflinks, {kind or 'unknown'})"
    else:
        text = f"copies of data take their full size in {place} (no reflinks, {kind or 'unknown'})"
    return [*findings, Finding("reflink", "good", text)]


def filesystem_kind(place: Path) -> str:
    """Return the type of the filesystem that a folder is on: ``ext4``, ``nfs4``; "" if unknown."""
    place = place.resolve()
    mounts = {Path(one.mountpoint): one.fstype for one in psutil.disk_partitions(all=True)}
    return next((mounts[above] for above in (place, *place.parents) if above in mounts), "")


def can_reflink(folder: Path) -> bool:
    """Try whether files of a folder can share their blocks (ioctl FICLONE)."""
    try:
        with (
            tempfile.TemporaryFile(dir=folder) as old,
            tempfile.TemporaryFile(dir=folder) as new,
        ):
            old.write(b"x" * 65536)
            old.flush()
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
    except OSError:
        return False
    return True


def process_findings() -> list[Finding]:
    """Look at limits and surroundings of processes: open files, shared memory, locale."""
    findings = [open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[0])]
    if not os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        findings.append(
            Finding(
                "shared-memory",
                "warn",
                f"{_SHARED_MEMORY} is missing or cannot be written",
                "Only needed by CASA's own parallel mode; containers want --shm-size.",
            )
        )
    try:
        kept = locale.setlocale(locale.LC_ALL)
        locale.setlocale(locale.LC_ALL, "")
        locale.setlocale(locale.LC_ALL, kept)
    except locale.Error:
        wanted = next(
            (os.environ[name] for name in ("LC_ALL", "LC_CTYPE", "LANG") if os.environ.get(name)),
            "",
        )
        findings.append(
            Finding(
                "locale",
                "warn",
                f"the locale '{wanted}' is not installed here",
                "export LC_ALL=C.UTF-8",
            )
        )
    if sys.getfilesystemencoding().lower() != "utf-8":
        findings.append(
            Finding(
                "locale",
                "warn",
                f"file names are read as {sys.getfilesystemencoding()}",
                "export LC_ALL=C.UTF-8",
            )
        )
    return findings


def open_files(limit: int) -> Finding:
    """Judge the limit of open files; CASA holds the files of every table open that it uses."""
    if limit < 0:
        return Finding("open-files", "good", "any number of files may be open at once")
    text = f"{limit} files may be open at once"
    if limit >= _OPEN_FILES:
        return Finding("open-files", "good", text)
    state: State = "bad" if limit < _FEWEST_OPEN_FILES else "warn"
    return Finding("open-files", state, f"{text}, and CASA opens many", "ulimit -n 4096")


def tools(environ: Mapping[str, str] | None = None) -> list[Finding]:
    """Look for what is only needed for some things; none of it is ever bad."""
    path = (os.environ if environ is None else environ).get("PATH", "")
    findings = []
    for name, use in _TOOLS.items():
        found = shutil.which(name, path=path)
        said = f"{name} {_version(found)}".strip() if found else ""
        text = f"{said}: {found}" if found else f"{name} is not there; only needed for {use}"
        findings.append(Finding(f"tool-{name}", "good", text))
    try:
        text = f"dask {metadata.version('dask')}"
    except metadata.PackageNotFoundError:
        text = "dask is not there; only needed for running on a Dask cluster"
    return [*findings, Finding("tool-dask", "good", text)]


def _version(program: str) -> str:
    """Return the version that a program gives of itself, or nothing."""
    if Path(program).name == "ds9":  # would open a window where there is a display
        return ""
    try:
        said = subprocess.run(  # noqa: S603 - a program of the user's own PATH
            [program, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return ""
    words = said.stdout.split()
    return next((word for word in words if word[:1].isdigit()), "") if not said.returncode else ""
