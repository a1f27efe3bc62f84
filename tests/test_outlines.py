"""Outlines of masks hold just the mask's pixels."""

from __future__ import annotations

import numpy as np
import pytest
from casarun.share import outlines
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Polygon


@settings(max_examples=150, deadline=None)
@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.booleans()))
def test_polygons_hold_the_pixels_of_any_mask(mask: np.ndarray) -> None:
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    centres = np.column_stack([x.ravel(), y.ravel()])
    found = np.zeros(mask.size, int)
    for corners in outlines.outlines(mask):
        assert np.array_equal(np.mod(corners, 1), np.full(corners.shape, 0.5))
        found += Polygon(corners).contains_points(centres)
    assert np.array_equal(found.reshape(mask.shape), mask)


def test_straight_edges_have_no_corners_between() -> None:
    mask = np.zeros((9, 9), bool)
    mask[2:6, 3:8] = True
    (corners,) = outlines.outlines(mask)
    assert sorted(map(tuple, corners.tolist())) == [(2.5, 1.5), (2.5, 5.5), (7.5, 1.5), (7.5, 5.5)]


def test_a_hole_is_part_of_what_is_around_it() -> None:
    mask = np.ones((5, 5), bool)
    mask[2, 2] = False
    (corners,) = outlines.outlines(mask)
    assert len(corners) == 4 + 4 + 2  # there and back again


def test_no_mask_no_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    assert outlines.outlines(np.zeros((3, 3), bool)) == []
    monkeypatch.setattr(outlines, "MOST_EDGES", 10)
    with pytest.raises(ValueError, match="the mask has more than 10 edges of pixels"):
        outlines.outlines(np.eye(4, dtype=bool))
