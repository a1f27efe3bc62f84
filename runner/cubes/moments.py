"""Moments of a cube, summed plane by plane; definitions as in CASA's immoments.

With intensity I, velocity v and the channel's width dv, over the pixels that are taken:
-1 mean of I, 0 sum of I dv, 1 sum of I v / sum of I, 2 the square root of
sum of I v^2 / sum of I - moment 1 squared, 5 standard deviation of I, 6 root mean square of I,
8 and 10 largest and smallest I, 9 and 11 their velocities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .convolve import Plane
from .moment_kinds import CLIP_SIGMA, CLIPPED, SUMS, sums_of

Bools = npt.NDArray[np.bool_]


class Moments:
    """Sums over the planes of a cube, or a part of it.

    Parameters
    ----------
    moments : tuple of int
        Those that are wanted.
    shape : tuple of int
        Of a plane.
    middle_km_s : float
        A velocity in the middle of the cube: sums of squares lose no digits about it.
    """

    def __init__(
        self, moments: tuple[int, ...], shape: tuple[int, int], middle_km_s: float
    ) -> None:
        self.moments = moments
        self._middle = middle_km_s
        self.sums: dict[str, npt.NDArray[Any]] = {}
        for name in sums_of(moments):
            kind = {"n": np.int32, "high": np.float32, "low": np.float32}.get(name, np.float64)
            start = {"high": -np.inf, "low": np.inf}.get(name, 0)
            self.sums[name] = np.full(shape, start, np.float32 if name.endswith("_at") else kind)

    def add(self, plane: Plane, velocity_km_s: float, taken: Bools | None = None) -> None:
        """Add a plane.

        Parameters
        ----------
        plane : array, shape (n_y, n_x)
            NaN where it is masked.
        velocity_km_s : float
            Of its channel.
        taken : array of bool, shape (n_y, n_x), optional
            The pixels that count, beside those that are masked.
        """
        valid = np.isfinite(plane) if taken is None else np.isfinite(plane) & taken
        whole = bool(valid.all())
        values = plane if whole else np.where(valid, plane, np.float32(0))
        offset = velocity_km_s - self._middle
        sums = self.sums
        if "n" in sums:
            sums["n"] += valid
        for name, factor in (("s0", 1.0), ("s1", offset), ("s2", offset**2)):
            if name in sums:
                sums[name] += values if name == "s0" else factor * values.astype(np.float64)
        if "q" in sums:
            sums["q"] += values.astype(np.float64) ** 2
        for name, better in (("high", np.greater), ("low", np.less)):
            if name in sums:
                here = better(plane, sums[name]) & valid
                np.copyto(sums[name], plane, where=here)
                np.copyto(sums[f"{name}_at"], np.float32(offset), where=here)

    def merge(self, other: Callable[[str], npt.NDArray[Any]]) -> None:
        """Add the sums of a later part of the cube, which `other` gives by name, one at a time."""
        for name, better in (("high", np.greater), ("low", np.less)):
            if name in self.sums:
                theirs = other(name)
                here = better(theirs, self.sums[name])
                np.copyto(self.sums[name], theirs, where=here)
                np.copyto(self.sums[f"{name}_at"], other(f"{name}_at"), where=here)
        for name in {"n", "s0", "s1", "s2", "q"} & self.sums.keys():
            self.sums[name] += other(name)

    def map(self, moment: int, width_km_s: float) -> Plane:
        """Return a moment; NaN where no pixel was taken, or none that it could be made of.

        Parameters
        ----------
        moment : int
            Which.
        width_km_s : float
            Of a channel.
        """
        sums = self.sums
        with np.errstate(invalid="ignore", divide="ignore"):
            found = self._map(moment, width_km_s)
        empty = sums["n"] == 0 if "n" in SUMS[moment] else ~np.isfinite(sums[SUMS[moment][0]])
        return np.where(empty, np.nan, found).astype(np.float32)

    def _map(self, moment: int, width_km_s: float) -> Any:
        s = self.sums
        if moment == -1:
            return s["s0"] / s["n"]
        if moment == 0:
            return s["s0"] * width_km_s
        if moment == 1:
            return self._middle + s["s1"] / s["s0"]
        if moment == 2:
            return np.sqrt(s["s2"] / s["s0"] - (s["s1"] / s["s0"]) ** 2)
        if moment == 5:
            return np.sqrt(np.maximum(s["q"] - s["s0"] ** 2 / s["n"], 0) / (s["n"] - 1))
        if moment == 6:
            return np.sqrt(s["q"] / s["n"])
        name = "high" if moment in (8, 9) else "low"
        return s[name] if moment in (8, 10) else self._middle + s[f"{name}_at"]


class Maps:
    """The sums of all moment maps that are wanted: of all that a mask takes, or of two kinds.

    Parameters
    ----------
    moments : tuple of int
        Those that are wanted.
    shape : tuple of int
        Of a plane.
    middle_km_s : float
        A velocity in the middle of the cube.
    masked : bool
        There is a mask, which is for all of them.
    """

    def __init__(
        self, moments: tuple[int, ...], shape: tuple[int, int], middle_km_s: float, *, masked: bool
    ) -> None:
        clipped = () if masked else tuple(one for one in moments if one in CLIPPED)
        self._all = Moments(tuple(set(moments) - set(clipped)), shape, middle_km_s)
        self._clipped = Moments(clipped, shape, middle_km_s)

    def add(
        self, plane: Plane, velocity_km_s: float, taken: Bools | None, noise: float | None
    ) -> None:
        """Add a plane.

        Parameters
        ----------
        plane, velocity_km_s, taken
            As in `Moments.add`.
        noise : float or None
            Of the plane; where it is not known, nothing is significant.
        """
        if self._all.sums:
            self._all.add(plane, velocity_km_s, taken)
        if self._clipped.sums and noise is not None:
            with np.errstate(invalid="ignore"):
                self._clipped.add(plane, velocity_km_s, plane > CLIP_SIGMA * noise)

    @property
    def clips(self) -> bool:
        """Whether the noise of the planes matters."""
        return bool(self._clipped.sums)

    @property
    def sums(self) -> dict[str, npt.NDArray[Any]]:
        """The sums, by a name of their own each."""
        return {**self._all.sums, **{f"clipped_{k}": v for k, v in self._clipped.sums.items()}}

    def merge(self, other: Mapping[str, npt.NDArray[Any]]) -> None:
        """Add the sums of a later part of the cube; they are taken one at a time."""
        self._all.merge(lambda name: other[name])
        self._clipped.merge(lambda name: other[f"clipped_{name}"])

    def map(self, moment: int, width_km_s: float) -> Plane:
        """Return a moment; see `Moments.map`."""
        both = (self._clipped, self._all)
        return next(one for one in both if moment in one.moments).map(moment, width_km_s)
