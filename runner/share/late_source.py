"""Values that are known only when a run takes place, as Python source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .python_source import Expression, comment, quoted


def late(what: str) -> Expression:
    """Return what stands for a value that is not known yet; the script stops there."""
    return Expression(f"known_at_run_time({quoted(what)})")


def is_late(value: Any) -> bool:
    """Say whether a value is, or holds at any depth, one that an earlier step measures."""
    if isinstance(value, Mapping):
        return "$late" in value or any(map(is_late, value.values()))
    return isinstance(value, list | tuple) and any(map(is_late, value))


def unresolved(value: Any) -> Any:
    """Return parameters with what stands for each value that is not known yet."""
    if isinstance(value, Mapping):
        if "$late" in value:
            return late(_words(value["$late"]))
        return {key: unresolved(item) for key, item in value.items()}
    return [unresolved(item) for item in value] if isinstance(value, list | tuple) else value


def late_words(params: Mapping[str, Any]) -> list[str]:
    """Say, as comments, where parameters come from that were measured."""
    return [line for name, value in params.items() for spec in _specs(value)
            for line in comment(f"{name}: {_words(spec)}")]  # fmt: skip


def _specs(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if "$late" in value:
            return [value["$late"]]
        value = list(value.values())
    return [spec for each in value for spec in _specs(each)] if isinstance(value, list) else []


def _words(spec: Mapping[str, Any]) -> str:
    times, unit = spec.get("times", 1), spec.get("unit") or ""
    what = f"{spec['key']} of {spec['path']}" + (f", in {unit}" if unit else "")
    return what if times == 1 else f"{times:g} times {what}"
