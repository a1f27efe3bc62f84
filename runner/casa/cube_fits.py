"""Cubes as FITS, written a plane at a time: CASA's own header, planes copied, checksums.

The header is what ``exportfits`` writes for one plane of the same coordinates; the number of
channels, the beams of the channels (CASA's ``BEAMS`` table) and the checksums (FITS standard 4.0,
appendix J) are added.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, Final

import numpy as np

from . import invoke
from .fits_object import with_short_object

BLOCK: Final = 2880
_COPIED: Final = 16 * 2**20
_NOT_ALLOWED: Final = frozenset([*range(0x3A, 0x41), *range(0x5B, 0x61)])
"""Codes between digits and letters."""

_UNSIGNED: Final = 16 * "0"
_SUM_LIMIT: Final = 2**32 - 1

_BEAM_COLUMNS: Final = (
    ("BMAJ", ">f4", "arcsec"), ("BMIN", ">f4", "arcsec"), ("BPA", ">f4", "deg"),
    ("CHAN", ">i4", None), ("POL", ">i4", None),
)  # fmt: skip
_FORMATS: Final = {">f4": "1E", ">i4": "1J"}

Beams = Sequence[tuple[float, float, float]]
"""Rows of bmaj_arcsec, bmin_arcsec, bpa_deg."""


def write(
    header: Path | str, out: Path | str, n_chan: int, parts: Iterable[Path], beams: Beams = ()
) -> dict[str, Any]:
    """Write a cube.

    Parameters
    ----------
    header : Path or str
        An image of one plane with the cube's coordinates and, if all channels have one, its beam.
    out : Path or str
        The FITS file.
    n_chan : int
        Channels.
    parts : iterable of Path
        Files that hold the planes one after the other, as big-endian single precision.
    beams : sequence
        The beams of the channels where they differ.

    Returns
    -------
    dict
        ``bytes`` of the data.
    """
    primary = _primary(header)
    spectral = next(
        (i for i in range(3, primary["NAXIS"] + 1) if _is_spectral(primary[f"CTYPE{i}"])), 0
    )
    if spectral:
        primary[f"NAXIS{spectral}"] = n_chan
    if len(beams) > 1:
        for key in ("BMAJ", "BMIN", "BPA"):
            primary.remove(key, ignore_missing=True)
        primary["CASAMBM"] = (True, "CASA Multiple BEAMS table present")
    primary.remove("EXTEND", ignore_missing=True)
    primary.set("EXTEND", True, after=f"NAXIS{primary['NAXIS']}")
    primary["DATASUM"] = ("0", "data unit checksum")
    primary["CHECKSUM"] = (_UNSIGNED, "HDU checksum")
    with Path(out).open("w+b") as file:
        file.write(_bytes(primary))
        size, total = _copy(parts, file)
        primary["DATASUM"] = (str(total), "data unit checksum")
        file.seek(0)
        file.write(_bytes(_signed(primary, total)))
        file.seek(0, os.SEEK_END)
        if len(beams) > 1:
            file.write(_beams_table(beams))
    return {"bytes": size}


def _primary(header: Path | str) -> Any:
    """Return the header that ``exportfits`` gives a plane of the same coordinates."""
    from astropy.io import fits

    with TemporaryDirectory(prefix="fits-header-", dir=".") as folder:
        plane = str(Path(folder) / "plane.fits")
        with with_short_object({"imagename": str(header), "fitsimage": plane}) as params:
            invoke.task("exportfits", params)
        found = fits.getheader(plane, 0)
    for key in ("DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM"):
        found.remove(key, ignore_missing=True)
    return found


def _is_spectral(ctype: str) -> bool:
    return ctype.startswith(("FREQ", "VELO", "VRAD", "VOPT", "FELO", "WAVE", "AWAV"))


def _bytes(header: Any) -> bytes:
    content: bytes = header.tostring(sep="", endcard=True, padding=True).encode("ascii")
    return content


def _copy(parts: Iterable[Path], file: BinaryIO) -> tuple[int, int]:
    """Copy files one after the other, and fill up the last block; return bytes and checksum."""
    size, total = 0, 0
    for path in parts:
        with path.open("rb") as part:
            while content := part.read(_COPIED):
                file.write(content)
                size += len(content)
                # Planes are whole words, so no word is split between pieces of 16 MB.
                total = checksum(content, total)
    file.write(bytes(-size % BLOCK))
    return size, total


def checksum(content: bytes, total: int = 0) -> int:
    """Add words to a checksum: the ones' complement sum of 32-bit words (FITS 4.0, J.2)."""
    words = np.frombuffer(content + bytes(-len(content) % 4), ">u4")
    total += int(words.sum(dtype=np.uint64))
    while total > _SUM_LIMIT:
        total = (total & _SUM_LIMIT) + (total >> 32)
    return total


def _signed(header: Any, data_sum: int) -> Any:
    """Return a header whose CHECKSUM makes the sum over the whole unit all ones (FITS 4.0, J.4)."""
    total = checksum(_bytes(header), data_sum)
    header["CHECKSUM"] = (encoded(_SUM_LIMIT - total), "HDU checksum")
    return header


def encoded(number: int) -> str:
    """Write a checksum's complement as 16 letters and digits (FITS 4.0, J.3)."""
    letters = [[0] * 4 for _ in range(4)]
    for place, byte in enumerate(number.to_bytes(4, "big")):
        quotient, rest = divmod(byte, 4)
        four = [ord("0") + quotient + rest, *[ord("0") + quotient] * 3]
        while any(code in _NOT_ALLOWED for code in four):
            for pair in (0, 2):
                if four[pair] in _NOT_ALLOWED or four[pair + 1] in _NOT_ALLOWED:
                    four[pair] += 1
                    four[pair + 1] -= 1
        for row in range(4):
            letters[row][place] = four[row]
    text = "".join(chr(code) for row in letters for code in row)
    return text[-1] + text[:-1]


def _beams_table(beams: Beams) -> bytes:
    """Return CASA's table of beams as FITS: a row for each channel."""
    from astropy.io import fits

    rows = np.zeros(len(beams), [(name, kind) for name, kind, _ in _BEAM_COLUMNS])
    for index, name in enumerate(("BMAJ", "BMIN", "BPA")):
        rows[name] = [beam[index] for beam in beams]
    rows["CHAN"] = np.arange(len(beams))
    columns = [
        fits.Column(name, _FORMATS[kind], unit=unit, array=rows[name])
        for name, kind, unit in _BEAM_COLUMNS
    ]
    header = fits.BinTableHDU.from_columns(columns, name="BEAMS").header
    header["NCHAN"], header["NPOL"] = len(beams), 1
    content = rows.tobytes()
    content += bytes(-len(content) % BLOCK)
    total = checksum(content)
    header["DATASUM"] = (str(total), "data unit checksum")
    header["CHECKSUM"] = (_UNSIGNED, "HDU checksum")
    return _bytes(_signed(header, total)) + content
