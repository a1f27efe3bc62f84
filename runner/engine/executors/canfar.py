"""CANFAR's science platform, by its own client: a run is a headless session.

A session is a container that runs one command. The platform knows neither dependencies nor wall
times, and forgets a session, with its log, some time after it has ended; so what it knows is
saved whenever it is asked. The client (``canfar`` on PyPI, the extra ``canfar``) has the user's
credentials, and is imported only when it is used.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from ...configuration import configured
from ...errors import printable, refuse
from ...files import read_json, write_atomic, write_json
from .batch import ENDED, LOST, NOTHING, RUNNING, WAITING, After, Ask, BatchError, JobState

SUBMISSION: Final = "CASARUN_SUBMISSION"
"""In a session's environment: the mark of the submission that it is of."""

MOST_REPLICAS: Final = 256
_MARK: Final = "#CANFAR "
_GIGABYTE: Final = 10**9
_SAID: Final = 300
_NAME: Final = 40
"""Characters of a session's name, before what the mark and the client add."""

_PHASES: Final = {"Pending": WAITING, "Running": RUNNING, "Terminating": RUNNING}
_SEEN_BY_ALL: Final = "/arc"
"""The storage that every session has, at this path."""


class Canfar:
    """CANFAR as a `casarun.engine.executors.batch.BatchSystem`.

    Parameters
    ----------
    own : mapping, optional
        The user's ``[canfar]``; by default from their configuration.
    replicas : int
        How many sessions share a run's datasets.
    """

    name = "canfar"

    def __init__(self, own: Mapping[str, Any] | None = None, replicas: int = 1) -> None:
        self.own: Mapping[str, Any] = (
            configured().document.get(self.name, {}) if own is None else own
        )
        self._replicas = replicas

    def script(
        self, ask: Ask, command: Sequence[str], log: Path, about: str, *, array: bool = False
    ) -> str:
        """Return the script that the session runs; a line of it says what the session is to be.

        Raises
        ------
        RefusedError
            If no image is configured, or a path is not seen by sessions.
        """
        del log, array  # the platform keeps the log, and knows no arrays
        image = str(self.own.get("image", ""))
        if not image:
            raise refuse(
                f"a session runs in a container: name its image in your own {configured().path}: "
                '[canfar] image = "images.canfar.net/PROJECT/casarun:latest"'
            )
        asked: dict[str, Any] = {"name": session_name(ask.name), "image": image}
        if ask.cores:
            asked["cores"] = ask.cores
        if ask.memory_bytes:
            asked["ram"] = math.ceil(ask.memory_bytes / _GIGABYTE)
        asked |= {"env": dict(self.own.get("env", {})), "replicas": self._replicas}
        lines = ["#!/bin/bash", *(f"# {line}".rstrip() for line in about.splitlines())]
        lines += [f"{_MARK}{json.dumps(asked)}", "", "set -eu"]
        if ask.setup:
            lines += ["", "# From your own configuration:", *ask.setup]
        return "\n".join([*lines, "", f"exec {self._inside(command)}", ""])

    def _inside(self, command: Sequence[str]) -> str:
        """Write a command as it is in a session, where paths and programs are others."""
        words = [self.seen_as(word) if word.startswith("/") else word for word in command]
        text = shlex.join(words)
        # A replica knows its number from the environment that the client gives it.
        part = ' --part "$REPLICA_ID/$REPLICA_COUNT"' if self._replicas > 1 else ""
        return text + part

    def seen_as(self, path: str) -> str:
        """Return the path by which a session sees a file.

        Raises
        ------
        RefusedError
            If it sees none.
        """
        path = os.path.normpath(path)
        folders: Mapping[str, str] = {**self.own.get("folders", {}), _SEEN_BY_ALL: _SEEN_BY_ALL}
        for here in sorted(folders, key=len, reverse=True):
            top = os.path.normpath(os.path.expanduser(here))  # noqa: PTH111 - stays a text
            if path == top or path.startswith(f"{top.rstrip('/')}/"):
                return os.path.normpath(f"{folders[here]}/{path[len(top) :]}")
        raise refuse(
            f"{path}: sessions see {_SEEN_BY_ALL} only. Have recipe, data and run folder there, "
            f"or say in your own {configured().path} where it is seen: "
            '[canfar] folders = { "/home/me/arc" = "/arc/home/me" }'
        )

    def most_cores(self, partition: str) -> int:
        """Return 0: it is not asked for."""
        del partition
        return 0

    def submit(
        self,
        script: Path,
        after: After = NOTHING,
        *,
        array: str = "",
        hold: bool = False,
        mark: str = "",
        memory_bytes: int = 0,
    ) -> str:
        """Start the sessions of a script; return their ids, with commas between.

        Raises
        ------
        BatchError
            With the platform's or the client's words; no session of it is left.
        """
        if after != NOTHING or array or hold or memory_bytes:
            raise BatchError("CANFAR's sessions wait for nothing: it has no such jobs")
        asked = asked_for(script.read_text(encoding="utf-8"))
        where = self.seen_as(str(script))
        if len(shlex.split(where)) != 1:  # the platform separates arguments at spaces
            raise BatchError(f"{where}: CANFAR takes no spaces in paths: choose another --output")
        with _client() as client:
            ids = _created(
                client,
                name=f"{asked['name']}-{mark[-8:]}",
                image=asked["image"],
                cores=asked.get("cores"),
                ram=asked.get("ram"),
                kind="headless",
                cmd="bash",
                args=where,
                env={**asked["env"], SUBMISSION: mark},
                replicas=asked["replicas"],
            )
        return ",".join(ids)

    def release(self, jobs: Collection[str]) -> None:
        """Do nothing: no session is held."""

    def states(self, jobs: Collection[str], mark: str = "") -> dict[str, JobState]:
        """Return what the platform says of each session; their names are never given again."""
        with _client() as client:
            found = {str(one.get("id")): one for one in _asked(client.info, jobs)}
        return {job: _state(job, found[job]) if job in found else JobState(job, LOST)
                for job in jobs}  # fmt: skip

    def keep(self, states: Mapping[str, JobState], folder: Path) -> dict[str, JobState]:
        """Save logs, events and status of sessions before the platform drops them.

        Parameters
        ----------
        states : mapping of str to JobState
            From `states`.
        folder : Path
            Where: ``<id>.log``, ``<id>.events``, ``<id>.json``.

        Returns
        -------
        dict of str to JobState
            As given; of a session that is dropped, as it was saved last.
        """
        found = dict(states)
        known = [job for job, state in states.items() if state.phase != LOST]
        with _client() as client:
            for job in known:
                for one in _asked(client.info, [job]):
                    write_json(folder / f"{job}.json", one, durable=False)
                for suffix, text in (("log", _asked(client.logs, [job])),
                                     ("events", _asked(client.events, [job]))):  # fmt: skip
                    said = _text(text, job)
                    if said:
                        write_atomic(folder / f"{job}.{suffix}", said, durable=False)
        for job in found.keys() - set(known):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                last = _state(job, read_json(folder / f"{job}.json"))
                found[job] = replace(last, phase=ENDED, reason="as it was saved last", since="")
        return found

    def marked(self, mark: str) -> list[str]:
        """Return the sessions that wait or run and were started with this mark."""
        with _client() as client:
            listed: Sequence[Mapping[str, Any]] = client.fetch(kind="headless")
        ending = re.compile(rf"-{re.escape(mark[-8:])}(-[0-9]+)?")
        return sorted(
            str(one["id"])
            for one in listed
            if ending.search(str(one.get("name", ""))) and one.get("status") in _PHASES
        )

    def cancel(self, jobs: Collection[str]) -> None:
        """End sessions.

        Raises
        ------
        BatchError
            If one goes on.
        """
        with _client() as client:
            done: Mapping[str, bool] = client.destroy(list(jobs)) if jobs else {}
        left = [job for job, ended in done.items() if not ended]
        if left:
            raise BatchError(f"CANFAR did not end {', '.join(left)}: try again, or `canfar delete`")

    def requeue(self, job: str) -> None:
        """Refuse: there is no queue to go back to.

        Raises
        ------
        BatchError
            Always.
        """
        raise BatchError(f"CANFAR has no queue that session {job} could go back to: submit again")


def asked_for(script: str) -> dict[str, Any]:
    """Return what a script says that its session is to be.

    Raises
    ------
    BatchError
        If it says nothing of that kind.
    """
    line = next((line for line in script.splitlines() if line.startswith(_MARK)), "")
    try:
        asked: dict[str, Any] = json.loads(line.removeprefix(_MARK))
    except ValueError as error:
        raise BatchError(f"the script has no line '{_MARK}{{...}}': {error}") from error
    return asked


def session_name(name: str) -> str:
    """Return a name as the platform takes it: letters, digits and hyphens.

    Examples
    --------
    >>> session_name("casarun-ngc_5921.a")
    'casarun-ngc-5921-a'
    """
    return re.sub(r"[^A-Za-z0-9]+", "-", name)[:_NAME].strip("-") or "casarun"


def _state(job: str, told: Mapping[str, Any]) -> JobState:
    """Return a session's state from what the platform tells of it."""
    status = str(told.get("status", ""))
    phase = _PHASES.get(status, ENDED)
    since = str(told.get("startTime") or "") if phase == RUNNING else ""
    return JobState(job, phase, status, since=since)


@contextlib.contextmanager
def _client() -> Iterator[Any]:
    """Give the platform's client; what goes wrong in it is a `BatchError`."""
    try:
        from canfar.sessions import Session
    except ImportError as error:
        raise BatchError(
            f"CANFAR's client is not installed ({error}): pip install 'casarun[canfar]'"
        ) from None
    log = logging.getLogger("canfar")
    level = log.level
    log.setLevel(logging.CRITICAL)  # what goes wrong is said once, by us
    try:
        with Session() as client:
            yield client
    except BatchError:
        raise
    except Exception as error:  # of any of its libraries: settings, certificates, network
        said = str(error).strip().splitlines()
        raise BatchError(
            f"CANFAR cannot be asked: {said[0].rstrip('.') if said else type(error).__name__}. "
            "`canfar login` renews your credentials"
        ) from error
    finally:
        log.setLevel(level)


def _created(client: Any, **asked: Any) -> list[str]:
    """Start sessions, all of them or none.

    Raises
    ------
    BatchError
        With the platform's words.
    """
    from canfar.exceptions.session import SessionRequestError

    try:
        ids: list[str] = client.create(**asked, errors="raise")
    except SessionRequestError as error:
        client.destroy(error.results)
        why = _words(next(iter(error.errors.values())))
        of = f"{len(error.errors)} of {asked['replicas']}: " if asked["replicas"] > 1 else ""
        raise BatchError(
            f"CANFAR refuses to start {of}{asked['image']}: {why}. `canfar stats` says how many "
            "cores and how much memory there are"
        ) from error
    return ids


def _words(failure: Any) -> str:
    """Say what the platform answered, or that it did not."""
    response = getattr(failure, "response", None)
    if response is None:
        return str(failure) or type(failure).__name__
    said = printable(" ".join(response.text.split()))[:_SAID]
    return f"HTTP {response.status_code}{f' ({said})' if said else ''}"


def _asked(method: Any, jobs: Collection[str]) -> Any:
    """Ask of sessions, of which some may be gone.

    Raises
    ------
    BatchError
        If the platform does not answer, or not to us.
    """
    from canfar.exceptions.session import SessionRequestError

    try:
        return method(list(jobs), errors="raise")
    except SessionRequestError as error:
        for job, failure in error.errors.items():
            code = getattr(getattr(failure, "response", None), "status_code", None)
            if code not in (404, 410):
                why = _words(failure)
                raise BatchError(f"CANFAR does not say how session {job} is: {why}") from error
        return error.results


def _text(told: Any, job: str) -> str:
    """Return the text of a session's log or events, which come as a table or a list of such."""
    parts = told if isinstance(told, list) else [told]
    return "".join(str(part.get(job, "")) for part in parts if isinstance(part, Mapping))
