"""Post-conditions on what tasks returned and logged, without CASA."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from astropy.io import fits
from casarun.casa import checks
from casarun.casa.checks_evidence import Evidence
from casarun.casa.checks_images import STOP_CODES, _empty_model
from casarun.casa.logscan import LogFindings
from casarun.errors import Cause, StepFailedError, listing
from casarun.plan import Check


def fails(name: str, given: dict[str, Any], **evidence: Any) -> StepFailedError:
    """Return the error of a check that must fail."""
    with pytest.raises(StepFailedError) as caught:
        checks.run(
            Check(name, given),
            evidence.get("params", {}),
            evidence.get("outcome", {}),
            evidence.get("findings"),
        )
    assert caught.value.cause is Cause.POSTCONDITION
    assert caught.value.advice
    return caught.value


def test_a_check_must_exist() -> None:
    with pytest.raises(StepFailedError) as caught:
        checks.run(Check("nonsense"), {}, {})
    assert caught.value.message == "no check is called 'nonsense'"


def test_exists(tmp_path: Path) -> None:
    assert checks.run(Check("exists", {"path": str(tmp_path)}), {}, {}) == {}
    error = fails("exists", {"path": "gone"}, findings=LogFindings(("No space left",), ("hm",)))
    assert error.message == (
        "expected the product gone, found nothing there: the task returned without making it "
        "(CASA said: No space left)"
    )


class TestSetjy:
    given: ClassVar[dict[str, Any]] = {"fields": ["0"]}

    def test_gives_the_flux_densities(self) -> None:
        outcome = {"0": {"0": {"fluxd": [15.0, 0, 0, 0]}, "fieldName": "3C286"}, "format": "x"}
        assert checks.run(Check("setjy", self.given), {}, outcome) == {
            "flux_jy": {"0": {"0": 15.0}}
        }

    def test_field_without_model(self) -> None:
        error = fails("setjy", self.given, outcome={"format": "x"})
        assert error.message == (
            "expected a flux density of field 0 from setjy, found none: the field does not exist "
            "or the standard 'Perley-Butler 2017' does not know it"
        )

    def test_fallback_of_1_jy(self) -> None:
        outcome = {"0": {"0": {"fluxd": [1.0, 0, 0, 0]}, "fieldName": "1445+099"}}
        error = fails("setjy", self.given, outcome=outcome, params={"standard": "Perley 90"})
        assert error.message == (
            "expected a flux density of field 0 (1445+099) from the standard 'Perley 90', found "
            "setjy's fallback of 1 Jy: the standard does not know this field"
        )
        assert "calibrators.flux.fluxdensity" in error.advice

    def test_fallback_in_one_window(self) -> None:
        outcome = {"0": {"0": {"fluxd": [15.0, 0, 0, 0]}, "1": {"fluxd": [1.0, 0, 0, 0]}}}
        assert "setjy's fallback of 1 Jy" in fails("setjy", self.given, outcome=outcome).message

    def test_1_jy_may_be_asked_for(self) -> None:
        outcome = {"0": {"0": {"fluxd": [1.0, 0, 0, 0]}}}
        found = checks.run(Check("setjy", self.given), {"standard": "manual"}, outcome)
        assert found == {"flux_jy": {"0": {"0": 1.0}}}

    @pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
    def test_flux_densities_are_positive_numbers(self, value: float) -> None:
        outcome = {"0": {"3": {"fluxd": [value, 0, 0, 0]}}}
        assert f"found {value:g} Jy in spw 3" in fails("setjy", self.given, outcome=outcome).message


class TestFluxscale:
    given: ClassVar[dict[str, Any]] = {"fields": ["1"]}

    def outcome(self, **spws: tuple[float, float]) -> dict[str, Any]:
        entry: dict[str, Any] = {"fieldName": "1445+099", "fitFluxd": 2.5}
        for spw, (flux, error) in spws.items():
            entry[spw[1:]] = {"fluxd": [flux, 0, 0, 0], "fluxdErr": [error, 0, 0, 0]}
        return {"1": entry, "freq": [1.4e9], "spwID": [0], "spwName": ["none"]}

    def test_windows_without_solutions_are_named(self) -> None:
        outcome = self.outcome(s0=(2.48, 0.01), s1=(-1, -1))
        assert checks.run(Check("fluxscale", self.given), {}, outcome) == {
            "flux_jy": {"1": {"0": 2.48}},
            "error_jy": {"1": {"0": 0.01}},
            "warnings": ["fluxscale: field 1 has no solutions in spw 1"],
        }

    def test_field_by_name(self) -> None:
        found = checks.run(
            Check("fluxscale", {"fields": ["1445+099"]}), {}, self.outcome(s0=(2.5, 0.1))
        )
        assert found["flux_jy"] == {"1445+099": {"0": 2.5}}

    @pytest.mark.parametrize("outcome", [{}, {"1": {"0": {"fluxd": [-1.0]}}}])
    def test_no_flux_at_all(self, outcome: dict[str, Any]) -> None:
        assert fails("fluxscale", self.given, outcome=outcome).message == (
            "expected a flux density of field 1 from fluxscale, found none in any spw: its "
            "amplitude solutions are missing or flagged"
        )

    def test_exactly_1_jy_without_error(self) -> None:
        assert fails("fluxscale", self.given, outcome=self.outcome(s0=(1.0, 0.0))).message == (
            "expected a measured flux density of field 1, found exactly 1 Jy without an error: the "
            "table that fluxscale was given has no amplitudes"
        )

    def test_1_jy_with_an_error_is_a_measurement(self) -> None:
        outcome = self.outcome(s0=(1.0, 0.02))
        assert "warnings" not in checks.run(Check("fluxscale", self.given), {}, outcome)

    @pytest.mark.parametrize("value", [2e-4, 3e5])
    def test_absurd_ratio(self, value: float) -> None:
        error = fails(
            "fluxscale", self.given, outcome=self.outcome(s0=(2.5, 0.1), s1=(value, 1e-6))
        )
        assert error.message == (
            "expected a calibrator's flux density of field 1, between 1 mJy and 10 kJy, found "
            f"{value:.3g} Jy in spw 1: the ratio of its amplitude solutions to those of the flux "
            "calibrator is absurd"
        )
        assert "calibrators.flux" in error.advice

    def test_drowned_in_its_error(self) -> None:
        assert fails("fluxscale", self.given, outcome=self.outcome(s0=(0.5, 0.7))).message == (
            "expected a flux density of field 1 above its error, found 0.5 +- 0.7 Jy in spw 0: its "
            "amplitude solutions scatter as much as they amount to"
        )

    def test_poor_and_odd_ones_are_warnings(self) -> None:
        outcome = self.outcome(s0=(2.5, 0.1), s1=(2.4, 0.6), s2=(7.2, 0.1), s3=(2.3, 0.1))
        assert checks.run(Check("fluxscale", self.given), {}, outcome)["warnings"] == [
            "fluxscale: the flux density of field 1 in spw 1 is uncertain: 2.4 +- 0.6 Jy",
            "fluxscale: field 1 has 7.2 Jy in spw 2, but 2.4 Jy in the windows beside it: look at "
            "the data of that window",
        ]

    def test_flux_must_be_positive(self) -> None:
        message = fails("fluxscale", self.given, outcome=self.outcome(s2=(math.nan, 0.1))).message
        assert message.startswith(
            "expected a positive flux density of field 1, found nan Jy in spw 2"
        )


class TestFlagCommands:
    params: ClassVar[dict[str, Any]] = {
        "mode": "list",
        "inpfile": ["mode='manual' antenna='ea99'", "mode='clip'"],
    }

    def test_all_taken(self) -> None:
        findings = LogFindings((), ("something else",))
        found = checks.run(Check("flag_commands", {"n": 2}), self.params, {}, findings)
        assert found == {"n_commands": 2}

    def test_a_skipped_command_is_named_with_casas_reason(self) -> None:
        reason = 'Antenna Expression: No match found for token(s) "ea99"'
        findings = LogFindings((), (f"Cannot create agent Manual_0: {reason}",))
        error = fails("flag_commands", {"n": 2}, params=self.params, findings=findings)
        assert error.message == (
            "expected all 2 flag commands to take effect, but CASA skipped "
            f"`mode='manual' antenna='ea99'`: {reason}"
        )
        assert error.advice.startswith("Correct flag.manual")

    def test_unknown_mode(self) -> None:
        params = {"inpfile": ["mode='manul' antenna='3'"]}
        findings = LogFindings((), ("Mode manul is not valid or doesn't exist",))
        assert fails("flag_commands", {"n": 1}, params=params, findings=findings).message == (
            "expected all 1 flag commands to take effect, but CASA skipped "
            "`mode='manul' antenna='3'`: Mode manul is not valid or doesn't exist"
        )

    def test_nreport_is_explained(self) -> None:
        findings = LogFindings((), ('Cannot create agent Manual_0: No match for "ea99"',))
        error = checks.explain(KeyError("nreport"), "flagdata", self.params, findings)
        assert error is not None
        assert error.cause is Cause.PARAMETER
        assert error.message == (
            "CASA could take none of the flag commands: `mode='manual' antenna='ea99'`: "
            'No match for "ea99"'
        )

    def test_other_errors_speak_for_themselves(self) -> None:
        assert checks.explain(KeyError("x"), "flagdata", self.params, LogFindings()) is None
        assert checks.explain(KeyError("nreport"), "split", {}, LogFindings()) is None


class TestFits:
    def test_good(self, tmp_path: Path) -> None:
        data = np.ones((2, 4, 4), "f4")
        data[0] = np.nan
        fits.writeto(tmp_path / "a.fits", data)
        found = checks.run(Check("fits", {"path": str(tmp_path / "a.fits")}), {}, {})
        assert found == {"shape": [2, 4, 4], "finite_fraction": 0.5}

    def test_blank(self, tmp_path: Path) -> None:
        path = tmp_path / "a.fits"
        fits.writeto(path, np.full((4, 4), np.nan, "f4"))
        assert fails("fits", {"path": str(path)}).message == (
            f"expected finite pixels in {path}, found none among 16: the image it comes from is "
            "blank"
        )

    def test_truncated(self, tmp_path: Path) -> None:
        path = tmp_path / "a.fits"
        fits.writeto(path, np.ones((400, 400), "f4"))
        path.write_bytes(path.read_bytes()[:6000])
        message = fails("fits", {"path": str(path)}).message
        assert message.startswith(f"expected a FITS image in {path}, but it cannot be read: ")

    def test_no_fits(self, tmp_path: Path) -> None:
        path = tmp_path / "a.fits"
        path.write_text("hello")
        message = fails("fits", {"path": str(path)}).message
        assert message.startswith(f"expected a FITS image in {path}, but it cannot be read: ")

    def test_no_image(self, tmp_path: Path) -> None:
        path = tmp_path / "a.fits"
        fits.PrimaryHDU().writeto(path)
        assert fails("fits", {"path": str(path)}).message == (
            f"expected an image in {path}, found no data in its first HDU"
        )


class TestEmptyModel:
    given: ClassVar[dict[str, Any]] = {"prefix": "i", "suffix": ""}

    def test_below_the_threshold_is_a_warning(self) -> None:
        evidence = Evidence({}, {"threshold": 0.002, "iterdone": 0})
        assert _empty_model(self.given, evidence, 3, 0.001) == (
            "nothing to clean in i: the peak of the dirty image, 0.001 Jy/beam, is below the "
            "threshold (0.002 Jy)"
        )

    @pytest.mark.parametrize("tclean", [{"threshold": "2mJy"}, {"threshold": 0.002}])
    def test_threshold_from_the_parameters(self, tclean: dict[str, Any]) -> None:
        evidence = Evidence({"tclean": tclean})
        assert "below the threshold (0.002 Jy)" in _empty_model(self.given, evidence, 3, 0.001)

    @pytest.mark.parametrize("code", [1, 3, 4, 9, 99])
    def test_above_the_threshold_fails(self, code: int) -> None:
        evidence = Evidence({}, {"threshold": 0.002, "iterdone": 0})
        with pytest.raises(StepFailedError) as caught:
            _empty_model(self.given, evidence, code, 0.5)
        assert caught.value.message == (
            "expected clean components in i.model, found none after 0 iterations (tclean stopped: "
            f"{STOP_CODES.get(code, code)}); the peak of the dirty image is 0.5 Jy/beam"
        )


def test_listing() -> None:
    assert listing(["1", "2"]) == "1, 2"
    assert listing(list("abcdefg"), 3) == "a, b, c and 4 more"
