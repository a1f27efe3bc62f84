"""The ladder of depths of a cube's clean, and how a cube is divided."""

from __future__ import annotations

import pytest
from casarun import heuristics
from casarun.heuristics import Choice, ladder


def test_each_rung_is_the_one_before_times_the_sidelobe() -> None:
    assert ladder(1.0, 0.05, 0.2, {}) == pytest.approx((0.2, 0.05))
    assert ladder(1.0, 0.001, 0.2, {}) == pytest.approx((0.2, 0.04, 0.008, 0.0016, 0.001))


def test_the_ladder_has_tcleans_own_bounds() -> None:
    assert ladder(1.0, 0.02, 0.01, {}) == pytest.approx((0.05, 0.02))
    assert ladder(1.0, 0.5, 0.95, {})[:2] == pytest.approx((0.8, 0.64))
    settings = {"cyclefactor": 2.0, "minpsffraction": 0.1, "maxpsffraction": 0.5}
    assert ladder(1.0, 0.15, 0.2, settings) == pytest.approx((0.4, 0.16, 0.15))
    assert ladder(1.0, 0.3, 0.4, settings) == pytest.approx((0.5, 0.3))
    assert ladder(1.0, 0.05, 0.01, settings) == pytest.approx((0.1, 0.05))


def test_nothing_above_the_threshold_is_one_rung() -> None:
    assert ladder(0.01, 0.05, 0.2, {}) == (0.05,)


def test_no_ladder_is_endless() -> None:
    assert len(ladder(1.0, 0.0, 0.2, {})) == 101
    assert ladder(1.0, 0.1, 0.0, {"minpsffraction": 0.0}) == (0.1,)


def test_iterations_are_counted_over_all_ranges_rung_by_rung() -> None:
    counts = [[10, 20, 30], [5, 0], []]
    assert heuristics.rungs_within(counts, 14) == 1
    assert heuristics.rungs_within(counts, 15) == 1
    assert heuristics.rungs_within(counts, 16) == 2
    assert heuristics.rungs_within(counts, 65) == 3
    assert heuristics.rungs_within(counts, 66) is None
    assert heuristics.rungs_within([], 1) is None


@pytest.mark.parametrize(("channels", "parts"), [(1, 1), (7, 3), (46, 6), (64, 64), (5, 9)])
def test_ranges_follow_each_other_and_differ_by_one_channel_at_most(
    channels: int, parts: int
) -> None:
    ranges = heuristics.divided(channels, parts)
    assert len(ranges) == min(parts, channels)
    assert [c for first, last in ranges for c in range(first, last + 1)] == list(range(channels))
    sizes = {last - first + 1 for first, last in ranges}
    assert max(sizes) - min(sizes) <= 1


def chosen(
    channels: int = 46, margin: int = 0, seconds: float = 60.0, channel_mb: float = 10.0,
    room_mb: float = 1000.0, cubes: int = 1,
) -> Choice:  # fmt: skip
    return heuristics.chunk(
        channels, margin, seconds, channel_mb * 1e6, room_mb * 1e6, "the room", cubes
    )


def test_a_little_work_is_one_range() -> None:
    choice = chosen(seconds=4.0)
    assert (choice.value, choice.reason) == (46, "all in one range: about 4 s of work")


def test_what_is_worth_it_is_divided_in_two() -> None:
    choice = chosen(seconds=8.0)
    assert choice.value == 23
    assert choice.reason == "2 ranges of 46 channels: about 4 s of work each"


def test_little_work_is_not_divided_where_there_are_many_cubes() -> None:
    assert chosen(seconds=8.0, cubes=3).value == 23
    choice = chosen(seconds=8.0, cubes=4)
    assert choice.value == 46
    assert choice.reason == ("all in one range: about 8 s of work, and 4 cubes to do side by side")
    assert chosen(seconds=60.0, cubes=40) == chosen(seconds=60.0)


def test_ranges_have_some_work_and_their_number_is_even() -> None:
    choice = chosen(channels=256, seconds=420.0)
    assert choice.value == 13
    assert choice.reason == "20 ranges of 256 channels: about 21 s of work each"
    assert chosen(channels=256, seconds=60.0).value == 43


def test_memory_limits_a_range() -> None:
    choice = chosen(channels=100, seconds=30.0, channel_mb=100.0, room_mb=1000.0)
    assert choice.value == 10
    assert choice.reason == "10 ranges of 100 channels: 100 MB a channel, within the room"


def test_memory_may_take_more_than_a_hundred_ranges() -> None:
    assert chosen(channels=1000, seconds=1e6, channel_mb=300.0).value == 3


def test_a_range_that_fits_hardly_is_one_channel() -> None:
    assert chosen(channels=6, channel_mb=900.0, room_mb=100.0).value == 1


def test_there_are_a_hundred_ranges_at_most() -> None:
    choice = chosen(channels=1000, seconds=1e6)
    assert choice.value == 10
    assert choice.reason == "100 ranges of 1000 channels: at most 100"


def test_margins_make_ranges_longer() -> None:
    choice = chosen(channels=256, margin=3, seconds=1e4)
    assert choice.value == 26
    assert choice.reason == ("10 ranges of 256 channels: 3 channels more to each side of a range")
