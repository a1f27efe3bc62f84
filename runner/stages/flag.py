"""Stage ``flag``: what is known to be bad, before the calibration and after it."""

from __future__ import annotations

from typing import Any

from .. import heuristics
from ..quantities import parse
from ..selection import flag_command
from . import proofs
from .draft import Draft, Subject, check


def steps(draft: Draft, subject: Subject) -> None:
    """Add the flagging that comes before the calibration."""
    flag = draft.recipe.flag
    commands = _commands(draft, subject)
    if commands:
        _add(draft, subject, "basic", {"mode": "list", "inpfile": commands}, _said(commands))
    manual = _manual(draft, subject)
    if manual:
        left_out = len(flag.manual) - len(manual)
        title = f"{len(manual)} command{'s' if len(manual) > 1 else ''} of the recipe"
        _add(
            draft,
            subject,
            "manual",
            {"mode": "list", "inpfile": [_complete(command) for command in manual]},
            f"{title}, without {left_out} for other datasets" if left_out else title,
            check("flag_commands", n=len(manual)),
        )
    if flag.rfi != "none":
        params: dict[str, Any] = {"mode": "tfcrop", "datacolumn": "data", "extendflags": False}
        _add(draft, subject, "rfi", params | _passed(draft), "tfcrop on the raw data")


def after_calibration(draft: Draft, subject: Subject) -> None:
    """Add the flagging of what only calibrated data show."""
    flag = draft.recipe.flag
    if flag.rfi == "none":
        return
    params: dict[str, Any] = {"mode": flag.rfi, "datacolumn": "corrected", "extendflags": False}
    _add(draft, subject, "corrected", params | _passed(draft), f"{flag.rfi} on calibrated data")


def _passed(draft: Draft) -> dict[str, Any]:
    return dict(draft.recipe.flag.flagdata)


def _manual(draft: Draft, subject: Subject) -> list[str]:
    """Return the recipe's own commands but for those that are meant for another dataset."""
    commands = draft.recipe.flag.manual
    if len(draft.recipe.dataset) == 1:
        return list(commands)
    return [c for c in commands if not flag_command.selections(c, subject.observation)]


def _add(
    draft: Draft, subject: Subject, name: str, params: dict[str, Any], title: str, *checks: Any
) -> None:
    ms = subject.working
    draft.add(
        f"{subject.name}.flag.{name}",
        "casa:flagdata",
        {"vis": ms, "flagbackup": False, **params},
        stage="flag",
        title=f"flag: {title}",
        updates=(ms,),
        checks=(*checks, proofs.flags(draft, subject)),
        dataset=subject.name,
    )


def _commands(draft: Draft, subject: Subject) -> list[str]:
    """Return the flag commands that need no look at the data's values, for one pass."""
    flag = draft.recipe.flag
    commands = []
    if flag.autocorr:
        commands.append("mode='manual' autocorr=True")
    if flag.shadow:
        commands.append("mode='shadow'")
    if flag.zeros:
        commands.append("mode='clip' clipzeros=True")
    quack = parse(flag.quack, "duration")
    if quack > 0:
        commands.append(f"mode='quack' quackinterval={quack:g} quackmode='beg'")
    edges = _edges(draft, subject)
    if edges:
        commands.append(f"mode='manual' spw='{edges}'")
    return commands


def _edges(draft: Draft, subject: Subject) -> str:
    """Return the selection of the edge channels."""
    parts = []
    for spw in subject.observation.spws:
        number = draft.recipe.flag.edge
        if number == "auto":
            choice = heuristics.edge_channels(spw)
            number = draft.choose("flag.edge", f"{subject.name}.spw{spw.id}", choice)
        if 2 * int(number) >= spw.n_chan > 0 < int(number):
            draft.problem(
                f"{number} channels at each edge leave none of the {spw.n_chan} of spw {spw.id} "
                f"of dataset {subject.name}",
                ("flag", "edge"),
            )
        elif int(number) > 0:
            last = spw.n_chan - 1
            parts.append(f"{spw.id}:0~{int(number) - 1};{last - int(number) + 1}~{last}")
    return ",".join(parts)


def _complete(command: str) -> str:
    """Give a flag command its mode, as ``flagdata`` wants it."""
    return command if "mode=" in command.replace(" ", "") else f"mode='manual' {command}"


def _said(commands: list[str]) -> str:
    """Say for a person what the basic commands flag."""
    words = {
        "autocorr": "autocorrelations",
        "shadow": "shadowing",
        "clipzeros": "zeros",
        "quack": "scan starts",
        "spw=": "edge channels",
    }
    return ", ".join(text for word, text in words.items() if any(word in c for c in commands))
