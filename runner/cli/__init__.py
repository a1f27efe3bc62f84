"""The command line: options to `casarun.api`, exit codes, terminal output. No logic."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

import click

from ..errors import CasarunError, ExitCode
from .commands import cli

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with one of `ExitCode`."""
    sys.exit(run(sys.argv[1:]))


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
            click.echo(str(error), err=True)
            return int(error.exit_code)
        return _bug(error)
    except BrokenPipeError:
        # The reader has seen enough; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _bug(error)


def _bug(error: Exception) -> int:
    """Keep what a bug report needs in a file, and say where."""
    import tempfile

    handle, name = tempfile.mkstemp(prefix="casarun-bug-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as log:
        log.write("".join(traceback.format_exception(error)))
    click.echo(f"this is a bug in casarun: {error}\nfor a bug report: {Path(name)}", err=True)
    return int(ExitCode.BUG)
