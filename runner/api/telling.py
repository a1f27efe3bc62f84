"""Whoever is to know that a run has ended is told, whatever it came to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..configuration import configured
from ..errors import CasarunError, DataError, ExitCode
from ..files import now, read_json, write_json
from .opening import Reduction
from .steps import Listener

if TYPE_CHECKING:
    from ..share.news import News
    from .running import RunResult


def told(
    reduction: Reduction, listener: Listener | None, work: Callable[[], RunResult]
) -> RunResult:
    """Do a run's work, and tell what the recipe says of how it ended.

    The caller holds the run folder.

    Parameters
    ----------
    reduction : Reduction
        The recipe.
    listener : callable, optional
        Is told of notifiers that failed: ``notifier-failed`` with `name` and `message`.
    work : callable
        Returns what the run came to.
    """
    wanted = reduction.loaded.recipe.notify
    if not (wanted.to and wanted.on):
        return work()
    from ..share import news

    recipe, folder = reduction.loaded.recipe.project, reduction.folder
    try:
        result = work()
    except Exception as error:
        code = error.exit_code if isinstance(error, CasarunError) else ExitCode.BUG
        _tell(reduction, news.of_error(recipe.name, recipe.title, folder, error, code), listener)
        raise
    last = news.of_run(
        recipe.name, recipe.title, folder, result.outcome, result.metrics, result.exit_code,
        result.aside,
    )  # fmt: skip
    _tell(reduction, last, listener)
    return result


def _tell(reduction: Reduction, news: News, listener: Listener | None) -> None:
    """Tell the news, unless they are none; no notifier changes what a run came to."""
    wanted = reduction.loaded.recipe.notify
    before = _told_before(reduction)
    if news.kind not in wanted.on or not _are_new(news, before):
        return
    from ..share.notify import send

    problems: dict[str, str] = {}
    for name in wanted.to:
        try:
            notifier = configured().notifiers[name]
            problems[name] = send(notifier, news)
        except Exception as error:
            problems[name] = f"{type(error).__name__}: {error}"
        if problems[name] and listener:
            listener({"event": "notifier-failed", "name": name, "message": problems[name]})
    failed = any(problems.values())
    try:
        write_json(
            reduction.folder.notified,
            {"t": now(), "kind": news.kind, "digest": "" if failed else news.digest,
             "to": problems},
        )  # fmt: skip
    except OSError as error:
        if listener:
            said = f"what was told cannot be noted: {error.strerror}"
            listener({"event": "notifier-failed", "name": ", ".join(wanted.to), "message": said})


def _are_new(news: News, before: dict[str, Any]) -> bool:
    """Tell whether there is something to tell.

    A run that is started every ten minutes and finds nothing to do has no news, and neither has
    one that fails again in the same way.
    """
    if news.ran:
        return True
    if news.kind == "success" and before.get("kind", "success") == "success":
        return before.get("digest") == ""  # it could not be told the last time
    return bool(before.get("digest") != news.digest)


def _told_before(reduction: Reduction) -> dict[str, Any]:
    try:
        found = read_json(reduction.folder.notified)
    except (OSError, DataError):
        return {}
    return found if isinstance(found, dict) else {}
