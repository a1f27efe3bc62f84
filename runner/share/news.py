"""What is told of a run that has ended: the verdict, three things to look at, the report."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Literal

from ..engine.outcome import Outcome
from ..errors import ExitCode, printable, with_advice
from ..folder import RunFolder
from ..report import words
from ..report.judging import MOST_TO_SEE, attention

Kind = Literal["success", "failure", "stopped"]

_LONGEST: Final = 1500
"""Characters of a thing to look at; the report has the rest."""
_WORDS: Final = {
    ExitCode.STEP_FAILED: "a step failed",
    ExitCode.REFUSED: "refused",
    ExitCode.INTERRUPTED: "stopped",
    ExitCode.BUG: "a bug in casarun",
}


@dataclass(frozen=True)
class News:
    """What is told of a run.

    Attributes
    ----------
    name, title : str
        Of the recipe; the name is safe as a part of a command, the title is free text.
    folder : RunFolder
        Where the run is.
    exit_code : ExitCode
        What it came to.
    verdict : str
        In two or three words: ``pass``, ``a step failed``.
    things : tuple of str
        What to look at first, three at most.
    ran : int
        How many steps were run.
    wrong : tuple of str
        All that is not as it should be, by names: it tells news from old ones.
    """

    name: str
    title: str
    folder: RunFolder
    exit_code: ExitCode
    verdict: str
    things: tuple[str, ...]
    ran: int = 0
    wrong: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """As what a recipe's ``notify.on`` knows it."""
        if self.exit_code == ExitCode.INTERRUPTED:
            return "stopped"
        return "success" if self.exit_code == ExitCode.DONE else "failure"

    @property
    def subject(self) -> str:
        """One line."""
        return f"casarun: {self.name}: {self.verdict}"

    @property
    def report(self) -> str:
        """The path of the report, as far as there is one."""
        return str(self.folder.report) if self.folder.report.is_file() else ""

    @property
    def digest(self) -> str:
        """The same for the same news: what was told once need not be told every ten minutes."""
        told = "\0".join((self.name, self.verdict, *(self.wrong or self.things)))
        return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()

    def text(self) -> str:
        """Return the whole message, as plain text."""
        head = f"{self.name}: {self.title}" if self.title else self.name
        ran = f"{self.ran} step{'' if self.ran == 1 else 's'} run" if self.ran else "no step run"
        lines = [
            head,
            f"Verdict: {self.verdict} (exit code {int(self.exit_code)}); {ran}, on "
            f"{socket.gethostname()}.",
        ]
        if self.things:
            lines += ["", "Look at:"]
            lines += [f"{n}. {_cut(one)}" for n, one in enumerate(self.things, 1)]
        lines += ["", f"Report: {self.report}" if self.report else "There is no report.",
                  f"Run folder: {self.folder.root}"]  # fmt: skip
        return printable("\n".join(lines)) + "\n"

    def words(self) -> dict[str, str]:
        """Return what may stand in the arguments of a command: nothing that is free text."""
        return {
            "title": self.subject,
            "name": self.name,
            "verdict": self.verdict,
            "report": self.report,
            "folder": str(self.folder.root),
        }


def of_run(
    name: str,
    title: str,
    folder: RunFolder,
    outcome: Outcome,
    metrics: Mapping[str, Any],
    exit_code: ExitCode,
    aside: Mapping[str, str] | None = None,
) -> News:
    """Return the news of a run that came to its end, or was asked to stop.

    Parameters
    ----------
    name, title : str
        Of the recipe.
    folder : RunFolder
        Where it is.
    outcome : Outcome
        Of its steps.
    metrics : mapping
        The content of ``qa/metrics.json``.
    exit_code : ExitCode
        What it came to.
    aside : mapping of str to str, optional
        Datasets that were refused while others went on, and why.
    """
    verdict = _WORDS.get(exit_code) or str(metrics.get("verdict", "done"))
    if exit_code == ExitCode.INTERRUPTED:
        things = [outcome.why or "asked to stop", "the same command goes on"]
    else:
        things = [
            _thing(item) for item in attention(metrics, list(_failures(outcome, aside or {})))
        ]
        things += islice(_found(metrics), MOST_TO_SEE - len(things))
    bad = [f"{one['name']} {one['subject']}" for one in metrics.get("checks", ())
           if one["verdict"] != "pass"]  # fmt: skip
    return News(
        name, title, folder, exit_code, verdict, tuple(things), len(outcome.done),
        (*sorted(outcome.failed), *sorted(aside or ()), *sorted(bad)),
    )  # fmt: skip


def of_error(
    name: str, title: str, folder: RunFolder, error: Exception, exit_code: ExitCode
) -> News:
    """Return the news of a run that an error ended: data that were refused, or a bug."""
    said = str(error) or type(error).__name__
    return News(name, title, folder, exit_code, _WORDS[exit_code], (said,))


def _failures(outcome: Outcome, aside: Mapping[str, str]) -> Iterator[dict[str, str]]:
    for name, why in aside.items():
        yield {"state": "failed", "title": f"dataset {name}", "message": why, "reason": "",
               "advice": ""}  # fmt: skip
    for step, failure in outcome.failed.items():
        yield {"state": "failed", "title": step, "message": failure.message, "reason": "",
               "advice": failure.advice}  # fmt: skip


def _thing(item: Mapping[str, str]) -> str:
    """Say what the report shows first."""
    of = f" of {item['subject']}" if item["subject"] else ""
    passed = item["verdict"] == "pass"
    mark = "passed, nearest to its limit" if passed else item["verdict"]
    if not item["why"]:  # a step that failed says so itself
        return f"{item['title']}: {with_advice(item['text'], item['advice'])}"
    said = f"{item['title']}{of} ({mark}): {item['why']} {item['text']}"
    said += f" (limit: {item['limit']})" if item["limit"] else ""
    return said if passed else with_advice(said, item["advice"])


def _found(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a run that went well has found."""
    for target, images in metrics.get("images", {}).items():
        for name, numbers in images.items():
            reached = numbers.get("dynamic_range")
            yield (
                f"{target}, {name}: peak {words.brightness(numbers.get('peak_jy_per_beam'))}, "
                f"noise {words.brightness(numbers.get('rms_noise_jy_per_beam'))}, dynamic range "
                f"{words.UNKNOWN if reached is None else f'{reached:.0f}'}"
            )
    for name, numbers in metrics.get("datasets", {}).items():
        share = numbers.get("flagged_fraction", {}).get("total")
        yield f"{name}: {words.percent(share)} of the cross-correlations flagged"


def _cut(text: str) -> str:
    text = text.rstrip("\n").replace("\n", "\n   ")
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
