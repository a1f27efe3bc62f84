"""Self-calibration in a CASA script: rectangles of masks, and the functions beside CASA's tasks."""

from __future__ import annotations

import glob
import os
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import model_image, selfcal_image
from casarun.casa.config import configure
from casarun.casa.mask_image import rectangles
from casarun.engine.results import SKIPPED
from casarun.errors import DataError
from casarun.plan import Step
from casarun.share.script_steps import Steps


def filled(found: list[tuple[int, int, int, int]], shape: tuple[int, int]) -> Any:
    mask = np.zeros(shape, int)
    for x_first, y_first, x_last, y_last in found:
        mask[y_first : y_last + 1, x_first : x_last + 1] += 1
    return mask


def test_rectangles_cover_a_mask_once() -> None:
    random = np.random.default_rng(1)
    for chance in (0.0, 0.1, 0.5, 0.9, 1.0):
        mask = random.random((17, 23)) < chance
        assert np.array_equal(filled(rectangles(mask), mask.shape), mask.astype(int))
    block = np.zeros((9, 9), bool)
    block[2:5, 3:8] = True
    assert rectangles(block) == [(3, 2, 7, 4)]
    assert rectangles(np.ones((4, 6), bool)) == [(0, 0, 5, 3)]


def lines(action: str, params: dict[str, Any], result: dict[str, Any], *, known: bool = True
          ) -> list[str]:  # fmt: skip
    steps = Steps({}, {"s": {"outcome": result}} if result else {}, known=known)
    return steps.of(Step("s", "selfcal", "", action, params))


def test_a_mask_is_drawn_where_it_changes() -> None:
    params = {"prefix": "images/selfcal/t.0", "tclean": {}}
    cleans = [
        {"mask": [[1, 2, 3, 4]], "cycles": [[1.0, 9], None]},
        {"mask": [[1, 2, 3, 4]], "cycles": [[0.1, 5]]},
        {"mask": [[1, 2, 6, 4]], "cycles": [], "tclean": {"niter": 5, "threshold": "0.1Jy"}},
    ]
    how = {"tclean": {"imagename": "images/selfcal/t.0", "cell": "1arcsec"}, "cleans": cleans}
    going_on = "calcpsf=False, calcres=False"
    assert lines("selfcal.image", params, {"how": how}) == [
        'SELFCAL_T_0 = dict(imagename="images/selfcal/t.0", cell="1arcsec")',
        "tclean(**dict(SELFCAL_T_0, niter=0, restoration=False))",
        'keep_dirty("images/selfcal/t.0")',
        'write_mask("images/selfcal/t.0", "", [1, 2, 3, 4])',
        "clean_in_cycles(SELFCAL_T_0, (1.0, 9), None)",
        "clean_in_cycles(SELFCAL_T_0, (0.1, 5))",
        'write_mask("images/selfcal/t.0", "", [1, 2, 6, 4])',
        'tclean(**dict(',
        f'    SELFCAL_T_0, niter=5, threshold="0.1Jy", usemask="user", {going_on},',
        "    restoration=False,",
        "))",
        f"tclean(**dict(SELFCAL_T_0, niter=0, {going_on}))",
    ]  # fmt: skip


def test_what_did_not_take_place_is_not_there() -> None:
    assert lines("selfcal.solve", {}, {SKIPPED: "nothing to gain", "_absent": []}) == []
    assert lines("selfcal.judge", {}, {SKIPPED: "nothing to gain", "_absent": []}) == []


def test_what_is_not_known_is_said() -> None:
    assert lines("selfcal.apply", {}, {}, known=False) == [
        "# Known at run time: which tables are applied."
    ]
    assert lines("selfcal.finish", {}, {}, known=False) == [
        'known_at_run_time("the rounds, and the tables of those that are accepted")'
    ]
    # As in the folder of a run that an earlier version did.
    assert lines("selfcal.image", {}, {"rms_noise_jy_per_beam": 1.0}) == [
        "# NOT REPEATED: s: no record says how it was done"
    ]


CODE = "__import__('os').system('touch owned')"


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        ("selfcal.apply", {"called": [[CODE, {}]]}),
        ("selfcal.image", {"how": {"tclean": {}, "cleans": [
            {"mask": [], "tclean": {f"x={CODE}, y": 1}}]}}),
    ],
)  # fmt: skip
def test_a_record_that_was_edited_becomes_no_code(action: str, outcome: dict[str, Any]) -> None:
    params = {"prefix": "images/selfcal/t.0", "tclean": {}}
    with pytest.raises(DataError, match="was edited"):
        lines(action, params, outcome)


# -- what the functions of a script do, beside what a run does


def functions() -> dict[str, Any]:
    configure()
    from casatools import image, table

    found: dict[str, Any] = {"glob": glob, "np": np, "os": os, "shutil": shutil}
    text = resources.files("casarun") / "templates" / "casa_script_selfcal.txt"
    found |= {"image": image, "table": table}
    exec(text.read_text("utf-8"), found)
    return found


def write(path: str, pixels: Any) -> None:
    configure()
    from casatools import image

    tool = image()
    tool.fromarray(path, pixels[:, :, None, None])
    tool.done()


def pixels(path: str) -> Any:
    configure()
    from casatools import image

    tool = image()
    tool.open(path)
    found = tool.getchunk()
    tool.done()
    return found


@pytest.mark.casa
@pytest.mark.parametrize("terms", [1, 2])
def test_the_same_components_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terms: int
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(2)
    mask = np.zeros((24, 20))
    mask[3:9, 4:12], mask[15:20, 5:9] = 1, 1
    model = mask * (random.random(mask.shape) < 0.3) * random.random(mask.shape) * 0.04
    model[5, 6] = 5.0  # of its island the rest may be artefacts; the other is as faint as they
    ends = [f".tt{n}" for n in range(terms)] if terms > 1 else [""]
    write("a.mask", mask)
    write(f"a.residual{ends[0]}", random.normal(0, 0.005, mask.shape))
    write(f"a.image{ends[0]}", model)
    for number, end in enumerate(ends):
        write(f"a.model{end}", model * 0.7**number)
    for path in Path().glob("a.*"):
        shutil.copytree(path, f"b{path.name[1:]}")
    left = model_image.leave_out_faint("b")
    assert left is not None
    known = functions()
    exec('copy_model("a", "c", end, below, *islands)',
         known | {"end": ends[0], "below": left.below_jy, "islands": left.islands})  # fmt: skip
    for end in ends:
        assert np.array_equal(pixels(f"b.model{end}"), pixels(f"c.model{end}"))
    gone = (model != 0) & (pixels(f"c.model{ends[0]}")[:, :, 0, 0] == 0)
    assert gone[3:9, 4:12].any()
    assert not gone[15:20].any()


@pytest.mark.casa
def test_the_same_mask_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("a.residual", np.zeros((24, 20)))
    mask = np.random.default_rng(3).random((20, 24)) < 0.4
    selfcal_image.write_mask("a.residual", mask, "wanted")
    exec('write_mask("a", "", *drawn)', functions() | {"drawn": rectangles(mask)})
    assert np.array_equal(pixels("a.mask"), pixels("wanted"))
    assert np.array_equal(pixels("wanted")[:, :, 0, 0].T, mask)
