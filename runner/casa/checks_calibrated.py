"""Post-condition of applied calibration: a calibrator has the flux density that it should."""

from __future__ import annotations

import math
from collections.abc import Mapping
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
    found = _means_corrected(path, int(field))
    if given.get("fluxscale"):
        wanted = _scaled(Path(given["fluxscale"]), field)
        origin = "fluxscale"
    else:
        wanted = _means_of_model(path, field)
        origin = "its model"
    ratios: dict[str, float] = {}
    for spw in sorted(found.keys() & wanted.keys()):
        mean, error = found[spw]
        # Where noise hides it, or the source is resolved out, the mean tells nothing.
        if wanted[spw] > 0 and error < 0.1 * wanted[spw]:
            ratios[str(spw)] = mean / wanted[spw]
    for name, ratio in ratios.items():
        spw = int(name)
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
        f"field {field}: calibrated data average {ratio:.2f} times what {origin} says in spw {name}"
        for name, ratio in ratios.items()
        if not 1 / _ODD < ratio < _ODD
    ]
    return {"ratio": ratios} | ({"warnings": warnings} if warnings else {})


def _means_corrected(path: Path, field: int) -> dict[int, tuple[float, float]]:
    """Return mean and its error (Jy) of the real part of CORRECTED_DATA by spectral window."""
    sums: dict[int, npt.NDArray[np.float64]] = {}
    hands = _hands(path)
    where = f"FIELD_ID=={field} && ANTENNA1!=ANTENNA2"
    for chunk in chunks(path, ("CORRECTED_DATA",), where):
        of_piece = hands[chunk.spw, chunk.flagged.shape[0]]
        rows = [number for number, name in enumerate(of_piece) if name]
        real = chunk.columns["CORRECTED_DATA"].real[rows][~chunk.flagged[rows]]
        here = np.array([real.size, real.sum(), np.square(real).sum()], dtype=float)
        sums[chunk.spw] = sums.get(chunk.spw, np.zeros(3)) + here
    found = {}
    for spw, (n, total, squares) in sums.items():
        if n > 1 and math.isfinite(total):
            variance = max(0.0, squares - total**2 / n) / (n - 1)
            found[spw] = (total / n, math.sqrt(variance / n))
    return found


def _means_of_model(path: Path, field: str) -> dict[int, float]:
    """Return the mean (Jy) of the real part of the model by spectral window.

    visstat is the one way to read a model that setjy keeps as a recipe (usescratch=False).
    """
    with open_table(path / "DATA_DESCRIPTION") as table:
        spws = [int(spw) for spw in table.getcol("SPECTRAL_WINDOW_ID")]
    hands = {name for names in _hands(path).values() for name in names}
    result = invoke.task(
        "visstat",
        {
            "vis": str(path),
            "axis": "real",
            "datacolumn": "model",
            "field": field,
            "antenna": "*&*",
            "correlation": ",".join(name for name in _PARALLEL.values() if name in hands),
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
