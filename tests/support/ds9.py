"""Real DS9 on a virtual screen, spoken to through XPA."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_NEEDED = ("ds9", "Xvfb", "xpaset", "xpaget", "xpaaccess")
MISSING = [name for name in _NEEDED if shutil.which(name) is None]
needs_ds9 = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
TITLE = "casarun-test"
_PATIENCE_S = 120


class DS9:
    """A running DS9.

    Attributes
    ----------
    env : dict of str to str
        The environment in which it is found, and casarun must look for it.
    name : str
        Its own, for XPA.
    """

    def __init__(self, env: dict[str, str], name: str = TITLE) -> None:
        self.env, self.name = env, name

    def set(self, *words: str, data: str | None = None) -> None:
        """Tell DS9 something, with `data` or without."""
        options = ["-p"] if data is None else []
        done = self._call("xpaset", *options, self.name, *words, data=data)
        assert done.returncode == 0, done.stderr
        assert "XPA$ERROR" not in done.stderr, done.stderr

    def get(self, *words: str) -> str:
        """Ask DS9 something."""
        done = self._call("xpaget", self.name, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def servers(self) -> list[str]:
        """Return the names of all DS9s that run beside it."""
        return [line.split()[1] for line in self._call("xpaget", "xpans").stdout.splitlines()]

    def tcl(self, script: str, out: Path) -> str:
        """Run a script in DS9, with the file to write its answer to as ``$f``; return that."""
        self.set("tcl", data=f"set f [open {out} w]\n{script}\nclose $f")
        return out.read_text()

    def _call(self, *command: str, data: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.env, input=data, capture_output=True, text=True, check=False,
            timeout=_PATIENCE_S,
        )  # fmt: skip


@contextmanager
def screen(home: Path) -> Iterator[dict[str, str]]:
    """Give an environment with a virtual screen, and a home and XPA names of its own."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
        pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(write)
    try:
        with os.fdopen(read) as told:
            number = told.readline().strip()
        assert number, "Xvfb has not started"
        xpa = home / "xpa"
        xpa.mkdir(parents=True)
        yield {
            "PATH": os.environ["PATH"], "HOME": str(home), "DISPLAY": f":{number}",
            "TMPDIR": str(home), "XPA_METHOD": "local", "XPA_TMPDIR": str(xpa), "LANG": "C.UTF-8",
        }  # fmt: skip
    finally:
        server.terminate()
        server.wait(_PATIENCE_S)


@contextmanager
def ds9(env: dict[str, str], *arguments: str, title: str = TITLE) -> Iterator[DS9]:
    """Start DS9 on a screen; it ends with the block."""
    process = subprocess.Popen(
        ["ds9", "-title", title, *arguments], env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        end = time.monotonic() + _PATIENCE_S
        while True:
            found = subprocess.run(
                ["xpaaccess", "-n", title], env=env, capture_output=True, text=True,
                check=False, timeout=_PATIENCE_S,
            )  # fmt: skip
            if found.stdout.strip() not in ("", "0"):
                break
            assert process.poll() is None, "DS9 has ended"
            assert time.monotonic() < end, "DS9 is not heard of"
            time.sleep(0.1)
        yield DS9(env, title)
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_PATIENCE_S)
