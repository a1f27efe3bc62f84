"""What noise an image must have by its visibilities' weights, without CASA's imager."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from casarun.casa.tables import open_table

from .skies import ARCSEC, LIGHT_M_S

Reals = npt.NDArray[np.float64]


def briggs_noise_jy(
    measurement_sets: Iterable[Path],
    noise_jy: float,
    side: int,
    cell_arcsec: float,
    robust: float = 0.5,
    channels: Collection[int] | None = None,
) -> float:
    """Return the noise of a Stokes I image that is weighted by Briggs' scheme, in Jy/beam.

    Briggs 1995, PhD thesis, section 3.3: a weight w becomes w / (1 + W f^2), with W the sum of
    the weights in its cell of the uv plane and f^2 = (5 10^-R)^2 sum(W) / sum(W^2).

    Parameters
    ----------
    measurement_sets : iterable of Path
        Of the target; two parallel hands.
    noise_jy : float
        Standard deviation of the real part of a visibility.
    side, cell_arcsec : int, float
        The image's side in pixels, and the pixel.
    robust : float
        R.
    channels : collection of int, optional
        Those that are imaged; none for all.
    """
    found = [_visibilities(path, channels) for path in measurement_sets]
    u, v, weight = (np.concatenate(each) for each in zip(*found, strict=True))
    u, v = np.concatenate([u, -u]), np.concatenate([v, -v])
    weight = np.concatenate([weight, weight])
    at = [np.round(each * side * cell_arcsec * ARCSEC).astype(int) for each in (u, v)]
    _, cells = np.unique(np.stack(at), axis=1, return_inverse=True)
    density = np.bincount(cells.ravel(), weight)
    f2 = (5 * 10**-robust) ** 2 * density.sum() / (density**2).sum()
    weight = weight / (1 + density[cells.ravel()] * f2)
    weight = weight[: weight.size // 2]
    return float(noise_jy / np.sqrt(2) * np.sqrt((weight**2).sum()) / weight.sum())


def _visibilities(path: Path, channels: Collection[int] | None) -> tuple[Reals, Reals, Reals]:
    """Return u, v (wavelengths) and weight of each unflagged visibility of both hands."""
    with open_table(path / "SPECTRAL_WINDOW") as table:
        hertz = [table.getcell("CHAN_FREQ", row) for row in range(table.nrows())]
    parts = []
    with open_table(path) as table:
        for window, frequencies in enumerate(hertz):
            part = table.query(f"DATA_DESC_ID=={window}")
            if part.nrows():
                uvw, flag = part.getcol("UVW"), part.getcol("FLAG")
                each = part.getcol("WEIGHT")[[0, -1]].mean(axis=0)
                good = ~flag[[0, -1]].any(axis=0)
                if channels is not None:
                    good &= np.isin(np.arange(len(frequencies)), list(channels))[:, None]
                scaled = frequencies[:, None, None] / LIGHT_M_S * uvw[:2]
                scaled = np.moveaxis(scaled, 1, 0)
                parts.append((*scaled[:, good], np.broadcast_to(each, good.shape)[good]))
            part.close()
    u, v, weight = (np.concatenate(one) for one in zip(*parts, strict=True))
    return u, v, weight
