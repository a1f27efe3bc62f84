"""Mean spectra of corrected visibilities, field by field: amplitude, phase and scatter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Complexes = npt.NDArray[np.complex128]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

MAX_CHANNELS: Final = 512
"""Of a field's windows together; more are averaged."""


@dataclass
class Spectra:
    """Sums of visibilities over rows and hands, by field and spectral window."""

    _sums: dict[tuple[int, int], npt.NDArray[Any]] = field(default_factory=dict)

    def add(self, data: Complexes, flag: Bools, fields: Ints, spw: int) -> None:
        """Add rows of one spectral window.

        Parameters
        ----------
        data, flag : array, shape (hands, channels, rows)
        fields : array of int, shape (rows,)
        spw : int
        """
        edges = np.flatnonzero(np.diff(fields)) + 1
        starts = [0, *edges.tolist(), fields.size] if fields.size else []
        for start, end in pairwise(starts):
            part, good = data[:, :, start:end], ~flag[:, :, start:end]
            clean = np.where(good, part, 0)
            power = np.einsum("hcr,hcr->c", clean.real, clean.real)
            power += np.einsum("hcr,hcr->c", clean.imag, clean.imag)
            sums = np.stack([clean.sum(axis=(0, 2)), power, good.sum(axis=(0, 2))])
            key = (int(fields[start]), spw)
            self._sums[key] = self._sums[key] + sums if key in self._sums else sums

    def result(
        self, groups: Mapping[str, Sequence[int]], frequencies_hz: Sequence[Any]
    ) -> dict[str, Any]:
        """Return the spectra of groups of fields.

        Parameters
        ----------
        groups : mapping
            Field ids by the group's name.
        frequencies_hz : sequence of array
            Channel centres by spectral window.

        Returns
        -------
        dict
            By group a list of windows, lowest frequency first, each with ``spw``,
            ``frequency_mhz``, ``amplitude_jy`` and ``phase_deg`` (of the vector average over
            time, baselines and parallel hands) and ``scatter_jy`` (rms of a visibility about
            it, real and imaginary part together); None where all is flagged.
        """
        found = {}
        for name, ids in groups.items():
            windows = sorted(
                {spw for number, spw in self._sums if number in ids},
                key=lambda spw: float(np.mean(frequencies_hz[spw])),
            )
            most = max(2, MAX_CHANNELS // max(1, len(windows)))
            found[name] = [
                self._window(ids, spw, np.asarray(frequencies_hz[spw]), most) for spw in windows
            ]
        return {name: windows for name, windows in found.items() if windows}

    def _window(
        self, ids: Sequence[int], spw: int, frequencies_hz: npt.NDArray[Any], most: int
    ) -> dict[str, Any]:
        total = sum(sums for (number, one), sums in self._sums.items()
                    if one == spw and number in ids)  # fmt: skip
        sums = np.asarray(total)
        every = -(-sums.shape[1] // most)
        at = np.arange(0, sums.shape[1], every)
        vector, power, count = np.add.reduceat(sums, at, axis=1)
        number = count.real
        mean_hz = np.add.reduceat(frequencies_hz, at) / np.diff([*at, sums.shape[1]])
        filled = np.maximum(number, 1)
        mean = vector / filled
        scatter = np.sqrt(np.maximum(power.real / filled - np.abs(mean) ** 2, 0))
        good = number > 0
        return {
            "spw": spw,
            "frequency_mhz": _listed(mean_hz / 1e6, good | True),
            "amplitude_jy": _listed(np.abs(mean), good),
            "phase_deg": _listed(np.degrees(np.angle(mean)), good),
            "scatter_jy": _listed(scatter, good & (number > 1)),
        }


def _listed(values: npt.NDArray[Any], good: Bools) -> list[float | None]:
    return [round(float(v), 6) if ok else None for v, ok in zip(values, good, strict=True)]
