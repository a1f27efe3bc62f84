"""Small MeasurementSets with known truth: point sources, calibrators, noise, broken gains.

CASA's simulator makes the frame (tables, times, uvw); the visibilities are a direct Fourier
sum written through the table tool, which is easier to control than predicting with CASA and
independent of what is tested.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from casarun.casa.config import configure
from scipy.special import j1

from .arrays import ARRAYS, places

Complex = npt.NDArray[np.complex128]
LIGHT_M_S = 299792458.0
ARCSEC = np.pi / 180 / 3600

# Perley & Butler 2017 (ApJS 230, 7), table 6: log10(S/Jy) as a polynomial of log10(f/GHz).
PB2017_3C286 = (1.2481, -0.4507, -0.1798, 0.0357)
# Reynolds 1994 (ATNF memo AT/39.3/040), which Stevens-Reynolds 2016 has up to 11 GHz: the same of
# log10(f/MHz).
R1994_1934 = (-30.7667, 26.4908, -7.0977, 0.605334)
INTENT_FLUX = "CALIBRATE_FLUX#UNSPECIFIED,CALIBRATE_BANDPASS#UNSPECIFIED"
INTENT_PHASE = "CALIBRATE_PHASE#UNSPECIFIED,CALIBRATE_AMPLI#UNSPECIFIED"
INTENT_TARGET = "OBSERVE_TARGET#UNSPECIFIED"


@dataclass(frozen=True)
class Source:
    """A point source: flux density at the first channel (Jy), offsets from the field's centre.

    A line is seen in some `channels` only, from the first to the last one, of each window.
    """

    flux_jy: float
    east_arcsec: float = 0.0
    north_arcsec: float = 0.0
    spectral_index: float = 0.0
    channels: tuple[int, int] | None = None


@dataclass(frozen=True)
class SkyField:
    """A field: name, position (J2000, CASA's syntax), sources, scan intent.

    With `is_3c286` its one source has the spectrum of 3C 286 in Perley-Butler 2017, with
    `is_1934` that of 1934-638 in Stevens-Reynolds 2016. `spws` are the ids of the windows in which
    it was observed; none for all.
    """

    name: str
    ra: str
    dec: str
    sources: tuple[Source, ...] = ()
    intent: str = ""
    is_3c286: bool = False
    spws: tuple[int, ...] = ()
    is_1934: bool = False


@dataclass(frozen=True)
class Spw:
    """A spectral window: centre of the first channel, width (both Hz), number of channels."""

    start_hz: float = 1.4e9
    width_hz: float = 1e6
    n_chan: int = 4


FLUX_CAL = SkyField(
    "1331+305=3C286", "13h31m08.288s", "+30d30m32.96s", (), INTENT_FLUX, is_3c286=True
)
PHASE_CAL = SkyField("J1445+0958", "14h45m16.465s", "+09d58m36.073s", (Source(2.5),), INTENT_PHASE)
TARGET = SkyField(
    "target",
    "15h00m00.0s",
    "+08d00m00.0s",
    (Source(0.8), Source(0.3, 240.0, -360.0)),
    INTENT_TARGET,
)


@dataclass(frozen=True)
class Sky:
    """What to build; the defaults are a small VLA D-array observation.

    Attributes
    ----------
    fields : tuple of SkyField
        The fields, in the order of their ids.
    scans : tuple of int
        The field id of each scan, one after the other.
    spws : tuple of Spw
        Observed in every scan, but for fields that have windows of their own.
    telescope : str
        One of `ARRAYS`.
    correlations : tuple of str
        Such as ``("RR", "RL", "LR", "LL")``; none for the array's own two.
    intents : tuple of str
        The intents of each scan; where there is none, those of its field.
    n_antennas : int
        Taken evenly out of the array.
    array : str
        A configuration of casadata's ``alma/simmos``; empty for the telescope's.
    integration_s, integrations : float, int
        Length of an integration, and how many make a scan.
    noise_jy : float
        Standard deviation of the real and of the imaginary part of a visibility.
    gain_amp, gain_phase_deg : float
        Standard deviation over antennas of the gains' amplitude (about 1) and phase.
    phase_drift_deg : float
        How much each antenna's phase drifts over the observation (standard deviation).
    bandpass_slope : float
        Change of the bandpass' amplitude over a window (standard deviation over antennas).
    airy_m : tuple of float
        Diameter and blockage of dishes whose primary beam weakens what is off axis; empty for
        none.
    leakage : float
        Standard deviation over antennas of the real and imaginary parts of the D terms, which
        are in the data where the cross-hands are recorded, to first order.
    dead : tuple of int
        Antennas that see only noise.
    flagged_fields : tuple of int
        Fields of which everything is flagged; -1 for all.
    start : str
        Start in UTC; before 2025, so that CASA's tables of the Earth's rotation reach it.
    seed : int
        Of the random numbers.
    """

    fields: tuple[SkyField, ...] = (FLUX_CAL, PHASE_CAL, TARGET)
    scans: tuple[int, ...] = (0, 1, 2, 1)
    spws: tuple[Spw, ...] = (Spw(),)
    telescope: str = "VLA"
    correlations: tuple[str, ...] = ()
    intents: tuple[str, ...] = ()
    n_antennas: int = 12
    array: str = ""
    integration_s: float = 30.0
    integrations: int = 4
    noise_jy: float = 0.02
    gain_amp: float = 0.0
    gain_phase_deg: float = 0.0
    phase_drift_deg: float = 0.0
    bandpass_slope: float = 0.0
    airy_m: tuple[float, ...] = ()
    leakage: float = 0.0
    dead: tuple[int, ...] = ()
    flagged_fields: tuple[int, ...] = ()
    start: str = "2020/03/01/08:00:00"
    seed: int = 1

    @property
    def products(self) -> tuple[str, ...]:
        """The correlations that are recorded."""
        return self.correlations or ARRAYS[self.telescope].correlations

    def windows(self, scan: int) -> tuple[int, ...]:
        """Return the ids of the windows observed in a scan, counted from 0."""
        return self.fields[self.scans[scan]].spws or tuple(range(len(self.spws)))

    def intent(self, scan: int) -> str:
        """Return the intents of a scan, counted from 0."""
        own = self.intents[scan] if scan < len(self.intents) else ""
        return own or self.fields[self.scans[scan]].intent

    def calls(self) -> Iterator[tuple[int, int]]:
        """Yield scan and window in the order in which they are simulated."""
        for scan in range(len(self.scans)):
            for window in self.windows(scan):
                yield scan, window


@dataclass(frozen=True)
class Truth:
    """What was put in.

    Attributes
    ----------
    sky : Sky
        What was asked for.
    gains : ndarray of complex, shape (scans, integrations, antennas)
        By which each antenna's signal was multiplied.
    bandpass : ndarray of float, shape (spws, antennas, channels of the widest spw)
        The bandpass' amplitudes; 1 beyond a narrower window.
    n_baselines : int
        Baselines with a signal or noise.
    leakage : ndarray of complex, shape (2 feeds, antennas)
        The D terms.
    """

    sky: Sky
    gains: Complex = field(repr=False)
    bandpass: npt.NDArray[np.float64] = field(repr=False)
    n_baselines: int = 0
    leakage: Complex = field(default_factory=lambda: np.zeros((2, 0), complex), repr=False)

    def flux_jy(self, field_id: int, hertz: float) -> float:
        """Return the total flux density of a field at a frequency, in Jy."""
        one = self.sky.fields[field_id]
        first = self.sky.spws[0].start_hz
        return float(sum(_flux(one, source, np.array(hertz), first) for source in _sources(one)))

    def image_noise_jy(self, field_id: int) -> float:
        """Return the theoretical noise of a naturally weighted Stokes I image, in Jy/beam."""
        scans = sum(1 for scan in self.sky.scans if scan == field_id)
        windows = self.sky.fields[field_id].spws or range(len(self.sky.spws))
        channels = sum(self.sky.spws[window].n_chan for window in windows)
        samples = 2 * self.n_baselines * scans * self.sky.integrations * channels
        return float(self.sky.noise_jy / np.sqrt(samples))


def build(path: Path, sky: Sky = Sky()) -> Truth:
    """Make a MeasurementSet.

    Parameters
    ----------
    path : Path
        Of the MS; what was there goes.
    sky : Sky
        What to build.

    Returns
    -------
    Truth
        What was put in.
    """
    configure()
    shutil.rmtree(path, ignore_errors=True)
    _frame(path, sky)
    _label(path, sky)
    return _fill(path, sky)


def _frame(path: Path, sky: Sky) -> None:
    """Let CASA's simulator make the tables and the uvw coordinates."""
    from casatools import measures, simulator

    array = ARRAYS[sky.telescope]
    at = places(array, sky.n_antennas, sky.array)
    tool, frame = simulator(), measures()
    tool.open(str(path))
    tool.setconfig(
        telescopename=array.observatory,
        x=at.x,
        y=at.y,
        z=at.z,
        dishdiameter=at.diameters_m,
        mount="alt-az",
        antname=[array.name(number) for number in range(sky.n_antennas)],
        padname=[f"W{number + 1:02d}" for number in range(sky.n_antennas)],
        coordsystem=at.system,
        referencelocation=frame.observatory(array.observatory),
    )
    for number, spw in enumerate(sky.spws):
        tool.setspwindow(
            spwname=f"spw{number}",
            freq=f"{spw.start_hz}Hz",
            deltafreq=f"{spw.width_hz}Hz",
            freqresolution=f"{spw.width_hz}Hz",
            nchannels=spw.n_chan,
            stokes=" ".join(sky.products),
        )
    tool.setfeed(array.feed)
    for number, one in enumerate(sky.fields):
        tool.setfield(sourcename=f"field{number}", sourcedirection=["J2000", one.ra, one.dec])
    _observe(tool, frame.epoch("UTC", sky.start), sky)
    tool.close()


def _observe(tool: Any, start: Any, sky: Sky) -> None:
    """Simulate the scans."""
    tool.setlimits(shadowlimit=1.0, elevationlimit="0deg")
    tool.setauto(autocorrwt=0.0)
    tool.settimes(f"{sky.integration_s}s", False, start)
    length = sky.integration_s * sky.integrations
    for scan, window in sky.calls():
        begin = scan * (length + sky.integration_s)
        tool.observe(
            f"field{sky.scans[scan]}",
            f"spw{window}",
            starttime=f"{begin}s",
            stoptime=f"{begin + length}s",
        )


def _label(path: Path, sky: Sky) -> None:
    """Write field names, scan numbers and intents; leave only the raw data column."""
    from casatools import table

    tool = table()
    for subtable in ("FIELD", "SOURCE"):
        tool.open(f"{path}/{subtable}", nomodify=False)
        tool.putcol("NAME", [one.name for one in sky.fields])
        tool.close()
    of_scan = [sky.intent(scan) for scan in range(len(sky.scans))]
    intents = list(dict.fromkeys(of_scan))
    tool.open(f"{path}/STATE", nomodify=False)
    tool.addrows(len(intents) - tool.nrows())
    for row, intent in enumerate(intents):
        tool.putcell("OBS_MODE", row, intent)
        tool.putcell("SIG", row, True)
    tool.close()
    tool.open(str(path), nomodify=False)
    # The simulator counts a scan for every call of observe().
    scan = np.array([scan for scan, _ in sky.calls()])[tool.getcol("SCAN_NUMBER") - 1]
    tool.putcol("SCAN_NUMBER", scan + 1)
    tool.putcol("STATE_ID", np.array([intents.index(intent) for intent in of_scan])[scan])
    tool.removecols(["MODEL_DATA", "CORRECTED_DATA"])
    tool.close()


def _fill(path: Path, sky: Sky) -> Truth:
    """Write the visibilities, weights and flags."""
    from casatools import table

    rng = np.random.default_rng(sky.seed)
    gains, bandpass = _corruptions(sky, rng)
    # A stream of its own: what else is drawn is the same with and without.
    parts = np.random.default_rng((sky.seed, 1)).normal(size=(2, 2, sky.n_antennas))
    leakage = sky.leakage * (parts[0] + 1j * parts[1])
    tool = table()
    tool.open(str(path), nomodify=False)
    for spw_id, spw in enumerate(sky.spws):
        part = tool.query(f"DATA_DESC_ID=={spw_id}")
        if part.nrows() == 0:
            part.close()
            continue
        data = _visibilities(part, sky, spw)
        if len(data) == 4:
            data[1:3] = _leaked(part, data[0], leakage)
        data *= _response(part, sky, gains, bandpass[spw_id, :, : spw.n_chan])[None]
        noise = rng.normal(size=(2, *data.shape)) * sky.noise_jy
        part.putcol("DATA", data + noise[0] + 1j * noise[1])
        weight = sky.noise_jy**-2 if sky.noise_jy else 1.0
        part.putcol("WEIGHT", np.full((len(data), part.nrows()), weight))
        part.putcol("SIGMA", np.full((len(data), part.nrows()), weight**-0.5))
        flagged = np.isin(part.getcol("FIELD_ID"), sky.flagged_fields) | (-1 in sky.flagged_fields)
        part.putcol("FLAG", np.broadcast_to(flagged, data.shape).copy())
        part.close()
    tool.close()
    return Truth(sky, gains, bandpass, sky.n_antennas * (sky.n_antennas - 1) // 2, leakage)


def _corruptions(sky: Sky, rng: np.random.Generator) -> tuple[Complex, npt.NDArray[np.float64]]:
    """Draw gains (scans, integrations, antennas) and bandpasses (spws, antennas, channels)."""
    shape = (len(sky.scans), sky.integrations, sky.n_antennas)
    amp = np.abs(1 + sky.gain_amp * rng.normal(size=sky.n_antennas))
    phase = sky.gain_phase_deg * rng.normal(size=sky.n_antennas)
    drift = sky.phase_drift_deg * rng.normal(size=sky.n_antennas)
    elapsed = np.linspace(0, 1, shape[0] * shape[1]).reshape(*shape[:2], 1)
    gains = amp * np.exp(1j * np.radians(phase + drift * elapsed)) * np.ones(shape)
    gains[:, :, list(sky.dead)] = 0
    widest = max(spw.n_chan for spw in sky.spws)
    bandpass = np.ones((len(sky.spws), sky.n_antennas, widest))
    for spw_id, spw in enumerate(sky.spws):
        slope = sky.bandpass_slope * rng.normal(size=(sky.n_antennas, 1))
        bandpass[spw_id, :, : spw.n_chan] += slope * np.linspace(-0.5, 0.5, spw.n_chan)
    return gains, bandpass


def _visibilities(part: Any, sky: Sky, spw: Spw) -> Complex:
    """Return the visibilities of unpolarized sources, shape (products, channels, rows)."""
    uvw, field_ids = part.getcol("UVW"), part.getcol("FIELD_ID")
    hertz = spw.start_hz + spw.width_hz * np.arange(spw.n_chan)
    data = np.zeros((len(sky.products), spw.n_chan, part.nrows()), dtype=complex)
    for field_id, one in enumerate(sky.fields):
        rows = field_ids == field_id
        for source in _sources(one):
            l, m = source.east_arcsec * ARCSEC, source.north_arcsec * ARCSEC  # noqa: E741
            path_m = np.array([l, m, np.sqrt(1 - l * l - m * m) - 1]) @ uvw[:, rows]
            turns = 2j * np.pi * np.outer(hertz / LIGHT_M_S, path_m)
            flux = _flux(one, source, hertz, sky.spws[0].start_hz)
            flux = flux * primary_beam(np.hypot(l, m), hertz, sky.airy_m)
            if source.channels:
                flux[: source.channels[0]] = flux[source.channels[1] + 1 :] = 0
            data[:, :, rows] += flux[None, :, None] * np.exp(turns)[None]
    return data


def primary_beam(
    off_axis: float, hertz: npt.NDArray[np.float64], airy_m: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """Return the power that evenly lit round dishes with a round blockage take from off axis.

    Parameters
    ----------
    off_axis : float
        Sine of the angle from the axis.
    hertz : ndarray
        Frequencies.
    airy_m : tuple of float
        Diameters of dish and blockage; none: all of it, everywhere.
    """
    if not airy_m or not off_axis:
        return np.ones_like(hertz)
    dish, hole = airy_m
    x = np.pi * off_axis * hertz / LIGHT_M_S
    lit = (dish * j1(x * dish) - hole * j1(x * hole)) * 2 / x
    return np.asarray((lit / (dish**2 - hole**2)) ** 2)


def _leaked(part: Any, parallel: Complex, leakage: Complex) -> Complex:
    """Return the cross-hands of unpolarized sources, shape (2, channels, rows).

    To first order: I (d_p1 + conj(d_q2)) and I (d_q1 + conj(d_p2)) for feeds p and q.
    """
    first, second = part.getcol("ANTENNA1"), part.getcol("ANTENNA2")
    p, q = leakage
    return np.stack([parallel * (p[first] + np.conj(q[second])),
                     parallel * (q[first] + np.conj(p[second]))])  # fmt: skip


def _sources(one: SkyField) -> Sequence[Source]:
    """Return a field's sources; 3C 286 and 1934-638 have one, whose spectrum is its own."""
    return (Source(1.0),) if one.is_3c286 or one.is_1934 else one.sources


def _flux(
    one: SkyField, source: Source, hertz: npt.NDArray[np.float64], first_hz: float
) -> npt.NDArray[np.float64]:
    """Return a source's flux density (Jy) at frequencies."""
    if one.is_3c286:
        log_ghz = np.log10(hertz / 1e9)
        return np.asarray(10 ** np.polynomial.polynomial.polyval(log_ghz, PB2017_3C286))
    if one.is_1934:
        log_mhz = np.log10(hertz / 1e6)
        return np.asarray(10 ** np.polynomial.polynomial.polyval(log_mhz, R1994_1934))
    return np.asarray(source.flux_jy * (hertz / first_hz) ** source.spectral_index)


def _response(part: Any, sky: Sky, gains: Complex, bandpass: npt.NDArray[np.float64]) -> Complex:
    """Return what the antennas make of a unit signal, shape (channels, rows)."""
    first, second = part.getcol("ANTENNA1"), part.getcol("ANTENNA2")
    scan = part.getcol("SCAN_NUMBER") - 1
    time = part.getcol("TIME")
    starts = np.zeros(len(sky.scans))
    for number in np.unique(scan):
        starts[number] = time[scan == number].min()
    step = np.round((time - starts[scan]) / sky.integration_s).astype(int)
    per_row = gains[scan, step, first] * np.conj(gains[scan, step, second])
    return np.asarray(bandpass[first].T * bandpass[second].T * per_row)
