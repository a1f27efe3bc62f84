"""The continuum of each pixel as a polynomial of the channel, fitted plane by plane.

Least squares need sums over channels alone: of powers of the channel for the pixels that are
valid there, and of these times the brightness. So the fit takes one pass and a few planes,
however many channels there are. Polynomials are Legendre's on [-1, 1], whose sums stay well
conditioned.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from .convolve import Plane

Floats = npt.NDArray[np.float64]


class ContinuumFit:
    """The sums of a fit, of some rows of a cube.

    Parameters
    ----------
    channels : tuple of int
        Those that are free of lines.
    n_chan : int
        Channels of the cube.
    order : int
        Of the polynomial.
    shape : tuple of int
        Of a plane's part.
    """

    def __init__(
        self, channels: tuple[int, ...], n_chan: int, order: int, shape: tuple[int, int]
    ) -> None:
        self._basis = basis(n_chan, order)
        terms = order + 1
        self._moments = np.zeros((terms, *shape))
        # A matrix for all pixels that are never masked, and one each for the others.
        self._common = sum(
            (np.outer(self._basis[c], self._basis[c]) for c in channels), np.zeros((terms, terms))
        )
        self._number = np.zeros(shape, np.int32)
        self._missing: dict[int, npt.NDArray[np.uint8]] = {}
        self._channels = channels

    def add(self, channel: int, plane: Plane) -> None:
        """Take a plane of one of the channels."""
        valid = np.isfinite(plane)
        if valid.all():
            values: Plane = plane
        else:
            values = np.where(valid, plane, np.float32(0))
            self._missing[channel] = np.packbits(~valid)
        for term, factor in enumerate(self._basis[channel]):
            self._moments[term] += factor * values
        self._number += valid

    def solve(self) -> npt.NDArray[np.float32]:
        """Return the coefficients, shape (order + 1, n_y, n_x).

        A pixel with no more valid channels than there are coefficients has no fit: NaN.
        """
        terms, n_y, n_x = self._moments.shape
        right = self._moments.reshape(terms, -1)
        found = np.linalg.solve(self._common, right)
        partly = np.flatnonzero(self._number.ravel() < len(self._channels))
        if partly.size:
            found[:, partly] = self._solve_partly(partly, right)
        return found.reshape(terms, n_y, n_x).astype(np.float32)

    def _solve_partly(self, pixels: npt.NDArray[np.intp], right: Floats) -> Floats:
        """Solve for pixels that are masked in some channels, each with its own matrix."""
        terms = len(right)
        solved = np.full((terms, pixels.size), np.nan)
        enough = self._number.ravel()[pixels] > terms
        size = self._number.size
        for start in range(0, pixels.size, _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            chosen, good = pixels[some], enough[some]
            matrices = np.repeat(self._common[None], chosen.size, axis=0)
            for channel, packed in self._missing.items():
                gone = np.unpackbits(packed, count=size)[chosen].astype(bool)
                matrices[gone] -= np.outer(self._basis[channel], self._basis[channel])
            if good.any():
                answer = np.linalg.solve(matrices[good], right[:, chosen[good]].T[..., None])
                solved[:, start + np.flatnonzero(good)] = answer[..., 0].T
        return solved


_AT_ONCE: Final = 200_000


def basis(n_chan: int, order: int) -> Floats:
    """Return Legendre polynomials over a cube's channels, shape (n_chan, order + 1)."""
    place = np.linspace(-1, 1, n_chan) if n_chan > 1 else np.zeros(1)
    return np.asarray(np.polynomial.legendre.legvander(place, order), np.float64)


def continuum(coefficients: npt.NDArray[np.float32], factors: Floats) -> Plane:
    """Return the continuum of a channel, given its row of `basis`."""
    total = np.zeros(coefficients.shape[1:], np.float32)
    for plane, factor in zip(coefficients, factors, strict=True):
        total += np.float32(factor) * plane
    return total
