"""Self-calibration of simulated ALMA and MeerKAT data: as good as data without errors.

The recipe of the gallery, on skies of several sources whose gains are wrong in several ways.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import casarun as package
import pytest
from support import selfcal_skies
from support.cli import casarun, metrics, recipe
from support.images import Sky, place
from support.selfcal_skies import ALMA, MEERKAT, SelfcalSky
from support.skies import SkyField, Source

pytestmark = [
    pytest.mark.casa,
    pytest.mark.long,
    pytest.mark.timeout(1800),
    pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning"),
]

SHIPPED = Path(package.__file__).parent / "recipes" / "selfcal.toml"
PIXELS = {"ALMA": (192, 0.3), "MeerKAT": (320, 1.6)}
"""Side, and arcsec a pixel."""
SHORT = replace(ALMA, scans=3, integrations=20)


@dataclass(frozen=True)
class Imaged:
    """The image of a sky, and what the self-calibration was, where there was one."""

    sky: SelfcalSky
    image: Sky
    selfcal: dict[str, Any]

    @property
    def dynamic_range(self) -> float:
        return self.flux_jy(self.sky.sources[0]) / self.image.noise()

    def flux_jy(self, source: Source) -> float:
        field = SkyField("target", self.sky.ra, self.sky.dec)
        return self.image.peak(place(field, source))[0]


def imaged(folder: Path, sky: SelfcalSky, *, selfcal: bool) -> Imaged:
    """Build a sky, run the recipe on it, with its self-calibration or without."""
    folder.mkdir()
    selfcal_skies.build(folder / "target.ms", sky)
    side, cell = PIXELS[sky.telescope]
    path = SHIPPED
    if not selfcal:
        path = recipe(folder, 'extends = "casarun:selfcal"\nremove = ["selfcal"]\n')
    settings = (f"image.deep.imsize={side}", f"image.deep.cell={cell}arcsec")
    words = [word for one in settings for word in ("--set", one)]
    environ = {**os.environ, "DATA": str(folder / "target.ms")}
    done = casarun(path, "--output", "run", *words, cwd=folder, env=environ, timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    found = metrics(folder / "run")["selfcal"]
    return Imaged(sky, Sky(folder / "run/images/target.deep.fits"), found.get("target", {}))


CROWD = tuple(
    Source(0.01 / (number + 1), 60 * (number * 7 % 9 - 4) / 1.3, 50 * (number * 5 % 8 - 4) / 1.2)
    for number in range(10)
)
CASES = {
    "MeerKAT": MEERKAT,
    "MeerKAT, many sources": replace(MEERKAT, sources=(MEERKAT.sources[0], *CROWD)),
    "MeerKAT, amplitudes": replace(MEERKAT, amp=0.1, amp_time_s=600.0),
    "ALMA": SHORT,
    "ALMA, a weak source": replace(SHORT, sources=(Source(0.006, 0.4, -0.3),), integrations=30),
    "ALMA, fast phases": replace(SHORT, phase_deg=60.0, phase_time_s=20.0),
    "ALMA, offsets between windows": replace(SHORT, spw_phase_deg=20.0),
    "ALMA, amplitudes": replace(SHORT, amp=0.1),
}


@pytest.mark.parametrize("name", CASES)
def test_it_comes_to_what_data_without_errors_give(name: str, tmp_path: Path) -> None:
    sky = CASES[name]
    wrong = imaged(tmp_path / "wrong", sky, selfcal=True)
    free = imaged(tmp_path / "free", sky.without_errors(), selfcal=False)
    rounds = [one for one in wrong.selfcal["rounds"] if not one["skipped"]]
    said = [f"{one['round']}: S/N {one['image']['snr']:.4g}: {one['reason']}" for one in rounds]
    report = "\n".join([f"{wrong.dynamic_range:.4g} of {free.dynamic_range:.4g}", *said])
    assert not wrong.selfcal["kept_first"], report
    assert wrong.dynamic_range > 0.7 * free.dynamic_range, report
    for source in sky.sources:
        assert wrong.flux_jy(source) == pytest.approx(
            source.flux_jy, rel=0.03, abs=4 * free.image.noise()
        ), report
