"""Arrays in the place of CASA images, for what reads these through `casarun.casa.read`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from casarun.casa import image_file


def header(pixels: npt.NDArray[Any]) -> image_file.ImageHeader:
    """Return what an image of shape (channels, n_y, n_x) says of itself."""
    n_chan, n_y, n_x = pixels.shape
    return image_file.ImageHeader(
        path="", n_x=n_x, n_y=n_y, n_stokes=1, n_chan=n_chan, unit="Jy/beam", frame="J2000",
        projection="SIN", projection_parameters=(0.0, 0.0), reference_deg=(230.5, 5.07),
        reference_pixel=(n_x / 2, n_y / 2), increment_deg=(-15 / 3600, 15 / 3600),
        frequencies_hz=1.41e9 + 1e5 * np.arange(n_chan), spectral_frame="LSRK",
        rest_hz=1.420405752e9, beams=(),
    )  # fmt: skip


def image_files(monkeypatch: pytest.MonkeyPatch, files: Mapping[str, npt.NDArray[Any]]) -> None:
    """Make `image_file.ImageFile` give arrays by path; NaN is blank."""

    class Fake:
        def __init__(self, path: str) -> None:
            self._pixels = files[str(path)]
            self.header = header(self._pixels)

        def __enter__(self) -> Fake:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def plane(self, channel: int = 0) -> tuple[Any, Any]:
            plane = self._pixels[channel]
            return plane, np.isfinite(plane)

    monkeypatch.setattr(image_file, "ImageFile", Fake)
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: str(path) in files or exists(path))
