"""The files that CASA's tables consist of: as many, in folders laid out alike, and small.

Counted in a run of ``recipes/ngc5921.toml`` with CASA 6.7.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

_TABLE: Final = ("table.dat", "table.info", "table.lock", "table.f0")
_INDIRECT: Final = (*_TABLE, "table.f0i")
_TILED: Final = (*_TABLE, "table.f0_TSM0")
_SUBTABLES: Final = {
    **dict.fromkeys(("ANTENNA", "DATA_DESCRIPTION", "FLAG_CMD", "HISTORY"), _TABLE),
    **dict.fromkeys(("OBSERVATION", "PROCESSOR", "STATE"), _TABLE),
    **dict.fromkeys(("FEED", "FIELD", "POLARIZATION", "SOURCE", "SPECTRAL_WINDOW"), _INDIRECT),
    "POINTING": (*_INDIRECT, "table.f1"),
}
_IMPORTED: Final = {
    "": (
        *(*_TABLE, *(f"table.f{n}" for n in range(1, 10))),
        *(f"table.f{n}_TSM1" for n in (2, 3, 5, 7, 8, 9)),
        "table.f6_TSM0",
    ),
    **_SUBTABLES,
}
_CALIBRATED: Final = {
    **_IMPORTED,
    "SOURCE/FT_MODEL30021_10": _TILED,
    "SOURCE/FT_MODEL30021_10/logtable": _TABLE,
}
_SPLIT: Final = {
    "": (
        *("table.dat", "table.info", "table.lock", *(f"table.f{n}" for n in range(1, 25))),
        *(f"table.f{n}_TSM1" for n in (17, 19, 20, 22, 23, 24)),
        "table.f21_TSM0",
    ),
    **_SUBTABLES,
}
_CALTABLE: Final = {
    "": _INDIRECT,
    **dict.fromkeys(("ANTENNA", "HISTORY", "OBSERVATION"), _TABLE),
    **dict.fromkeys(("FIELD", "SPECTRAL_WINDOW"), _INDIRECT),
}
_PLAIN_IMAGE: Final = {"": _TILED, "logtable": _TABLE}
_MASKED_IMAGE: Final = {**_PLAIN_IMAGE, "mask0": _TILED}
_MASKED: Final = frozenset({"image", "pb", "pbcor", "residual"})


def layout(product: str) -> Mapping[str, tuple[str, ...]]:
    """Return the files of a product by the folder in it; of a single file, or of plots, none."""
    top, _, name = product.partition("/")
    kind = name.rpartition(".")[2]
    if kind in {"json", "fits", "ecsv", "xml", "reg"} or top == "qa":
        return {}
    if top == "caltables":
        return _CALTABLE
    if top == "images":
        return _MASKED_IMAGE if kind in _MASKED else _PLAIN_IMAGE
    if top == "calibrated":
        return _SPLIT
    return _IMPORTED if name.endswith(".imported.ms") else _CALIBRATED


def make(root: Path, product: str, text: str) -> None:
    """Make a product of as many files as CASA's; one of them, or a single file, holds a text."""
    folders = layout(product)
    if not folders and not product.startswith("qa/plots/"):
        (root / product).parent.mkdir(parents=True, exist_ok=True)
        (root / product).write_text(text)
        return
    for folder, names in folders.items():
        place = root / product / folder
        place.mkdir(parents=True, exist_ok=True)
        for name in names:
            (place / name).touch()
    if folders:
        (root / product / next(n for n in folders[""] if n.startswith("table.f"))).write_text(text)
    else:
        (root / product).mkdir(parents=True, exist_ok=True)
