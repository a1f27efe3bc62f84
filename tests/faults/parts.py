"""Parts that the recipes and the plain calls of the faults are made of."""

from __future__ import annotations

from typing import Any

from .fault import Plain, call, plain


def data(name: str, more: str = "") -> str:
    """Return the table of a shared dataset."""
    return f'[[dataset]]\nvis = "{{shared}}/{name}.ms"\n{more}'


GOOD = data("good")
MAP = '[[image]]\nname = "map"\n'
NGC5921 = (
    '[[dataset]]\nvis = "casadata:demo/NGC5921.fits"\n[calibrators]\nflux = "1331*"\n'
    'bandpass = "1331*"\nphase = "1445*"\n[targets]\nfields = ["N5921*"]\n'
)
DIRTY: dict[str, Any] = {
    "vis": "{vis}", "imagename": "map", "field": "2", "datacolumn": "data", "specmode": "mfs",
    "imsize": 64, "cell": "10arcsec", "niter": 0,
}  # fmt: skip


def tclean(vis_of: str = "good", **params: Any) -> Plain:
    """Return a small image of the target with the parameters that are wrong."""
    return plain(call("tclean", **DIRTY | params), vis=vis_of)
