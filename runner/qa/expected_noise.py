"""The noise that an image should have: from its visibilities' own scatter, and from the array."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..casa import thermal
from ..casa.selfcal_image import noise_factor
from ..errors import DataError
from . import sefd
from .metrics import put

METHOD = (
    "1/sqrt(sum 1/sigma^2) over the unflagged visibilities that are imaged, sigma from differences "
    "of neighbouring channels (or times), times what the weighting costs"
)

_KEYS = (
    "thermal_noise_jy_per_beam", "noise_over_thermal", "visibility_noise_jy", "weighting_factor",
    "array_noise_jy_per_beam", "visibility_over_array",
)  # fmt: skip


def into(
    numbers: dict[str, Any], asked: Mapping[str, Any], width_hz: float, noise_jy: float | None
) -> None:
    """Add what noise an image should have to its numbers.

    Parameters
    ----------
    numbers : dict
        Of the image; is added to.
    asked : mapping
        ``vis``, ``spw``, ``column``, ``size``, ``cell_arcsec``, ``weighting``, ``robust``; or
        ``reason`` why there is no such number.
    width_hz : float
        Of a cube's channel; 0 for an image of all channels.
    noise_jy : float or None
        The noise that was measured.
    """
    reason = str(asked.get("reason", "it was not asked for"))
    found: list[thermal.Part] = []
    if "vis" in asked:
        try:
            found = thermal.parts(asked["vis"], asked["spw"], asked["column"])
            reason = "the visibilities are too few to tell their noise"
        except (DataError, RuntimeError) as error:
            reason = f"the visibilities cannot be read: {error}"
    factor = None
    if found:
        # A cube's channels are weighted each by itself.
        middle = ",".join(dict.fromkeys(part.middle for part in found)) if width_hz else ""
        factor = _factor(asked, middle or str(asked["spw"]))
        if factor is None:
            reason = f"what the weighting '{asked['weighting']}' costs is not known"
    if factor is None:
        for key in _KEYS:
            put(numbers, key, None, reason)
        return
    expected = thermal.image_noise(found, factor, width_hz)
    put(numbers, "thermal_noise_jy_per_beam", expected, reason)
    ratio = noise_jy / expected if noise_jy and expected else None
    put(numbers, "noise_over_thermal", ratio, "the noise is not known")
    put(numbers, "weighting_factor", factor, "")
    numbers["thermal_noise_method"] = METHOD
    _array(numbers, found, expected)


def _factor(asked: Mapping[str, Any], spw: str) -> float | None:
    """Return by how much the weighting raises the noise over that of natural weighting."""
    weighting = str(asked["weighting"])
    if weighting not in ("natural", "uniform", "briggs"):
        return None
    cell = f"{asked['cell_arcsec']}arcsec"
    told = {"imsize": asked["size"], "cell": [cell], "weighting": weighting,
            "robust": asked["robust"], "spw": spw}  # fmt: skip
    return noise_factor(list(asked["vis"]), told)


def _array(numbers: dict[str, Any], found: list[thermal.Part], expected: float | None) -> None:
    """Hold the visibilities' noise against what the array's SEFD makes of it."""
    weights = np.array([part.number for part in found])
    sigma = float(np.average([part.sigma_jy for part in found], weights=weights))
    put(numbers, "visibility_noise_jy", sigma, "")
    ratios, sources = [], {}
    for part in found:
        known = sefd.find(part.telescope, part.hertz)
        if known is None or part.width_hz <= 0 or part.integration_s <= 0:
            reason = f"no SEFD of {part.telescope or 'the telescope'} is known at this frequency"
            for key in ("array_noise_jy_per_beam", "visibility_over_array"):
                put(numbers, key, None, reason)
            return
        array, band = known
        ratios.append(
            part.sigma_jy
            / sefd.visibility_noise_jy(
                band.sefd_jy, array.efficiency, part.width_hz, part.integration_s
            )
        )
        called = f"band {band.name}" if band.name.isdigit() else f"{band.name} band"
        sources[f"{called}: SEFD of {band.sefd_jy:.0f} Jy ({array.source})"] = band.sefd_jy
    ratio = float(np.average(ratios, weights=weights))
    put(numbers, "visibility_over_array", ratio, "")
    put(numbers, "array_noise_jy_per_beam", expected / ratio if expected else None, "")
    numbers["sefd"] = "; ".join(sources)
