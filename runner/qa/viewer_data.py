"""Data for the report's viewers: scripts that a page opened from disk may load.

A browser refuses a page from disk to read other files; scripts it loads. So data are
JSON within one call, arrays in it base64. No text of data is ever code: JSON in ASCII is a
subset of JavaScript.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

HALF_PRECISION: Final = 2.0**-11
"""Largest relative error of a number written as a half-precision float (IEEE 754 binary16)."""

_LARGEST: Final = 32768.0


MOST_BYTES: Final = 4_000_000
"""Bytes of the pixels of a layer of an image at most, where the recipe does not say."""


def most_bytes(params: Mapping[str, Any]) -> int:
    """Return how many bytes a viewer may have by a measuring step's parameters; 0 for none."""
    return int(params.get("viewer_bytes", MOST_BYTES))


def write_script(path: Path, content: Mapping[str, Any]) -> int:
    """Write data as a script.

    Parameters
    ----------
    path : Path
        The file; its folder is made if need be.
    content : mapping
        Plain data, without NaN.

    Returns
    -------
    int
        Its size in bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return path.write_bytes(f"casarun.take({text});\n".encode("ascii"))


def base64(values: npt.NDArray[Any]) -> str:
    """Write an array's bytes, little-endian, in C order."""
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return b64encode(little.data).decode("ascii")


def halves(values: npt.NDArray[Any]) -> tuple[str, float]:
    """Write numbers with 11 significant bits.

    Parameters
    ----------
    values : array of float
        NaN where blank.

    Returns
    -------
    tuple of (str, float)
        Half-precision floats, and the power of two by which they are to be multiplied; each
        is right to `HALF_PRECISION`, but those below 4e-9 of the largest.
    """
    finite = np.isfinite(values)
    largest = float(np.max(np.abs(values), where=finite, initial=0.0))
    scale = 2.0 ** np.ceil(np.log2(largest / _LARGEST)) if largest else 1.0
    scaled = np.where(finite, values, np.nan) / scale
    return base64(scaled.astype(np.float16)), float(scale)
