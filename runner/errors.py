"""What can go wrong, by whom it can be mended, and with which exit code.

A `Problem` is one thing that is wrong with a recipe or with the data it names.
Problems are collected and shown together; the first one never hides the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import IntEnum, StrEnum
from typing import Literal

KeyPath = tuple[str | int, ...]
"""Where a value stands in a recipe: ``("image", 0, "deconvolver")``."""


class ExitCode(IntEnum):
    """Exit codes of the command line; scripts and batch systems rely on them.

    3 is a no after the work was done: of the QA to a run, of ``compare`` to two runs, of
    ``verify`` to a bundle.
    """

    DONE = 0
    STEP_FAILED = 1
    REFUSED = 2
    QA_FAILED = 3
    DIFFER = 3
    LOCKED = 4
    BUG = 70
    INTERRUPTED = 75


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, said so that its reader can mend it.

    Attributes
    ----------
    message : str
        What is wrong and, where known, the way out.
    key : KeyPath
        The recipe key that it is about; empty for the document as a whole.
    severity : {"error", "warning"}
        Errors refuse the recipe, warnings are shown.
    line, column : int or None
        One-based place, where it is known without the key (syntax errors), or once the problem
        is part of a refusal.
    where : str
        The file of that place, as the user named it, or the option (``--set ...``) that gave the
        value; empty until the problem is part of a refusal.
    at_key : bool
        Point at the key rather than at its value.
    about : tuple of (str, str)
        Kind and name of what the message names, and what another problem may be alike of:
        ``(("target", "NGC1068"), ("dataset", "apr13"))``. See `casarun.recipe.alike`.
    """

    message: str
    key: KeyPath = ()
    severity: Literal["error", "warning"] = "error"
    line: int | None = None
    column: int | None = None
    at_key: bool = False
    where: str = field(default="", compare=False)
    about: tuple[tuple[str, str], ...] = field(default=(), compare=False)


class CasarunError(Exception):
    """Base of every error that casarun raises on purpose."""

    exit_code: ExitCode = ExitCode.BUG


class RefusedError(CasarunError):
    """The recipe, the data or the machine cannot work; nothing was run.

    Parameters
    ----------
    problems : sequence of Problem
        All that was found, in the order of the recipe.
    rendered : str, optional
        The text to show; by default the problems' messages, one a line.
    """

    exit_code = ExitCode.REFUSED

    def __init__(self, problems: Sequence[Problem], rendered: str | None = None) -> None:
        self.problems = tuple(problems)
        super().__init__(rendered or "\n".join(problem.message for problem in problems))


class DataError(CasarunError):
    """A dataset or product cannot be read, or is not what it claims to be."""

    exit_code = ExitCode.REFUSED


class LockedError(CasarunError):
    """Another run holds the run folder.

    Parameters
    ----------
    message : str
        Which, and what to do if it is no more.
    doubtful : bool
        Whether that run may be no more, which nobody can tell from here.
    """

    exit_code = ExitCode.LOCKED

    def __init__(self, message: str, *, doubtful: bool = False) -> None:
        self.doubtful = doubtful
        super().__init__(message)


class InterruptedRunError(CasarunError):
    """The run was asked to stop and did so at a safe point."""

    exit_code = ExitCode.INTERRUPTED


class Cause(StrEnum):
    """Why a step failed; it decides whether trying again can help."""

    PARAMETER = "parameter"
    POSTCONDITION = "postcondition"
    DIVERGED = "diverged"
    SEVERE = "severe"
    EXCEPTION = "exception"
    ABORT = "abort"
    SIGNAL = "signal"
    TIME_LIMIT = "time-limit"
    OUT_OF_MEMORY = "out-of-memory"
    TABLE_LOCK = "table-lock"
    IO = "io"
    DISK_FULL = "disk-full"
    LOST_INPUT = "lost-input"
    LOST_PRODUCT = "lost-product"
    INPUT_CHANGED = "input-changed"
    UNKNOWN = "unknown"


class StepFailedError(CasarunError):
    """A step did not do what it should.

    Parameters
    ----------
    cause : Cause
        What kind of failure it is.
    message : str
        What was expected, what was found, and the likely cause.
    advice : str, optional
        What to change in the recipe.
    """

    exit_code = ExitCode.STEP_FAILED

    def __init__(self, cause: Cause, message: str, advice: str = "") -> None:
        self.cause = cause
        self.message = message
        self.advice = advice
        super().__init__(with_advice(message, advice))


def with_advice(message: str, advice: str) -> str:
    """Return a message with the way out behind it, as sentences."""
    if not advice:
        return message
    return f"{message}{'' if message.endswith(('.', ':', '?')) else '.'} {advice}"


def refuse(message: str, key: KeyPath = ()) -> RefusedError:
    """Return a refusal with a single problem, to be raised."""
    return RefusedError([Problem(message, key)])


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the nearest choice, or nothing.

    Parameters
    ----------
    word : str
        What was written.
    choices : iterable of str
        What could have been meant.
    """
    folded = {choice.casefold(): choice for choice in choices}
    near = get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return f"; did you mean '{folded[near[0]]}'?" if near else ""


def listing(items: Sequence[str], most: int = 5) -> str:
    """Write the first few of a list: ``a, b, c and 4 more``."""
    shown = ", ".join(items[:most])
    return shown + (f" and {len(items) - most:,} more" if len(items) > most else "")


def printable(text: str) -> str:
    """Return a text for a terminal: what would not print, or would drive it, is escaped.

    Names and messages that come from data may hold anything. Lines stay lines, and tabs tabs.
    """
    if text.isprintable():  # nearly all are
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


def dotted(key: KeyPath) -> str:
    """Write a key path as ``image[0].deconvolver``."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
