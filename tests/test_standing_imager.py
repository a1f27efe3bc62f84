"""An imager that stays open makes what calls of tclean make, to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import channel_range, image_file, invoke
from casarun.casa.image_copies import WEIGHTS, copy_images
from casarun.casa.selfcal_image import write_mask
from casarun.casa.standing_imager import CLOSE, StandingImager, predict
from casarun.casa.tables import open_table
from support import selfcal_skies as skies

pytestmark = pytest.mark.casa

TCLEAN = {
    "vis": ["sky.ms"], "datacolumn": "data", "imsize": [128, 128], "cell": "8arcsec",
    "specmode": "mfs", "gridder": "standard", "weighting": "briggs", "robust": 0.5,
    "deconvolver": "hogbom", "savemodel": "none",
}  # fmt: skip


def masked(name: str, half: int) -> str:
    """Write a square mask about the centre, in place of the one before."""
    from casarun.files import remove_tree

    wanted = np.zeros((128, 128), bool)
    wanted[64 - half : 64 + half, 64 - half : 64 + half] = True
    write_mask(f"{name}.residual", wanted, f"{name}.region")
    remove_tree(Path(f"{name}.mask"))
    return f"{name}.region"


def pixels(path: str) -> Any:
    with image_file.ImageFile(path) as image:
        return image.plane(0)[0].copy()


@pytest.mark.parametrize(
    "more", [{}, {"gridder": "wproject", "wprojplanes": 4}, {"psfphasecenter": "J2000 5h 45d"}]
)
def test_two_cleans_in_different_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    skies.build(Path("sky.ms"), replace(skies.SMALL, integrations=5))
    given = TCLEAN | more
    steps = [("0.08Jy", 4, 100), ("0.02Jy", 12, 60)]
    invoke.task("tclean", {**given, "imagename": "one", "niter": 0, "restoration": False})
    told = []
    for threshold, half, niter in steps:
        found = invoke.task("tclean", {
            **given, "imagename": "one", "calcpsf": False, "calcres": False, "usemask": "user",
            "mask": masked("one", half), "threshold": threshold, "niter": niter,
        })  # fmt: skip
        told.append((found["iterdone"], found["stopcode"]))
    with StandingImager({**given, "imagename": "two"}) as imager:
        imager.dirty()
        for at, (threshold, half, niter) in enumerate(steps):
            wanted = {"threshold": threshold, "niter": niter, "usemask": "user"}
            ended = imager.clean({**wanted, "mask": masked("two", half)})
            assert (ended.iterations, ended.stopcode) == told[at]
            assert told[at][0] > 0
    channel_range.restore({**given, "imagename": "two"})
    for kind in ("psf", "pb", "residual", "model", "mask", "image"):
        np.testing.assert_array_equal(pixels(f"one.{kind}"), pixels(f"two.{kind}"))


@pytest.fixture
def sky(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> skies.SelfcalSky:
    monkeypatch.chdir(tmp_path)
    made = replace(skies.SMALL, integrations=5).without_errors()
    skies.build(Path("sky.ms"), made)
    return made


def square(name: str) -> None:
    wanted = np.zeros((128, 128), bool)
    wanted[56:72, 56:72] = True
    write_mask(f"{name}.residual", wanted, f"{name}.mask")


def test_weights_are_taken_from_images_of_the_same_data(sky: skies.SelfcalSky) -> None:
    for name, like in (("one", ""), ("two", "one")):
        with StandingImager({**TCLEAN, "imagename": name}) as imager:
            imager.dirty(like)
    for kind in ("psf", "pb", "sumwt", "residual"):
        np.testing.assert_array_equal(pixels(f"one.{kind}"), pixels(f"two.{kind}"))


def test_down_goes_to_the_threshold_or_the_limit(sky: skies.SelfcalSky) -> None:
    with StandingImager({**TCLEAN, "imagename": "one"}) as imager:
        imager.dirty()
        square("one")
        first = imager.down(0.02, 3)
        assert (first.iterations, first.stopcode) == (3, 1)
        second = imager.down(0.02, 1000)
        assert second.stopcode == 2
    assert np.abs(pixels("one.residual")[56:72, 56:72]).max() <= CLOSE * 0.02


def test_a_model_is_predicted_as_tclean_does(sky: skies.SelfcalSky) -> None:
    invoke.task("tclean", {**TCLEAN, "imagename": "one", "niter": 20, "threshold": "0.02Jy"})
    again = {"niter": 0, "calcres": False, "calcpsf": False, "restoration": False}
    invoke.task("tclean", {**TCLEAN, **again, "imagename": "one", "savemodel": "modelcolumn"})
    with open_table("sky.ms", change=True) as table:
        wanted = table.getcol("MODEL_DATA")
        table.putcol("MODEL_DATA", np.zeros_like(wanted))
    copy_images("one", "two", {**WEIGHTS, "model": "model"})
    predict({**TCLEAN, "imagename": "two"})
    with open_table("sky.ms") as table:
        np.testing.assert_array_equal(table.getcol("MODEL_DATA"), wanted)
    assert np.abs(wanted).mean() > 0.1
