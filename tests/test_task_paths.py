"""What tasks touch, derived from their parameters."""

from __future__ import annotations

import pytest
from casarun.casa.task_paths import derive_paths, roles

PATHS = [
    ("gaincal", {"vis": "a.ms", "caltable": "g", "gaintable": ["b", "k"], "field": "0"},
     ("a.ms", "b", "k"), ("g",), ()),
    ("gaincal", {"vis": "a.ms", "caltable": "g", "append": True}, ("a.ms",), (), ("g",)),
    ("fluxscale", {"vis": "a.ms", "caltable": "g", "fluxtable": "f"}, ("a.ms", "g"), ("f",), ()),
    ("applycal", {"vis": "a.ms", "gaintable": ["g"]}, ("g",), (), ("a.ms",)),
    ("flagdata", {"vis": "a.ms", "mode": "manual"}, (), (), ("a.ms",)),
    ("flagdata", {"vis": "a.ms", "mode": "summary"}, ("a.ms",), (), ()),
    ("flagdata", {"vis": "a.ms", "mode": "list", "inpfile": ["antenna='3.5'"]}, (), (), ("a.ms",)),
    ("flagdata", {"vis": "a.ms", "mode": "list", "inpfile": "cmds.txt"}, ("cmds.txt",), (),
     ("a.ms",)),
    ("statwt", {"vis": "a.ms"}, (), (), ("a.ms",)),
    ("statwt", {"vis": "a.ms", "preview": True}, ("a.ms",), (), ()),
    ("setjy", {"vis": "a.ms", "model": "3C286_L.im"}, (), (), ("a.ms",)),
    ("fixvis", {"vis": "a.ms"}, (), (), ("a.ms",)),
    ("fixvis", {"vis": "a.ms", "outputvis": "b.ms"}, ("a.ms",), ("b.ms",), ()),
    ("split", {"vis": "a.ms", "outputvis": "b.ms"}, ("a.ms",), ("b.ms",), ()),
    ("concat", {"vis": ["a.ms", "b.ms"], "concatvis": "c.ms"}, ("a.ms", "b.ms"), ("c.ms",), ()),
    ("importuvfits", {"fitsfile": "a.fits", "vis": "a.ms"}, ("a.fits",), ("a.ms",), ()),
    ("importasdm", {"asdm": "x", "vis": "a.ms"}, ("x",), ("a.ms",), ()),
    ("exportfits", {"imagename": "i", "fitsimage": "i.fits"}, ("i",), ("i.fits",), ()),
    ("impbcor", {"imagename": "i", "pbimage": "i.pb", "outfile": "o"}, ("i", "i.pb"), ("o",), ()),
    ("immath", {"imagename": ["i", "j"], "outfile": "o", "expr": "IM0"}, ("i", "j"), ("o",), ()),
    ("immoments", {"imagename": "i", "moments": [0, 1], "outfile": "m"},
     ("i",), ("m.integrated", "m.weighted_coord"), ()),
    ("immoments", {"imagename": "i", "moments": [0], "outfile": "m"}, ("i",), ("m",), ()),
    ("imstat", {"imagename": "i", "logfile": "s.txt"}, ("i",), ("s.txt",), ()),
    ("imsmooth", {"imagename": "i", "mask": "m.im", "outfile": "o"}, ("i", "m.im"), ("o",), ()),
    ("imsmooth", {"imagename": "i", "mask": "'m.im'>0.5", "outfile": "o"}, ("i", "m.im"), ("o",),
     ()),
    ("imstat", {"imagename": "i", "mask": "mask('m.im:mask0')"}, ("i", "m.im"), (), ()),
    ("imstat", {"imagename": "i", "region": "arm.crtf"}, ("i", "arm.crtf"), (), ()),
    ("imstat", {"imagename": "i", "region": "circle[[1pix,2pix],3.5pix]"}, ("i",), (), ()),
    ("immath", {"expr": "'a.im' / 'b.im'", "outfile": "o"}, ("a.im", "b.im"), ("o",), ()),
    ("imregrid", {"imagename": "i", "template": "t", "output": "o"}, ("i",), ("o",), ()),
    ("imregrid", {"imagename": "i", "template": "images/t", "output": "o"}, ("i", "images/t"),
     ("o",), ()),
    ("phaseshift", {"vis": "a.ms", "outputvis": "b.ms"}, ("a.ms",), ("b.ms",), ()),
    ("mstransform", {"vis": "a.ms", "outputvis": "b.ms"}, ("a.ms",), ("b.ms",), ()),
    ("exportuvfits", {"vis": "a.ms", "fitsfile": "a.uvf"}, ("a.ms",), ("a.uvf",), ()),
    ("gencal", {"vis": "a.ms", "caltable": "c"}, ("a.ms",), ("c",), ()),
    ("polcal", {"vis": "a.ms", "caltable": "d", "gaintable": ["b"]}, ("a.ms", "b"), ("d",), ()),
    ("imfit", {"imagename": "i", "model": "m", "logfile": "l", "newestimates": "e"}, ("i",),
     ("m", "l", "e"), ()),
    ("specfit", {"imagename": "i", "residual": "r"}, ("i",), ("r",), ()),
    ("specsmooth", {"imagename": "i", "outfile": "o"}, ("i",), ("o",), ()),
    ("plotants", {"vis": "a.ms", "figfile": "a.png"}, ("a.ms",), ("a.png",), ()),
    ("plotbandpass", {"caltable": "b", "figfile": "b.png"}, ("b",), ("b.png",), ()),
    ("uvsub", {"vis": "a.ms"}, (), (), ("a.ms",)),
    ("imhead", {"imagename": "i", "mode": "put"}, (), (), ("i",)),
    ("imhead", {"imagename": "i", "mode": "list"}, ("i",), (), ()),
    ("tclean", {"vis": "a.ms", "imagename": "i", "niter": 5, "mask": "circle[[1pix,2pix],3pix]"},
     ("a.ms",),
     ("i.residual", "i.model", "i.pb", "i.psf", "i.sumwt", "i.image", "i.mask"), ()),
    ("tclean", {"vis": "a.ms", "imagename": "i", "mask": "m.crtf", "savemodel": "modelcolumn"},
     ("m.crtf",), ("i.residual", "i.model", "i.pb", "i.psf", "i.sumwt", "i.image"), ("a.ms",)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params", "reads", "writes", "updates"), PATHS)
def test_paths_follow_from_the_parameters(
    name: str,
    params: dict[str, object],
    reads: tuple[str, ...],
    writes: tuple[str, ...],
    updates: tuple[str, ...],
) -> None:
    assert derive_paths(name, params) == (reads, writes, updates)


def test_taylor_terms_are_in_the_family() -> None:
    _, writes, _ = derive_paths(
        "tclean", {"vis": "a.ms", "imagename": "i", "deconvolver": "mtmfs", "gridder": "mosaic"}
    )
    assert {
        "i.image.tt0",
        "i.image.tt1",
        "i.psf.tt2",
        "i.weight.tt0",
        "i.alpha",
        "i.pb.tt0",
    } <= set(writes)
    assert "i.image" not in writes
    assert "i.psf.tt3" not in writes


def test_roles_of_parameters() -> None:
    assert roles("statwt") == {"vis": "updates"}
    assert roles("phaseshift") == {"vis": "reads", "outputvis": "writes"}
    assert roles("flagdata")["vis"] == "updates"
    assert roles("imsmooth")["imagename"] == "reads"


@pytest.mark.casa
@pytest.mark.parametrize("more", [
    {"niter": 0},
    {"niter": 5, "pbcor": True},
    {"niter": 5, "deconvolver": "mtmfs", "pbcor": True},
])  # fmt: skip
def test_tclean_makes_the_derived_family(sky, casa, tmp_path, more) -> None:  # type: ignore[no-untyped-def]
    params = {"vis": str(sky[0]), "field": "2", "datacolumn": "data", "imagename": "i",
              "imsize": 64, "cell": "20arcsec", **more}  # fmt: skip
    casa("tclean", **params)
    _, writes, _ = derive_paths("tclean", params)
    assert [path for path in writes if not (tmp_path / path).is_dir()] == []
