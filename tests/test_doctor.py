"""The doctor, on patients that are really ill: each finding says the way out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from casarun.engine import doctor, doctor_casa, doctor_machine
from casarun.engine.doctor import Finding
from casarun.engine.machine import Limit, Machine
from support.cli import casarun, with_tmpfs

GB = 1_000_000_000


def examined(
    place: Path,
    env: Mapping[str, str] | None = None,
    inside: Any = (),
    folder: Path | str = ".",
) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Run ``casarun doctor --json``; return its exit code and what it found by name."""
    home = place / "home"
    home.mkdir(exist_ok=True)
    whole = {**os.environ, "HOME": str(home), **(env or {})}
    done = casarun("doctor", folder, "--json", cwd=place, env=whole, inside=inside)
    said = json.loads(done.stdout)
    assert said["ready"] is (done.returncode == 0)
    found: dict[str, list[dict[str, str]]] = {}
    for finding in said["findings"]:
        found.setdefault(finding["what"], []).append(finding)
    return done.returncode, found


def fake(place: Path, module: str, text: str) -> dict[str, str]:
    """Put a module of our own before the installed one; return the environment for it."""
    (place / f"{module}.py").write_text(text)
    return {"PYTHONPATH": str(place)}


@pytest.mark.casa
def test_a_healthy_machine(tmp_path: Path) -> None:
    code, found = examined(tmp_path)
    assert code == 0
    assert found["casa"][0]["text"].startswith("CASA 6.")
    assert found["measures"][0]["state"] == "good"
    assert {"python", "cores", "memory", "disk", "reflink", "open-files"} <= set(found)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


CRYPTO = "/lib/x86_64-linux-gnu/libcrypto.so.3: version `OPENSSL_3.0.1' not found"
BROKEN = {
    "libcrypto": (
        "casatools",
        f'raise ImportError("{CRYPTO} (required by casac.so)")',
        f"CASA cannot be imported: ImportError: {CRYPTO} (required by casac.so)",
        "This casatools wants a newer libcrypto than the system's: pip install "
        "'casatools!=6.7.6.14' casatasks",
    ),
    "six": (
        "six",
        "raise ModuleNotFoundError(\"No module named 'six'\", name='six')",
        "CASA cannot be imported: ModuleNotFoundError: No module named 'six'",
        "casatasks needs it without saying so: pip install six",
    ),
    "casadata": (
        "casadata",
        "",
        "CASA cannot be imported: DataError: no CASA measures data: neither the user's CASA "
        "configuration nor the casadata package has them; pip install casadata",
        "pip install casadata (350 MB), or set measurespath in ~/.casa/config.py.",
    ),
    "libgfortran": (
        "casatools",
        "raise ImportError('libgfortran.so.5: cannot open shared object file: No such file')",
        "CASA cannot be imported: ImportError: libgfortran.so.5: cannot open shared object file: "
        "No such file",
        "The system lacks the library libgfortran: apt install libgfortran5 (Debian, Ubuntu).",
    ),
    "casatools": (
        "casatools",
        "raise ModuleNotFoundError(\"No module named 'casatools'\")",
        "CASA cannot be imported: ModuleNotFoundError: No module named 'casatools'",
        "pip install casatools casatasks casadata",
    ),
    "crash": (
        "casatools",
        "import os, sys; print('terminate called', file=sys.stderr, flush=True); os.abort()",
        "importing CASA ended the process (killed by SIGABRT): terminate called",
        "Reinstall casatools and casatasks of one version.",
    ),
}


@pytest.mark.casa
@pytest.mark.parametrize("what", BROKEN)
def test_an_import_that_fails_is_explained(tmp_path: Path, what: str) -> None:
    module, text, said, advice = BROKEN[what]
    code, found = examined(tmp_path, fake(tmp_path, module, text))
    assert code == 1
    (finding,) = found["casa"]
    assert (finding["state"], finding["text"], finding["advice"]) == ("bad", said, advice)


def write_config(place: Path, text: str) -> Path:
    config = place / "home" / ".casa" / "config.py"
    config.parent.mkdir(parents=True)
    config.write_text(text)
    return config


@pytest.mark.casa
def test_a_configuration_that_raises_is_ignored_by_casa(tmp_path: Path) -> None:
    config = write_config(tmp_path, "raise RuntimeError('boom')")
    code, found = examined(tmp_path)
    assert code == 0
    first = found["casa-configuration"][0]
    assert first["state"] == "warn"
    assert first["text"] == f"{config} fails, so that CASA ignores it: RuntimeError: boom"


@pytest.mark.casa
def test_a_configuration_that_exits(tmp_path: Path) -> None:
    write_config(tmp_path, "import sys; sys.exit(3)")
    code, found = examined(tmp_path)
    assert code == 1
    assert found["casa"][0]["text"] == "a CASA configuration file ends Python (SystemExit: 3)"


@pytest.mark.casa
def test_a_configuration_that_leads_nowhere(tmp_path: Path) -> None:
    write_config(tmp_path, "measurespath = '/nowhere'\ndatapath = ['/nowhere']\n")
    code, found = examined(tmp_path)
    assert code == 0
    assert found["measures"][0]["text"].endswith("__data__")


@pytest.mark.casa
def test_an_empty_path(tmp_path: Path) -> None:
    code, found = examined(tmp_path, {"PATH": ""})
    assert code == 0
    assert found["tool-sbatch"][0] == {
        "what": "tool-sbatch", "state": "good", "advice": "",
        "text": "sbatch is not there; only needed for batch jobs on Slurm",
    }  # fmt: skip


@pytest.mark.casa
def test_few_open_files(tmp_path: Path) -> None:
    limited = ("sh", "-c", 'ulimit -n 100; exec "$@"', "sh")
    code, found = examined(tmp_path, inside=limited)
    assert code == 1
    (finding,) = found["open-files"]
    assert finding["text"] == "100 files may be open at once, and CASA opens many"
    assert finding["advice"] == "ulimit -n 4096"


@pytest.mark.casa
def test_a_locale_that_is_not_there(tmp_path: Path) -> None:
    _, found = examined(tmp_path, {"LC_ALL": "xx_XX.UTF-8"})
    assert found["locale"][0]["text"] == "the locale 'xx_XX.UTF-8' is not installed here"


@pytest.mark.casa
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    runs.mkdir()
    try:
        inside = with_tmpfs(runs, "ro")
    except OSError as error:
        pytest.skip(str(error))
    code, found = examined(tmp_path, inside=inside, folder=runs / "one")
    assert code == 1
    assert found["folder"][0]["text"] == f"{runs} cannot be written"
    assert "--output" in found["folder"][0]["advice"]


def test_configuration_is_looked_at_without_running_it(tmp_path: Path) -> None:
    assert doctor_casa.casa_configuration(tmp_path) == []
    config = tmp_path / ".casa" / "config.py"
    config.parent.mkdir()
    config.write_text("measurespath = (\n")
    (finding,) = doctor_casa.casa_configuration(tmp_path)
    assert finding.state == "warn"
    assert finding.text == f"{config} is not Python: SyntaxError: '(' was never closed"
    config.write_text("measures_auto_update = True\nraise SystemExit\n")
    (finding,) = doctor_casa.casa_configuration(tmp_path)
    assert finding.text == (
        f"{config} lets CASA update its data by itself; casarun does not, so that a run can be "
        "repeated"
    )
    config.write_text("measures_auto_update = False\n")
    (finding,) = doctor_casa.casa_configuration(tmp_path)
    assert finding.state == "good"


def test_an_update_that_was_broken_off(tmp_path: Path) -> None:
    lock = tmp_path / ".casa" / "data" / "data_update.lock"
    lock.parent.mkdir(parents=True)
    lock.write_text("")
    assert doctor_casa.casa_configuration(tmp_path) == []
    lock.write_text("locked using data_update by ann on here : pid = 7 at 2025-01-01\n")
    (finding,) = doctor_casa.casa_configuration(tmp_path)
    assert finding.text.endswith(
        "(locked using data_update by ann on here : pid = 7 at 2025-01-01)"
    )
    assert f"remove {lock}" in finding.advice


def test_old_measures_tables() -> None:
    fresh = doctor_casa.orientation(60000.0, date(2023, 4, 1))
    assert (fresh.state, fresh.text) == ("good", "Earth orientation is known until 2023-02-25")
    old = doctor_casa.orientation(60000.0, date(2024, 2, 25))
    assert old.state == "warn"
    assert old.text == (
        "Earth orientation is known until 2023-02-25, 365 days ago: what CASA computes for later "
        "observations (uvw, elevations) is less exact"
    )


@pytest.mark.parametrize(
    ("system", "machine", "libc", "said"),
    [
        ("Linux", "aarch64", "glibc", "CASA has no wheels for Linux on aarch64"),
        ("Linux", "x86_64", "", "CASA's wheels need glibc"),
        ("Windows", "AMD64", "", "CASA has no wheels for Windows"),
        ("Linux", "x86_64", "glibc", "pip install casatools casatasks casadata"),
    ],
)
def test_no_wheel_for_this_machine(
    monkeypatch: pytest.MonkeyPatch, system: str, machine: str, libc: str, said: str
) -> None:
    monkeypatch.setattr(doctor_casa.platform, "system", lambda: system)
    monkeypatch.setattr(doctor_casa.platform, "machine", lambda: machine)
    monkeypatch.setattr(doctor_casa.platform, "libc_ver", lambda: (libc, ""))
    assert doctor_casa.advice("No module named 'casatools'").startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/lib/libc.so.6: version `GLIBC_2.38' not found", "The system's C library is older"),
        ("libGL.so.1: cannot open shared object file", "The system lacks the library libGL: apt"),
        ("libodd.so.1: cannot open shared object file", "The system lacks the library libodd."),
        ("AutoUpdatesNotAllowed: measurespath", "pip install casadata"),
        ("A module that was compiled using NumPy 1.x cannot be run", "pip install 'numpy<2'"),
        ("something else", ""),
    ],
)
def test_advice(text: str, said: str) -> None:
    found = doctor_casa.advice(text)
    assert found.startswith(said) if said else found == ""


@pytest.mark.parametrize(("version", "state"), [((3, 10, 4), "bad"), ((3, 13, 0), "good")])
def test_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], state: str) -> None:
    monkeypatch.setattr(doctor_casa.sys, "version_info", version)
    finding = doctor_casa.python()
    assert finding.state == state
    assert finding.text.startswith(f"Python 3.{version[1]}.{version[2]}")


@pytest.mark.parametrize(("free", "state"), [(300_000_000, "bad"), (GB, "warn"), (8 * GB, "good")])
def test_memory(free: int, state: str) -> None:
    here = Machine(Limit(1, "CPU quota"), Limit(16 * GB, "the machine"), Limit(free, "a cgroup"))
    cores, memory = doctor_machine.machine_findings(here)
    assert cores.text == "1 core may be used (CPU quota)"
    assert memory.state == state
    assert memory.text.endswith("of memory are free (a cgroup), of 16 GB at the most (the machine)")


def test_a_network_filesystem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "filesystem_kind", lambda place: "nfs4")
    findings = {finding.what: finding for finding in doctor_machine.folder_findings(tmp_path)}
    assert findings["filesystem"].state == "warn"
    assert findings["filesystem"].text == (
        f"{tmp_path} is on a network filesystem (nfs4): CASA's table locks may be slow or hang "
        "there"
    )


def test_a_filesystem_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "lacks", lambda place: ["has no file locks"])
    found = doctor_machine.folder_findings(tmp_path)
    assert [finding.state for finding in found if finding.what == "filesystem"] == ["bad"]


@pytest.mark.parametrize("can", [True, False])
def test_reflinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can: bool) -> None:
    def ioctl(*arguments: Any) -> int:
        if not can:
            raise OSError(95, "Operation not supported")
        return 0

    monkeypatch.setattr(doctor_machine.fcntl, "ioctl", ioctl)
    assert doctor_machine.can_reflink(tmp_path) is can
    assert list(tmp_path.iterdir()) == []


def test_the_filesystem_of_a_folder_is_known() -> None:
    assert doctor_machine.filesystem_kind(Path("/proc/self")) == "proc"


@pytest.mark.parametrize(
    ("limit", "state"), [(-1, "good"), (1024, "good"), (1023, "warn"), (64, "bad")]
)
def test_open_files(limit: int, state: str) -> None:
    assert doctor_machine.open_files(limit).state == state


def test_tools_tell_their_version(tmp_path: Path) -> None:
    tool = tmp_path / "sbatch"
    tool.write_text("#!/bin/sh\necho slurm 23.11.4\n")
    tool.chmod(0o755)
    silent = tmp_path / "carta"
    silent.write_text("#!/bin/sh\nexit 1\n")
    silent.chmod(0o755)
    found = {finding.what: finding for finding in doctor_machine.tools({"PATH": str(tmp_path)})}
    assert found["tool-sbatch"].text == f"sbatch 23.11.4: {tool}"
    assert found["tool-carta"].text == f"carta: {silent}"
    assert found["tool-srun"].text == (
        "srun is not there; only needed for steps as tasks of a Slurm job"
    )
    assert {finding.state for finding in found.values()} == {"good"}


def test_ready_is_nothing_bad() -> None:
    good, warn, bad = (Finding("x", state, "") for state in ("good", "warn", "bad"))
    assert doctor.ready([good, warn])
    assert not doctor.ready([good, bad])
