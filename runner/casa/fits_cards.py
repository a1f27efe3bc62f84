"""More cards in the header of a FITS file that is there, without reading its data.

A header has room for more cards up to the end of its last block of 2880 bytes (FITS standard 4.0,
section 3.3.1). Where that is not enough, what follows is moved on by whole blocks.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from ..errors import Cause, StepFailedError
from .cube_fits import BLOCK, checksum, encoded

CARD: Final = 80
_PIECE: Final = 16 * 2**20
_LONGEST_TEXT: Final = 68
_LARGEST_HEADER: Final = 2**26
_SUM_LIMIT: Final = 2**32 - 1
_NO_SUM: Final = 16 * b"0"


def add(path: Path, values: Mapping[str, tuple[str, str]], history: Sequence[str]) -> None:
    """Add cards to the first header of a file, its CHECKSUM kept right where there is one.

    Parameters
    ----------
    path : Path
        The FITS file.
    values : mapping
        Texts and comments by keyword; a keyword that is there is replaced.
    history : sequence of str
        Lines for ``HISTORY``, which come after those that are there.

    Raises
    ------
    StepFailedError
        If the file has no header.
    """
    with path.open("r+b") as file:
        cards, length = _read(file, path)
        old = {key.encode("ascii").ljust(8) for key in values}
        kept = [card for card in cards if card[:8] not in old]
        first_history = next(
            (i for i, card in enumerate(kept) if card.startswith(b"HISTORY ")), len(kept)
        )
        made = [_card(key, *value) for key, value in values.items()]
        new = [*kept[:first_history], *made, *kept[first_history:], *_history(history)]
        content = _padded([*new, _text_card("END")]).ljust(length)
        if len(content) > length:
            _move(file, length, len(content) - length)
        file.seek(0)
        file.write(_with_checksum(content))


def _read(file: BinaryIO, path: Path) -> tuple[list[bytes], int]:
    """Return the cards of the first header without ``END``, and its bytes."""
    cards: list[bytes] = []
    while file.tell() < _LARGEST_HEADER:
        block = file.read(BLOCK)
        if len(block) < BLOCK:
            break
        for start in range(0, BLOCK, CARD):
            card = block[start : start + CARD]
            if card.rstrip() == b"END":
                return cards, file.tell()
            cards.append(card)
    raise StepFailedError(Cause.POSTCONDITION, f"{path} has no FITS header")


def _text_card(text: str) -> bytes:
    return text.encode("ascii", "replace")[:CARD].ljust(CARD)


def _card(keyword: str, value: str, comment: str) -> bytes:
    """Return a card with a text: what no FITS text can hold is replaced, what is too long cut."""
    quoted = _printable(value).replace("'", "''")[:_LONGEST_TEXT]
    if (len(quoted) - len(quoted.rstrip("'"))) % 2:  # a doubled quote was cut in two
        quoted = quoted[:-1]
    said = f" / {comment}" if comment else ""
    return _text_card(f"{keyword:<8}= '{quoted:<8}'{said}")


def _printable(text: str) -> str:
    return "".join(c if " " <= c <= "~" else "?" for c in text)


def _history(lines: Sequence[str]) -> Iterator[bytes]:
    for line in lines:
        for part in textwrap.wrap(_printable(line), CARD - 8):
            yield _text_card(f"HISTORY {part}")


def _padded(cards: Sequence[bytes]) -> bytes:
    content = b"".join(cards)
    return content + b" " * (-len(content) % BLOCK)


def _with_checksum(content: bytes) -> bytes:
    """Return a header whose CHECKSUM is right, if it has one (FITS 4.0, J.4)."""
    cards = [content[start : start + CARD] for start in range(0, len(content), CARD)]
    at = next((i for i, card in enumerate(cards) if card.startswith(b"CHECKSUM=")), None)
    data = next((card for card in cards if card.startswith(b"DATASUM =")), None)
    if at is None or data is None:
        return content
    data_sum = int(data[10:].decode("ascii").split("'")[1])
    before, after = cards[at][:11], cards[at][27:]  # its 16 characters stand in a fixed place
    cards[at] = before + _NO_SUM + after
    total = checksum(b"".join(cards), data_sum)
    cards[at] = before + encoded(_SUM_LIMIT - total).encode("ascii") + after
    return b"".join(cards)


def _move(file: BinaryIO, begin: int, shift: int) -> None:
    """Move all from a byte on by some bytes, the end first."""
    at = file.seek(0, os.SEEK_END)
    while at > begin:
        start = max(begin, at - _PIECE)
        file.seek(start)
        content = file.read(at - start)
        file.seek(start + shift)
        file.write(content)
        at = start
