"""Write ``qa/index.html``: one page that opens from disk, without network or scripts."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

from ..files import write_atomic
from ..folder import RunFolder
from ..plan import Plan
from .context import context


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
    page = environment().get_template("report.html").render(context(folder, plan, results, meta))
    write_atomic(folder.report, page)
    return folder.report


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
