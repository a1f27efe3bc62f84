"""Write ``qa/index.html``, which opens from disk without network; of many datasets, more pages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ..files import write_atomic
from ..folder import RunFolder
from ..plan import Plan
from . import pages
from .context import context
from .places import load


def render(
    folder: RunFolder, plan: Plan, results: Mapping[str, Mapping[str, Any]], meta: Mapping[str, Any]
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

    Returns
    -------
    Path
        The page.
    """
    if pages.are_wanted(plan):
        metrics = load(folder.metrics)
        write = partial(_write, folder)
        pages.render_pages(environment(), folder, plan, results, meta, metrics, write)
    else:
        pages.remove_others(folder, set())
        page = environment().get_template("report.html")
        _write(folder, folder.report.name, page.render(context(folder, plan, results, meta)))
    return folder.report


def _write(folder: RunFolder, name: str, text: str) -> None:
    """Write a page; the first one so that it survives a loss of power."""
    path = folder.report.with_name(name)
    write_atomic(path, text, durable=path == folder.report)


def environment() -> Environment:
    """Return jinja2 as casarun uses it: everything that comes from data is escaped."""
    return Environment(
        loader=FunctionLoader(template_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def template_text(name: str) -> str:
    """Return the text of one of casarun's templates."""
    return (resources.files("casarun") / "templates" / name).read_text(encoding="utf-8")
