"""Where a key stands in a recipe, and problems rendered with their lines.

The places come from tree-sitter, which is loaded only when there is a problem to show.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import KeyPath, Problem, RefusedError, dotted, printable
from .alike import together

if TYPE_CHECKING:
    from tree_sitter import Node

_WIDEST = 120
"""Longer lines are shown in part, around the caret."""
_LONGEST = 2000
"""Characters of a message."""
_MOST = 100
"""So many problems are shown."""


@dataclass(frozen=True)
class Span:
    """A piece of one line: one-based, in characters, `end` just behind the last."""

    line: int
    column: int
    end: int


@dataclass
class Origin:
    """Where a value of a recipe that several files make stands, and where what is in it does.

    Attributes
    ----------
    source : Source
        The file.
    key : KeyPath
        The value's key in that file.
    line : int or None
        Where the file has no keys (an observing log): the line.
    below : dict of (str or int) to Origin
        What of the value comes from elsewhere, by key or index. What is not in it stands in the
        value itself.
    """

    source: Source
    key: KeyPath = ()
    line: int | None = None
    below: dict[str | int, Origin] = field(default_factory=dict)

    def find(self, key: KeyPath) -> Origin:
        """Return where the value of a key below this one stands."""
        here = self
        for depth, part in enumerate(key):
            if part not in here.below:
                return Origin(here.source, here.key + key[depth:], here.line)
            here = here.below[part]
        return here

    def span(self, at_key: bool = False) -> Span | None:
        """Return the place of the value, or of its key."""
        if self.line is None:
            return self.source.own_span(self.key, at_key)
        return Span(self.line, 1, len(self.source.lines[self.line - 1]) + 1)


@dataclass(frozen=True)
class Source:
    """The text that a recipe came from, for messages.

    Parameters
    ----------
    text : str
        The TOML document.
    name : str
        What to call it in messages: the path as the user gave it.
    overrides : mapping of KeyPath to str
        Keys whose values came from elsewhere, and from where: ``--set image.hi.niter=500``.
    moved : mapping of KeyPath to KeyPath
        Keys of the loaded recipe that are others in the document: a glob makes several datasets
        of one table.
    folder : Path
        Where relative paths in it start.
    origins : Origin, optional
        Where its values stand, if not all in this text.
    """

    text: str
    name: str
    overrides: Mapping[KeyPath, str] = field(default_factory=dict)
    moved: Mapping[KeyPath, KeyPath] = field(default_factory=dict)
    folder: Path = Path()
    origins: Origin | None = None

    def locate(self, key: KeyPath, at_key: bool = False) -> tuple[int, int] | None:
        """Return the one-based line and column (in characters) of a key or its value.

        Where the document has no such key, that of the nearest table around it; None for the
        document as a whole, and for what ``--set`` gave.
        """
        span = self.span(key, at_key)
        return (span.line, span.column) if span else None

    def span(self, key: KeyPath, at_key: bool = False) -> Span | None:
        """Return the place of a key or its value, as `locate` does, with its end."""
        key = self.in_document(key)
        return None if self.override(key) is not None else self.origin(key).span(at_key)

    def own_span(self, key: KeyPath, at_key: bool = False) -> Span | None:
        """Return the place in this text of a key of this text, or of its value."""
        for length in range(len(key), 0, -1):
            found = self._index.get(key[:length])
            if found is not None:
                return found[0] if at_key and length == len(key) else found[1]
        return None

    def origin(self, key: KeyPath) -> Origin:
        """Return the file in which the value of a document's key stands, and its key there."""
        return (self.origins or Origin(self)).find(key)

    def in_document(self, key: KeyPath) -> KeyPath:
        """Return the key of the document that a key of the loaded recipe comes from."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.moved:
                return self.moved[key[:length]] + key[length:]
        return key

    def override(self, key: KeyPath) -> str | None:
        """Return the option that gave a key its value, if one did."""
        for length in range(len(key), 0, -1):
            if key[:length] in self.overrides:
                return self.overrides[key[:length]]
        return None

    @cached_property
    def lines(self) -> list[str]:
        """The document's lines, without their ends."""
        return [line.removesuffix("\r") for line in self.text.split("\n")]

    @cached_property
    def _index(self) -> dict[KeyPath, tuple[Span, Span]]:
        """Place of the key and of the value, for each key of the document."""
        import tree_sitter_toml
        from tree_sitter import Language, Parser

        tree = Parser(Language(tree_sitter_toml.language())).parse(self.text.encode())
        return _Indexer(self.text).index(tree.root_node)


class _Indexer:
    """Walks the syntax tree of a document and notes where keys and values stand."""

    def __init__(self, text: str) -> None:
        self.lines = text.encode().split(b"\n")
        self.found: dict[KeyPath, tuple[Span, Span]] = {}
        self.array_lengths: dict[KeyPath, int] = {}

    def index(self, root: Node) -> dict[KeyPath, tuple[Span, Span]]:
        """Return key and value places by key path."""
        for node in root.named_children:
            if node.type == "pair":
                self._pair(node, ())
            elif node.type in ("table", "table_array_element"):
                self._table(node)
        return self.found

    def _table(self, node: Node) -> None:
        name, *rest = (child for child in node.named_children if child.type != "comment")
        parts = _parts(name)
        table: KeyPath = ()
        for number, part in enumerate(parts):
            table = (*table, _text(part))
            self.found.setdefault(table, (self._span(part), self._span(name)))
            last = number == len(parts) - 1
            if last and node.type == "table_array_element":
                count = self.array_lengths.get(table, 0)
                self.array_lengths[table] = count + 1
                table = (*table, count)
                self.found[table] = (self._span(name), self._span(name))
            elif table in self.array_lengths:
                table = (*table, self.array_lengths[table] - 1)
            elif last:
                self.found[table] = (self._span(part), self._span(name))
        for child in rest:
            if child.type == "pair":
                self._pair(child, table)

    def _pair(self, node: Node, table: KeyPath) -> None:
        children = [child for child in node.named_children if child.type != "comment"]
        if len(children) != 2:  # the grammar lags behind tomli's TOML 1.1
            return
        name, value = children
        key = table
        for part in _parts(name):
            key = (*key, _text(part))
            self.found.setdefault(key, (self._span(part), self._span(name)))
        self.found[key] = (self._span(name), self._span(value))
        self._value(value, key)

    def _value(self, node: Node, key: KeyPath) -> None:
        children = [child for child in node.named_children if child.type != "comment"]
        if node.type == "array":
            for position, child in enumerate(children):
                item = (*key, position)
                self.found[item] = (self._span(child), self._span(child))
                self._value(child, item)
        elif node.type == "inline_table":
            for child in children:
                if child.type == "pair":
                    self._pair(child, key)

    def _span(self, node: Node) -> Span:
        row, start = node.start_point
        last_row, end = node.end_point
        line = self.lines[row]
        column = len(line[:start].decode(errors="replace"))
        if last_row != row:
            end = len(line.rstrip(b"\r"))
        width = len(line[start:end].decode(errors="replace"))
        return Span(row + 1, column + 1, column + 1 + max(width, 1))


def _parts(name: Node) -> list[Node]:
    """Return the keys of a dotted key, or the key itself."""
    if name.type != "dotted_key":
        return [name]
    return [part for child in name.named_children for part in _parts(child)]


def _text(name: Node) -> str:
    """Return what a bare or quoted key says."""
    text = (name.text or b"").decode(errors="replace")
    if name.type != "quoted_key":
        return text
    import tomli

    try:
        return next(iter(tomli.loads(f"{text} = 0")))
    except tomli.TOMLDecodeError:
        return text


def render(problems: Iterable[Problem], source: Source) -> str:
    """Render problems for a terminal, in the order of the document.

    Parameters
    ----------
    problems : iterable of Problem
        Of loading the recipe, or of planning it against the data.
    source : Source
        The recipe that they are about.

    Returns
    -------
    str
        One paragraph a problem: place, key and message, then the line with a caret. Those that
        are alike have one. Control characters are escaped.
    """
    ordered = in_order(as_told(problems, source), source)
    paragraphs = (_render(one, _place(one, source), source) for one in ordered[:_MOST])
    said = list(dict.fromkeys(paragraphs))  # of what several tables are made of, once is enough
    if len(ordered) > _MOST:
        said.append(f"{printable(source.name)}: and {len(ordered) - _MOST:,} more")
    return "\n".join(said)


def refused(problems: Iterable[Problem], source: Source) -> RefusedError:
    """Return the refusal of what is wrong with a recipe: each problem at its place.

    Parameters
    ----------
    problems : iterable of Problem
        All that was found.
    source : Source
        The recipe that they are about.
    """
    found = list(problems)
    return RefusedError([at_place(one, source) for one in found], render(found, source))


def at_place(problem: Problem, source: Source) -> Problem:
    """Return a problem that says where it stands: file, or option, and line."""
    origin, span = _place(problem, source)
    where = _where(problem, origin, source)
    if span is None:
        return replace(problem, where=where)
    return replace(problem, where=where, line=span.line, column=span.column)


def _where(problem: Problem, origin: Origin, source: Source) -> str:
    return source.override(source.in_document(problem.key)) or origin.source.name


def as_told(problems: Iterable[Problem], source: Source) -> list[Problem]:
    """Return problems with those that are alike, and stand at one place, as one."""
    return together(problems, lambda problem: source.in_document(problem.key))


def in_order(problems: Iterable[Problem], source: Source) -> list[Problem]:
    """Return problems as they stand in the document; those without a place come first."""
    return sorted(problems, key=lambda problem: _order(_place(problem, source), source))


def _place(problem: Problem, source: Source) -> tuple[Origin, Span | None]:
    """Return where a problem stands."""
    key = source.in_document(problem.key)
    if problem.line is not None:
        column = problem.column or 1
        return Origin(source, key), Span(problem.line, column, column + 1)
    if source.override(key) is not None:
        return Origin(source, key), None
    origin = source.origin(key)
    return origin, origin.span(problem.at_key) if key else None


def _order(place: tuple[Origin, Span | None], source: Source) -> tuple[str, int, int]:
    """Problems of the document as a whole come first, then those of the recipe's own text."""
    origin, span = place
    file = "" if origin.source.name == source.name else origin.source.name
    return (file, span.line, span.column) if span else ("", 0, 0)


def _render(problem: Problem, place: tuple[Origin, Span | None], source: Source) -> str:
    origin, span = place
    where = _where(problem, origin, source)
    if span:
        where += f":{span.line}:{span.column}"
    about = [where, "warning"] if problem.severity == "warning" else [where]
    about += [dotted(origin.key)] if origin.key else []
    head = printable(": ".join([*about, problem.message]).replace("\n", "\\n"))
    if len(head) > _LONGEST:
        head = f"{head[: _LONGEST - 1]}…"
    return "\n".join([head, *_snippet(span, origin.source)])


def _snippet(span: Span | None, source: Source) -> list[str]:
    """Return the line that a span is in, and a line with carets under the span."""
    if span is None or span.line > len(source.lines):
        return []
    line = source.lines[span.line - 1]
    start, end = span.column - 1, min(span.end - 1, max(len(line), span.column))
    if len(line) > _WIDEST:
        cut = max(0, start - _WIDEST // 3)
        line = line[cut : cut + _WIDEST]
        start, end = start - cut, min(end - cut, len(line))
    # One character for one, so that the caret stays where it belongs.
    line = "".join(
        c if c.isprintable() else " " if c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in line
    )
    carets = "^" * max(1, _cells(line[start:end]))
    number = f"{span.line:>5}"
    return [f"{number} | {line}".rstrip(), f"{'':5} | {' ' * _cells(line[:start])}{carets}"]


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
