"""Metadata built by hand, for tests that need no data."""

from __future__ import annotations

from collections.abc import Sequence

from casarun.observation import Antenna, Field, Observation, Scan, SpectralWindow

START_MJD_S = 4.3e9
INTENTS = {
    "flux": ("CALIBRATE_FLUX#ON_SOURCE", "CALIBRATE_BANDPASS#ON_SOURCE"),
    "phase": ("CALIBRATE_PHASE#ON_SOURCE",),
    "target": ("OBSERVE_TARGET#ON_SOURCE",),
}


def spw(number: int, *, n_chan: int = 64, centre_hz: float = 1.4e9, width_hz: float = 25e3):
    half = 0.5 * (n_chan - 1) * width_hz
    return SpectralWindow(
        number, f"spw{number}", n_chan, centre_hz - half, centre_hz + half, width_hz, "TOPO",
        ("RR", "LL"),
    )  # fmt: skip


def antennas(*distances_m: float, diameter_m: float = 25.0) -> tuple[Antenna, ...]:
    return tuple(
        Antenna(i, f"ea{i:02d}", f"N{i:02d}", diameter_m, distance)
        for i, distance in enumerate(distances_m)
    )


def vla(
    *,
    intents: bool = False,
    spws: Sequence[SpectralWindow] = (),
    target_spws: Sequence[int] | None = None,
    columns: tuple[str, ...] = ("DATA", "FLAG"),
) -> Observation:
    """Return an observation of 3C286, a phase calibrator and a target, of four scans."""
    spws = tuple(spws) or (spw(0),)
    all_spws = tuple(s.id for s in spws)
    roles = {0: "flux", 1: "phase", 2: "target"}
    names = ("1331+305", "1445+099", "N5921")
    positions = ((202.7845, 30.5092), (221.3186, 9.9767), (230.5, 5.0667))
    fields = tuple(
        Field(i, names[i], *positions[i], INTENTS[roles[i]] if intents else (), 1000)
        for i in range(3)
    )
    scans = tuple(
        Scan(
            number + 1, (field,),
            tuple(target_spws) if field == 2 and target_spws is not None else all_spws,
            START_MJD_S + 600.0 * number, START_MJD_S + 600.0 * number + 500, 10.0,
        )
        for number, field in enumerate((0, 1, 2, 1))
    )  # fmt: skip
    return Observation(
        vis="raw.ms", telescope="VLA", observer="test", start_mjd_s=START_MJD_S,
        end_mjd_s=START_MJD_S + 2300, n_rows=3000, size_bytes=10_000_000,
        shortest_baseline_m=40.0, longest_baseline_m=1000.0, columns=columns,
        fields=fields, spws=tuple(spws), scans=scans,
        antennas=antennas(300.0, 20.0, 60.0, 500.0, 450.0),
    )  # fmt: skip
