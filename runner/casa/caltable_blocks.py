"""Read the solutions of a calibration table as blocks, to be plotted like visibilities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from . import read
from .visibility_blocks import BLOCK_SAMPLES, Block, Selection
from .visibility_contents import Contents


def caltable_blocks(path: Path | str, contents: Contents, chosen: Selection) -> Iterator[Block]:
    """Read selected solutions, a spectral window at a time.

    Feeds stand in the place of correlations. A solution has one antenna: `antenna2` is that, too.

    Raises
    ------
    DataError
        If the table cannot be opened or nothing is selected.
    """
    name = "CPARAM" if "CPARAM" in contents.columns else "FPARAM"
    found = 0
    with read.opened(path) as main:
        for spw in (one.id for one in contents.observation.spws):
            if chosen.channels is not None and spw not in chosen.channels:
                continue
            query = f"SPECTRAL_WINDOW_ID=={spw}" + (f" && {chosen.taql}" if chosen.taql else "")
            part = main.query(query)
            try:
                n_rows = int(part.nrows())
                found += n_rows
                size = int(np.prod(part.getcell(name, 0).shape)) if n_rows else 1
                step = max(1, BLOCK_SAMPLES // size)
                for start in range(0, n_rows, step):
                    yield _block(part, contents, chosen, spw, (start, min(step, n_rows - start)))
            finally:
                part.close()
    if not found:
        raise DataError(f"{path}: no solutions are selected: each part of the selection has some, "
                        "but not all of them together")  # fmt: skip


def _block(
    part: Any, contents: Contents, chosen: Selection, spw: int, rows: tuple[int, int]
) -> Block:
    """Read some solutions; those of a table without channels stand at the window's middle."""
    values = part.getcol("CPARAM" if "CPARAM" in contents.columns else "FPARAM", *rows)
    flag, snr = part.getcol("FLAG", *rows), part.getcol("SNR", *rows)
    centres = contents.frequencies_hz[spw]
    if values.shape[1] != len(centres):
        centres = np.full(values.shape[1], centres.mean())
    channels = np.arange(len(centres))
    if chosen.channels is not None and len(centres) > 1:
        channels = np.array(chosen.channels[spw])
    centres = centres[channels]
    flag = flag[:, channels]
    antenna = part.getcol("ANTENNA1", *rows)
    return Block(
        ddid=spw, spw=spw, correlation=np.arange(len(values)), channel=channels.astype(float),
        frequency_hz=centres, time_s=part.getcol("TIME", *rows), antenna1=antenna,
        antenna2=antenna, field=part.getcol("FIELD_ID", *rows),
        scan=part.getcol("SCAN_NUMBER", *rows), uvw_m=np.zeros((3, rows[1])), flag=flag,
        flagged=flag.mean(axis=(0, 1)), data=values[:, channels], snr=snr[:, channels],
    )  # fmt: skip
