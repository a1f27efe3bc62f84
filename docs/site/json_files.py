"""The reference of a JSON file that casarun writes, from its schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Node = Mapping[str, Any]


def page(path: Path) -> str:
    """Return the reference of a JSON file as Markdown.

    Parameters
    ----------
    path : Path
        Of its schema, ``<name>.schema.json``.
    """
    schema = json.loads(path.read_text(encoding="utf-8"))
    sections = [
        f"# {path.name.removesuffix('.schema.json')}.json\n",
        f"{_plain(schema['description'])}\n",
        f"Made from `schemas/{path.name}`, to which a test holds what casarun writes.\n",
        *_tables("The file", schema),
    ]
    for name, node in schema.get("$defs", {}).items():
        sections += _tables(name, node)
    return "\n".join(sections)


def _tables(heading: str, node: Node) -> Iterator[str]:
    """Yield the section of an object, and of the objects that are values in it."""
    properties = node.get("properties")
    if not properties:
        return
    yield f"## {heading}\n"
    if heading != "The file" and node.get("description"):
        yield f"{_plain(node['description'])}\n"
    yield "| key | type | meaning |\n|---|---|---|"
    required = node.get("required", ())
    for key, child in properties.items():
        optional = "" if key in required else "optional; "
        yield f"| `{key}` | {optional}{_type(child)} | {_cell(child.get('description', ''))} |"
    yield ""
    for key, child in properties.items():
        yield from _tables(f"{heading}: {key}", child)


def _type(node: Node) -> str:
    """Say in words what a value may be."""
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        return f"*{name}*"
    if "const" in node:
        return f"`{json.dumps(node['const'])}`"
    if "enum" in node:
        return " or ".join(f"`{json.dumps(one)}`" for one in node["enum"])
    for several in ("anyOf", "oneOf"):
        if several in node:
            return " or ".join(dict.fromkeys(map(_type, node[several])))
    kind = node.get("type", "anything")
    if kind == "array":
        return f"list of {_type(node['items'])}" if "items" in node else "list"
    inner = node.get("additionalProperties")
    if kind == "object" and isinstance(inner, Mapping):
        return f"object of {_type(inner)}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Return a text with its ``<name>`` as such, not as HTML; in backticks it is anyway."""
    parts = text.split("`")
    parts[::2] = [part.replace("<", "&lt;") for part in parts[::2]]
    return "`".join(parts)
