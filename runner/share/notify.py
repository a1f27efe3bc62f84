"""Telling the user that a run has ended, in the way that their own configuration defines.

A notifier is a process of its own that has so long and no longer: whatever it does, the run has
come to what it came to. No shell is between.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from ..configuration import Notifier, filled
from ..errors import printable
from ..quantities import human_seconds
from .news import News

_APPRISE: Final = "casarun.share.apprise_send"
_TYPES: Final = {"success": "success", "failure": "failure", "stopped": "warning"}
"""How Apprise marks a message."""
_SAID: Final = 300
"""Characters of what a notifier that failed said last."""


def send(notifier: Notifier, news: News) -> str:
    """Let a notifier tell the news.

    Parameters
    ----------
    notifier : Notifier
        As the user's configuration has it.
    news : News
        What to tell.

    Returns
    -------
    str
        What went wrong; empty if nothing did.
    """
    if notifier.url:
        message = {"url": notifier.url, "title": news.subject, "body": news.text(),
                   "type": _TYPES[news.kind]}  # fmt: skip
        # The addresses hold secrets: they are not for the list of processes.
        command = [sys.executable, "-P", "-m", _APPRISE]
        return _run(command, json.dumps(message), notifier.timeout_s, news)
    words = news.words()
    program = os.path.expanduser(notifier.command[0])  # noqa: PTH111 - a name alone is no path
    found = shutil.which(program)
    if found is None:
        return f"there is no program {program}" + ("" if "/" in program else " on the PATH")
    command = [found, *(filled(argument, words) for argument in notifier.command[1:])]
    return _run(command, news.text(), notifier.timeout_s, news)


def _run(command: Sequence[str], text: str, seconds: float, news: News) -> str:
    """Run a program with a text on its input; say what went wrong."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(text.encode("utf-8", "surrogateescape"))
        given.seek(0)
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                command,
                stdin=given,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd=_home(),
                env=os.environ | _about(news),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return f"cannot be started: {getattr(error, 'strerror', None) or error}"
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return f"took longer than {human_seconds(seconds)} and was ended"
        finally:
            _end(process)
        return "" if code == 0 else f"{_ended(code)}{_last_words(said)}"


def _about(news: News) -> dict[str, str]:
    """Return what a notifier finds in its environment."""
    told = {**news.words(), "exit_code": str(int(news.exit_code)), "kind": news.kind}
    return {f"CASARUN_{name.upper()}": value for name, value in told.items()}


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a notifier and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    with contextlib.suppress(ValueError):
        return f"was killed by {signal.Signals(-code).name}"
    return f"was killed by signal {-code}"


def _last_words(said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - 4096))
    lines = said.read().decode("utf-8", "replace").strip().splitlines()
    return f": {printable(lines[-1])[:_SAID]}" if lines else ""


def _home() -> Path:
    """Return where a notifier starts: not in a folder whose files a recipe has chosen."""
    with contextlib.suppress(RuntimeError):
        home = Path.home()
        if home.is_dir():
            return home
    return Path("/")
