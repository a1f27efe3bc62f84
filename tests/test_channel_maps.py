"""Channel maps: which channels, and that what is bright is bright where it is."""

import numpy as np
import pytest
from casarun.qa import channel_maps
from PIL import Image


@pytest.mark.parametrize(
    ("bright", "n", "wanted"),
    [
        ([10, 14], 46, list(range(9, 16))),
        ([0], 3, [0, 1]),
        ([], 4, [0, 1, 2, 3]),
        ([100, 219], 300, list(range(99, 221, 5))),
    ],
)
def test_channels_with_emission_are_chosen(bright, n, wanted):
    peak = np.ones(n)
    peak[bright] = 50.0
    assert channel_maps.chosen(peak, 2.0) == wanted
    assert len(channel_maps.chosen(peak, 2.0)) <= channel_maps.MOST


def plane(x, y, masked=()):
    pixels = np.zeros((40, 50))
    pixels[y, x] = 1.0
    for at in masked:
        pixels[at] = np.nan
    return pixels


def test_a_source_is_where_it_is_with_north_up(tmp_path):
    channels = [
        channel_maps.Channel(plane(5, 3), ""),
        *(channel_maps.Channel(plane(25, 20), "") for _ in range(6)),
        channel_maps.Channel(plane(40, 35, [(0, 0)]), ""),
    ]
    path = channel_maps.draw(tmp_path / "c.png", channels, (-0.1, 1.0), None)
    pixels = np.asarray(Image.open(path).convert("L"), float)
    zoom = 4  # 50 pixels to at least 190
    wide, high = 50 * zoom + channel_maps._GAP, 40 * zoom + channel_maps._GAP
    assert pixels.shape == (2 * high - channel_maps._GAP, 6 * wide - channel_maps._GAP)

    def level(column, row, x, y):
        return pixels[row * high + (39 - y) * zoom + 2, column * wide + x * zoom + 2]

    assert level(0, 0, 5, 3) > 150 > 60 > level(0, 0, 5, 36)
    assert level(1, 1, 40, 35) > 150 > 60 > level(1, 1, 5, 3)
    assert level(1, 1, 0, 0) > 220  # masked


def test_labels_and_beam_leave_marks(tmp_path):
    channels = [channel_maps.Channel(np.zeros((40, 50)), "1490.5")] * 2
    path = channel_maps.draw(tmp_path / "c.png", channels, (-1.0, 3.0), (8.0, 4.0, 90.0))
    pixels = np.asarray(Image.open(path).convert("L"), float)
    tile = pixels[:, :200]
    assert (tile[:25, :80] > 200).any()
    y, x = np.nonzero(tile[100:] > 200)
    # At a position angle of 90 degrees the beam lies along right ascension.
    assert np.ptp(x) == pytest.approx(8 * 4, abs=2)
    assert np.ptp(y) == pytest.approx(4 * 4, abs=2)
    assert not (pixels[100:, 210:] > 200).any()
