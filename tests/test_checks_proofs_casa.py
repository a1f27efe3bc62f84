"""Post-conditions on jumps and on products made from others, against real CASA."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from casarun.casa.tables import open_table
from casarun.files import write_json
from support import skies
from test_checks_casa import DIRTY, message, run

pytestmark = pytest.mark.casa

Casa = Any


def scale(path: Path, column: str, factor: complex, where: str = "") -> None:
    """Multiply a column."""
    from casatools import table

    tool = table()
    tool.open(str(path), nomodify=False)
    part = tool.query(where) if where else tool
    part.putcol(column, part.getcol(column) * factor)
    if part is not tool:
        part.close()
    tool.close()


class TestCaltable:
    def test_a_field_without_solutions(self, own_sky: Path, casa: Casa) -> None:
        casa("flagdata", vis=str(own_sky), field="1")
        casa("gaincal", vis=str(own_sky), caltable="g", field="0,1", refant="ea01", solint="inf")
        params = {"minsnr": 3.0, "solint": "inf"}
        given = {"path": "g", "spws": {"0": [0], "1": [0]}}
        assert message("caltable", given, ({}, _nothing()), params) == (
            "expected solutions of field 1 in g, found none that is unflagged: their "
            "signal-to-noise ratio is under minsnr=3, or the data are bad, or all its data are "
            "flagged"
        )
        assert run("caltable", given | {"spws": {"0": [0]}})["fields"] == [0]

    def test_a_window_without_solutions_is_a_warning(self, tmp_path: Path, casa: Casa) -> None:
        windows = (skies.Spw(), skies.Spw(1.6e9, 2e6, 2))
        skies.build(tmp_path / "two.ms", skies.Sky(spws=windows, n_antennas=6))
        casa("gaincal", vis="two.ms", caltable="g", field="0", spw="0", refant="ea01", solint="inf")
        given = {"path": "g", "spws": {"0": [0, 1]}}
        assert run("caltable", given)["warnings"] == [
            "g: field 0 has no unflagged solutions in spw 1"
        ]
        assert "warnings" not in run("caltable", given, params={"combine": "spw"})

    def test_mostly_flagged(self, sky: Any, casa: Casa) -> None:
        casa("gaincal", vis=str(sky[0]), caltable="g", field="0", refant="ea01", solint="inf")
        from casatools import table

        tool = table()
        tool.open("g", nomodify=False)
        flag = tool.getcol("FLAG")
        flag[..., tool.getcol("ANTENNA1") > 2] = True
        tool.putcol("FLAG", flag)
        tool.close()
        given = {"path": "g", "max_flagged": 0.7}
        assert message("caltable", given).startswith(
            "expected usable solutions in g, found 75% of its 24 flagged: "
        )
        assert run("caltable", {"path": "g", "max_flagged": 0.8})["warnings"] == [
            "75% of the solutions in g are flagged: what they would calibrate is flagged with them"
        ]
        # Antennas that never had data do not count.
        assert "warnings" not in run("caltable", given | {"antennas": [0, 1, 2]})


class TestReference:
    @pytest.fixture
    def deaf(self, own_sky: Path) -> Path:
        """Give an observation in which ea03 sees noise only."""
        from casatools import table

        tool = table()
        tool.open(str(own_sky), nomodify=False)
        data = tool.getcol("DATA")
        its = (tool.getcol("ANTENNA1") == 2) | (tool.getcol("ANTENNA2") == 2)
        random = np.random.default_rng(1)
        data[:, :, its] = random.normal(scale=1e-3, size=data[:, :, its].shape)
        tool.putcol("DATA", data)
        tool.close()
        return own_sky

    @pytest.mark.parametrize(("refant", "served"), [("ea03", "ea04"), ("ea03,ea05", "ea05")])
    def test_another_antenna_served(self, deaf: Path, casa: Casa, refant: str, served: str) -> None:
        params = {"refant": refant, "minsnr": 3.0}
        casa("gaincal", vis=str(deaf), caltable="g", field="0,1", solint="inf", **params)
        assert run("caltable", {"path": "g"}, ({}, _nothing()), params)["warnings"] == [
            f"g: {served} served as reference antenna, not ea03, in 33 of 33 solutions: those of "
            "ea03 are flagged, or it has no data then; look at ea03, or name another first "
            "(calibrate.refant)"
        ]

    @pytest.mark.parametrize("refant", ["ea01", "ea01,ea02", "0", ["ea01"], ""])
    def test_no_word_where_the_first_served(self, deaf: Path, casa: Casa, refant: Any) -> None:
        casa("gaincal", vis=str(deaf), caltable="g", field="0,1", solint="inf", refant="ea01")
        assert "warnings" not in run("caltable", {"path": "g"}, ({}, _nothing()),
                                     {"refant": refant})  # fmt: skip

    def test_delays_tell_no_reference(self, deaf: Path, casa: Casa) -> None:
        params = {"refant": "ea03", "gaintype": "K"}
        casa("gaincal", vis=str(deaf), caltable="k", field="0", solint="inf", **params)
        assert "warnings" not in run("caltable", {"path": "k"}, ({}, _nothing()), params)


def _nothing() -> Any:
    from casarun.casa.logscan import LogFindings

    return LogFindings()


class TestAmplitude:
    @pytest.fixture
    def calibrated(self, own_sky: Path, casa: Casa) -> Path:
        vis = str(own_sky)
        casa("setjy", vis=vis, field="0", usescratch=False)
        casa("gaincal", vis=vis, caltable="g", field="0,1", refant="ea01", solint="inf")
        outcome, _ = casa("fluxscale", vis=vis, caltable="g", fluxtable="f", reference="0")
        write_json(Path("f.json"), outcome)
        for field in ("0", "1"):
            casa("applycal", vis=vis, field=field, gaintable=["f"], gainfield=[field])
        return own_sky

    def test_good(self, calibrated: Path) -> None:
        flux = run("amplitude", {"path": str(calibrated), "field": 0})
        assert flux["ratio"]["0"] == pytest.approx(1, abs=0.01)
        given = {"path": str(calibrated), "field": 1, "fluxscale": "f.json"}
        phase = run("amplitude", given)
        assert phase == {"ratio": {"0": pytest.approx(1, abs=0.01)}}

    @pytest.mark.parametrize("hand", ["RR", "LL"])
    def test_a_hand_that_is_flagged_has_no_say(
        self, calibrated: Path, casa: Casa, hand: str
    ) -> None:
        casa("flagdata", vis=str(calibrated), correlation=hand, antenna="ea02", spw="0:1~2")
        flux = run("amplitude", {"path": str(calibrated), "field": 0})
        assert flux == {"ratio": {"0": pytest.approx(1, abs=0.01)}}

    def test_not_the_models(self, calibrated: Path) -> None:
        scale(calibrated, "CORRECTED_DATA", 0.1)
        said = message("amplitude", {"path": str(calibrated), "field": 0})
        assert said == (
            f"expected calibrated data of field 0 in {calibrated} to average 15.1 Jy in spw 0 "
            "(from its model), found 1.51 Jy: the amplitudes were not applied, or solved with "
            "another model or with bad data"
        )
        given = {"path": str(calibrated), "field": 1, "fluxscale": "f.json"}
        assert "(from fluxscale), found 0.25 Jy" in message("amplitude", given)

    def test_odd(self, calibrated: Path) -> None:
        scale(calibrated, "CORRECTED_DATA", 1.5)
        assert run("amplitude", {"path": str(calibrated), "field": 0})["warnings"] == [
            "field 0: calibrated data average 1.50 times what its model says in spw 0"
        ]

    def test_noise_tells_nothing(self, calibrated: Path) -> None:
        with open_table(calibrated) as table:
            shape = table.getcol("CORRECTED_DATA").shape
        from casatools import table as table_tool

        tool = table_tool()
        tool.open(str(calibrated), nomodify=False)
        noise = np.random.default_rng(1).normal(size=shape) * 1e4
        tool.putcol("CORRECTED_DATA", noise.astype(complex))
        tool.close()
        assert run("amplitude", {"path": str(calibrated), "field": 0}) == {"ratio": {}}


class TestKept:
    def test_good_and_lost(self, own_sky: Path, casa: Casa) -> None:
        casa("flagdata", vis=str(own_sky), antenna="ea02", scan="2")
        casa("split", vis=str(own_sky), outputvis="s.ms", field="1,2", datacolumn="data",
             keepflags=False)  # fmt: skip
        given = {"path": "s.ms", "source": str(own_sky), "fields": [1, 2]}
        n = (3 * 66 - 11) * 4 * 4 * 2
        assert run("kept", given) == {"n_unflagged": n}
        casa("flagdata", vis="s.ms", scan="4", mode="unflag")
        casa("flagdata", vis="s.ms", scan="4")
        left = n - 66 * 4 * 4 * 2
        assert message("kept", given) == (
            f"expected the {n} unflagged visibilities of field 1,2 of {own_sky} in s.ms, found "
            f"{left}: rows or flags were lost on the way"
        )


class TestContsub:
    @pytest.fixture
    def line(self, tmp_path: Path, casa: Casa) -> dict[str, Any]:
        windows = (skies.Spw(n_chan=8), skies.Spw(1.6e9, 2e6, 3))
        skies.build(tmp_path / "l.ms", skies.Sky(spws=windows, scans=(2,), n_antennas=6))
        return {"vis": "l.ms", "outputvis": "c.ms", "fitspec": "0:0~2;6~7,1", "fitorder": 0}

    def test_good(self, line: dict[str, Any], casa: Casa) -> None:
        casa("uvcontsub", **line, datacolumn="data")
        found = run("contsub", {"path": "c.ms"}, params=line)
        assert found["left_over"]["0"] < 1e-4
        assert found["left_over"]["1"] < 1e-4
        assert "warnings" not in found

    def test_a_window_that_fitspec_leaves_out(self, line: dict[str, Any], casa: Casa) -> None:
        line["fitspec"] = "0:0~2"
        casa("uvcontsub", **line, datacolumn="data")
        found = run("contsub", {"path": "c.ms"}, params=line)
        assert list(found["left_over"]) == ["0"]
        assert found["warnings"] == [
            "contsub.fitspec leaves out spw 1: uvcontsub copied it with its continuum; name its "
            "line-free channels, or leave it out of the image (image.spw)"
        ]

    def test_continuum_that_is_left(self, line: dict[str, Any]) -> None:
        shutil.copytree("l.ms", "c.ms")
        said = message("contsub", {"path": "c.ms"}, ({}, _nothing()), line)
        assert said.startswith(
            "expected no continuum in the line-free channels of spw 0 of c.ms, found 100% of it "
            "(rms over rows of their mean: 0."
        )
        assert said.endswith(" Jy): the fit did not take, or these channels were not fitted")


def test_model_that_came_with_the_data(own_sky: Path, casa: Casa) -> None:
    casa("setjy", vis=str(own_sky), field="0", usescratch=False)
    assert message("no_model", {"path": str(own_sky)}) == (
        f"expected {own_sky} to have lost its old model, found it still there"
    )
    casa("delmod", vis=str(own_sky), otf=True, scr=True)
    assert run("no_model", {"path": str(own_sky)}) == {}


class TestMs:
    def test_raw_data_may_have_nan(self, own_sky: Path) -> None:
        scale(own_sky, "DATA", np.nan, "FIELD_ID==1 && SCAN_NUMBER==4")
        assert run("ms", {"path": str(own_sky), "raw": True})
        assert "NaN" in message("ms", {"path": str(own_sky)})

    def test_nan_in_the_middle(self, own_sky: Path) -> None:
        scale(
            own_sky, "DATA", np.nan, "FIELD_ID==1 && SCAN_NUMBER==2 && ANTENNA1==0 && ANTENNA2==1"
        )
        assert message("ms", {"path": str(own_sky)}) == (
            f"expected finite visibilities in DATA of {own_sky}, found 32 of 8448 unflagged ones "
            "NaN or infinite, of field 1: one of them blanks a whole image"
        )

    def test_no_weights(self, own_sky: Path) -> None:
        scale(own_sky, "WEIGHT", 0)
        assert message("ms", {"path": str(own_sky)}) == (
            f"expected positive weights in {own_sky}, found none in 1056 rows with unflagged data: "
            "CASA leaves such rows out without a word"
        )


def test_fields_that_came_over_the_limit(own_sky: Path, casa: Casa) -> None:
    casa("flagdata", vis=str(own_sky), scan="2")
    given = {"path": str(own_sky), "fields": [1], "limit": 0.4}
    assert "at most 40%" in message("flagged_fraction", given)
    assert run("flagged_fraction", given | {"came_over": [1]})["total"] == 0.5


class TestImages:
    given: ClassVar[dict[str, Any]] = {
        "prefix": "i",
        "suffix": "",
        "cleaned": True,
        "specmode": "mfs",
    }

    def cube(self, vis: Any, casa: Casa) -> Any:
        # In LSRK its first channel may be blank: see test_cube_with_a_blank_channel.
        cube = {"specmode": "cube", "outframe": "TOPO", **DIRTY}
        return casa("tclean", vis=str(vis), imagename="i", niter=20, **cube)

    def test_a_blank_channel_that_has_data(self, sky: Any, casa: Casa) -> None:
        result = self.cube(sky[0], casa)
        _blank_channel("i.image", 2)
        assert message("image", self.given | {"specmode": "cube"}, result) == (
            "expected an image of channel 2 in i.image, found it blank, though data were gridded "
            "into it: its pixels are masked or 0"
        )

    def test_pbcor(self, sky: Any, casa: Casa) -> None:
        self.cube(sky[0], casa)
        params = {"imagename": "i.image", "pbimage": "i.pb", "outfile": "p"}
        casa("impbcor", **params)
        assert run("image_table", {"path": "p"}, params=params)["peak"] > 0.5
        _blank_channel("p", 1)
        assert message("image_table", {"path": "p"}, ({}, _nothing()), params) == (
            "expected p to have pixels wherever i.image has, found channel 1 blank: the primary "
            "beam is unknown or under the cutoff there"
        )

    def test_fits(self, sky: Any, casa: Casa) -> None:
        self.cube(sky[0], casa)
        casa("exportfits", imagename="i.image", fitsimage="i.fits")
        casa("exportfits", imagename="i.psf", fitsimage="psf.fits")
        params = {"imagename": "i.image"}
        assert run("fits", {"path": "i.fits"}, params=params)["shape"] == [1, 4, 96, 96]
        assert message("fits", {"path": "psf.fits"}, ({}, _nothing()), params).startswith(
            "expected the largest absolute pixel of i.image, 0."
        )
        casa("imsubimage", imagename="i.image", outfile="one", chans="0")
        assert message("fits", {"path": "i.fits"}, ({}, _nothing()), {"imagename": "one"}) == (
            "expected i.fits in the shape of one, 96 x 96 x 1 x 1, found 96 x 96 x 4 x 1"
        )

    def test_brighter_than_dirty(self, sky: Any, casa: Casa) -> None:
        casa("tclean", vis=str(sky[0]), imagename="d", niter=0, **DIRTY)
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=200, threshold="20mJy",
                      **DIRTY)  # fmt: skip
        params = {"dirty": "d", "tclean": {}}
        assert run("image", self.given, result, params)["warnings"] == []
        _multiply("i.image", 2)
        [said] = run("image", self.given, result, params)["warnings"]
        assert said.startswith("the peak of i.image is over 1.5 times the dirty image's")
        _multiply("i.image", 2)
        said = message("image", self.given, result, params)
        assert said.startswith("expected a peak near the dirty image's 0.")
        assert said.endswith("the model grew without bounds, the clean diverged")

    def test_a_needle_of_a_beam(self, sky: Any, casa: Casa) -> None:
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=200, threshold="20mJy",
                      **DIRTY)  # fmt: skip
        _set_beam("i.psf", "1500arcsec", "60arcsec")
        [said] = run("image", self.given, result)["warnings"]
        assert said == (
            "the synthesized beam of i.psf is 1.5e+03 x 60 arcsec, over 20 times as long as wide: "
            "the uv coverage is nearly a line"
        )
        _set_beam("i.psf", "1500arcsec", "14arcsec")
        assert message("image", self.given, result) == (
            "expected a synthesized beam less than 100 times as long as wide in i.psf, found "
            "1.5e+03 x 14 arcsec: the data that are left lie in one line of the uv plane"
        )


def _open(path: str) -> Any:
    from casatools import image

    tool = image()
    tool.open(path)
    return tool


def _multiply(path: str, factor: float) -> None:
    tool = _open(path)
    tool.putchunk(tool.getchunk() * factor)
    tool.close()


def _blank_channel(path: str, channel: int) -> None:
    tool = _open(path)
    pixels = tool.getchunk()
    pixels[..., channel] = 0
    tool.putchunk(pixels)
    tool.close()


def _set_beam(path: str, major: str, minor: str) -> None:
    tool = _open(path)
    tool.setrestoringbeam(remove=True)
    tool.setrestoringbeam(major=major, minor=minor, pa="0deg")
    tool.close()
