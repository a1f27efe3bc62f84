"""What a batch job asks for: from the recipe, else the user's configuration, else the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import Any, Final

from ..errors import KeyPath, Problem, did_you_mean, refuse
from ..plan import Plan
from ..quantities import human_bytes, human_seconds, parse
from ..recipe.model import KINDS, Cluster, ClusterStage
from ..recipe.schema import shown
from .executors.batch import Ask
from .forecast import at_once, elapsed

MOST_CORES: Final = 8
"""No more cores are asked for than these, where the recipe does not say otherwise."""

_LEAST_S: Final = 1800.0
_TIMES: Final = 3.0
"""A first estimate of the time may be off by this factor."""

_RUNNER_BYTES: Final = 700_000_000
"""The runner, and the process that its steps are forked from, with CASA imported."""

_UNKNOWN_BYTES: Final = 500_000_000
"""A step of which nothing is known."""

_MEMORY_SHARE: Final = 0.8
"""Of the job's memory steps may be expected to use this share."""

_ROUND_BYTES: Final = 100 * 2**20
_WORDS: Final = ("partition", "account", "qos", "constraint", "reservation")


@dataclass(frozen=True)
class Need:
    """What steps are expected to need of a job.

    Attributes
    ----------
    cores : int
        So many can be used at once.
    memory_bytes : int
        With the runner's own.
    seconds : float
        From beginning to end on these cores.
    """

    cores: int
    memory_bytes: int
    seconds: float


def need(
    plan: Plan,
    times: Mapping[str, float],
    memory: Mapping[str, int],
    cores: int | None = None,
    most_cores: int = 0,
) -> Need:
    """Return what steps are expected to need.

    Parameters
    ----------
    plan : Plan
        Where they are.
    times : mapping of str to float
        The steps that run, with the seconds that they are expected to take.
    memory : mapping of str to int
        Bytes of steps that needed more in earlier runs than they are expected to.
    cores : int, optional
        As many as the recipe asks for; by default as many as can be used, up to `MOST_CORES`.
    most_cores : int
        As many as the largest node has; 0 where that is not known.
    """
    used = at_once(plan, times, cores or min(MOST_CORES, most_cores or MOST_CORES))
    most = nlargest(
        used,
        (
            memory.get(step.id, 0) or step.resources.memory_bytes or _UNKNOWN_BYTES
            for step in plan.steps
            if step.id in times
        ),
    )
    held = sum(most) / _MEMORY_SHARE + _RUNNER_BYTES
    rounded = -int(-held // _ROUND_BYTES) * _ROUND_BYTES
    return Need(cores or used, rounded, elapsed(plan, times, used))


def ask(
    kind: str, name: str, cluster: Cluster, own: Mapping[str, Any], needed: Need | None
) -> tuple[Ask, list[str]]:
    """Return what a job asks for, and what of it was chosen, in words.

    Parameters
    ----------
    kind : str
        One of `casarun.recipe.model.KINDS`; empty for a whole run.
    name : str
        Of the job.
    cluster : Cluster
        The recipe's wishes: they come first.
    own : mapping
        The user's own, from the configuration file.
    needed : Need or None
        What the plan says; None where recipe and configuration say all.
    """
    stage: ClusterStage = getattr(cluster, kind) if kind else ClusterStage()
    mine = {**own, **own.get("for", {}).get(kind, {})}
    cores = _first("auto", stage.cores, cluster.cores)
    memory = _first("auto", stage.memory, cluster.memory)
    time = _first("auto", stage.time, cluster.time)
    seconds = 0.0 if needed is None else max(_LEAST_S, _TIMES * needed.seconds)
    said = [] if needed is None else list(_said(needed, seconds, cores, memory, time))
    words = {
        word: getattr(stage, word, "") or getattr(cluster, word) or str(mine.get(word, ""))
        for word in _WORDS
    }
    return (
        Ask(
            name,
            needed.cores if needed and cores == "auto" else int(cores),
            needed.memory_bytes if needed and memory == "auto" else int(parse(str(memory), "size")),
            seconds if time == "auto" else parse(str(time), "duration"),
            **words,
            options=tuple(mine.get("options", ())),
            setup=tuple(mine.get("setup", ())),
        ),
        said,
    )


def _said(needed: Need, seconds: float, cores: str | int, memory: str, time: str) -> Iterator[str]:
    """Say what was chosen, of what is left to casarun."""
    if cores == "auto":
        yield (
            f"cores = {needed.cores}: so many steps can run at once (no more than {MOST_CORES} are "
            "asked for, nor than a node has)"
        )
    if memory == "auto":
        yield (
            f"memory = {human_bytes(needed.memory_bytes)}: what the largest steps are expected to "
            "need together, and the runner"
        )
    if time == "auto":
        yield (
            f"time = {human_seconds(seconds)}: {_TIMES:g} times the {human_seconds(needed.seconds)}"
            f" that it is expected to take, at least {human_seconds(_LEAST_S)}"
        )


def session(name: str, cluster: Cluster, own: Mapping[str, Any]) -> tuple[Ask, list[str]]:
    """Return what a session of a platform asks for, and what was left to the platform, in words.

    Parameters
    ----------
    name : str
        Of the session.
    cluster : Cluster
        The recipe's wishes.
    own : mapping
        The user's own, from the configuration file.
    """
    fixed = "auto" not in (cluster.cores, cluster.memory)
    if not fixed and (cluster.cores, cluster.memory) != ("auto", "auto"):
        raise refuse(
            "a session has both cores and memory, or what the platform has to give: set "
            "cluster.cores and cluster.memory, or neither"
        )
    said = [] if fixed else ["cores and memory: what the platform has to give (a flexible session)"]
    return (
        Ask(
            name,
            int(cluster.cores) if fixed else 0,
            int(parse(cluster.memory, "size")) if fixed else 0,
            0.0,
            setup=tuple(own.get("setup", ())),
        ),
        said,
    )


def says_all(cluster: Cluster) -> bool:
    """Say whether a recipe asks for a whole run's cores, memory and time itself."""
    return "auto" not in (cluster.cores, cluster.memory, cluster.time)


def _first(nothing: Any, *values: Any) -> Any:
    """Return the first value that says something."""
    return next((value for value in values if value != nothing), nothing)


def wrong_settings(own: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what of a user's own settings would break a script, or never comes to anything."""
    tables: list[tuple[KeyPath, Mapping[str, Any]]] = [(("slurm",), own)]
    for kind, table in own.get("for", {}).items():
        tables.append((("slurm", "for", kind), table))
        if kind not in KINDS:
            said = (
                f"no jobs are of this kind{did_you_mean(kind, KINDS)} (known: {', '.join(KINDS)})"
            )
            yield Problem(said, ("slurm", "for", kind), at_key=True)
    for key, table in tables:
        for number, option in enumerate(table.get("options", ())):
            if not option.startswith("-") or "\n" in option:
                said = f'{shown(option)} is no option of sbatch: write one a text, "--gres=gpu:1"'
                yield Problem(said, (*key, "options", number))


__all__ = ["MOST_CORES", "Need", "ask", "need", "says_all", "session", "wrong_settings"]
