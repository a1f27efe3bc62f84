"""Values written as TOML."""

from __future__ import annotations

import json
from typing import Any


def value(item: Any) -> str:
    """Write a value on one line; tables as inline tables.

    Examples
    --------
    >>> value({"a b": [1, "x"], "c": True})
    '{ "a b" = [1, "x"], c = true }'
    """
    if isinstance(item, dict):
        inside = ", ".join(f"{key(name)} = {value(inner)}" for name, inner in item.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(item, list):
        return f"[{', '.join(value(inner) for inner in item)}]"
    return json.dumps(item, ensure_ascii=False).replace("\x7f", "\\u007F")


def key(name: str) -> str:
    """Write a key, in quotes where it needs them."""
    bare = name.replace("_", "").replace("-", "").isalnum() and name.isascii()
    return name if bare else value(name)
