"""Images of ranges joined are what CASA's imageconcat makes of them, to the bit and the keyword."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun.casa import cube_tiles, invoke, range_header, range_images, range_join, range_planes
from casarun.casa.image_planes import open_image
from casarun.casa.tables import open_table
from casarun.errors import DataError

pytestmark = pytest.mark.casa

SIZE = (150, 140)
"""Of a plane: several tiles, and those at the edges not full."""


@pytest.fixture(autouse=True)
def log(tmp_path: Path) -> Iterator[None]:
    invoke.use_log(tmp_path / "casa.log")
    yield
    invoke.use_log(Path("/dev/null"))


def coordinates(stokes: int, width_hz: float, first: int) -> Any:
    from casatools import coordsys

    names = ["I", "Q", "U", "V"][:stokes]
    made = coordsys().newcoordsys(direction=True, stokes=names, spectral=True)
    made.setincrement(width_hz, "spectral")
    made.setreferencepixel(-float(first), "spectral")
    made.setepoch({"type": "epoch", "refer": "UTC", "m0": {"unit": "d", "value": 49820.4}})
    return made


def part(
    path: Path,
    first: int,
    n_chan: int,
    *,
    size: tuple[int, int] = SIZE,
    stokes: int = 1,
    width_hz: float = 1e5,
    masked: bool = False,
    beams: str = "",
    zeros: bool = False,
) -> Path:
    """Make a range of noise with some NaN and its own miscinfo."""
    from casarun.casa.config import configure

    configure()
    from casatools import image

    rng = np.random.default_rng(first)
    pixels = rng.normal(size=(*size, stokes, n_chan)).astype(np.float32) * (not zeros)
    if not zeros:
        pixels.reshape(-1)[:: 97 * n_chan] = np.nan
    tool = image()
    system = coordinates(stokes, width_hz, first)
    tool.fromarray(str(path), pixels, csys=system.torecord(), type="f", log=False)
    tool.setbrightnessunit("Jy/beam")
    tool.setmiscinfo({"INSTRUME": "VLA", "memavail": 1.5 + first, "chnchnks": 1, f"o{first}": True})
    if masked:
        tool.calcmask(f'"{path}" > -0.5', name="mask0")
    if beams == "one":
        tool.setrestoringbeam(major="9arcsec", minor="8arcsec", pa="3deg")
    for channel in range(n_chan if beams == "each" else 0):
        for plane in range(stokes):
            tool.setrestoringbeam(
                major=f"{9 + 0.1 * (first + channel) + plane}arcsec", minor="8arcsec", pa="3deg",
                channel=channel, polarization=plane,
            )  # fmt: skip
    tool.done()
    return path


def parts(place: Path, lengths: Sequence[int], **settings: Any) -> list[Path]:
    starts = np.cumsum([0, *lengths])
    return [
        part(place / f"part{number}.im", int(starts[number]), length, **settings)
        for number, length in enumerate(lengths)
    ]


def keywords(path: Path) -> dict[str, Any]:
    """Return all that the tables of an image say but for their own paths."""
    found = {}
    for name, column in (("", "map"), ("mask0", "PagedArray")):
        if (path / name).is_dir():
            with open_table(path / name) as opened:
                said = opened.getkeywords()
                said.pop("ATTRGROUPS", None)  # empty; CASA makes it when asked for it
                text = repr(sorted(said.items())).replace(path.name, "")
                found[name] = (
                    text, repr(opened.getcoldesc(column)), repr(opened.getdminfo()), opened.info(),
                )  # fmt: skip
    return found


def history(path: Path) -> list[str]:
    with open_image(path) as tool:
        return list(tool.history(list=False))


def content(path: Path) -> dict[str, Any]:
    with open_image(path) as tool:
        shape = [int(side) for side in tool.shape()]
        last = [[0.0, 0.0, 0.0, float(channel)] for channel in range(shape[3])]
        return {
            "pixels": tool.getchunk().astype(np.float32).view(np.uint32),
            "mask": tool.getchunk(getmask=True),
            "beam": repr(tool.restoringbeam()),
            "unit": tool.brightnessunit(),
            "misc": repr(sorted(tool.miscinfo().items())),
            "world": repr([tool.toworld(place)["numeric"].tolist() for place in last]),
            "coordinates": repr(tool.coordsys().torecord()),
            "statistics": repr({k: np.ravel(v).tolist() for k, v in tool.statistics().items()}),
        }


def require_as_casa(found: Sequence[Path], place: Path, *, casa_does: bool = False) -> Path:
    """Hold a joined cube against the one that CASA joins."""
    ours, theirs = place / "cube-a.im", place / "cube-b.im"
    assert bool(range_join.join(found, ours)) is casa_does
    range_join._by_casa(found, theirs)
    here, there = content(ours), content(theirs)
    for key, value in there.items():
        assert np.array_equal(here[key], value), key
    assert keywords(ours) == keywords(theirs)
    assert history(ours)[:-1] == history(theirs)[:-2] or casa_does
    assert range_join.lost_planes(found, ours) == range_join.lost_planes(found, theirs) == []
    return ours


CASES: Mapping[str, tuple[list[int], dict[str, Any]]] = {
    "ranges of one length": ([5, 5, 5], {}),
    "unequal, masked": ([7, 3, 6], {"masked": True, "beams": "one"}),
    "single channels": ([1, 1, 1], {"masked": True, "beams": "each"}),
    "one channel beside many": ([4, 1], {"beams": "each"}),
    "descending": ([4, 9], {"width_hz": -1e5, "beams": "each"}),
    "four Stokes": ([5, 6], {"stokes": 4, "masked": True, "beams": "each"}),
    "two Stokes of many channels": ([11, 17], {"stokes": 2, "masked": True}),
    "bytes not filled by lines": ([6, 5], {"size": (101, 67), "masked": True}),
    "one tile": ([3, 4], {"size": (24, 20), "masked": True}),
    "sums of weights": ([3, 4], {"size": (1, 1)}),
    "large planes": ([2, 3], {"size": (520, 300), "masked": True}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_joined_cube_is_that_of_imageconcat(name: str, tmp_path: Path) -> None:
    lengths, settings = CASES[name]
    require_as_casa(parts(tmp_path, lengths, **settings), tmp_path)


def test_tiles_of_bits_are_taken_as_bytes_where_they_are_whole(tmp_path: Path) -> None:
    for size, in_bytes in (((256, 256), True), ((500, 60), False)):
        found = parts(tmp_path, [5, 11], size=size, masked=True)
        made = require_as_casa(found, tmp_path)
        headers = [range_header.read(path) for path in found]
        masks = range_planes.of(range_header.read(made), headers)[1]
        assert (masks.cube.dtype == np.uint8) is in_bytes
        for path in tmp_path.glob("*.im"):
            shutil.rmtree(path)


def test_a_range_without_a_mask_is_valid_beside_one_that_has_it(tmp_path: Path) -> None:
    found = [
        part(tmp_path / "a.im", 0, 5, masked=True),
        part(tmp_path / "b.im", 5, 4),
        part(tmp_path / "c.im", 9, 3, masked=True),
    ]
    made = require_as_casa(found, tmp_path)
    with open_image(made) as tool:
        assert tool.getchunk(getmask=True)[..., 5:9].all()


def test_ranges_that_were_trimmed_keep_their_history(tmp_path: Path) -> None:
    found = []
    for number, first in enumerate((0, 4)):
        whole = part(tmp_path / f"whole{number}.im", first, 6, masked=True, beams="each")
        found.append(tmp_path / f"trimmed{number}.im")
        range_images.trim(whole, found[-1], 1, 4)
    made = require_as_casa(found, tmp_path)
    told = history(made)
    assert sum("ia.subimage(" in line for line in told) == 2
    assert told[-1] == "Joined 2 ranges of channels: trimmed0.im, trimmed1.im"


def test_an_empty_model_is_joined(tmp_path: Path) -> None:
    found = [part(tmp_path / "a.im", 0, 5, zeros=True), part(tmp_path / "b.im", 5, 5, zeros=True)]
    require_as_casa(found, tmp_path)


def test_one_range_is_copied(tmp_path: Path) -> None:
    (found,) = parts(tmp_path, [3])
    assert range_join.join([found], tmp_path / "cube.im") == ""
    assert range_join.lost_planes([found], tmp_path / "cube.im") == []


def test_fits_of_both_are_the_same(tmp_path: Path) -> None:
    from astropy.io import fits

    require_as_casa(parts(tmp_path, [3, 4], beams="each", masked=True), tmp_path)
    headers = []
    for name in ("cube-a", "cube-b"):
        with open_image(tmp_path / f"{name}.im") as tool:
            tool.tofits(str(tmp_path / f"{name}.fits"))
        with fits.open(tmp_path / f"{name}.fits") as file:
            headers.append(
                [c for c in file[0].header.cards if c.keyword not in ("HISTORY", "DATE")]
            )
            assert len(file[1].data) == 7
    assert [str(card) for card in headers[0]] == [str(card) for card in headers[1]]


def test_what_is_not_as_in_one_cube_is_left_to_casa(tmp_path: Path) -> None:
    """One beam for two Stokes parameters beside beams of each plane."""
    found = [
        part(tmp_path / "a.im", 0, 3, stokes=2, beams="each"),
        part(tmp_path / "b.im", 3, 4, stokes=2, beams="one"),
    ]
    require_as_casa(found, tmp_path, casa_does=True)


def test_one_beam_beside_many_is_that_of_each_of_its_channels(tmp_path: Path) -> None:
    found = [
        part(tmp_path / "a.im", 0, 3, beams="each"),
        part(tmp_path / "b.im", 3, 4, beams="one"),
    ]
    require_as_casa(found, tmp_path)


@pytest.mark.parametrize(("first", "width_hz"), [(4, 1e5), (3, 2e5)])
def test_ranges_that_do_not_follow_each_other_are_refused(
    tmp_path: Path, first: int, width_hz: float
) -> None:
    found = [part(tmp_path / "a.im", 0, 3), part(tmp_path / "b.im", first, 3, width_hz=width_hz)]
    headers = [range_header.read(path) for path in found]
    with pytest.raises(DataError, match="its coordinates do not follow those before it"):
        range_header.joined(headers)


@pytest.mark.parametrize(
    ("altered", "value", "why"),
    [
        ("units", "K", "the ranges have several units"),
        ("regions", {"box": 1}, "says more of itself than is known of images"),
        ("imageinfo", {"imagetype": "Velocity", "objectname": ""}, "not of one kind and object"),
    ],
)
def test_a_range_that_says_something_else_is_refused(
    tmp_path: Path, altered: str, value: Any, why: str
) -> None:
    found = parts(tmp_path, [3, 3])
    with open_table(found[1], change=True) as opened:
        opened.putkeyword(altered, value)
    with pytest.raises(DataError, match=why):
        range_header.joined([range_header.read(path) for path in found])


def test_tiles_that_casa_reads_otherwise_are_joined_by_casa(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = parts(tmp_path, [5, 6], masked=True)
    whole = cube_tiles.Tiles.write

    def swapped(self: Any, layer: int, row: int, planes: Any) -> None:
        whole(self, layer, row, planes[..., ::-1])

    monkeypatch.setattr(cube_tiles.Tiles, "write", swapped)
    why = range_join.join(found, tmp_path / "cube.im")
    assert why.endswith("CASA reads other pixels in channel 0 than were written")
    assert range_join.lost_planes(found, tmp_path / "cube.im") == []


@pytest.mark.parametrize(("name", "place"), [("", 0.3), ("mask0", 0.6), ("", 0.0), ("", 0.8)])
def test_one_bit_is_noticed(tmp_path: Path, name: str, place: float) -> None:
    found = parts(tmp_path, [5, 6], masked=True)
    cube = tmp_path / "cube.im"
    assert range_join.join(found, cube) == ""
    before = content(cube)
    file = tiles(cube, name).file
    altered = bytearray(file.read_bytes())
    altered[int(place * len(altered))] ^= 1
    file.write_bytes(altered)
    key = "mask" if name else "pixels"
    changed = np.flatnonzero((content(cube)[key] != before[key]).any(axis=(0, 1, 2)))
    assert len(changed) == 1
    assert range_join.lost_planes(found, cube) == changed.tolist()


@pytest.mark.parametrize("name", ["", "mask0"])
def test_a_file_that_was_cut_is_noticed(tmp_path: Path, name: str) -> None:
    found = parts(tmp_path, [5, 16], masked=True)
    cube = tmp_path / "cube.im"
    assert range_join.join(found, cube) == ""
    with tiles(cube, name).file.open("r+b") as file:
        file.truncate(tiles(cube, name).size_bytes - 4)
    assert 20 in range_join.lost_planes(found, cube)


def tiles(cube: Path, name: str) -> cube_tiles.Tiles:
    column = "PagedArray" if name else "map"
    return cube_tiles.find(cube / name, column, (0, 1, 3), bits=bool(name), stokes=2)
