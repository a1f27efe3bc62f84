"""The command line: options to `casarun.api`, exit codes, terminal output. No logic."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import click

from ..errors import CasarunError, ExitCode, printable
from .commands import cli
from .handing import cancel, slice_, submit
from .looking import compare, dashboard, plot, view
from .sharing import bundle, crate, verify

for _command in (bundle, cancel, compare, crate, dashboard, plot, slice_, submit, verify, view):
    cli.add_command(_command)

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with one of `ExitCode`."""
    codes: list[int] = []
    atexit.register(_leave, codes)  # the first that is registered comes last
    _open_streams()
    collect_rarely()
    codes.append(run(sys.argv[1:]))
    sys.exit(codes[0])


def _leave(codes: Sequence[int]) -> None:
    """End this process, all else being done, without taking apart what it holds.

    That takes a tenth of the time of a start with 20,000 steps. CASA is left to end as it does.
    """
    if not codes or "casatools" in sys.modules:
        return
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):  # Python has its own words for that
        return
    os._exit(codes[0])


def collect_rarely() -> None:
    """Look for garbage less often than Python does by itself.

    Plans are many objects that live long: to go through them again and again takes a sixth of
    the time that 20,000 steps take to plan.
    """
    gc.set_threshold(100_000, 50, 50)


def _open_streams() -> None:
    """Open the standard streams that the caller closed, as some schedulers do, on nothing.

    Else the first files that are opened, the lock and the journal, take their numbers, and what
    CASA prints goes into them.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # in a locale that lacks a letter


def run(arguments: list[str]) -> int:
    """Run a command; return its exit code.

    What goes wrong is said in a few lines; only a bug leaves a traceback, in a file.
    """
    try:
        code = cli.main(arguments, prog_name="casarun", standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show()
        return int(ExitCode.REFUSED)
    except (click.Abort, KeyboardInterrupt):
        click.echo("\nstopped; run the same command to go on", err=True)
        return int(ExitCode.INTERRUPTED)
    except CasarunError as error:
        if error.exit_code is not ExitCode.BUG:
            click.echo(printable(str(error)), err=True)
            return int(error.exit_code)
        return _bug(error)
    except BrokenPipeError:
        # The reader has seen enough; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error, FileNotFoundError) and error.filename is None:  # of os.getcwd
            said = "the current folder was removed: go to another, or name all by absolute paths"
            click.echo(said, err=True)
            return int(ExitCode.REFUSED)
        return _bug(error)


def _bug(error: Exception) -> int:
    """Keep what a bug report needs in a file, and say where."""
    import tempfile

    handle, name = tempfile.mkstemp(prefix="casarun-bug-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))
    said = printable(str(error))
    click.echo(f"this is a bug in casarun: {said}\nfor a bug report: {Path(name)}", err=True)
    return int(ExitCode.BUG)
