"""The ``auto`` values of what is known of antennas and air before the first solution."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..observation import SpectralWindow
from .choice import Choice

CURVED_FROM_HZ: Final = 8e9
"""Below, CASA's gain curves of today's VLA antennas are 1. Between the zenith and 20 degrees of
elevation the power varies by 2 % at 8 to 12 GHz, 5 % at 18 to 26 GHz and 15 % above 40 GHz, medians
over the antennas in casadata's ``nrao/VLA/GainCurves``."""

OPAQUE_FROM_HZ: Final = 15e9
"""Below, the air over the VLA takes 1 to 2 % at the zenith; from here on NRAO's CASA guides apply
opacities."""


def is_vla(telescope: str) -> bool:
    """Tell whether a telescope is the VLA, of which CASA knows gain curves and weather."""
    return telescope.upper() in ("VLA", "EVLA", "JVLA")


def gaincurve(telescope: str, spws: Iterable[SpectralWindow]) -> Choice:
    """Choose whether to apply gain curves: where CASA has some that are not flat."""
    highest = max((spw.highest_hz for spw in spws), default=0.0)
    if not is_vla(telescope):
        return Choice("no", f"CASA has gain curves of the VLA only, not of {telescope}")
    seen = f"observed up to {highest / 1e9:.4g} GHz"
    if highest < CURVED_FROM_HZ:
        return Choice("no", f"they matter from {CURVED_FROM_HZ / 1e9:g} GHz on; {seen}")
    return Choice("yes", f"{seen}, where gain changes with elevation")


def opacity(telescope: str, spws: Iterable[SpectralWindow]) -> Choice:
    """Choose where opacities come from: CASA's plotweather knows the VLA's site."""
    highest = max((spw.highest_hz for spw in spws), default=0.0)
    if not is_vla(telescope):
        return Choice(
            "no", f"CASA's plotweather knows the air over the VLA only, not over {telescope}"
        )
    seen = f"observed up to {highest / 1e9:.4g} GHz"
    if highest < OPAQUE_FROM_HZ:
        return Choice("no", f"it matters from {OPAQUE_FROM_HZ / 1e9:g} GHz on; {seen}")
    return Choice("plotweather", f"from weather and season, by CASA's plotweather; {seen}")
