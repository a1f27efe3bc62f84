"""Observations that are all in order, of many telescopes: what casarun must not refuse.

Small ones: what matters is how they are made up (fields, intents, windows, products, names),
not how much there is of them. Calibrators stand where they are on the sky, and as bright as
they are to within some 10 %.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from . import skies
from .skies import INTENT_FLUX, INTENT_PHASE, INTENT_TARGET, Sky, SkyField, Source, Spw

ALL_HANDS = ("RR", "RL", "LR", "LL")
ALL_LINEAR = ("XX", "XY", "YX", "YY")
ALMA_FLUX = "CALIBRATE_BANDPASS#ON_SOURCE,CALIBRATE_FLUX#ON_SOURCE,CALIBRATE_WVR#ON_SOURCE"
ALMA_PHASE = "CALIBRATE_PHASE#ON_SOURCE,CALIBRATE_WVR#ON_SOURCE"
ALMA_TARGET = "OBSERVE_TARGET#ON_SOURCE"
ALMA_TSYS = "CALIBRATE_ATMOSPHERE#OFF_SOURCE,CALIBRATE_ATMOSPHERE#ON_SOURCE"


def _plain(one: SkyField, name: str = "") -> SkyField:
    """Return a field without scan intents, and maybe of another name."""
    return replace(one, intent="", name=name or one.name)


C3_48 = SkyField("0137+331=3C48", "01h37m41.299s", "+33d09m35.13s", (Source(16.0),))
C3_147 = SkyField("3C147", "05h42m36.138s", "+49d51m07.23s", (Source(22.0),))
PKS_1934 = SkyField("1934-638", "19h39m25.026s", "-63d42m45.63s", (Source(12.5),))
POINTS = (Source(0.5), Source(0.2, 60.0, -90.0))

VLA_LINE = Sky(
    fields=(
        _plain(skies.FLUX_CAL, "1331+305"),
        _plain(skies.PHASE_CAL, "1445+099"),
        SkyField("N5921", "15h22m00.0s", "+05d04m00.0s", (Source(0.3),)),
    ),
    scans=(0, 1, 2, 1, 2, 1),
    spws=(Spw(1.4127e9, 24.414e3, 63),),
)
"""The 21 cm line, one narrow window, no intents: the demo data in small."""

VLA_CONTINUUM = Sky(
    spws=tuple(Spw(1.3e9 + number * 64e6, 4e6, 16) for number in range(4)),
    scans=(0, 1, 2, 1, 2, 1),
    correlations=ALL_HANDS,
    leakage=0.03,
)
"""Wide windows, all products, intents."""

VLA_ARCHIVE = Sky(
    fields=(
        _plain(skies.FLUX_CAL, "1328+307"),
        _plain(skies.PHASE_CAL, "1442+101"),
        _plain(skies.TARGET, "1500+082"),
    ),
    spws=(Spw(4.8351e9, 50e6, 1), Spw(4.8851e9, 50e6, 1)),
    scans=(1, 2, 1, 2, 1, 0),
    integration_s=10,
)
"""Before 2010: two windows of one channel, no intents, the flux calibrator last."""

VLA_MIXED = Sky(
    fields=(
        skies.FLUX_CAL,
        skies.PHASE_CAL,
        replace(skies.TARGET, name="low", spws=(0, 1)),
        replace(skies.TARGET, name="high", ra="15h02m00.0s", spws=(2, 3)),
        replace(skies.TARGET, name="all", ra="15h04m00.0s"),
    ),
    scans=(2, 1, 3, 1, 4, 1, 0),
    spws=(Spw(1.40e9, 2e6, 16), Spw(1.45e9, 2e6, 16), Spw(1.75e9, 4e6, 8), Spw(1.80e9, 1e6, 32)),
)
"""Windows that some targets lack, scans in another order than the fields."""

VLA_NAMES = Sky(
    fields=(
        replace(C3_48, intent=INTENT_FLUX),
        SkyField("J0238+1636", "02h38m38.930s", "+16d36m59.27s", (Source(1.5),), INTENT_PHASE),
        *(
            SkyField(name, f"02h{35 + number}m00.0s", "+15d00m00.0s", POINTS, INTENT_TARGET)
            for number, name in enumerate(
                (
                    "NGC 1068", "M83 (core)", "a,b", "12", "+60.0", 'the "quoted"', "it's",
                    "back\\slash", "x[1]*", "Sgr A*",
                )
            )
        ),
    ),
    scans=(0, 1, 2, 3, 4, 5, 1, 6, 7, 8, 9, 10, 11, 1),
    spws=(Spw(4.8e9, 2e6, 16),),
    integration_s=10,
    n_antennas=8,
    start="2020/03/01/23:30:00",
)  # fmt: skip
"""Names of fields that selections, globs, files and TOML could trip over."""

ALMA_12M = Sky(
    fields=(
        SkyField("J0423-0120", "04h23m15.801s", "-01d20m33.07s", (Source(2.2),), ALMA_FLUX),
        SkyField("J0239-0234", "02h39m45.472s", "-02d34m40.91s", (Source(0.6),), ALMA_PHASE),
        SkyField("NGC 1068", "02h42m40.711s", "-00d00m47.81s",
                 (Source(0.05), Source(0.02, 8, 5)), ALMA_TARGET),
    ),
    scans=(0, 0, 1, 2, 2, 1, 2, 1),
    intents=(ALMA_TSYS, "", "", ALMA_TSYS),
    spws=(
        Spw(97.9e9, 62.5e6, 32),
        Spw(99.8e9, 62.5e6, 32),
        Spw(110.0e9, 7.8125e6, 60),
        Spw(114.5e9, 1.953125e6, 120),
    ),
    telescope="ALMA",
    n_antennas=12,
    integration_s=6,
    noise_jy=0.05,
    start="2020/03/01/20:50:00",
)  # fmt: skip
"""Band 3, four windows of different widths, system temperature scans."""

ALMA_7M = Sky(
    fields=(
        SkyField("J1256-0547", "12h56m11.167s", "-05d47m21.52s", (Source(11.0),), ALMA_FLUX),
        SkyField("J1316-3338", "13h16m07.986s", "-33d38m59.17s", (Source(1.2),), ALMA_PHASE),
        SkyField("M83", "13h37m00.919s", "-29d51m56.74s", (Source(0.2),), ALMA_TARGET),
    ),
    scans=(0, 1, 2, 1, 2, 1),
    spws=(Spw(229.5e9, 3.90625e6, 64), Spw(215.0e9, 31.25e6, 64)),
    telescope="ACA",
    n_antennas=10,
    integration_s=10,
    noise_jy=0.1,
    start="2020/03/01/07:20:00",
)
"""Ten 7 m antennas, band 6, a window on CO."""

ATCA = Sky(
    fields=(
        PKS_1934,
        SkyField("2052-474", "20h56m16.360s", "-47d14m47.63s", (Source(1.8),)),
        SkyField("IC 5063", "20h52m02.34s", "-57d04m07.6s", (Source(0.8), Source(0.1, -30, 40))),
    ),
    scans=(0, 1, 2, 1, 2, 1),
    spws=(Spw(4.476e9, 64e6, 33), Spw(7.976e9, 64e6, 33)),
    telescope="ATCA",
    correlations=ALL_LINEAR,
    leakage=0.02,
    n_antennas=6,
    integration_s=10,
    integrations=12,
    start="2020/03/01/00:00:00",
)
"""Six antennas on a line east to west, two windows of 2 GHz, all linear products, no intents."""

WSRT = Sky(
    fields=(
        C3_147,
        SkyField("UGC 3574", "06h53m10.4s", "+57d10m40.0s", (Source(0.4), Source(0.1, 200, 100))),
    ),
    scans=(0, 1, 0),
    spws=(Spw(1.4116e9, 78.125e3, 64),),
    telescope="WSRT",
    n_antennas=14,
    integration_s=60,
    integrations=10,
    start="2020/03/01/19:00:00",
)
"""A track on the target, the one calibrator before it and after; the 21 cm line, no intents."""

MEERKAT = Sky(
    fields=(
        SkyField("J1939-6342", "19h39m25.026s", "-63d42m45.63s", (Source(14.9),),
                 "CALIBRATE_BANDPASS,CALIBRATE_FLUX"),
        SkyField("J2009-4849", "20h09m25.391s", "-48d49m53.72s", (Source(1.0),),
                 "CALIBRATE_AMPLI,CALIBRATE_PHASE"),
        SkyField("PKS2030-40", "20h30m00.0s", "-40d00m00.0s",
                 (Source(0.5), Source(0.2, 600, 300)), "TARGET"),
    ),
    scans=(0, 1, 2, 1, 2, 1),
    spws=(Spw(0.8873e9, 6.6875e6, 120),),
    telescope="MeerKAT",
    n_antennas=20,
    integration_s=8,
    start="2020/03/01/08:00:00",
)  # fmt: skip
"""Many antennas, one window of 800 MHz, intents without a subtype."""

GMRT = Sky(
    fields=(
        C3_48,
        SkyField("0119+321", "01h19m35.001s", "+32d10m50.06s", (Source(2.6),)),
        SkyField("M33", "01h33m50.9s", "+30d39m37.0s", (Source(0.6), Source(0.3, 300, 400))),
    ),
    scans=(0, 1, 2, 1, 2, 1, 0),
    spws=(Spw(1.2602e9, 1.5625e6, 128),),
    telescope="GMRT",
    n_antennas=24,
    integration_s=8,
    start="2020/03/01/10:00:00",
)
"""The bandpass calibrator at both ends, no intents, one wide window."""

SKIES: dict[str, tuple[Sky, ...]] = {
    "vla-line": (VLA_LINE,),
    "vla-continuum": (VLA_CONTINUUM,),
    "vla-archive": (VLA_ARCHIVE,),
    "vla-mixed": (VLA_MIXED,),
    "vla-names": (VLA_NAMES,),
    "vla-days": (Sky(), Sky(seed=2, start="2020/03/02/08:00:00")),
    "vla-target": (Sky(fields=(_plain(skies.TARGET, "NGC 1234"),), scans=(0, 0)),),
    "alma": (ALMA_12M,),
    "aca": (ALMA_7M,),
    "atca": (ATCA,),
    "wsrt": (WSRT,),
    "meerkat": (MEERKAT,),
    "gmrt": (GMRT,),
}
"""All of them; of two skies, the one MS is concatenated. ``vla-target`` has been calibrated."""


def build(name: str, path: Path) -> None:
    """Make the MeasurementSet of one of `SKIES`.

    Parameters
    ----------
    name : str
        Of the sky.
    path : Path
        Of the MS; what was there goes.
    """
    parts = SKIES[name]
    if len(parts) == 1:
        skies.build(path, parts[0])
    else:
        _concatenate(path, parts)
    finish: dict[str, Callable[[Path], None]] = {"vla-target": _calibrated}
    finish.get(name, lambda _: None)(path)


def _concatenate(path: Path, parts: tuple[Sky, ...]) -> None:
    """Make one MS of several, as ``concat`` does: an OBSERVATION row each.

    It does not take the simulator's own: they still define tiles for columns that are gone.
    """
    from casarun.casa import invoke

    shutil.rmtree(path, ignore_errors=True)
    pieces = [path.with_name(f"{path.stem}-{number}.ms") for number in range(len(parts))]
    for piece, part in zip(pieces, parts, strict=True):
        whole = path.with_name("whole.ms")
        skies.build(whole, part)
        shutil.rmtree(piece, ignore_errors=True)
        invoke.task("split", {"vis": str(whole), "outputvis": str(piece), "datacolumn": "data"})
        shutil.rmtree(whole)
    invoke.task("concat", {"vis": [str(piece) for piece in pieces], "concatvis": str(path)})
    for piece in pieces:
        shutil.rmtree(piece)


def _calibrated(path: Path) -> None:
    """Give an MS a CORRECTED_DATA column: what CASA's ``applycal`` leaves."""
    from casatools import calibrater, table

    tool = calibrater()
    tool.setvi(old=True, quiet=True)
    tool.open(str(path), addcorr=True, addmodel=False)
    tool.close()
    main = table()
    main.open(str(path), nomodify=False)
    main.putcol("CORRECTED_DATA", main.getcol("DATA"))
    main.close()
