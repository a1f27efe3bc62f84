"""The container is built by the README's own command, from what Debian's Python needs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "Containerfile").read_text(encoding="utf-8")
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the file, each on one line."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def test_all_of_it_are_instructions() -> None:
    assert {word for word, _ in instructions()} == INSTRUCTIONS
    assert instructions()[0] == ("FROM", "docker.io/library/debian:bookworm-slim")
    for word, rest in instructions():
        if word == "RUN":
            assert subprocess.run(["sh", "-n", "-c", rest], check=False).returncode == 0, rest
    (command,) = [rest for word, rest in instructions() if word == "CMD"]
    assert shlex.split(command.strip("[]").replace(",", " ")) == ["casarun", "--help"]


def test_it_is_installed_by_the_readmes_own_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first = re.findall(r"```sh\n(.*?)\n```", readme, re.DOTALL)[0]
    install, _, run = first.rpartition(" && ")
    assert run.startswith(".venv/bin/casarun ")
    assert ("RUN", install) in instructions()


def test_it_installs_what_the_readme_says_that_debian_lacks() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    needed = re.findall(r"`apt install ([\w-]+)`", readme)
    assert needed
    (installs,) = [rest for word, rest in instructions() if "apt-get install" in rest]
    assert set(needed) <= set(shlex.split(installs))


def test_what_is_no_source_stays_out() -> None:
    left_out = (ROOT / ".containerignore").read_text(encoding="utf-8").split()
    assert {"**/.venv", "**/.git", "**/runs"} <= set(left_out)


def test_a_builder_reads_it(tmp_path: Path) -> None:
    """Its base cannot be fetched everywhere; without one, a builder says that and nothing else."""
    builder = shutil.which("buildah")
    if builder is None:
        pytest.skip("buildah is not installed")
    (tmp_path / "Containerfile").write_text(TEXT)
    store = ["--root", str(tmp_path / "store"), "--runroot", str(tmp_path / "run"),
             "--storage-driver", "vfs"]  # fmt: skip
    done = subprocess.run(
        [builder, *store, "bud", "--pull=never", str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f"STEP 1/{len(instructions())}: FROM " in done.stdout
    assert done.returncode == 0 or "debian:bookworm-slim: image not known" in done.stderr
