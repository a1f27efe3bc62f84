from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import skies

pytestmark = pytest.mark.casa

CELL_ARCSEC, SIDE = 10.0, 160


@pytest.fixture
def image(sky: tuple[Path, skies.Truth], casa: Any, tmp_path: Path) -> Path:
    """Give the prefix of a clean image of the target."""
    casa(
        "tclean", vis=str(sky[0]), field="2", datacolumn="data", imagename="t", imsize=SIDE,
        cell=f"{CELL_ARCSEC}arcsec", weighting="natural", niter=500, threshold="2mJy",
    )  # fmt: skip
    return tmp_path / "t"


def test_sources_come_out_where_and_as_bright_as_they_went_in(image: Path, casa: Any) -> None:
    beam, _ = casa("imhead", imagename=f"{image}.image", mode="summary")
    minor_arcsec = beam["restoringbeam"]["minor"]["value"]
    for source in skies.TARGET.sources:
        x = SIDE / 2 - source.east_arcsec / CELL_ARCSEC
        y = SIDE / 2 + source.north_arcsec / CELL_ARCSEC
        fit, _ = casa("imfit", imagename=f"{image}.image", box=f"{x - 7},{y - 7},{x + 7},{y + 7}")
        found = fit["results"]["component0"]
        assert found["flux"]["value"][0] == pytest.approx(source.flux_jy, rel=0.03)
        off = np.hypot(found["pixelcoords"][0] - x, found["pixelcoords"][1] - y) * CELL_ARCSEC
        assert off < 0.1 * minor_arcsec


def test_noise_is_that_of_theory(image: Path, casa: Any, sky: tuple[Path, skies.Truth]) -> None:
    found, _ = casa("imstat", imagename=f"{image}.residual")
    theory = sky[1].image_noise_jy(2)
    assert theory / 1.5 < found["rms"][0] < 1.5 * theory


def test_3c286_has_the_flux_of_the_standard(
    sky: tuple[Path, skies.Truth], own_sky: Path, casa: Any
) -> None:
    outcome, _ = casa("setjy", vis=str(own_sky), field="0", standard="Perley-Butler 2017")
    centre_hz = 1.4e9 + 1.5e6
    assert outcome["0"]["0"]["fluxd"][0] == pytest.approx(sky[1].flux_jy(0, centre_hz), rel=0.01)
    data, _ = casa("visstat", vis=str(own_sky), field="0", datacolumn="data", axis="amp")
    assert data["DATA_DESC_ID=0"]["median"] == pytest.approx(
        outcome["0"]["0"]["fluxd"][0], rel=0.01
    )


def test_metadata_are_those_asked_for(tmp_path: Path, casa: Any) -> None:
    sky = skies.Sky(
        fields=(skies.FLUX_CAL, skies.SkyField("odd, name *?", "13h40m0s", "+30d0m0s")),
        scans=(0, 1, 0),
        spws=(skies.Spw(), skies.Spw(1.6e9, 2e6, 8)),
        flagged_fields=(1,),
        n_antennas=6,
    )
    skies.build(tmp_path / "odd.ms", sky)
    found, _ = casa("listobs", vis="odd.ms")
    assert [found[f"field_{n}"]["name"] for n in (0, 1)] == ["1331+305=3C286", "odd, name *?"]
    assert [n for n in range(1, 9) if f"scan_{n}" in found] == [1, 2, 3]
    assert sorted(found["scan_2"]["0"]["SpwIds"]) == [0, 1]
    flags, _ = casa("flagdata", vis="odd.ms", mode="summary")
    assert flags["field"]["odd, name *?"]["flagged"] == flags["field"]["odd, name *?"]["total"] > 0
    assert flags["field"]["1331+305=3C286"]["flagged"] == 0


def test_gains_are_in_the_data_and_gaincal_finds_them(tmp_path: Path, casa: Any) -> None:
    from casarun.casa.tables import open_table

    sky = skies.Sky(gain_amp=0.1, gain_phase_deg=60, dead=(4,), scans=(0,), noise_jy=0.01)
    truth = skies.build(tmp_path / "g.ms", sky)
    casa("setjy", vis="g.ms", field="0", usescratch=True)
    casa("gaincal", vis="g.ms", caltable="g.cal", refant="ea01", solint="inf", minsnr=3)
    with open_table(tmp_path / "g.cal") as table:
        found, flag = table.getcol("CPARAM")[0, 0], table.getcol("FLAG")[0, 0]
    assert np.flatnonzero(flag).tolist() == [4]
    true = truth.gains[0, 0] * np.exp(-1j * np.angle(truth.gains[0, 0, 0]))
    assert np.abs(found - true)[~flag].max() < 0.02
