"""An imager that stays open makes what calls of tclean make, to the bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import channel_range, image_file, invoke
from casarun.casa.selfcal_image import write_mask
from casarun.casa.standing_imager import StandingImager
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
