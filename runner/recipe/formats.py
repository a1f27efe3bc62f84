"""The string formats of the recipe language, as the schema's ``format`` names them.

Each is a function that raises `ValueError` with a message for the recipe's author.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..quantities import parse, split
from .channel_list import channels

if TYPE_CHECKING:
    from jsonschema import FormatChecker

_NAME: Final = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_+.-]{0,63}")
_BATCH_WORD: Final = re.compile(r"[A-Za-z0-9_(\[][A-Za-z0-9_.,:&|*()\[\]@+-]{0,199}")
_AUTHOR: Final = re.compile(r"[^<>]*[^<> ][^<>]*(<\d{4}-\d{4}-\d{4}-\d{3}[\dX]>)?", re.ASCII)
_INTERP: Final = re.compile(
    r"(nearest|linear)?(PD)?(perobs)?(,(nearest|linear|cubic|spline)(PD)?(flag)?)?", re.ASCII
)
_CHANNELS_LONG: Final = re.compile(r"[1-9][0-9]*ch")


def _name(text: str) -> None:
    """Names become parts of file names."""
    if not _NAME.fullmatch(text):
        raise ValueError(
            f"'{text}' cannot be a name: letters, digits and _ - + . only, at most 64, "
            "not beginning with . or -"
        )


def _batch_word(text: str) -> None:
    """Accept what a batch system may be given: one word, which begins no option of its own."""
    if text and not _BATCH_WORD.fullmatch(text):
        raise ValueError(
            f"'{text}' cannot go to a batch system: letters, digits and _ . , : & | * ( ) [ ] @ + "
            "- only, at most 200, beginning with a letter or digit"
        )


def _author(text: str) -> None:
    """Accept a name, with an ORCID in angle brackets or without."""
    if not _AUTHOR.fullmatch(text):
        raise ValueError(
            f"'{text}' is no name with an ORCID or without one; write for example "
            '"Jane Doe <0000-0002-1825-0097>"'
        )


def _quantity(dimension: str, *, zero: bool) -> Callable[[str], None]:
    """Return a format for numbers with a unit that are positive (or zero)."""

    def check(text: str) -> None:
        value = parse(text, dimension)
        if value < 0 or (value == 0 and not zero):
            raise ValueError(f"'{text}' must be {'at least' if zero else 'more than'} zero")

    return check


def _threshold(text: str) -> None:
    number, unit = _split(text, "a threshold", "3sigma")
    if unit == "sigma":
        if number <= 0:
            raise ValueError(f"'{text}' must be more than zero")
        return
    if not unit:
        raise ValueError(f'\'{text}\' has no unit; write for example "3sigma" or "0.1mJy"')
    try:
        _quantity("flux", zero=True)(text)
    except ValueError as error:
        raise ValueError(f'{error}; or a multiple of the noise: "3sigma"') from None


def _channel(text: str) -> None:
    """Accept what places a cube's channels: a frequency or a velocity (channels are integers)."""
    _, unit = _split(text, "a frequency or velocity", "1.42GHz")
    if not unit:
        raise ValueError(
            f'\'{text}\' has no unit; write for example "1.42GHz" or "5km/s", '
            "or a channel number without quotes"
        )
    try:
        parse(text, "velocity" if unit.endswith("m/s") else "frequency")
    except ValueError as error:
        raise ValueError(f"{error}; or a velocity in m/s, km/s") from None


def _channels(text: str) -> None:
    """Accept the channels of a cube, or none."""
    if text:
        channels(text)


def _solint(text: str) -> None:
    """Accept CASA's solution intervals, but for units that CASA takes for something else."""
    time, comma, frequency = text.partition(",")
    if text == "auto":
        return
    if time.strip() not in ("inf", "int"):
        number, unit = _split(time, "a solution interval", "30s")
        # CASA takes a bare number for seconds and "1d" for one degree.
        if unit not in ("s", "min", "h"):
            found = (
                f"'{unit}' in '{text}' is not a unit of time here"
                if unit
                else f"'{text}' has no unit"
            )
            raise ValueError(f'{found}; use "auto", "inf", "int", or a time in s, min, h')
        if number <= 0:
            raise ValueError(f"'{text}' must be more than zero")
    if comma and not _CHANNELS_LONG.fullmatch(frequency.strip()):
        try:
            _quantity("frequency", zero=False)(frequency.strip())
        except ValueError as error:
            raise ValueError(f'{error}; or a number of channels: "inf,10ch"') from None


def _interp(text: str) -> None:
    """Accept how CASA interpolates solutions: in time, and after a comma in frequency.

    What it does not know of frequency, CASA takes without a word.
    """
    if not _INTERP.fullmatch(text):
        raise ValueError(
            f'\'{text}\' is no interpolation; in time "nearest" or "linear", then "PD" or '
            '"perobs"; after a comma in frequency "nearest", "linear", "cubic" or "spline", then '
            '"flag": "linear,linearflag"'
        )


def _split(text: str, kind: str, example: str) -> tuple[float, str]:
    try:
        return split(text)
    except ValueError:
        raise ValueError(f"'{text}' is not {kind}; write for example \"{example}\"") from None


_VIEWER_BYTES: Final = (64e3, 100e6)
"""Less shows nothing; more, for each layer of an image, is more than a browser should hold."""


def _viewer_size(text: str) -> None:
    """Accept a size between the bounds of what a page can show."""
    _quantity("size", zero=False)(text)
    low, high = _VIEWER_BYTES
    if not low <= parse(text, "size") <= high:
        raise ValueError(f"'{text}' is not between 64kB and 100MB, what a page can show")


FORMATS: Final[dict[str, Callable[[str], None]]] = {
    "name": _name,
    "duration": _quantity("duration", zero=True),
    "positive-duration": _quantity("duration", zero=False),
    "angle": _quantity("angle", zero=False),
    "frequency": _quantity("frequency", zero=False),
    "size": _quantity("size", zero=False),
    "viewer-size": _viewer_size,
    "threshold": _threshold,
    "channel": _channel,
    "solint": _solint,
    "interp": _interp,
    "channels": _channels,
    "batch-word": _batch_word,
    "author": _author,
}
"""Formats by the name that the schema gives them."""


def format_checker() -> FormatChecker:
    """Return the formats as jsonschema takes them, for other users of the schema."""
    from jsonschema import FormatChecker

    checker = FormatChecker(formats=())
    for name, check in FORMATS.items():

        def accepts(value: object, check: Callable[[str], None] = check) -> bool:
            if isinstance(value, str):
                check(value)
            return True

        checker.checks(name, raises=ValueError)(accepts)
    return checker
