"""Flags of a dataset: by antenna, field, window and scan, before and after, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..plan import Step
from . import charts, words

Results = Mapping[str, Mapping[str, Any]]

MOST_BARS: Final = 110
"""More fields or scans than that are not drawn one by one, but the most flagged."""


def section(
    observed: Mapping[str, Any], numbers: Mapping[str, Any], steps: Sequence[Mapping[str, str]]
) -> dict[str, Any]:
    """Return what the report shows of a dataset's flags.

    Parameters
    ----------
    observed : mapping
        Its metadata (`Observation.to_json`), or nothing.
    numbers : mapping
        What `measure_dataset` wrote, or nothing.
    steps : sequence of mapping
        Of `by_step`.
    """
    flagged = numbers.get("flagged_fraction") or {}
    before = {
        "antenna": _as_it_came(observed.get("antennas", ())),
        "field": _as_it_came(observed.get("fields", ())),
    }
    drawn = []
    for key, word in (("antenna", "antenna"), ("field", "field"), ("spw", "spectral window"),
                      ("scan", "scan")):  # fmt: skip
        rows = [
            (name, value, before.get(key, {}).get(name))
            for name, value in (flagged.get(key) or {}).items()
        ]
        if not rows or (key == "spw" and len(rows) == 1):  # the one window is the total
            continue
        left_out = max(0, len(rows) - MOST_BARS)
        if left_out:
            rows = sorted(rows, key=lambda row: -row[1])[:MOST_BARS]
        drawn.append({
            **charts.bars(rows, f"Flagged fraction by {word}"),
            "title": f"by {word}",
            "remark": f"the {MOST_BARS} most flagged of {len(rows) + left_out}" if left_out else "",
        })  # fmt: skip
    return {"charts": drawn, "steps": list(steps)}


def _as_it_came(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    return {
        str(row["name"]): float(row["flagged_fraction"])
        for row in rows
        if "flagged_fraction" in row
    }


def by_step(
    steps: Sequence[Step], dataset: str, results: Results, fields: Mapping[str, str]
) -> Iterator[dict[str, str]]:
    """Yield what was flagged after each step that changed flags, as its proof measured it.

    Parameters
    ----------
    steps : sequence of Step
        Of the plan.
    dataset : str
        Whose steps.
    results : mapping
        Of the steps' last attempts.
    fields : mapping
        Names by id.
    """
    for step in steps:
        if step.dataset != dataset or not any(c.name == "flagged_fraction" for c in step.checks):
            continue
        checks = (results.get(step.id) or {}).get("checks") or {}
        for name, found in checks.items():
            if name.startswith("flagged_fraction") and isinstance(found, Mapping):
                own = found.get("flagged_fraction") or {}
                yield {
                    "title": step.title,
                    "id": step.id,
                    "total": words.percent(found.get("total")),
                    "fields": ", ".join(
                        f"{fields.get(str(number), str(number))} {words.percent(value)}"
                        for number, value in list(own.items())[:8]
                    ),
                }
