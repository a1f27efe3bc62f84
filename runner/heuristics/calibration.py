"""The ``auto`` values of the calibration.

Pure: metadata in, choice out. Formulae carry their source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from .. import standards
from ..observation import Antenna, Field, Observation, Scan, SpectralWindow
from ..quantities import human_frequency, human_seconds
from .choice import SPEED_OF_LIGHT, Choice
from .sky import separation_deg

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
    return central_antennas(observation.antennas, count)


def central_antennas(antennas: Sequence[Antenna], count: int = 3) -> Choice:
    """Choose reference antennas; see `refant`.

    Parameters
    ----------
    antennas : sequence of Antenna
        Those that have data.
    count : int
        How many to name.
    """
    farthest = max((antenna.distance_m for antenna in antennas), default=0.0) or 1.0

    def score(antenna: Antenna) -> tuple[float, int]:
        badness = antenna.distance_m / farthest + antenna.flagged_fraction
        return round(badness + 2 * (1 - antenna.present_fraction), 9), antenna.id

    ranked = sorted(antennas, key=score)
    if not ranked:
        return Choice("", "the dataset has no antenna with cross-correlations")
    best = ranked[0]
    reason = f"{best.name} is {best.distance_m:.0f} m from the array's centre, {_state(best)}"
    nearest = min(antennas, key=lambda antenna: (antenna.distance_m, antenna.id))
    if nearest.distance_m < best.distance_m:
        reason += f"; {nearest.name} is nearer ({nearest.distance_m:.0f} m), but {_state(nearest)}"
    return Choice(",".join(antenna.name for antenna in ranked[:count]), reason)


def _state(antenna: Antenna) -> str:
    return (
        f"{antenna.flagged_fraction:.0%} flagged, "
        f"present in {antenna.present_fraction:.0%} of the scans"
    )


def solint(kind: str, observation: Observation, scans: Iterable[Scan]) -> Choice:
    """Choose a solution interval.

    Delays, the bandpass and amplitudes are stable over a scan or longer. Phases follow the
    atmosphere: an integration each, but that integrations of less than 10 s are averaged, so
    far as the atmosphere allows, for the sake of the signal-to-noise ratio.

    Parameters
    ----------
    kind : {"delay", "bandpass", "phase", "amp"}
        What is solved for.
    observation : Observation
        Metadata: frequencies and the longest baseline.
    scans : iterable of Scan
        The scans that are solved on.

    Returns
    -------
    Choice
        In CASA's syntax: ``inf``, ``int`` or a time in s.
    """
    scans = list(scans)
    if kind in ("delay", "bandpass"):
        return Choice("inf", "stable over hours: all scans together")
    if kind == "amp":
        return Choice("inf", "amplitudes hold over a scan")
    integration = max((scan.integration_s for scan in scans), default=0.0)
    spws = {spw for scan in scans for spw in scan.spw_ids}
    highest = max((spw.highest_hz for spw in observation.spws if spw.id in spws), default=0.0)
    if not integration or not highest:
        return Choice("int", "nothing is known of the integrations")
    coherent = coherence_s(highest, observation.longest_baseline_m)
    number = int(min(ENOUGH_S, coherent) / integration + 1e-6)
    took = human_seconds(integration)
    if integration >= ENOUGH_S:
        return Choice("int", f"integrations of {took} need no averaging")
    if number < 2:
        return Choice(
            "int",
            f"integrations of {took}; phases hold {human_seconds(coherent)} at "
            f"{human_frequency(highest)}",
        )
    return Choice(
        f"{number * integration:.6g}s",
        f"{number} integrations of {took}, for signal to noise; phases hold "
        f"{human_seconds(coherent)} at {human_frequency(highest)}",
    )


ENOUGH_S: Final = 10.0
"""Integrations are averaged up to this time before phases are solved."""


def coherence_s(hertz: float, longest_baseline_m: float) -> float:
    """Return the time over which the atmosphere turns phases by 20 degrees rms.

    The phase between antennas `b` km apart scatters by ``K / lambda_mm * b**(5/6)`` degrees,
    K about 300 at the VLA's site, and in a time t the wind, 10 m/s, carries the pattern over
    ``b = v t / 2`` (Carilli & Holdaway 1999, Radio Science 34, 817). At 20
    degrees the coherence is 0.94. On short baselines it never scatters so much: then as long
    as an hour.

    Parameters
    ----------
    hertz : float
        Frequency.
    longest_baseline_m : float
        Length of the longest baseline in m.

    Returns
    -------
    float
        Time in s, at most 3600.
    """
    lambda_mm = SPEED_OF_LIGHT / hertz * 1e3
    reach_km: float = (20.0 * lambda_mm / 300.0) ** 1.2
    if 1e3 * reach_km >= longest_baseline_m:
        return 3600.0
    return min(3600.0, 2 * reach_km / 0.010)


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


FEWEST_DELAY_CHANNELS: Final = 4
"""With fewer channels there is hardly a slope of the phase to solve for: of a single one CASA
flags most solutions, and with them the data."""


def delay(spws: Iterable[SpectralWindow]) -> Choice:
    """Choose whether to solve for delays: where a spectral window is 16 MHz wide or more.

    A residual delay of 5 ns turns the phase by 29 degrees over 16 MHz; in narrower windows
    the bandpass takes it. Every window must have the channels for it.
    """
    spws = list(spws)
    coarse = [spw for spw in spws if spw.n_chan < FEWEST_DELAY_CHANNELS]
    if coarse:
        channels = f"{coarse[0].n_chan} channel{'s' if coarse[0].n_chan > 1 else ''}"
        return Choice("no", f"spw {coarse[0].id} has only {channels}")
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
    source = standards.by_position(field.ra_deg, field.dec_deg)
    band = next((name for name, low, high in MODEL_BANDS if low <= hertz < high), "")
    if source is not None and f"{source.name}_{band}.im" in source.images:
        return Choice(f"{source.name}_{band}.im", f"{field.name} is {source.name}, {band} band")
    return Choice("", f"no model image for {field.name} at {human_frequency(hertz)}: point source")
