"""The catalogue of a cleaned image of a simulated sky: against the truth, and against imfit."""

import math
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from casarun.casa import image_file
from casarun.qa import catalogue, collect, drawn
from casarun.qa.sky import Sky
from casarun.recipe import ds9_regions
from support import skies

TARGET = 2
SKY = Sky("J2000", "SIN", (150.0, 2.0), (64.0, 64.0), (-2 / 3600, 2 / 3600), (12.0, 8.0, 30.0))


def gaussian(x, y, peak, beam=(12.0, 8.0, 30.0)):
    rows, columns = np.mgrid[:128, :128]
    east, north = -2.0 * (columns - x), 2.0 * (rows - y)
    turn = math.radians(beam[2])
    along = east * math.sin(turn) + north * math.cos(turn)
    across = east * math.cos(turn) - north * math.sin(turn)
    return peak * np.exp(-4 * math.log(2) * ((along / beam[0]) ** 2 + (across / beam[1]) ** 2))


def test_brightness_is_corrected_for_the_primary_beam():
    rows, columns = np.mgrid[:128, :128]
    weak = np.exp(-4 * math.log(2) * ((rows - 64) ** 2 + (columns - 64) ** 2) / 80**2)
    pixels = gaussian(64, 64, 0.5) + gaussian(100, 90, 0.2) * weak[90, 100]
    found = catalogue.measure(pixels, SKY, 1e-4, weak, 5.0, {})
    assert [row["flux_jy"] for row in found.rows] == pytest.approx([0.5, 0.2], rel=1e-4)
    first, second = found.rows
    assert second["primary_beam"] == pytest.approx(weak[90, 100])
    assert second["noise_jy_per_beam"] == pytest.approx(1e-4 / weak[90, 100])
    ratio = second["flux_error_jy"] / first["flux_error_jy"]
    assert ratio == pytest.approx(1 / weak[90, 100], rel=0.02)
    assert (first["ra_deg"], first["dec_deg"]) == pytest.approx((150.0, 2.0), abs=1e-7)


def test_tables_say_the_same_in_each_form(tmp_path):
    pixels = gaussian(64, 64, 0.5) + gaussian(30, 90, 0.02) + gaussian(100, 20, 0.1, (30, 14, 80))
    pixels += np.random.default_rng(1).normal(size=pixels.shape) * 1e-4
    hostile = "<b>'\"&\\\n: - #"
    found = catalogue.measure(pixels, SKY, 1e-4, None, 5.0, {"target": hostile})
    paths = catalogue.write(found, str(tmp_path / "x.sources"))
    assert [Path(path).name for path in paths] == [
        "x.sources.ecsv", "x.sources.xml", "x.sources.reg",
    ]  # fmt: skip
    ecsv = Table.read(paths[0], format="ascii.ecsv")
    votable = Table.read(paths[1], format="votable")
    assert ecsv.colnames == votable.colnames == [one.name for one in catalogue.COLUMNS]
    assert ecsv.meta["target"] == hostile
    assert ecsv["flux_jy"].unit == votable["flux_jy"].unit == "Jy"
    assert len(ecsv) == len(votable) == 3
    for name in ecsv.colnames:
        assert list(map(str, ecsv[name])) == list(map(str, votable[name])), name
    assert ecsv["resolved"].tolist() == [False, True, False]
    assert ecsv["own_major_arcsec"].mask.tolist() == [True, False, True]
    assert ecsv["own_major_limit_arcsec"].mask.tolist() == [False, True, False]


def test_an_empty_catalogue_is_a_table(tmp_path):
    found = catalogue.measure(np.zeros((40, 40)), SKY, 1e-3, None, 5.0, {})
    paths = catalogue.write(found, str(tmp_path / "x"))
    assert len(Table.read(paths[0], format="ascii.ecsv")) == 0
    assert len(Table.read(paths[1], format="votable")) == 0
    assert found.summary(paths, 5.0)["number"] == 0


def test_regions_lie_on_the_sources():
    pixels = gaussian(40, 70, 0.5)
    found = catalogue.measure(pixels, SKY, 1e-4, None, 5.0, {})
    text = catalogue.regions(found)
    (line,) = [one for one in text.splitlines() if one.startswith("ellipse")]
    ra, dec, first, second, angle = (
        float(part.rstrip('"')) for part in line[8 : line.index(")")].split(",")
    )
    x, y = SKY.wcs().wcs_world2pix(ra, dec, 0)
    assert (x, y) == pytest.approx((40, 70), abs=1e-3)
    # The second axis is the major one; turned by the angle from north through east.
    assert (first, second, angle) == pytest.approx((4.0, 6.0, 30.0), abs=0.01)
    assert "text={1}" in line


@pytest.mark.casa
class TestOfACleanedImage:
    """One image of five sources in noise, the outermost where the primary beam is 0.3."""

    SOURCES = (
        skies.Source(0.4), skies.Source(0.1, 300.0, -450.0), skies.Source(0.06, -500.0, 200.0),
        skies.Source(0.03, 250.0, 600.0), skies.Source(0.2, -850.0, -700.0),
    )  # fmt: skip

    @pytest.fixture(scope="class")
    def image(self, tmp_path_factory):
        import os

        from casarun.casa.config import configure

        folder = tmp_path_factory.mktemp("catalogue")
        field = skies.SkyField("target", "15h00m00.0s", "+08d00m00.0s", self.SOURCES)
        sky = skies.Sky(fields=(field,), scans=(0, 0, 0), n_antennas=20, noise_jy=0.05,
                        integrations=8, airy_m=(24.5, 2.36))  # fmt: skip
        skies.build(folder / "sky.ms", sky)
        configure()
        import casatasks

        here = Path.cwd()
        os.chdir(folder)
        try:
            casatasks.tclean("sky.ms", imagename="x", datacolumn="data", imsize=320,
                             cell="10arcsec", weighting="natural", niter=3000, threshold="1.2mJy",
                             gridder="wproject", wprojplanes=16,
                             pblimit=0.1)  # fmt: skip
            numbers = collect.measure_image({
                "target": "t", "image": "x", "prefix": "x", "specmode": "mfs", "suffix": "",
                "fits": "x.fits", "moments": [], "data": "data.json", "plots": "qa/plots/x",
                "catalogue": {"prefix": "x.sources", "sigma": 5.0},
            })  # fmt: skip
        finally:
            os.chdir(here)
        return folder, numbers["sources"], numbers

    def test_every_source_is_found_and_nothing_else(self, image):
        _, found, numbers = image
        centre = SkyCoord("15h00m00.0s", "+08d00m00.0s", frame="fk5")
        assert found["number"] == len(self.SOURCES)
        for row in found["brightest"]:
            place = SkyCoord(row["ra_deg"], row["dec_deg"], unit="deg", frame="fk5")
            east, north = (one.arcsec for one in centre.spherical_offsets_to(place))
            near = min(self.SOURCES, key=lambda one: math.hypot(
                one.east_arcsec - east, one.north_arcsec - north))  # fmt: skip
            # Components lie on pixels: positions are good to some hundredths of the beam.
            assert abs(near.east_arcsec - east) < 5 * row["ra_error_arcsec"] + 0.5
            assert abs(near.north_arcsec - north) < 5 * row["dec_error_arcsec"] + 0.5
            # CASA's beam of the VLA is not quite that of the simulated dishes.
            allowed = (
                5 * row["flux_error_jy"]
                + (0.02 if row["primary_beam"] > 0.7 else 0.1) * near.flux_jy
            )
            assert abs(row["flux_jy"] - near.flux_jy) < allowed, (row, near)
            assert not row["resolved"]
            assert row["own_major_limit_arcsec"] < numbers["bmaj_arcsec"]
        assert min(row["primary_beam"] for row in found["brightest"]) < 0.5

    def test_the_fit_is_that_of_imfit(self, image):
        import casatasks

        folder, found, _ = image
        for row in found["brightest"]:
            x, y, weak = round(row["x_pixel"]), round(row["y_pixel"]), row["primary_beam"]
            fit = casatasks.imfit(str(folder / "x.image"), box=f"{x - 7},{y - 7},{x + 7},{y + 7}",
                                  rms=row["noise_jy_per_beam"] * weak)  # fmt: skip
            one = fit["results"]["component0"]
            flux, shape = one["flux"], one["shape"]
            assert row["peak_jy_per_beam"] * weak == pytest.approx(one["peak"]["value"], rel=0.03)
            assert abs(row["flux_jy"] * weak - flux["value"][0]) < 1.5 * flux["error"][0]
            assert row["major_arcsec"] == pytest.approx(shape["majoraxis"]["value"], rel=0.05)
            assert row["minor_arcsec"] == pytest.approx(shape["minoraxis"]["value"], rel=0.05)
            ra = math.degrees(shape["direction"]["m0"]["value"]) % 360
            assert row["ra_deg"] == pytest.approx(ra, abs=row["ra_error_arcsec"] / 3600)
            ratio = row["flux_error_jy"] * weak / flux["error"][0]
            assert 0.5 < ratio < 1.6

    def test_pictures_and_regions_show_them(self, image):
        folder, found, numbers = image
        maps = next(plot for plot in numbers["plots"] if plot["file"].endswith("maps.png"))
        assert "Circles: sources of the catalogue, by number." in maps["caption"]
        text = (folder / "x.sources.reg").read_text()
        assert text.count("ellipse(") == found["number"]
        with image_file.ImageFile(folder / "x.image") as one:
            assert one.header.frame == "J2000"
        assert "fk5" in text.splitlines()

    def test_noise_has_no_sources(self, image, tmp_path, monkeypatch):
        folder, _, numbers = image
        with image_file.ImageFile(folder / "x.residual") as one:
            pixels, valid = one.plane()
        beam = tuple(numbers[key] for key in ("bmaj_arcsec", "bmin_arcsec", "bpa_deg"))
        about = Sky("J2000", "SIN", (225.0, 8.0), (160.0, 160.0), (-10 / 3600, 10 / 3600), beam)
        found = catalogue.measure(np.where(valid, pixels, np.nan), about,
                                  numbers["rms_noise_jy_per_beam"], None, 5.0, {})  # fmt: skip
        assert found.rows == ()


def test_regions_cover_what_is_above_half_the_peak():
    """What casarun reads of DS9's regions: they can be a clean mask."""
    pixels = gaussian(40, 70, 0.5, (30.0, 12.0, 55.0))
    found = catalogue.measure(pixels, SKY, 1e-4, None, 5.0, {})
    (shape,) = ds9_regions.read(catalogue.regions(found)).shapes
    assert (shape.kind, shape.frame, shape.label) == ("ellipse", "fk5", "1")
    inside = drawn.mask([shape], SKY.wcs(), pixels.shape)
    np.testing.assert_array_equal(inside, pixels > 0.25)
