"""The ``auto`` values of the calibration.

Pure: metadata in, choice out. Formulae carry their source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ..observation import Antenna, Field, Observation, SpectralWindow
from ..quantities import human_frequency
from .choice import Choice
from .sky import separation_deg

CALIBRATOR_POSITIONS: Final = {
    "3C48": (24.4221, 33.1598),
    "3C138": (80.2912, 16.6394),
    "3C147": (85.6506, 49.8520),
    "3C286": (202.7845, 30.5092),
}
"""J2000 positions (deg) of the standards that CASA has images of (VLA calibrator list)."""

MODEL_BANDS: Final = (
    ("P", 0.23e9, 0.47e9),
    ("L", 1e9, 2e9),
    ("S", 2e9, 4e9),
    ("C", 4e9, 8e9),
    ("X", 8e9, 12e9),
    ("U", 12e9, 18e9),
    ("K", 18e9, 26.5e9),
    ("A", 26.5e9, 40e9),
    ("Q", 40e9, 50e9),
)
"""VLA bands of the calibrators' model images, in Hz."""


def refant(observation: Observation, count: int = 3) -> Choice:
    """Choose reference antennas: central, unflagged, present throughout.

    Antennas are ranked by distance from the array's centre, as a fraction of the largest
    one, plus the flagged fraction, plus the share of scans without data. The list lets CASA
    fall back where the first has no solution.

    Parameters
    ----------
    observation : Observation
        Metadata with the antennas that have data.
    count : int
        How many to name.

    Returns
    -------
    Choice
        Comma-separated antenna names, best first.
    """
    farthest = max((antenna.distance_m for antenna in observation.antennas), default=0.0) or 1.0

    def score(antenna: Antenna) -> tuple[float, int]:
        badness = antenna.distance_m / farthest + antenna.flagged_fraction
        return round(badness + 2 * (1 - antenna.present_fraction), 9), antenna.id

    ranked = sorted(observation.antennas, key=score)[:count]
    if not ranked:
        return Choice("", "the dataset has no antenna with cross-correlations")
    best = ranked[0]
    reason = (
        f"{best.name} is {best.distance_m:.0f} m from the array's centre, "
        f"{best.flagged_fraction:.0%} flagged, present in {best.present_fraction:.0%} of the scans"
    )
    return Choice(",".join(antenna.name for antenna in ranked), reason)


def edge_channels(spw: SpectralWindow) -> Choice:
    """Choose how many channels to flag at each edge: a twentieth, none under 16 channels."""
    if spw.n_chan < 16:
        return Choice(0, f"spw {spw.id} has only {spw.n_chan} channels")
    number = max(1, round(spw.n_chan * 0.05))
    return Choice(number, f"5 % of the {spw.n_chan} channels of spw {spw.id} at each edge")


def solve_channels(spws: Iterable[SpectralWindow]) -> Choice:
    """Choose the channels for gain solutions: the central 80 % of each spectral window."""
    parts = []
    for spw in spws:
        skip = spw.n_chan // 10
        parts.append(
            f"{spw.id}:{skip}~{spw.n_chan - 1 - skip}" if spw.n_chan >= 10 else f"{spw.id}"
        )
    return Choice(",".join(parts), "the central 80 % of the channels, clear of the band's edges")


def delay(spws: Iterable[SpectralWindow]) -> Choice:
    """Choose whether to solve for delays: where a spectral window is 16 MHz wide or more.

    A residual delay of 5 ns turns the phase by 29 degrees over 16 MHz; in narrower windows
    the bandpass takes it.
    """
    widest = max((spw.bandwidth_hz for spw in spws), default=0.0)
    verdict = "yes" if widest >= 16e6 else "no"
    return Choice(verdict, f"the widest spectral window spans {widest / 1e6:.4g} MHz")


def calwt(telescope: str) -> Choice:
    """Choose whether calibration scales the weights: only where they were calibrated.

    The VLA's weights carry no system temperature (VLA CASA guides recommend calwt=False);
    ALMA's do.
    """
    if telescope.upper().startswith(("VLA", "EVLA", "MEERKAT", "ATCA")):
        return Choice("no", f"{telescope} data carry weights without system temperatures")
    return Choice("yes", f"{telescope} data carry weights from system temperatures")


def phase_calibrator(target: Field, calibrators: Sequence[Field]) -> Choice:
    """Choose the phase calibrator that is nearest to a target on the sky."""
    nearest = min(calibrators, key=lambda field: (separation_deg(target, field), field.id))
    return Choice(
        nearest.name,
        f"nearest on the sky, {separation_deg(target, nearest):.2f} deg from {target.name}",
    )


def spwmap(
    wanted: Iterable[int], solved: Iterable[int], spws: Mapping[int, SpectralWindow]
) -> list[int]:
    """Map each spectral window to one that has solutions; empty where each has its own.

    Parameters
    ----------
    wanted : iterable of int
        Spectral windows to be corrected.
    solved : iterable of int
        Spectral windows that have solutions.
    spws : mapping
        All spectral windows by id.

    Returns
    -------
    list of int
        CASA's ``spwmap``: entry i is the window whose solutions serve window i. A window
        without solutions of its own takes those of the nearest in frequency.
    """
    wanted, solved = set(wanted), set(solved)
    if not solved or wanted <= solved:
        return []

    def nearest(spw_id: int) -> int:
        here = spws[spw_id].centre_hz
        return min(solved, key=lambda other: (abs(spws[other].centre_hz - here), other))

    return [
        i if i in solved or i not in spws else nearest(i) for i in range(max(wanted | solved) + 1)
    ]


def model_image(field: Field, hertz: float, standard: str) -> Choice:
    """Choose the model image of a flux standard, by position and band.

    Parameters
    ----------
    field : Field
        The flux calibrator.
    hertz : float
        Centre frequency.
    standard : str
        CASA's name of the flux standard; only the Perley ones scale the VLA's images.

    Returns
    -------
    Choice
        Name of a model image such as ``3C286_L.im``, or an empty string for a point source.
    """
    if not standard.startswith("Perley"):
        return Choice("", f"{standard} is used with a point source")
    for name, (ra, dec) in CALIBRATOR_POSITIONS.items():
        if separation_deg(field, Field(-1, name, ra, dec)) < 0.02:
            for band, low, high in MODEL_BANDS:
                if low <= hertz < high:
                    return Choice(f"{name}_{band}.im", f"{field.name} is {name}, {band} band")
    return Choice("", f"no model image for {field.name} at {human_frequency(hertz)}: point source")
