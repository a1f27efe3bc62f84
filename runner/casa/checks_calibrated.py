"""Post-condition of applied calibration: a calibrator has the flux density that it should."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..files import read_json
from . import invoke
from .checks_evidence import Evidence, Json, failed
from .checks_visibilities import chunks
from .tables import open_table

_ABSURD: Final = 2.0
_ODD: Final = 1.25
_CHANNELS: Final = 8
Sums = npt.NDArray[np.float64]
"""Number, sum and sum of squares of some values."""

_PARALLEL: Final = {1: "I", 5: "RR", 8: "LL", 9: "XX", 12: "YY"}


def amplitude(given: Mapping[str, Any], evidence: Evidence) -> dict[str, Json]:
    """Check that a calibrator's corrected data have the mean of its model.

    The means are those of the real part over cross-correlations of parallel hands: calibrated
    data have the model's phases, so that noise averages out, as it does not in amplitudes.

    Parameters
    ----------
    given : mapping
        ``path``, of the MS; ``field``, its id; ``fluxscale``, what fluxscale returned, as a
        JSON file, for a field whose model is a point source of unknown flux density (empty:
        compare with the model that setjy set).
    evidence : Evidence
        What is known of the step.

    Returns
    -------
    dict
        ``ratio`` of corrected data to model by spectral window; ``warnings`` where it is odd.

    Raises
    ------
    StepFailedError
        If the two differ by more than a factor of 2 in a spectral window.
    """
    path, field = Path(given["path"]), str(given["field"])
    found, wanted, origin = _means(path, field, given.get("fluxscale", ""))
    ratios = _ratios(found, wanted)
    for spw, ratio in ratios.items():
        if not 1 / _ABSURD < ratio < _ABSURD:
            raise failed(
                f"expected calibrated data of field {field} in {path} to average "
                f"{wanted[spw]:.3g} Jy in spw {spw} (from {origin}), found "
                f"{found[spw][0]:.3g} Jy: the amplitudes were not applied, or solved with "
                "another model or with bad data",
                "Look at the amplitude and bandpass tables; flag bad data with flag.manual; check "
                "calibrators.flux and calibrate.applycal.",
            )
    warnings = [
        f"field {field}: calibrated data average {ratio:.2f} times what {origin} says in spw {spw}"
        for spw, ratio in ratios.items()
        if not 1 / _ODD < ratio < _ODD
    ]
    by_name: dict[str, Json] = {str(spw): ratio for spw, ratio in ratios.items()}
    return {"ratio": by_name} | ({"warnings": warnings} if warnings else {})


def _ratios(
    found: Mapping[int, tuple[float, float]], wanted: Mapping[int, float]
) -> dict[int, float]:
    """Return data over model (Jy over Jy) by spw, where the mean is good to a tenth.

    Elsewhere noise hides the source, or it is resolved out, and the mean tells nothing.
    """
    return {
        spw: found[spw][0] / wanted[spw]
        for spw in sorted(found.keys() & wanted.keys())
        if wanted[spw] > 0 and found[spw][1] < 0.1 * wanted[spw]
    }


def _some_channels(path: Path) -> dict[int, list[int]]:
    """Return a few channels of each spectral window, from all over its inner three quarters.

    A model is read at a hundredth of the speed of data, since it must be made of its components.
    """
    with open_table(path / "SPECTRAL_WINDOW") as table:
        numbers = table.getcol("NUM_CHAN")
    return {
        spw: sorted({int(n * (0.125 + 0.75 * (k + 0.5) / _CHANNELS)) for k in range(_CHANNELS)})
        for spw, n in enumerate(numbers)
    }


def _means(
    path: Path, field: str, fluxscale: str
) -> tuple[dict[int, tuple[float, float]], dict[int, float], str]:
    """Return a field's means, what they should be (Jy, by spectral window), and who says so."""
    if fluxscale:
        found = _of_all_hands(_means_corrected(path, int(field), {}))
        return found, _scaled(Path(fluxscale), field), "fluxscale"
    channels = _some_channels(path)
    by_hand = _means_corrected(path, int(field), channels)
    hand = max(by_hand, key=lambda name: _number(by_hand[name]), default="")
    found = _of_all_hands({hand: by_hand[hand]} if hand else {})
    return found, _means_of_model(path, field, hand, channels), "its model"


def _means_corrected(
    path: Path, field: int, channels: Mapping[int, Sequence[int]]
) -> dict[str, dict[int, Sums]]:
    """Sum up the real part of CORRECTED_DATA by hand and spectral window; all channels if empty."""
    sums: dict[str, dict[int, Sums]] = {}
    hands = _hands(path)
    where = f"FIELD_ID=={field} && ANTENNA1!=ANTENNA2"
    for chunk in chunks(path, ("CORRECTED_DATA",), where):
        data, flagged = chunk.columns["CORRECTED_DATA"], chunk.flagged
        chosen = channels.get(chunk.spw, slice(None))
        for number, hand in enumerate(hands[chunk.spw, flagged.shape[0]]):
            if hand:
                real = data[number, chosen].real[~flagged[number, chosen]]
                here = np.array([real.size, real.sum(), np.square(real).sum()], dtype=float)
                of_hand = sums.setdefault(hand, {})
                of_hand[chunk.spw] = of_hand.get(chunk.spw, np.zeros(3)) + here
    return sums


def _number(sums: Mapping[int, Sums]) -> float:
    """Return how many values were summed up."""
    return float(sum(here[0] for here in sums.values()))


def _of_all_hands(by_hand: Mapping[str, Mapping[int, Sums]]) -> dict[int, tuple[float, float]]:
    """Return mean and its error in Jy by spectral window."""
    sums: dict[int, Sums] = {}
    for of_hand in by_hand.values():
        for spw, here in of_hand.items():
            sums[spw] = sums.get(spw, np.zeros(3)) + here
    found = {}
    for spw, (n, total, squares) in sums.items():
        if n > 1 and math.isfinite(total):
            variance = max(0.0, squares - total**2 / n) / (n - 1)
            found[spw] = (float(total / n), math.sqrt(variance / n))
    return found


def _means_of_model(
    path: Path, field: str, hand: str, channels: Mapping[int, Sequence[int]]
) -> dict[int, float]:
    """Return the mean (Jy) of the real part of a hand of the model by spectral window.

    visstat is the one way to read a model that setjy keeps as a recipe (usescratch=False). Of one
    hand: where one is flagged, visstat takes its model for zero in the mean over both.
    """
    if not hand:
        return {}
    with open_table(path / "DATA_DESCRIPTION") as table:
        spws = [int(spw) for spw in table.getcol("SPECTRAL_WINDOW_ID")]
    result = invoke.task(
        "visstat",
        {
            "vis": str(path),
            "axis": "real",
            "datacolumn": "model",
            "field": field,
            "spw": ",".join(f"{spw}:{';'.join(map(str, channels[spw]))}" for spw in set(spws)),
            "antenna": "*&*",
            "correlation": hand,
            "reportingaxes": "ddid",
            "useflags": True,
        },
    )
    found = {}
    for key, entry in (result or {}).items():
        if float(entry.get("npts", 0)) > 1 and math.isfinite(float(entry["mean"])):
            found[spws[int(key.rpartition("=")[2])]] = float(entry["mean"])
    return found


def _hands(path: Path) -> dict[tuple[int, int], list[str]]:
    """Return correlations by spectral window and their number, "" for those not parallel."""
    with open_table(path / "POLARIZATION") as table:
        codes = [table.getcell("CORR_TYPE", row) for row in range(table.nrows())]
    with open_table(path / "DATA_DESCRIPTION") as table:
        spws, setups = (table.getcol(name) for name in ("SPECTRAL_WINDOW_ID", "POLARIZATION_ID"))
    names = [[_PARALLEL.get(int(code), "") for code in setup] for setup in codes]
    return {
        (int(spw), len(names[int(setup)])): names[int(setup)]
        for spw, setup in zip(spws, setups, strict=True)
    }


def _scaled(path: Path, field: str) -> dict[int, float]:
    """Return a field's flux densities (Jy) by spectral window, as fluxscale found them."""
    entry = read_json(path).get(field, {})
    return {
        int(spw): float(value["fluxd"][0])
        for spw, value in entry.items()
        if spw.isdigit() and isinstance(value, Mapping)
    }
