"""The reference page of the recipe language, from its schema.

``python -m casarun.recipe.reference docs/recipe.md`` prints the page anew.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from . import written
from .schema import resolved, schema

Schema = Mapping[str, Any]

MARK: Final = "<!-- From here on made from schemas/recipe.schema.json: do not edit. -->\n"

_FORMATS: Final = {
    "name": "name",
    "duration": "duration",
    "positive-duration": "duration",
    "angle": "angle",
    "frequency": "frequency",
    "size": "size",
    "viewer-size": "size",
    "threshold": "`Nsigma` or flux density",
    "channel": "frequency or velocity",
    "channels": "channels",
    "solint": "solution interval",
    "interp": "interpolation",
    "batch-word": "word",
    "author": "name",
}
_TYPES: Final = {"object": "table", "array": "list", "number": "number"}


def reference(document: Schema) -> str:
    """Return the reference of all keys as Markdown, a section for each TOML table.

    Parameters
    ----------
    document : mapping
        The schema of the recipe language.
    """
    sections = [_section("Top level", "", document)]
    for name, node in document["properties"].items():
        whole = resolved(node)
        row = resolved(whole.get("items", {}))
        if row.get("properties"):
            sections.extend(_tables(f"[[{name}]]", {**row, "description": whole["description"]}))
        elif whole.get("properties"):
            sections.extend(_tables(f"[{name}]", whole))
    return "\n".join(sections)


def _tables(heading: str, node: Schema) -> Iterator[str]:
    """Yield the section of a table, and of the tables that are values in it."""
    yield _section(f"`{heading}`", node["description"], node)
    for name, child in node["properties"].items():
        whole = resolved(child)
        whole = resolved(whole.get("items", whole))
        for choice in map(resolved, whole.get("anyOf", [whole])):
            if choice.get("properties"):
                yield _section(f"`{heading} {name} = {{ ... }}`", choice["description"], choice)


def _section(heading: str, description: str, node: Schema) -> str:
    lines = [f"## {heading}", ""]
    if description:
        lines += [description, ""]
    lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
    required = node.get("required", ())
    for name, child in node["properties"].items():
        lines.append(_row(name, resolved(child), required=name in required))
    return "\n".join([*lines, ""])


def _row(name: str, node: Schema, *, required: bool) -> str:
    default = "required" if required else _default(node)
    meaning = node["description"] + _range(node)
    if node.get("examples"):
        examples = ", ".join(_code(example) for example in node["examples"])
        meaning += f" *Example:* {examples}"
    cells = [f"`{name}`", _type(node), default, meaning]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(node: Schema) -> str:
    """Return the default as TOML; nothing where a key left out means something of its own."""
    default = node.get("default")
    return "" if default in (None, "", [], {}) else _code(default)


def _type(node: Schema) -> str:
    """Say in words what a value may be."""
    node = resolved(node)
    if "anyOf" in node:
        words = [_type(choice) for choice in node["anyOf"] if choice.get("const") != ""]
        return " or ".join(dict.fromkeys(words))
    if "enum" in node:
        return " or ".join(_code(choice) for choice in node["enum"])
    if "const" in node:
        return _code(node["const"])
    if "format" in node:
        return _FORMATS[node["format"]]
    if node["type"] == "array":
        inner = resolved(node["items"])
        return "tables" if inner.get("type") == "object" else f"list of {_type(inner)}"
    return _TYPES.get(node["type"], str(node["type"]))


def _range(node: Schema) -> str:
    low, high = node.get("minimum"), node.get("maximum")
    if low is None:
        return ""
    # A bound that only keeps out nonsense is no news to anyone.
    return f" From {low} to {high}." if high is not None and high < 1000 else f" At least {low}."


def _code(value: Any) -> str:
    return f"`{written.value(value)}`"


def page(current: str) -> str:
    """Return a page with all that follows its `MARK` made anew.

    Parameters
    ----------
    current : str
        The page: an introduction, written by hand, then the mark.
    """
    introduction, mark, _ = current.partition(MARK)
    return f"{introduction}{mark}\n{reference(schema())}"


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1]).read_text(encoding="utf-8")))
