"""Post-conditions against real CASA: each silent failure provoked, and a good case that passes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import checks, checks_visibilities
from casarun.casa.logscan import LogFindings
from casarun.casa.tables import open_table
from casarun.errors import Cause, StepFailedError
from casarun.plan import Check
from support import skies

pytestmark = pytest.mark.casa

Casa = Any
DIRTY = {
    "field": "2",
    "datacolumn": "data",
    "imsize": 96,
    "cell": "20arcsec",
    "weighting": "natural",
}


def run(
    name: str,
    given: dict[str, Any],
    result: tuple[Any, LogFindings] = ({}, LogFindings()),
    params: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return checks.run(Check(name, given), params or {}, *result)


def message(*args: Any) -> str:
    """Return the message of a check that must fail."""
    with pytest.raises(StepFailedError) as caught:
        run(*args)
    assert caught.value.advice
    # Only then may a fallback of the recipe help.
    assert (caught.value.cause is Cause.DIVERGED) == ("diverged" in caught.value.message)
    return caught.value.message


def change(path: Path, column: str, rows: Sequence[int], value: Any) -> None:
    """Overwrite rows of a column, channel and correlation alike."""
    from casatools import table

    tool = table()
    tool.open(str(path), nomodify=False)
    for row in rows:
        tool.putcell(column, row, np.full_like(tool.getcell(column, row), value))
    tool.close()


def flag_all(path: Path) -> None:
    from casatools import table

    tool = table()
    tool.open(str(path), nomodify=False)
    tool.putcol("FLAG", np.ones_like(tool.getcol("FLAG")))
    tool.close()


class TestCaltable:
    def test_good(self, sky: Any, casa: Casa) -> None:
        casa("gaincal", vis=str(sky[0]), caltable="g", field="0,1", refant="ea01", solint="inf")
        found = run("caltable", {"path": "g"})
        assert found["n_solutions"] == 3 * 12 * 2
        assert found["flagged_fraction"] == 0
        assert (found["fields"], found["spws"], found["flagged_spws"]) == ([0, 1], [0], [])
        assert found["antennas"]["ea12"] == 0
        assert len(found["antennas"]) == 12

    def test_dead_antenna_is_counted(self, tmp_path: Path, casa: Casa) -> None:
        skies.build(tmp_path / "d.ms", skies.Sky(dead=(3,), scans=(0,), n_antennas=8))
        casa("bandpass", vis="d.ms", caltable="b", refant="ea01", minsnr=5)
        found = run("caltable", {"path": "b"})
        assert found["antennas"]["ea04"] == 1
        assert found["flagged_fraction"] == pytest.approx(1 / 8)

    def test_refant_that_does_not_exist(self, sky: Any, casa: Casa) -> None:
        result = casa("bandpass", vis=str(sky[0]), caltable="b", field="0", refant="VA15")
        assert message("caltable", {"path": "b"}, result) == (
            "expected the calibration table b, found none: there was nothing to solve for, because "
            "all selected data are flagged, fewer antennas than calibrate.minblperant allows have "
            "data, or the field or refant does not exist (CASA said: Exception "
            'Reported: Antenna Expression: No match found for token(s) "VA15")'
        )

    def test_all_data_flagged(self, own_sky: Path, casa: Casa) -> None:
        flag_all(own_sky)
        result = casa("gaincal", vis=str(own_sky), caltable="g", field="0", refant="ea01")
        assert isinstance(result[0], dict)
        assert message("caltable", {"path": "g"}, result).startswith(
            "expected the calibration table g, found none: there was nothing to solve for"
        )

    def test_minsnr_above_every_solution(self, sky: Any, casa: Casa) -> None:
        params = {"minsnr": 1e9, "solint": "inf"}
        result = casa("gaincal", vis=str(sky[0]), caltable="g", field="0", refant="ea01", **params)
        assert message("caltable", {"path": "g"}, result, params) == (
            "expected usable solutions in g, found 100% of its 24 flagged: their signal-to-noise "
            "ratio is under minsnr=1e+09, or the data are bad"
        )


class TestSetjy:
    def test_good(self, own_sky: Path, casa: Casa) -> None:
        result = casa("setjy", vis=str(own_sky), field="0")
        assert run("setjy", {"fields": ["0"]}, result)["flux_jy"]["0"]["0"] == pytest.approx(
            15.07, abs=0.02
        )

    def test_field_that_the_standard_does_not_know(self, own_sky: Path, casa: Casa) -> None:
        result = casa("setjy", vis=str(own_sky), field="1")
        assert message("setjy", {"fields": ["1"]}, result) == (
            "expected a flux density of field 1 (J1445+0958) from the standard "
            "'Perley-Butler 2017', found setjy's fallback of 1 Jy: the standard does not know "
            "this field"
        )

    def test_field_that_does_not_exist(self, own_sky: Path, casa: Casa) -> None:
        result = casa("setjy", vis=str(own_sky), field="nosuch")
        assert message("setjy", {"fields": ["nosuch"]}, result).startswith(
            "expected a flux density of field nosuch from setjy, found none: the field does not "
            "exist or the standard 'Perley-Butler 2017' does not know it (CASA said: Exception: "
            'Field Expression: No match found for name "nosuch"'
        )


class TestFluxscale:
    def solve(self, vis: Path, casa: Casa, calmode: str) -> Any:
        casa("setjy", vis=str(vis), field="0", usescratch=True)
        casa("gaincal", vis=str(vis), caltable="g", field="0,1", refant="ea01", solint="inf",
             calmode=calmode)  # fmt: skip
        return casa("fluxscale", vis=str(vis), caltable="g", fluxtable="f", reference="0",
                    transfer=["1"])  # fmt: skip

    def test_good(self, own_sky: Path, casa: Casa) -> None:
        found = run("fluxscale", {"fields": ["1"]}, self.solve(own_sky, casa, "ap"))
        assert found["flux_jy"]["1"]["0"] == pytest.approx(2.5, rel=0.03)

    def test_table_of_phases(self, own_sky: Path, casa: Casa) -> None:
        result = self.solve(own_sky, casa, "p")
        assert message("fluxscale", {"fields": ["1"]}, result) == (
            "expected a measured flux density of field 1, found exactly 1 Jy without an error: the "
            "table that fluxscale was given has no amplitudes"
        )


class TestMs:
    def test_good(self, sky: Any) -> None:
        assert run("ms", {"path": str(sky[0]), "fields": ["0", 2]}) == {"n_rows": 66 * 16}

    def test_nothing_there(self, tmp_path: Path) -> None:
        assert message("ms", {"path": "gone.ms"}) == (
            "expected the MeasurementSet gone.ms, found none"
        )

    def test_broken_folder(self, tmp_path: Path) -> None:
        assert message("ms", {"path": str(tmp_path)}) == (
            f"expected the MeasurementSet {tmp_path}, found a folder that is none"
        )

    def test_no_rows(self, sky: Any) -> None:
        with open_table(sky[0]) as table:
            table.copy("empty.ms", deep=True, norows=True).close()
        assert message("ms", {"path": "empty.ms"}) == (
            "expected visibilities in empty.ms, found no rows: the selection left nothing"
        )

    def test_column_that_is_not_there(self, sky: Any) -> None:
        assert message("ms", {"path": str(sky[0]), "column": "CORRECTED_DATA"}).startswith(
            f"expected the column CORRECTED_DATA in {sky[0]}, found ANTENNA1, ANTENNA2"
        )

    def test_truncated_data_file(self, own_sky: Path) -> None:
        largest = max(own_sky.glob("table.f*"), key=lambda path: path.stat().st_size)
        with largest.open("r+b") as stream:
            stream.truncate(largest.stat().st_size // 2)
        text = message("ms", {"path": str(own_sky)})
        assert text.startswith(
            f"expected to read DATA and weights of {own_sky} from the first row to the last, but "
            "CASA failed: "
        )
        assert text.endswith("; the file is truncated or damaged")

    def test_all_flagged(self, own_sky: Path) -> None:
        flag_all(own_sky)
        assert message("ms", {"path": str(own_sky)}) == (
            f"expected unflagged data in {own_sky}, found all of it flagged"
        )

    def test_one_field_all_flagged(self, tmp_path: Path) -> None:
        skies.build(tmp_path / "f.ms", skies.Sky(flagged_fields=(1,), n_antennas=6))
        assert run("ms", {"path": "f.ms", "fields": [0, 2]})["n_rows"] > 0
        assert message("ms", {"path": "f.ms", "fields": [0, 1]}) == (
            "expected unflagged data of field 1 in f.ms, found all of it flagged"
        )

    @pytest.fixture(autouse=True)
    def _here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_nan(self, own_sky: Path) -> None:
        change(own_sky, "DATA", [2], np.nan)
        assert message("ms", {"path": str(own_sky)}) == (
            f"expected finite visibilities in DATA of {own_sky}, found NaN or infinity in row 2, "
            "unflagged: one of them blanks a whole image"
        )
        change(own_sky, "FLAG", [2], True)
        assert run("ms", {"path": str(own_sky)})


class TestFlaggedFraction:
    def test_fractions_are_of_cross_correlations(self, own_sky: Path, casa: Casa) -> None:
        casa("flagdata", vis=str(own_sky), mode="manual", field="1", antenna="ea01")
        found = run("flagged_fraction", {"path": str(own_sky), "fields": [], "limit": 0.5})
        assert found["flagged_fraction"] == {"0": 0, "1": pytest.approx(11 / 66), "2": 0}
        assert found["total"] == pytest.approx(0.5 * 11 / 66)

    def test_over_the_limit(self, own_sky: Path, casa: Casa) -> None:
        params = {"mode": "manual", "scan": "2"}
        casa("flagdata", vis=str(own_sky), **params)
        given = {"path": str(own_sky), "fields": ["1"], "limit": 0.4}
        assert message("flagged_fraction", given, ({}, LogFindings()), params) == (
            f"expected at most 40% flagged of field 1 in {own_sky}, found 50.0% flagged after this "
            "step: flagdata mode 'manual' took it"
        )

    def test_all_flagged(self, own_sky: Path) -> None:
        flag_all(own_sky)
        given = {"path": str(own_sky), "fields": [2], "limit": 1.0}
        params = {"gaintable": ["g"]}
        assert message("flagged_fraction", given, ({}, LogFindings()), params) == (
            f"expected some unflagged data of field 2 in {own_sky}, found 100.0% flagged after "
            "this step: the solutions for it are flagged, and applycal flags what they would "
            "calibrate"
        )

    def test_field_that_is_not_there(self, sky: Any) -> None:
        given = {"path": str(sky[0]), "fields": [0, 7]}
        assert message("flagged_fraction", given) == (
            f"expected visibilities of field 7 in {sky[0]}, found none"
        )


class TestCorrected:
    @pytest.fixture
    def two_windows(self, tmp_path: Path) -> Path:
        windows = (skies.Spw(), skies.Spw(1.6e9, 2e6, 2))
        sky = skies.Sky(spws=windows, n_antennas=8, gain_amp=0.1, gain_phase_deg=30)
        skies.build(tmp_path / "two.ms", sky)
        return tmp_path / "two.ms"

    def solve(self, casa: Casa, spw: str) -> None:
        casa("gaincal", vis="two.ms", caltable="g", field="1", spw=spw, refant="ea01", solint="inf")
        casa("applycal", vis="two.ms", field="2", gaintable=["g"])

    def test_good(self, two_windows: Path, casa: Casa) -> None:
        self.solve(casa, "0,1")
        assert run("corrected", {"path": "two.ms", "fields": [2]}) == {"spws": {"2": [0, 1]}}

    def test_table_that_lacks_a_window(self, two_windows: Path, casa: Casa) -> None:
        self.solve(casa, "0")
        assert message("corrected", {"path": "two.ms", "fields": ["2"]}) == (
            "expected field 2 of two.ms to be calibrated, found CORRECTED_DATA equal to DATA in "
            "spw 1: the calibration tables have no solutions there"
        )

    def test_window_all_flagged(self, two_windows: Path, casa: Casa) -> None:
        casa("flagdata", vis="two.ms", spw="1", field="2")
        self.solve(casa, "0,1")
        assert run("corrected", {"path": "two.ms", "fields": [2]}) == {
            "spws": {"2": [0]},
            "warnings": ["field 2: all data of spw 1 are flagged"],
        }

    def test_field_all_flagged(self, two_windows: Path, casa: Casa) -> None:
        casa("flagdata", vis="two.ms", field="2")
        self.solve(casa, "0,1")
        assert message("corrected", {"path": "two.ms", "fields": [2]}) == (
            "expected calibrated data of field 2 in two.ms, found all of it flagged"
        )

    def test_never_applied(self, sky: Any) -> None:
        assert message("corrected", {"path": str(sky[0]), "fields": [2]}).startswith(
            f"expected the column CORRECTED_DATA in {sky[0]}, found ANTENNA1"
        )

    @pytest.mark.parametrize("which", [0, -1])
    def test_nan(
        self, two_windows: Path, casa: Casa, monkeypatch: pytest.MonkeyPatch, which: int
    ) -> None:
        monkeypatch.setattr(checks_visibilities, "_TELL_APART", 1)  # the last row does not tell
        self.solve(casa, "0,1")
        with open_table(two_windows) as table:
            row = int(np.flatnonzero(table.getcol("FIELD_ID") == 2)[which])
            part = int(table.getcell("DATA_DESC_ID", row))
        change(two_windows, "CORRECTED_DATA", [row], np.nan)
        assert message("corrected", {"path": "two.ms", "fields": [2]}) == (
            f"expected finite CORRECTED_DATA of field 2 in two.ms, found NaN or infinity in spw "
            f"{part}, unflagged: a solution or a datum is not finite"
        )


class TestFlagCommands:
    def flag(self, vis: Path, casa: Casa, *commands: str) -> Any:
        self.params = {"mode": "list", "inpfile": list(commands), "flagbackup": False}
        return casa("flagdata", vis=str(vis), **self.params)

    def test_good(self, own_sky: Path, casa: Casa) -> None:
        result = self.flag(own_sky, casa, "mode='manual' antenna='ea03'", "mode='clip'")
        assert run("flag_commands", {"n": 2}, result, self.params) == {"n_commands": 2}

    @pytest.mark.parametrize(
        ("command", "reason"),
        [
            ("antenna='ea99'", 'Antenna Expression: No match found for token(s) "ea99"'),
            ("spw='7'", "No Spw ID(s) matched specifications (near char. 1 in string \"7\")"),
            ("field='zz'",
             'Field Expression: No match found for name "zz" (near char. 2 in string "zz")'),
            ("timerange='09:99:00~aa'",
             "MSSelection time error: Parse error at or near token 'a' (near char. 10 in string "
             '"09:99:00~aa")'),
        ],
    )  # fmt: skip
    def test_bad_line(self, own_sky: Path, casa: Casa, command: str, reason: str) -> None:
        bad = f"mode='manual' {command}"
        result = self.flag(own_sky, casa, "mode='manual' antenna='ea03'", bad)
        assert result[0] == {}
        assert message("flag_commands", {"n": 2}, result, self.params) == (
            f"expected all 2 flag commands to take effect, but CASA skipped `{bad}`: {reason}"
        )

    def test_no_valid_line(self, own_sky: Path, casa: Casa) -> None:
        error, findings = self.flag(
            own_sky, casa, "mode='manual' antenna='ea98'", "mode='manual' antenna='ea99'"
        )
        explained = checks.explain(error, "flagdata", self.params, findings)
        assert explained is not None
        assert explained.message == (
            "CASA could take none of the flag commands: `mode='manual' antenna='ea98'`: Antenna "
            "Expression: No match found for token(s) \"ea98\"; `mode='manual' antenna='ea99'`: "
            'Antenna Expression: No match found for token(s) "ea99"'
        )

    def test_line_that_selects_nothing(self, own_sky: Path, casa: Casa) -> None:
        error, findings = self.flag(own_sky, casa, "mode='manual' antenna='ea99'")
        explained = checks.explain(error, "flagdata", self.params, findings)
        assert explained is not None
        assert explained.message.startswith("none of the flag commands selects any data")


class TestImage:
    def given(self, **more: Any) -> dict[str, Any]:
        return {"prefix": "i", "suffix": "", "cleaned": True, "specmode": "mfs", **more}

    def test_good(self, sky: Any, casa: Casa) -> None:
        result = casa(
            "tclean", vis=str(sky[0]), imagename="i", niter=200, threshold="20mJy", **DIRTY
        )
        found = run("image", self.given(), result)
        assert found["stop_reason"] == "threshold reached"
        assert found["warnings"] == []
        assert found["peak"] == pytest.approx(0.8, rel=0.05)
        assert found["residual_peak"] < 0.025
        assert 30 < found["bmin_arcsec"] < found["bmaj_arcsec"] < 120
        assert found["iterations"] > 10

    def test_iteration_limit_is_a_warning(self, sky: Any, casa: Casa) -> None:
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=3, **DIRTY)
        [warning] = run("image", self.given(), result)["warnings"]
        assert warning.startswith("clean of i stopped at its iteration limit, with a peak residual")

    def test_dirty(self, sky: Any, casa: Casa) -> None:
        casa("tclean", vis=str(sky[0]), imagename="i", niter=0, restoration=False, **DIRTY)
        found = run("dirty", {"prefix": "i", "suffix": ""})
        assert found["peak"] == pytest.approx(0.8, rel=0.1)

    def test_taylor_terms(self, sky: Any, casa: Casa) -> None:
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=50, deconvolver="mtmfs",
                      threshold="20mJy", **DIRTY)  # fmt: skip
        assert run("image", self.given(suffix=".tt0"), result)["peak"] > 0.7

    def test_all_flagged(self, own_sky: Path, casa: Casa) -> None:
        flag_all(own_sky)
        result = casa("tclean", vis=str(own_sky), imagename="i", niter=10, **DIRTY)
        assert message("image", self.given(), result) == (
            "expected a PSF in i.psf, found a blank one: all selected data are flagged"
        )

    def test_nan_in_the_data(self, own_sky: Path, casa: Casa) -> None:
        with open_table(own_sky) as table:
            row = int(np.flatnonzero(table.getcol("FIELD_ID") == 2)[0])
        change(own_sky, "DATA", [row], np.nan)
        casa("tclean", vis=str(own_sky), imagename="i", niter=0, restoration=False, **DIRTY)
        assert re.fullmatch(
            r"expected finite pixels in i\.residual, found 92\d\d that are NaN or infinite: a "
            "visibility or weight is",
            message("dirty", {"prefix": "i", "suffix": ""}),
        )

    @pytest.mark.parametrize("mask", ["none-there.crtf", "circle[[60deg, 60deg], 5arcsec]"])
    def test_empty_mask(self, sky: Any, casa: Casa, mask: str) -> None:
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=50, mask=mask, **DIRTY)
        assert message("image", self.given(), result).startswith(
            "expected clean components in i.model, found none: the mask is empty, and the peak of "
            "the dirty image is 0."
        )

    def test_automask_that_finds_nothing(self, sky: Any, casa: Casa) -> None:
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=50,
                      usemask="auto-multithresh", minbeamfrac=1e3, **DIRTY)  # fmt: skip
        text = message("image", self.given(), result)
        assert "found none: the mask is empty" in text

    def test_nothing_above_the_threshold(self, sky: Any, casa: Casa) -> None:
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=50, threshold="2Jy", **DIRTY)
        found = run("image", self.given(), result)
        [warning] = found["warnings"]
        assert warning.startswith("nothing to clean in i: the peak of the dirty image, 0.")
        assert warning.endswith(" Jy/beam, is below the threshold (2 Jy)")

    def test_divergence(self, sky: Any, casa: Casa) -> None:
        casa("tclean", vis=str(sky[0]), imagename="i.dirty", niter=0, **DIRTY)
        result = casa("tclean", vis=str(sky[0]), imagename="i", niter=400, gain=2.2,
                      cycleniter=40, nmajor=8, **DIRTY)  # fmt: skip
        params = {"dirty": "i.dirty", "tclean": {}}
        text = message("image", self.given(), result, params)
        assert text.endswith("it diverged")

    def test_cube_with_a_blank_channel(self, own_sky: Path, casa: Casa) -> None:
        casa("flagdata", vis=str(own_sky), spw="0:3")
        # In LSRK, which moves, the first channel begins where the data of one integration do, and
        # holds them or none: the last digit decides, and with it which time this process has
        # converted before (casacore keeps UT1-UTC, and more, of that for an hour of data).
        cube = {"specmode": "cube", "outframe": "TOPO", **DIRTY}
        result = casa("tclean", vis=str(own_sky), imagename="i", niter=20, **cube)
        found = run("image", self.given(specmode="cube"), result)
        assert found["blank_channels"] == [3]
        assert (
            found["warnings"][0]
            == "1 of 4 channels of i.image have no unflagged data and are blank: 3"
        )
        assert found["bmaj_arcsec"] > 30

    def test_no_image(self, tmp_path: Path) -> None:
        assert message("image", self.given(prefix=f"{tmp_path}/x")) == (
            f"expected the image {tmp_path}/x.psf, found none"
        )


class TestImageTable:
    def test_good_and_blank(self, sky: Any, casa: Casa) -> None:
        casa("tclean", vis=str(sky[0]), imagename="i", niter=0, **DIRTY)
        casa("immath", imagename="i.image", outfile="nan", expr="IM0/(IM0-IM0)")
        casa("immath", imagename="i.image", outfile="zero", expr="IM0*0")
        assert run("image_table", {"path": "i.image"})["shape"] == [96, 96, 1, 1]
        for name in ("nan", "zero"):
            assert message("image_table", {"path": name}) == (
                f"expected pixels in {name}, found none that is finite, unmasked and not 0: the "
                "image that it comes from is blank, or all was excluded"
            )

    def test_damaged(self, sky: Any, casa: Casa, tmp_path: Path) -> None:
        casa("tclean", vis=str(sky[0]), imagename="i", niter=0, **DIRTY)
        shutil.copytree("i.image", "broken")
        (tmp_path / "broken" / "table.f0").unlink()
        assert message("image_table", {"path": "broken"}).startswith(
            "expected to read the image broken, but CASA failed: "
        )


def test_good_steps_log_nothing(own_sky: Path, casa: Casa) -> None:
    vis = str(own_sky)
    steps = [
        ("flagdata", {"vis": vis, "autocorr": True}),
        ("setjy", {"vis": vis, "field": "0", "usescratch": True}),
        ("bandpass", {"vis": vis, "caltable": "b", "field": "0", "refant": "ea01"}),
        ("gaincal", {"vis": vis, "caltable": "g", "field": "0,1", "gaintable": ["b"],
                     "refant": "ea01", "solint": "inf"}),
        ("fluxscale", {"vis": vis, "caltable": "g", "fluxtable": "f", "reference": "0"}),
        ("applycal", {"vis": vis, "gaintable": ["f", "b"]}),
        ("split", {"vis": vis, "outputvis": "t.ms", "field": "2"}),
        ("uvcontsub", {"vis": "t.ms", "outputvis": "l.ms", "fitspec": "0:0~1"}),
        ("tclean", {"vis": "t.ms", "imagename": "d", "niter": 0, "imsize": 64, "cell": "20arcsec"}),
        ("impbcor", {"imagename": "d.image", "pbimage": "d.pb", "outfile": "p"}),
        ("exportfits", {"imagename": "d.image", "fitsimage": "d.fits"}),
    ]  # fmt: skip
    for name, params in steps:
        outcome, findings = casa(name, **params)
        assert not isinstance(outcome, Exception), f"{name}: {outcome}"
        assert findings == LogFindings(), name
    assert run("fits", {"path": "d.fits"})["finite_fraction"] > 0.5
