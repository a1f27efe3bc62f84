"""The report of many datasets: tables to find one's way in, and a page for each dataset and target.

A page is the ordinary report of a part of the plan; so nothing grows but the number of pages,
and no more than one is in memory.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment
from markupsafe import Markup

from ..folder import RunFolder, file_safe
from ..plan import Auto, Plan, Step
from . import logs, words
from . import notes as telling
from .context import RUNNING, Meta, Results, autos, context, run_of, step_row
from .judging import FAILED_FIRST, attention, checks

MANY: Final = 20
"""A report of more datasets, or of more targets, has pages."""

_MOST_ROWS: Final = 200
_STATES: Final = ("failed", "not run", "done", "skipped")


@dataclass
class Part:
    """What one page shows: the steps and choices of a dataset, or of a target.

    Attributes
    ----------
    kind, name : str
        ``dataset`` or ``target``, and which.
    steps, autos, checks, notes : list
        Its part of the plan, of the choices, of the metrics' checks, and of the plan's notes.
    """

    kind: str
    name: str
    steps: list[Step] = field(default_factory=list)
    autos: list[Auto] = field(default_factory=list)
    checks: list[Mapping[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def file(self) -> str:
        """The name of its page, beside the first page."""
        return f"{self.kind}.{file_safe(self.name)}.html"


def are_wanted(plan: Plan) -> bool:
    """Say whether a plan is of so much that one page cannot show it."""
    datasets = {step.dataset for step in plan.steps}
    return max(len(datasets), len({step.target for step in plan.steps})) > MANY


def parts_of(plan: Plan, metrics: Mapping[str, Any]) -> tuple[list[Part], Part]:
    """Return the parts that have pages, datasets first, and what is nobody's."""
    found: dict[tuple[str, str], Part] = {}
    owners: dict[str, Part] = {}
    rest = Part("", "")
    for step in plan.steps:
        own = step.dataset and not step.image
        key = ("dataset", step.dataset) if own else ("target", step.target)
        part = found.setdefault(key, Part(*key)) if key[1] else rest
        part.steps.append(step)
        owners.setdefault(step.id.rsplit(".", 1)[0] if step.image else key[1], part)
        owners.setdefault(key[1], part)
    for auto in plan.autos:
        _owner(owners, auto.subject, ".", rest).autos.append(auto)
    for check in metrics.get("checks", ()):
        _owner(owners, str(check["subject"]), ", ", rest).checks.append(check)
    for note in telling.about(plan):
        for part in (found[key] for key in note.about if key in found):
            part.notes.append(note.message)
    return sorted(found.values(), key=lambda part: part.kind), rest


def _owner(owners: Mapping[str, Part], subject: str, mark: str, rest: Part) -> Part:
    """Return whose a subject is: ``day1.spw0`` is of ``day1``, ``NGC1, hi`` of ``NGC1``."""
    while subject not in owners and mark in subject:
        subject = subject.rpartition(mark)[0]
    return owners.get(subject, rest)


def render_pages(
    environment: Environment,
    folder: RunFolder,
    plan: Plan,
    results: Results,
    meta: Meta,
    metrics: Mapping[str, Any],
    write: Callable[[str, str], None],
) -> None:
    """Write all pages but the first, then the first.

    Parameters
    ----------
    environment : Environment
        Of the templates.
    folder, plan, results, meta
        As for `casarun.report.context.context`.
    metrics : mapping
        The content of ``qa/metrics.json``.
    write : callable
        Writes a page: its name, and its text.
    """
    parts, rest = parts_of(plan, metrics)
    page = environment.get_template("report.html")
    rows: dict[str, list[dict[str, Any]]] = {"dataset": [], "target": []}
    images: list[dict[str, Any]] = []
    steps: list[logs.Row] = []
    warnings = logs.Groups()
    for part in parts:
        shown = _shown(folder, plan, part, results, meta, metrics)
        write(part.file, page.render(shown))
        rows[part.kind].append(_row(part, shown))
        images += [{**image, "page": quote(part.file)} for image in shown["images"]]
        for step in shown["steps"]:
            steps.append(logs.told(step))
            warnings.add(step)
    for own in rest.steps:
        step = step_row(folder, own, results.get(own.id, {}), meta)
        steps.append(logs.told(step))
        warnings.add(step)
    remove_others(folder, {part.file for part in parts})
    script = _text(environment, "tables.js")
    first = environment.get_template("report_many.html").render(
        **_first(plan, rest, meta, metrics, parts),
        warning_groups=warnings.ranked(),
        log_page=_log_page(environment, folder, meta, steps, write),
        datasets=sorted(rows["dataset"], key=_worst_first),
        targets=sorted(rows["target"], key=_worst_first),
        images=images,
        script=Markup(script),  # noqa: S704 (casarun's own file)
        script_hash=b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )
    write("index.html", first)


def _log_page(
    environment: Environment,
    folder: RunFolder,
    meta: Meta,
    steps: list[logs.Row],
    write: Callable[[str, str], None],
) -> str:
    """Write the page of logs of a run that has ended; return its name, or nothing."""
    if meta.get("state") == RUNNING:
        return ""
    title = str(meta.get("title") or meta.get("name") or "")
    home = "The page of each dataset and target links to them all."
    write(logs.PAGE, logs.page(environment, folder, title, logs.telling_first(steps), home))
    return logs.PAGE


def _text(environment: Environment, name: str) -> str:
    source, _, _ = environment.loader.get_source(environment, name)  # type: ignore[union-attr]
    return source


def _shown(
    folder: RunFolder,
    plan: Plan,
    part: Part,
    results: Results,
    meta: Meta,
    metrics: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what the page of a part shows."""
    mine = replace(plan, steps=tuple(part.steps), autos=tuple(part.autos), notes=tuple(part.notes))
    own = {**metrics, "checks": part.checks, "verdict": _verdict(part.checks)}
    shown = context(folder, mine, results, {**meta, "recipe_text": ""}, own)
    title = f"{shown['title']}: {part.name}"
    return {**shown, "title": title, "home": "index.html", "kind": part.kind}


def _verdict(found: Iterable[Mapping[str, Any]]) -> str:
    """Return the worst verdict of some checks."""
    verdicts = {str(check["verdict"]) for check in found}
    return next((verdict for verdict in FAILED_FIRST if verdict in verdicts), "pass")


def _row(part: Part, shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return the line of the first page's table for a page."""
    steps = shown["steps"]
    states = {row["state"] for row in steps}
    bad = [check for check in shown["checks"] if check["verdict"] != "pass"]
    dataset: Mapping[str, Any] = next(iter(shown["datasets"]), {})
    facts = dict(dataset.get("facts", ()))
    return {
        "name": part.name,
        "page": quote(part.file),
        "state": next((state for state in _STATES if state in states), "done"),
        "verdict": "fail" if "failed" in states else _verdict(part.checks),
        "bad": len(bad),
        "first": f"{bad[0]['title']}: {bad[0]['value']} {bad[0]['text']}" if bad else "",
        "observed": facts.get("observed", ""),
        "flagged": dataset.get("flagged", ""),
        "images": len(shown["images"]),
        "steps": len(steps),
        "seconds": sum(row["wall_s"] or 0.0 for row in steps),
        "wall": shown["totals"]["wall"],
    }


def _worst_first(row: Mapping[str, Any]) -> tuple[int, str]:
    return FAILED_FIRST.index(row["verdict"]), str(row["name"])


def remove_others(folder: RunFolder, files: set[str]) -> None:
    """Remove pages of datasets and targets that the recipe no longer has."""
    for kind in ("dataset", "target"):
        for path in folder.report.parent.glob(f"{kind}.*.html"):
            if path.name not in files:
                path.unlink()


def _first(
    plan: Plan, rest: Part, meta: Meta, metrics: Mapping[str, Any], parts: Iterable[Part]
) -> dict[str, Any]:
    """Return what the first page shows but for its tables of pages."""
    said = meta.get("steps", {})
    states = [{"state": said.get(step.id, {}).get("state", "not run")} for step in plan.steps]
    bad = {"checks": [check for check in metrics.get("checks", ()) if check["verdict"] != "pass"]}
    pages = {step.id: quote(part.file) for part in parts for step in part.steps}
    failed = [
        {"id": step.id, "title": step.title, "page": pages.get(step.id, ""),
         "message": said[step.id].get("reason", "")}
        for step in plan.steps if said.get(step.id, {}).get("state") == "failed"
    ]  # fmt: skip
    alike, told = list(telling.failures(failed)), telling.notes(plan)
    disk = meta.get("peak_disk_bytes")
    owners = {one["subject"]: quote(part.file) for part in parts for one in part.checks}
    return {
        "attention": [
            {**one, "page": owners.get(one["subject"], "")}
            for one in attention(metrics)
            if not (failed and one["title"] == "product made")
        ],
        "title": meta.get("title") or meta.get("name") or "",
        "run": run_of(meta, metrics, states),
        "failures": alike[:_MOST_ROWS],
        "n_failures": len(alike),
        "checks": [
            {**one, "page": owners.get(one["subject"], "")} for one in checks(bad)[:_MOST_ROWS]
        ],
        "n_bad": len(bad["checks"]),
        "n_checks": len(metrics.get("checks", ())),
        "notes": told[:_MOST_ROWS],
        "n_notes": len(told),
        "stages": list(_stages(plan, said)),
        "choices": list(_choices(plan)),
        "rest": [step.title for step in rest.steps],
        "disk": words.memory(disk) if disk else "",
        "versions": dict(meta.get("versions", {})),
        "recipe_text": meta.get("recipe_text", ""),
        "recipe_name": PurePosixPath(str(meta.get("recipe_name", "recipe.toml"))).name,
    }


def _stages(plan: Plan, said: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield for each stage how many steps came to what, their time and largest memory."""
    by_stage: dict[str, list[Mapping[str, Any]]] = {}
    for step in plan.steps:
        by_stage.setdefault(step.stage, []).append(said.get(step.id, {}))
    for stage, found in by_stage.items():
        count = {state: sum(one.get("state") == state for one in found) for state in _STATES}
        seconds = sum(one.get("wall_s") or 0.0 for one in found)
        memory = max((one.get("peak_memory_bytes") or 0 for one in found), default=0)
        yield {
            "stage": stage,
            "steps": len(found),
            "counts": [count[state] for state in _STATES],
            "seconds": seconds,
            "wall": words.seconds(seconds),
            "memory": words.memory(memory),
        }


def _choices(plan: Plan) -> Iterator[dict[str, Any]]:
    """Yield for each key how often each value was chosen, the most frequent first."""
    values: dict[str, dict[str, int]] = {}
    for auto in autos(plan):
        of_key = values.setdefault(auto["key"], {})
        of_key[auto["value"]] = of_key.get(auto["value"], 0) + 1
    for key, counted in values.items():
        most = sorted(counted.items(), key=lambda item: -item[1])
        yield {"key": key, "number": sum(counted.values()), "values": most[:3], "n": len(most)}
