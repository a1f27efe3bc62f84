"""A recipe's text in casarun's style: blank space only, never the order, a comment or a value.

The text is taken apart by the grammar that also finds the places of problems, so that what it
cannot read is left alone. Where an author has lined up equal signs or comments, they stay lined up.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import tomli

if TYPE_CHECKING:
    from tree_sitter import Node

_INDENT: Final = "    "
_PLAIN_LITERAL: Final = re.compile(r"'[^'\"\\]*'")
_MARKS: Final = ("#", "#:", "#!")
"""Comments that begin like that mean something to an editor, or are a rule across the page."""


@dataclass(frozen=True)
class _Line:
    """A key with its value, a header, or a comment of its own.

    Attributes
    ----------
    text : str
        The header, the comment, or the value.
    key : str
        Of a value.
    comment : str
        Behind it on the line; of a comment that goes on from that of the line before, itself.
    column : int
        At which that comment begins in the author's text.
    equals : int
        At which the equal sign stands in the author's text.
    header : bool
        Whether this is the header of a table.
    gap : bool
        Whether a blank line stands before it.
    """

    text: str
    key: str = ""
    comment: str = ""
    column: int = 0
    equals: int = 0
    header: bool = False
    gap: bool = False


def formatted(text: str) -> str:
    """Return a recipe's text in casarun's style.

    Parameters
    ----------
    text : str
        TOML, without syntax errors.

    Raises
    ------
    ValueError
        If the grammar does not know something in it, and it had best be left alone.
    """
    text = text.replace("\r\n", "\n")
    result = _laid_out(list(_lines(text)))
    if repr(tomli.loads(result)) != repr(tomli.loads(text)):
        raise ValueError("cannot be formatted without changing what it says: it is left as it is")
    return result


def _lines(text: str) -> Iterator[_Line]:
    """Yield the lines of a document."""
    import tree_sitter_toml
    from tree_sitter import Language, Parser

    tree = Parser(Language(tree_sitter_toml.language())).parse(text.encode())
    if tree.root_node.has_error:
        raise ValueError("has TOML in it that is newer than the formatter: it is left as it is")
    source = text.encode().split(b"\n")
    last = _Line("")
    row = -1
    for node in _flat(tree.root_node):
        line = replace(_line(node, source), gap=row >= 0 and node.start_point.row > row + 1)
        if node.type == "comment" and row >= 0 and node.start_point.row == row:
            last = replace(last, comment=line.text, column=line.column)
            continue
        if row >= 0:
            yield last
        if node.type == "comment" and last.comment and not line.gap and last.column == line.column:
            line = replace(line, text="", comment=line.text)
        last, row = line, _end_row(node)
    if row >= 0:
        yield last


def _end_row(node: Node) -> int:
    """Return the row in which a line ends, without the comment that may follow."""
    last = node.children[2] if node.type == "pair" else node
    return last.end_point.row


def _flat(root: Node) -> Iterator[Node]:
    """Yield headers (by their closing brackets), pairs and comments in the order of the text."""
    for node in root.named_children:
        if node.type not in ("table", "table_array_element"):
            yield node
            continue
        for child in node.children:
            if child.type in ("]", "]]", "pair", "comment"):
                yield child


def _line(node: Node, source: Sequence[bytes]) -> _Line:
    if node.type == "comment":
        return _Line(_comment(node), column=_column(node, source))
    if node.type == "pair":
        name, equals, value, *rest = node.children
        line = _Line(_value(value, ""), _key(name), equals=_column(equals, source))
        if rest:  # the comment behind it
            return replace(line, comment=_comment(rest[0]), column=_column(rest[0], source))
        return line
    table = node.parent
    assert table is not None  # noqa: S101 (a bracket is of a table)
    brackets = len(_text(node))
    name = table.named_children[0]
    return _Line(f"{'[' * brackets}{_key(name)}{']' * brackets}", header=True)


def _column(node: Node, source: Sequence[bytes]) -> int:
    return len(source[node.start_point.row][: node.start_point.column].decode())


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _comment(node: Node) -> str:
    text = _text(node).rstrip()
    if text[1:2].isspace() or text in _MARKS or text.startswith(_MARKS[1:]) or text[1:2] in "#":
        return text
    return f"# {text[1:]}"


def _key(node: Node) -> str:
    if node.type != "dotted_key":
        return _text(node)
    return ".".join(_key(part) for part in node.named_children if part.type != "comment")


def _value(node: Node, indent: str) -> str:
    """Return a value: on one line, or an array on several where it was so."""
    if node.type == "inline_table":
        pairs = [child for child in node.named_children if child.type == "pair"]
        said = [
            f"{_key(p.named_children[0])} = {_value(p.named_children[1], indent)}" for p in pairs
        ]
        return f"{{ {', '.join(said)} }}" if said else "{}"
    if node.type == "array":
        if node.start_point.row != node.end_point.row:
            return _tall(node, indent)
        return f"[{', '.join(_value(child, indent) for child in node.named_children)}]"
    text = _text(node)
    plain = _PLAIN_LITERAL.fullmatch(text) and text.isprintable()
    return f'"{text[1:-1]}"' if plain else text


def _tall(node: Node, indent: str) -> str:
    """Return an array on several lines, with what stood on one line together."""
    inner = indent + _INDENT
    lines: list[str] = []
    row, open_ = -1, False  # of the line before, and whether more may stand on it
    for child in node.named_children:
        start, end = child.start_point.row, child.end_point.row
        if child.type == "comment":
            if start == row and lines:
                lines[-1] += f"  {_comment(child)}"
            else:
                lines.append(f"{inner}{_comment(child)}")
            open_ = False
        else:
            said = f"{_value(child, inner)},"
            if open_ and start == row:
                lines[-1] += f" {said}"
            else:
                lines.append(f"{inner}{said}")
            open_ = True
        row = end
    return "\n".join(["[", *lines, f"{indent}]"])


def _laid_out(lines: Sequence[_Line]) -> str:
    """Return the text of all lines, with blank lines where they belong."""
    written: list[str] = []
    for block in _blocks(lines):
        equals, column = _common(block), 0
        for line in block:
            text = f"{line.key:<{equals}} = {line.text}" if line.key else line.text
            if line.comment:
                last = text.rpartition("\n")[2]
                column = max(len(last) + 2, line.column) if text else column
                text += " " * (column - len(last)) + line.comment
            if line.gap and written:
                written.append("")
            written.append(text)
    return "".join(f"{line}\n" for line in written)


def _blocks(lines: Sequence[_Line]) -> Iterator[list[_Line]]:
    """Yield runs of lines that stand together, without a header or a blank line in between."""
    block: list[_Line] = []
    for line in _with_gaps(lines):
        if block and (line.gap or line.header):
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _with_gaps(lines: Sequence[_Line]) -> Iterator[_Line]:
    """Yield the lines, with a blank line before each header and its comments, and none after."""
    before: set[int] = set()
    for number, line in enumerate(lines):
        if line.header:
            while number and not lines[number].gap and _is_comment(lines[number - 1]):
                number -= 1
            before.add(number)
    for number, line in enumerate(lines):
        after = number > 0 and lines[number - 1].header
        yield replace(line, gap=number in before or (line.gap and not after))


def _is_comment(line: _Line) -> bool:
    return bool(line.text) and not line.key and not line.header


def _common(block: Sequence[_Line]) -> int:
    """Return the width of the keys where an author has lined up the equal signs, else 0."""
    keys = [line for line in block if line.key]
    lined_up = len(keys) > 1 and all(a.equals == b.equals for a, b in pairwise(keys))
    return max(len(line.key) for line in keys) if lined_up else 0
