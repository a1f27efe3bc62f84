"""FITS files of CASA images, for programs that read no CASA images."""

from __future__ import annotations

import os
from pathlib import Path

from .config import configure
from .fits_object import with_short_object
from .image_file import open_image


def write(image: Path, fits: Path) -> None:
    """Write an image as FITS: right ascension, declination, frequency, Stokes.

    As ``exportfits`` does by default, without the second that it takes to import CASA's tasks.

    Raises
    ------
    DataError
        If the image cannot be opened.
    RuntimeError
        If CASA cannot write it.
    """
    _be_silent()
    with with_short_object({"imagename": str(image)}) as params:
        tool, _, _ = open_image(params["imagename"])
        try:
            tool.tofits(outfile=str(fits), overwrite=True, stokeslast=True)
        finally:
            tool.done()


def _be_silent() -> None:
    """Keep what CASA has to say of headers from the terminal; steps have a log for it."""
    configure()
    from casatools import logsink

    sink = logsink()
    sink.setlogfile(os.devnull)
    sink.showconsole(False)
    sink.setglobal(True)
