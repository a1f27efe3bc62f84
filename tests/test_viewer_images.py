"""What is written of an image for the report's viewer: bounded, and right to what is stated."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import image_file
from casarun.qa import viewer_images
from casarun.qa.viewer_data import HALF_PRECISION, MOST_BYTES, halves, write_script
from casarun.qa.viewer_images import Layer, binned, cut_for
from support.image_files import image_files


def content(path: Path) -> dict[str, Any]:
    """Read a script as a browser would."""
    text = path.read_text(encoding="ascii")
    assert text.startswith("casarun.take(")
    assert text.endswith(");\n")
    found: dict[str, Any] = json.loads(text.removeprefix("casarun.take(").removesuffix(");\n"))
    return found


def pixels(about: Mapping[str, Any], folder: Path) -> Any:
    """Return a layer's pixels, shape (planes, y, x)."""
    shape = (max(1, len(about["channels"])), *reversed(about["size"]))
    data = content(folder / f"{about['key']}.js")
    if "changes" in data:
        truth = np.zeros(np.prod(shape) + 1, bool)
        for at in np.frombuffer(b64decode(data["changes"]), "<u4"):
            truth[at:] ^= True
        return truth[:-1].reshape(shape)
    values = np.frombuffer(b64decode(data["half"]), "<f2").astype(float) * data["scale"]
    if "at" in data:
        whole = np.zeros(np.prod(shape))
        whole[np.frombuffer(b64decode(data["at"]), "<u4")] = values
        values = whole
    return values.reshape(shape)


def test_numbers_are_right_to_what_is_stated() -> None:
    values = np.concatenate([np.geomspace(1e-7, 10, 5000), -np.geomspace(1e-7, 10, 5000)])
    text, scale = halves(values)
    written = np.frombuffer(b64decode(text), "<f2").astype(float) * scale
    assert np.abs(written / values - 1).max() <= HALF_PRECISION


@pytest.mark.parametrize("values", [np.zeros(3), np.full(3, np.nan), np.array([np.nan, 0, 1e30])])
def test_nothing_zero_and_huge_come_back(values: np.ndarray) -> None:
    text, scale = halves(values)
    written = np.frombuffer(b64decode(text), "<f2").astype(float) * scale
    assert written == pytest.approx(values, rel=HALF_PRECISION, nan_ok=True)


def test_data_never_become_code(tmp_path: Path) -> None:
    hostile = {"name": "</script><script>alert(1)//\u2028`${x}"}
    write_script(tmp_path / "a.js", hostile)
    assert content(tmp_path / "a.js") == hostile
    with pytest.raises(ValueError, match="JSON compliant"):
        write_script(tmp_path / "b.js", {"value": np.nan})


def test_blocks_are_means_of_what_is_valid() -> None:
    plane = np.arange(15.0).reshape(3, 5)
    plane[0, 0] = np.nan
    plane[2, 4] = np.nan
    found = binned(plane, 2)
    assert found[0, 0] == np.mean([1, 5, 6])
    assert found[0, 2] == np.mean([4, 9])
    assert np.isnan(found[1, 2])
    assert found.shape == (2, 3)


@pytest.mark.parametrize(
    ("side", "n_chan", "factor", "every"),
    [
        (400, 1, 1, 1),
        (1024, 1, 1, 1),
        (1025, 1, 2, 1),
        (9000, 1, 9, 1),
        (200, 46, 1, 1),  # 1.8 million pixels
        (256, 46, 2, 1),
        (2048, 1000, 16, 9),
        (100, 5000, 1, 25),
    ],
)
def test_files_are_bounded(side: int, n_chan: int, factor: int, every: int) -> None:
    brightest = n_chan // 3
    cut = cut_for((10, 20, 10 + side, 20 + side), n_chan, brightest)
    assert (cut.bin, np.diff((*cut.channels, n_chan))[0] if every > 1 else 1) == (factor, every)
    assert brightest in cut.channels
    planes = len(cut.channels) * np.ceil(side / factor) ** 2
    assert planes <= MOST_BYTES // 2 + np.ceil(side / factor) ** 2


def test_the_recipe_s_bound_holds_for_planes_and_cubes() -> None:
    assert cut_for((0, 0, 400, 400), 1, 0, 64_000).bin == 3
    assert cut_for((0, 0, 400, 400), 1, 0, 80_000).bin == 2
    cube = cut_for((0, 0, 256, 256), 46, 7, 400_000)
    assert cube.bin == 2
    assert cube.channels == tuple(range(3, 46, 4))
    assert cut_for((0, 0, 256, 256), 46, 7, 20_000_000).bin == 1


def test_of_a_cube_that_takes_long_to_read_channels_are_left_out() -> None:
    cut = cut_for((0, 0, 8192, 8192), 4096, 100, 4_000_000, 4e8)
    assert len(cut.channels) * 8192**2 < 5e8
    assert 100 in cut.channels


@pytest.fixture
def cube(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return images by path; blank outside x 4 to 35, y 2 to 33."""
    sky = np.random.default_rng(1).normal(0, 1e-3, (5, 40, 40))
    sky[2, 20, 10] = 0.5
    blank = np.ones((40, 40), bool)
    blank[2:34, 4:36] = False
    sky[:, blank] = np.nan
    model = np.zeros((5, 40, 40))
    model[2, 20, 10] = 0.4
    files = {
        "image": sky,
        "residual": sky * 0.5,
        "model": model,
        "mask": (model > 0).astype(float),
        "pb": np.where(blank, np.nan, 0.8)[None],
        "mom0": sky[2:3],
    }
    image_files(monkeypatch, files)
    return files


def test_layers_are_cut_to_what_is_valid_and_hold_the_images_pixels(
    cube: dict[str, Any], tmp_path: Path
) -> None:
    layers = [
        Layer(key, key, key, {"mask": "mask", "pb": "smooth"}.get(key, "values"))
        for key in (*cube, "psf")
    ]
    header = image_file.ImageFile("image").header
    path = viewer_images.write(tmp_path, layers, header, 2, {"title": "a", "noise": 1e-3})
    about = content(path)
    assert [layer["key"] for layer in about["layers"]] == list(cube)  # there is no psf
    for layer in about["layers"]:
        assert layer["corner"] == [4, 2]
        assert layer["size"] == [32, 32]
        assert layer["channels"] == ([] if layer["key"] in ("pb", "mom0") else [0, 1, 2, 3, 4])
        expected = cube[layer["key"]][:, 2:34, 4:36]
        assert pixels(layer, tmp_path) == pytest.approx(expected, rel=HALF_PRECISION, nan_ok=True)
    assert about["spectral"]["frequencies_hz"] == list(header.frequencies_hz)
    # What is zero but in one place takes no room.
    assert (tmp_path / "model.js").stat().st_size < 100
    assert (tmp_path / "mask.js").stat().st_size < 100


def test_an_image_that_is_all_blank_is_written_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    image_files(monkeypatch, {"image": np.full((1, 8, 8), np.nan)})
    header = image_file.ImageFile("image").header
    path = viewer_images.write(tmp_path, [Layer("image", "image", "image")], header, 0, {})
    assert content(path)["layers"][0]["size"] == [8, 8]
