"""Text from data on its way to rich: no markup of rich in it, nothing that drives a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich import markup
from rich.cells import cell_len

from ..errors import printable

MANY: Final = 1000
"""Rows; of more, rich would take a second for each thousand or two to lay them out."""


def escape(text: str) -> str:
    """Return a text as it is to be seen, whatever is in it."""
    return markup.escape(seen(text))


def seen(text: str) -> str:
    """Return a text in one line, as it is to be seen where nothing is marked up."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def listed(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> Iterator[str]:
    """Lay out a long table, a line a row, however long the lines become.

    Parameters
    ----------
    rows : sequence of sequence of str
        The heading and all rows, of as many texts each.
    right : sequence of int
        The columns that are aligned to that side.
    """
    columns = range(len(rows[0]))
    shown = [[seen(text) for text in row] for row in rows]
    widths = [max(_width(row[column]) for row in shown) for column in columns]
    for row in shown:
        cells = [" " * (widths[n] - _width(row[n])) for n in columns]
        pairs = ((pad, text) if n in right else (text, pad)
                 for n, (pad, text) in enumerate(zip(cells, row, strict=True)))  # fmt: skip
        yield "  ".join([first + second for first, second in pairs]).rstrip()


def _width(text: str) -> int:
    return len(text) if text.isascii() else cell_len(text)
