"""Write ``qa/index.html``, which opens from disk without network; of many datasets, more pages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ..files import write_atomic
from ..folder import RunFolder
from ..plan import Plan
from . import logs, pages, viewers
from .context import context
from .places import load
from .viewers import template_text

_PARTS: Final = (
    *("report.html", "logs.html", "macros.html", "charts.html", "attention.html", "flagging.html"),
    *("calibration.html", "fluxscale.html", "corrected.html", "sweeps.html", "loglist.html"),
)
"""What nearly every report is made of."""


def render(
    folder: RunFolder,
    plan: Plan,
    results: Mapping[str, Mapping[str, Any]],
    meta: Mapping[str, Any],
    metrics: Mapping[str, Any] | None = None,
) -> Path:
    """Render the report of a run, complete or not.

    Parameters
    ----------
    folder : RunFolder
        The run's folder, with ``qa/metrics.json`` and ``qa/data`` as far as they were made.
    plan : Plan
        The plan of the run.
    results : mapping
        Result of each step's last attempt, by step id.
    meta : mapping
        About the run; see `casarun.report.context.context`.
    metrics : mapping, optional
        The numbers of the run; by default what ``qa/metrics.json`` holds.

    Returns
    -------
    Path
        The page.
    """
    metrics = load(folder.metrics) if metrics is None else metrics
    viewers.bring(folder)
    if pages.are_wanted(plan):
        write = partial(_write, folder)
        pages.render_pages(environment(), folder, plan, results, meta, metrics, write)
    else:
        pages.remove_others(folder, set())
        _render_one(folder, context(folder, plan, results, meta, metrics))
    return folder.report


def _render_one(folder: RunFolder, shown: dict[str, Any]) -> None:
    """Write the page of a run, and once it has ended that of its logs."""
    made = environment()
    if not shown["run"]["running"]:
        _write(folder, logs.PAGE, logs.page(made, folder, shown["title"], shown["steps"]))
        shown = {**shown, "log_page": logs.PAGE}
    _write(folder, folder.report.name, made.get_template("report.html").render(shown))


def _write(folder: RunFolder, name: str, text: str) -> None:
    """Write a page; the first one so that it survives a loss of power."""
    path = folder.report.with_name(name)
    write_atomic(path, text, durable=path == folder.report)


def make_ready() -> None:
    """Translate the templates of a run's pages: 0.1 s that the end of a run is spared."""
    for name in _PARTS:
        environment().get_template(name)


@cache
def environment() -> Environment:
    """Return jinja2 as casarun uses it: everything that comes from data is escaped."""
    return Environment(
        loader=FunctionLoader(template_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
