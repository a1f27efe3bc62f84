"""Targets to self-calibrate, with known truth: a sky, noise, and gains that drift.

The MS looks like a target that was calibrated and split: DATA hold the sky with what an imperfect
calibration leaves, one field, no CORRECTED, no model. The same sky without errors has the same
noise, visibility by visibility: what a perfect self-calibration would give back.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import skies
from .skies import ARCSEC, LIGHT_M_S, Complex, SkyField, Source, Spw

Reals = npt.NDArray[np.float64]
FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


@dataclass(frozen=True)
class Gaussian:
    """A round Gaussian: flux density (Jy), FWHM and offsets from the centre (arcsec)."""

    flux_jy: float
    fwhm_arcsec: float
    east_arcsec: float = 0.0
    north_arcsec: float = 0.0


@dataclass(frozen=True)
class SelfcalSky:
    """What to build; the defaults are a 0.2 Jy point source seen by the whole VLA for 20 minutes.

    Attributes
    ----------
    sources : tuple of Source
        Point sources.
    gaussians : tuple of Gaussian
        Extended emission.
    n_antennas : int
        Of the array; of the VLA in D array there are 27, or fewer for speed.
    telescope, ra, dec, start : str
        The array (one of `ARRAYS`), where it looks, and from when on (UTC).
    spws : tuple of Spw
        Spectral windows.
    scans, integrations : int
        Scans, and integrations in each; scans are one integration apart.
    integration_s : float
        Length of an integration.
    noise_jy : float
        Standard deviation of the real and of the imaginary part of a visibility.
    spw_noise : tuple of float
        Factors to `noise_jy`, one a window; none for 1.
    phase_deg : float
        Standard deviation of each antenna's phase error.
    phase_time_s : float
        Time scale of the phases: at that lag their correlation has fallen to 1/e.
    spw_phase_deg : float
        Standard deviation of constant phase offsets of each antenna in each window.
    amp : float
        Standard deviation of the gains' amplitude about 1. Their mean over the living antennas is
        exactly 1 at all times: a common factor is the flux scale, which no self-calibration knows.
    amp_time_s : float
        Time scale of the amplitudes; 0 for constant ones.
    dead : tuple of int
        Antennas with noise and nothing else.
    seed : int
        Of the random numbers.
    """

    sources: tuple[Source, ...] = (Source(0.2),)
    gaussians: tuple[Gaussian, ...] = ()
    n_antennas: int = 27
    spws: tuple[Spw, ...] = (Spw(),)
    scans: int = 4
    integrations: int = 30
    integration_s: float = 10.0
    noise_jy: float = 0.012
    spw_noise: tuple[float, ...] = ()
    phase_deg: float = 30.0
    phase_time_s: float = 60.0
    spw_phase_deg: float = 0.0
    amp: float = 0.0
    amp_time_s: float = 0.0
    dead: tuple[int, ...] = ()
    seed: int = 1
    telescope: str = "VLA"
    ra: str = "15h00m00.0s"
    dec: str = "+08d00m00.0s"
    start: str = "2020/03/01/08:00:00"

    def without_errors(self) -> SelfcalSky:
        """Return the same sky and noise with perfect gains; antennas that are dead stay so."""
        return replace(self, phase_deg=0.0, spw_phase_deg=0.0, amp=0.0)

    def noise_of(self, spw_id: int) -> float:
        """Return the noise of a visibility in a window, in Jy."""
        return self.noise_jy * (self.spw_noise[spw_id] if self.spw_noise else 1.0)


SMALL = SelfcalSky(n_antennas=12, noise_jy=0.005, scans=2, integrations=30)
"""For fast tests: 4,000 rows, an image noise of 28 uJy. Its PSF has sidelobes of 0.65, so that a
source off a pixel's centre limits the dynamic range to some 2,000 even without errors."""

NOISE_ONLY = replace(SMALL, sources=())
"""No source at all."""

WEAK = replace(SMALL, sources=(Source(0.0003),))
"""A source of ten times the image's noise, half that of an antenna's solution in 10 s."""


MEERKAT = SelfcalSky(
    sources=(Source(0.1, 12.0, 9.0), Source(0.02, -90.0, 120.0), Source(0.005, 150.0, -60.0)),
    n_antennas=24,
    spws=(Spw(1.2e9, 6.688e6, 16),),
    scans=2,
    integrations=20,
    integration_s=30.0,
    noise_jy=0.02,
    phase_deg=40.0,
    phase_time_s=120.0,
    telescope="MeerKAT",
    ra="20h15m00.0s",
    dec="-45d00m00.0s",
)
"""24 dishes with baselines up to 8 km, three sources: an image noise of 24 uJy."""

ALMA = SelfcalSky(
    sources=(Source(0.05, 0.4, -0.3), Source(0.005, 8.0, 5.0)),
    n_antennas=32,
    spws=(Spw(97.9e9, 125e6, 8), Spw(99.9e9, 125e6, 8)),
    scans=4,
    integrations=40,
    integration_s=6.0,
    noise_jy=0.03,
    phase_deg=30.0,
    phase_time_s=60.0,
    telescope="ALMA",
    ra="02h42m40.711s",
    dec="-00d00m47.81s",
    start="2020/03/01/20:50:00",
)
"""32 antennas at 98 GHz, two windows, two sources: an image noise of 19 uJy."""


@dataclass(frozen=True)
class SelfcalTruth:
    """What was put in.

    Attributes
    ----------
    sky : SelfcalSky
        What was asked for.
    times_s : ndarray of float, shape (times,)
        Middles of the integrations, from the first one's.
    gains : ndarray of complex, shape (spws, times, antennas)
        By which each antenna's signal and noise were multiplied.
    """

    sky: SelfcalSky
    times_s: Reals = field(repr=False)
    gains: Complex = field(repr=False)

    @property
    def flux_jy(self) -> float:
        """The total flux density at the first channel."""
        points = sum(source.flux_jy for source in self.sky.sources)
        return points + sum(gaussian.flux_jy for gaussian in self.sky.gaussians)

    @property
    def image_noise_jy(self) -> float:
        """The noise of a naturally weighted Stokes I image without dead antennas, in Jy/beam."""
        sky = self.sky
        alive = sky.n_antennas - len(sky.dead)
        each = alive * (alive - 1) // 2 * 2 * sky.scans * sky.integrations
        weights = [each * spw.n_chan / sky.noise_of(i) ** 2 for i, spw in enumerate(sky.spws)]
        return float(1 / np.sqrt(sum(weights)))


def build(path: Path, sky: SelfcalSky = SelfcalSky()) -> SelfcalTruth:
    """Make a MeasurementSet.

    Parameters
    ----------
    path : Path
        Of the MS; what was there goes.
    sky : SelfcalSky
        What to build.

    Returns
    -------
    SelfcalTruth
        What was put in.
    """
    target = SkyField("target", sky.ra, sky.dec, sky.sources, skies.INTENT_TARGET)
    frame = skies.Sky(
        fields=(target,),
        scans=(0,) * sky.scans,
        spws=sky.spws,
        n_antennas=sky.n_antennas,
        integration_s=sky.integration_s,
        integrations=sky.integrations,
        noise_jy=0.0,
        seed=sky.seed,
        telescope=sky.telescope,
        start=sky.start,
    )
    skies.build(path, frame)
    from casatools import table

    tool = table()
    tool.open(str(path), nomodify=False)
    at = np.unique(np.round(tool.getcol("TIME"), 3))
    truth = SelfcalTruth(sky, at - at[0], _gains(sky, at - at[0]))
    for spw_id in range(len(sky.spws)):
        part = tool.query(f"DATA_DESC_ID=={spw_id}")
        _corrupt(part, truth, spw_id, np.searchsorted(at, np.round(part.getcol("TIME"), 3)))
        part.close()
    tool.close()
    return truth


def _corrupt(part: Any, truth: SelfcalTruth, spw_id: int, at: npt.NDArray[np.int64]) -> None:
    """Add extended emission and noise to a window's rows, then multiply by the gains."""
    sky = truth.sky
    first, second = part.getcol("ANTENNA1"), part.getcol("ANTENNA2")
    data = part.getcol("DATA") + _extended(part.getcol("UVW"), sky.gaussians, sky.spws[spw_id])
    data *= ~(np.isin(first, sky.dead) | np.isin(second, sky.dead))
    # A stream of its own a window: the noise is the same with and without errors.
    noise = np.random.default_rng((sky.seed, spw_id)).normal(size=(2, *data.shape))
    rms_jy = sky.noise_of(spw_id)
    data += rms_jy * (noise[0] + 1j * noise[1])
    gains = truth.gains[spw_id]
    part.putcol("DATA", data * gains[at, first] * np.conj(gains[at, second]))
    weight = rms_jy**-2 if rms_jy else 1.0
    part.putcol("WEIGHT", np.full((len(data), part.nrows()), weight))
    part.putcol("SIGMA", np.full((len(data), part.nrows()), weight**-0.5))


def _extended(uvw: Reals, gaussians: tuple[Gaussian, ...], spw: Spw) -> Complex:
    """Return the visibilities of Gaussians, shape (channels, rows)."""
    hertz = spw.start_hz + spw.width_hz * np.arange(spw.n_chan)
    data = np.zeros((spw.n_chan, uvw.shape[1]), complex)
    for one in gaussians:
        l, m = one.east_arcsec * ARCSEC, one.north_arcsec * ARCSEC  # noqa: E741
        path_m = np.array([l, m, np.sqrt(1 - l * l - m * m) - 1]) @ uvw
        sigma = one.fwhm_arcsec * ARCSEC * FWHM_TO_SIGMA
        length = np.outer(hertz / LIGHT_M_S, np.hypot(uvw[0], uvw[1]))
        turns = np.outer(hertz / LIGHT_M_S, path_m)
        data += one.flux_jy * np.exp(-2 * (np.pi * sigma * length) ** 2 + 2j * np.pi * turns)
    return data


def _gains(sky: SelfcalSky, times_s: Reals) -> Complex:
    """Draw the gains, shape (spws, times, antennas).

    Phases and amplitudes are Gaussian processes with the correlation exp(-(t/T)^(5/3)): at short
    lags their structure function rises as the 5/3 power, as that of the troposphere does.
    """
    rng = np.random.default_rng((sky.seed, 1000))
    phases = sky.phase_deg * _process(rng, times_s, sky.phase_time_s, sky.n_antennas)
    amps = sky.amp * _process(rng, times_s, sky.amp_time_s, sky.n_antennas)
    offsets = sky.spw_phase_deg * rng.normal(size=(len(sky.spws), 1, sky.n_antennas))
    amps = np.abs(1 + amps)
    amps /= np.delete(amps, list(sky.dead), axis=-1).mean(axis=-1, keepdims=True)
    return np.asarray(amps * np.exp(1j * np.radians(phases + offsets)))


def _process(rng: np.random.Generator, times_s: Reals, scale_s: float, number: int) -> Reals:
    """Draw processes of unit variance, shape (times, number); constant ones for a scale of 0."""
    if scale_s == 0:
        return np.ones((len(times_s), 1)) * rng.normal(size=number)
    lags = np.abs(times_s[:, None] - times_s) / scale_s
    covariance = np.exp(-(lags ** (5 / 3))) + 1e-9 * np.eye(len(times_s))
    return np.asarray(np.linalg.cholesky(covariance) @ rng.normal(size=(len(times_s), number)))
