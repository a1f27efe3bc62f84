"""Numbers over regions, against CASA's own and against what was put into the image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.wcs import WCS
from casarun.casa import image_file
from casarun.errors import StepFailedError
from casarun.preflight import masks
from casarun.qa import measured_regions
from casarun.qa.images import sky_of
from casarun.recipe.model import Image
from casarun.report import regions
from support import viewed_runs
from test_preflight_images import held

REGIONS = """fk5
circle(230.5,5.0667,121") # text={core}
image
box(20.3,41.2,9,5,0)
-circle(20.3,41.2,1.2)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("measured")
    viewed_runs.build(folder / "run")
    (folder / "two.reg").write_text(REGIONS)
    return folder


def measured(place: Path, rms: Any, file: str = "two.reg") -> list[dict[str, Any]]:

    prefix = place / "run" / "images" / "M31.hi"
    with image_file.ImageFile(f"{prefix}.image") as image:
        wcs: WCS = sky_of(image.header, None).wcs()
    images = (f"{prefix}.image", f"{prefix}.pb")
    return measured_regions.measure(
        [str(place / file)], images, (np.array(rms), (50.0, 45.0, 10.0)), wcs
    )


@pytest.mark.casa
def test_numbers_are_those_of_imstat(place: Path, casa: Any) -> None:
    """Fluxes of an image that CASA has corrected for the primary beam."""
    image = str(place / "run" / "images" / "M31.hi.image")
    casa("impbcor", imagename=image, pbimage=image.replace(".image", ".pb"), outfile="c.pbcor",
         mode="divide", cutoff=0.0)  # fmt: skip
    core = next(one for one in measured(place, [1, 1, 1]) if one["region"] == "core")
    circle = "circle[[230.5deg, 5.0667deg], 121arcsec] coord=J2000"
    for channel in range(3):
        told, _ = casa("imstat", imagename="c.pbcor", region=circle, chans=str(channel))
        assert core["n_pixels"] == told["npts"][0]
        assert core["flux_jy_by_channel"][channel] == pytest.approx(told["flux"][0], rel=1e-4)
    told, _ = casa("imstat", imagename=image, region=circle)
    assert core["mean_jy_per_beam"] == pytest.approx(told["mean"][0], rel=1e-4)
    assert core["peak_jy_per_beam"] == pytest.approx(told["max"][0], rel=1e-6)
    assert core["min_jy_per_beam"] == pytest.approx(told["min"][0], rel=1e-6)
    assert core["peak_channel"] == told["maxpos"][3]


@pytest.mark.casa
def test_errors_are_those_of_independent_beams(place: Path) -> None:
    whole, core, box = measured(place, [0.5, 1.0, np.nan])
    assert [one["region"] for one in (whole, core, box)] == ["all", "core", "line 4"]
    assert box["n_pixels"] == 45 - 4  # less those about the circle's centre
    assert whole["n_pixels"] == core["n_pixels"] + box["n_pixels"]
    width_km_s = 299792.458 * 24e3 / 1420.40575177e6
    assert core["line_flux_jy_km_s"] == pytest.approx(
        sum(core["flux_jy_by_channel"]) * width_km_s, rel=1e-6
    )
    beams = core["n_pixels"] / (np.pi / (4 * np.log(2)) * 50 * 45 / viewed_runs.CELL_ARCSEC**2)
    # The primary beam is near 1 at the core; the last channel's noise is not known.
    expected = np.hypot(0.5, 1.0) * np.sqrt(beams) * width_km_s
    assert core["line_flux_error_jy_km_s"] == pytest.approx(expected, rel=0.1)
    assert whole["flux_jy_reason"] == "it is a cube: flux_jy_by_channel has the spectrum"


def test_a_channel_s_flux_and_its_error() -> None:
    area = measured_regions._Area("a.reg", "all", np.ones((2, 2), bool))
    values = np.array([[1.0, 2.0], [3.0, np.nan]])
    area.take(0, values, np.isfinite(values), np.array([[1.0, 0.5], [0.25, 1.0]]))
    assert area.fluxes == [1 + 4 + 12]
    assert area.errors == [pytest.approx(np.sqrt(1 + 4 + 16))]
    assert (area.total, area.number, area.peak, area.lowest) == (6, 3, 3, 1)


@pytest.mark.casa
def test_a_file_that_cannot_be_used_stops_the_step(place: Path) -> None:
    (place / "bad.reg").write_text("fk5\npanda(1,2,3)\n")
    with pytest.raises(StepFailedError, match=r"^bad\.reg: line 2: 'panda' cannot be used"):
        measured(place, [1, 1, 1], "bad.reg")


def test_what_is_wrong_with_a_file_is_said_at_its_key(tmp_path: Path) -> None:
    texts = {"a.reg": "circle(1,2)\n", "b.crtf": "#CRTFv0\n", "c.reg": "# none\n",
             "d.reg": "fk5\ncircle(10,20,3)\n"}  # fmt: skip
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    image = Image(name="c", regions=tuple(str(tmp_path / name) for name in texts))
    draft, (picture,) = held(image)
    draft.problems.clear()
    draft._said.clear()
    masks.check_measured(draft, picture)
    assert [(problem.key, problem.message) for problem in draft.problems] == [
        (("image", 0, "regions", 0), "a.reg: line 1: a circle of 0 sizes"),
        (("image", 0, "regions", 1), "b.crtf: only DS9 region files (.reg) are read"),
        (("image", 0, "regions", 2), "c.reg has no region: there is nothing to measure"),
    ]


def test_rows_of_the_report() -> None:
    plain = {"file": "a.reg", "region": "all", "n_pixels": 1234, "flux_jy": 0.0123,
             "flux_error_jy": 0.0004, "peak_jy_per_beam": 0.002}  # fmt: skip
    cube = {**plain, "region": "arm", "flux_jy": None, "flux_jy_by_channel": [1.0],
            "line_flux_jy_km_s": 3.21, "line_flux_error_jy_km_s": 0.1,
            "peak_channel": 7}  # fmt: skip
    beside = {**plain, "flux_jy": None, "flux_error_jy": None, "n_pixels": 0,
              "peak_jy_per_beam": None, "flux_jy_reason": "no valid pixel"}  # fmt: skip
    assert regions.rows({"regions": [plain, cube, beside]}) == [
        ("flux density in a.reg", "12.3 mJy ± 400 µJy", "1\u202f234 pixels, peak 2.00 mJy/beam"),
        ("line flux in arm (a.reg)", "3.21 Jy km/s ± 100 mJy km/s",
         "1\u202f234 pixels, peak 2.00 mJy/beam in channel 7"),
        ("flux density in a.reg", "unknown", "no valid pixel"),
    ]  # fmt: skip
    assert regions.rows({}) == []
