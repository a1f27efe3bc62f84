"""Histograms, points and averages of blocks that are made by hand: no CASA."""

from dataclasses import replace

import numpy as np
import pytest
from casarun.casa import growing_axis
from casarun.casa import visibility_bins as bins
from casarun.casa.visibility_average import Averaging, averaged
from casarun.casa.visibility_axes import axis
from casarun.casa.visibility_blocks import Block
from casarun.casa.visibility_contents import Contents
from casarun.errors import DataError
from casarun.observation import Antenna, Field, Observation, Scan, SpectralWindow

N_ANT = 5


def about(n_scans=2):
    antennas = tuple(f"ea{i:02d}" for i in range(N_ANT))
    observation = Observation(
        vis="x.ms", telescope="", observer="", start_mjd_s=0.0, end_mjd_s=100.0 * n_scans,
        n_rows=1, size_bytes=0, shortest_baseline_m=0, longest_baseline_m=0, columns=("DATA",),
        fields=(Field(0, "cal", 0, 0, n_rows=1),),
        spws=(SpectralWindow(0, "", 4, 1.0e9, 1.3e9, 1e8, correlations=("RR", "LL")),),
        scans=tuple(Scan(i + 1, (0,), (0,), 100.0 * i, 100.0 * (i + 1), 10.0)
                    for i in range(n_scans)),
        antennas=tuple(Antenna(i, name, "", 25, 0) for i, name in enumerate(antennas)),
    )  # fmt: skip
    return Contents("x.ms", "MS", observation, ("cal",), antennas, ("RR", "LL"),
                    ((0, ("RR", "LL")),), (1e9 + 1e8 * np.arange(4),), ("DATA",))  # fmt: skip


def block(seed=0, times=(5.0, 15.0, 25.0), scan=1, scale=1.0):
    rng = np.random.default_rng(seed)
    first, second = np.triu_indices(N_ANT)
    n = len(first) * len(times)
    shape = (2, 4, n)
    flag = rng.random(shape) < 0.2
    return Block(
        ddid=0, spw=0, correlation=np.arange(2), channel=np.arange(4.0),
        frequency_hz=1e9 + 1e8 * np.arange(4), time_s=np.repeat(times, len(first)),
        antenna1=np.tile(first, len(times)), antenna2=np.tile(second, len(times)),
        field=np.zeros(n, int), scan=np.full(n, scan), uvw_m=rng.normal(size=(3, n)) * 100,
        flag=flag, flagged=flag.mean(axis=(0, 1)),
        data=scale * (rng.normal(size=shape) + 1j * rng.normal(size=shape)),
        weight=rng.uniform(1, 3, size=(2, n)),
    )  # fmt: skip


def counts_of(cloud):
    return dict(cloud.counts())


def test_a_histogram_counts_what_numpy_counts():
    parts = [block(seed, scale=3.0**seed) for seed in range(4)]  # amplitudes grow again and again
    cloud = bins.Cloud(about(), bins.Plot("uvwave", "amp", colour="corr", cells=(40, 30)))
    for part in parts:
        cloud.add(part)
    for corr in (0, 1):
        x, y = [], []
        for part in parts:
            distance = np.hypot(*part.uvw_m[:2])[None, :] * part.frequency_hz[:, None] / 299792458e3
            good = ~part.flag[corr]
            x.append(distance[good])
            y.append(np.abs(part.data[corr][good]))
        expected, _, _ = np.histogram2d(
            np.concatenate(x), np.concatenate(y), bins=(cloud.x.edges, cloud.y.edges)
        )
        np.testing.assert_array_equal(counts_of(cloud)[0, corr], expected)
    assert cloud.number == sum(np.count_nonzero(~part.flag) for part in parts)
    assert cloud.y.low == 0
    occupied = np.flatnonzero(sum(counts_of(cloud).values()).sum(axis=0))
    assert occupied[-1] >= cloud.y.cells // 2 - 1  # the range did not grow too far


def test_a_range_grows_to_both_sides_and_loses_nothing():
    axis_, counts = growing_axis.Growing(8, None), np.zeros((1, 8, 1), np.uint32)
    values = np.array([0.0, 1.0, -7.0, 100.0, -3000.0, 2.0])
    for value in values:
        counts = growing_axis.put_together(counts, 1, *axis_.grow(value, value + 0.5))
        counts[0, axis_.index(np.array(value)), 0] += 1
    assert counts.sum() == len(values)
    expected, _ = np.histogram(values, bins=axis_.edges)
    np.testing.assert_array_equal(counts[0, :, 0], expected)


def test_a_range_that_is_asked_for_leaves_out_what_is_outside():
    part = block()
    plot = bins.Plot("time", "amp", x_range=(0, 20), y_range=(0.5, 1.0), cells=(2, 10))
    cloud = bins.Cloud(about(), plot)
    cloud.add(part)
    amplitude = np.abs(part.data)
    good = ~part.flag & (part.time_s <= 20) & (amplitude >= 0.5) & (amplitude <= 1.0)
    assert cloud.number == np.count_nonzero(good)
    np.testing.assert_allclose(cloud.y.edges[[0, -1]], [0.5, 1.0])


def test_whole_numbers_have_cells_around_them():
    cloud = bins.Cloud(about(), bins.Plot("channel", "corr"))
    cloud.add(block())
    (counts,) = counts_of(cloud).values()
    channels, correlations = np.nonzero(counts)
    assert set(np.floor(cloud.x.edges[channels] + cloud.x.width / 2 + 0.5)) == {0, 1, 2, 3}
    assert cloud.x.width == 1
    assert len(set(correlations)) == 2


def test_rows_are_counted_once_where_nothing_depends_on_channels():
    part = block()
    cloud = bins.Cloud(about(), bins.Plot("u", "v"))
    cloud.add(part)
    assert cloud.number == np.count_nonzero(~part.flag.all(axis=(0, 1)))


def test_pages_by_antenna_show_each_baseline_twice_and_autocorrelations_once():
    part = replace(block(), flag=np.zeros((2, 4, 45), bool))
    cloud = bins.Cloud(about(), bins.Plot("time", "amp", page="antenna", colour="antenna2"))
    cloud.add(part)
    by_page = {}
    for (page, colour), counts in cloud.counts():
        by_page[page] = by_page.get(page, 0) + int(counts.sum())
        assert counts.sum() == 3 * 8, (page, colour)
    assert by_page == dict.fromkeys(range(N_ANT), 3 * 8 * N_ANT)


def test_flagged_fractions_need_no_unflagged_data():
    part = replace(block(), flag=np.ones((2, 4, 45), bool), flagged=np.ones(45))
    cloud = bins.Cloud(about(), bins.Plot("time", "flagged"))
    cloud.add(part)
    assert cloud.number == 45
    other = bins.Cloud(about(), bins.Plot("time", "amp"))
    other.add(part)
    assert other.number == 0
    assert other.points is None


def test_few_points_are_kept_with_who_they_are(monkeypatch):
    monkeypatch.setattr(bins, "MOST_POINTS", 300)
    part = block()
    cloud = bins.Cloud(about(), bins.Plot("uvdist", "phase", colour="corr"))
    cloud.add(part)
    points = cloud.points
    assert len(points.x) == np.count_nonzero(~part.flag)
    row = next(i for i in range(45) if not part.flag[1, 2, i])
    value = np.degrees(np.angle(part.data[1, 2, row]))
    (index,) = np.flatnonzero(points.y == value)
    assert points.antenna1[index] == part.antenna1[row]
    assert points.antenna2[index] == part.antenna2[row]
    assert (points.scan[index], points.corr[index], points.spw[index]) == (1, 1, 0)
    cloud.add(block(1))
    assert cloud.points is None
    assert sum(int(c.sum()) for c in counts_of(cloud).values()) == cloud.number > 300


def test_many_pages_get_coarser_cells_and_too_many_are_refused(monkeypatch):
    monkeypatch.setattr(bins, "MOST_CELLS", 40_000)
    part = block()
    cloud = bins.Cloud(about(), bins.Plot("time", "amp", page="baseline", cells=(128, 128)))
    cloud.add(part)
    assert cloud.x.cells * cloud.y.cells * 15 <= 40_000
    assert sum(int(c.sum()) for c in counts_of(cloud).values()) == cloud.number
    assert cloud.number == np.count_nonzero(~part.flag)
    monkeypatch.setattr(bins, "MOST_CELLS", 3000)
    with pytest.raises(DataError, match="are too many to draw: select"):
        bins.Cloud(about(), bins.Plot("time", "amp", page="baseline")).add(part)


def test_averages_are_those_of_numpy():
    parts = [block(seed) for seed in range(3)]
    found = bins.Averages(about(), bins.Plot("channel", "amp", colour="corr", cells=(4, 1)))
    for part in parts:
        found.add(part)
    for (_, corr), number, mean, spread in found.averages():
        for channel in range(4):
            values = np.concatenate(
                [np.abs(p.data[corr, channel])[~p.flag[corr, channel]] for p in parts]
            )
            assert number[channel] == len(values)
            assert mean[channel] == pytest.approx(values.mean())
            assert spread[channel] == pytest.approx(values.std())


def test_phases_are_averaged_around_the_circle():
    part = block()
    wobble = np.where(np.arange(45) % 2, 170.0, -170.0)
    part = replace(part, data=np.broadcast_to(np.exp(1j * np.radians(wobble)), (2, 4, 45)),
                   flag=np.zeros((2, 4, 45), bool))  # fmt: skip
    found = bins.Averages(about(), bins.Plot("scan", "phase"))
    found.add(part)
    ((_, number, mean, spread),) = found.averages()
    cell = int(np.argmax(number))
    assert abs(mean[cell]) == pytest.approx(180, abs=0.5)
    assert spread[cell] == pytest.approx(10, rel=0.02)


def test_an_average_of_channels_and_time_is_weighted():
    parts = [block(0, times=(5.0, 15.0, 25.0)), block(1, times=(35.0, 45.0))]
    found = list(averaged(parts, Averaging(channels=2, time_s=30.0), about().observation))
    data = np.concatenate([p.data for p in parts], axis=2)
    weight = np.concatenate([np.where(p.flag, 0, p.weight[:, None]) for p in parts], axis=2)
    time = np.concatenate([p.time_s for p in parts])
    first, second = (np.concatenate([getattr(p, n) for p in parts])
                     for n in ("antenna1", "antenna2"))  # fmt: skip
    seen = 0
    for out in found:
        assert out.data.shape[:2] == (2, 2)
        np.testing.assert_allclose(out.frequency_hz, [1.05e9, 1.25e9])
        for i in range(len(out.time_s)):
            rows = (first == out.antenna1[i]) & (second == out.antenna2[i])
            rows &= (time < 30) == (out.time_s[i] < 30)
            seen += int(rows.sum())
            w, d = weight[:, 2:, rows], data[:, 2:, rows]
            expected = (w * d).sum(axis=(1, 2)) / w.sum(axis=(1, 2))
            np.testing.assert_allclose(out.data[:, 1, i], expected)
            assert out.time_s[i] == pytest.approx(time[rows].mean())
    assert seen == 75  # every row once: an interval that two blocks share is one average


def test_a_scalar_average_is_of_amplitudes():
    part = block(times=(5.0,))
    (out,) = averaged([part], Averaging(channels=0, scalar=True), about().observation)
    weight = np.where(part.flag, 0, part.weight[:, None])
    expected = (weight * np.abs(part.data)).sum(axis=1) / weight.sum(axis=1)
    np.testing.assert_allclose(np.abs(out.data[:, 0]), expected)
    vector = (weight * part.data).sum(axis=1)
    np.testing.assert_allclose(np.angle(out.data[:, 0]), np.angle(vector))


def test_whole_scans_become_one_average_however_long():
    parts = [block(i, times=(t, t + 10), scan=1 + (t >= 100))
             for i, t in enumerate((5.0, 25.0, 45.0, 105.0))]  # fmt: skip
    found = list(averaged(parts, Averaging(time_s=np.inf), about().observation))
    assert [len(out.time_s) for out in found] == [15, 15]
    assert [set(out.scan) for out in found] == [{1}, {2}]


def test_a_wrong_axis_is_named_with_those_there_are():
    with pytest.raises(DataError) as said:
        axis("ampl", about())
    assert str(said.value) == (
        "there is no axis 'ampl' of visibilities; axes: time, frequency, channel, uvdist, uvwave, "
        "u, v, w, uwave, vwave, wwave, baseline, antenna, antenna1, antenna2, field, scan, spw, "
        "corr, elevation, azimuth, hourangle, parang, amp, phase, real, imag, weight, flagged"
        "; did you mean 'amp'?"
    )
    with pytest.raises(DataError) as said:
        bins.Cloud(about(), bins.Plot("time", "amp", colour="weather"))
    assert str(said.value) == (
        "'weather' is nothing to tell apart by; possible: antenna, antenna1, antenna2, spw, field, "
        "corr, scan, baseline"
    )


def test_a_single_channel_has_room_around_it():
    whole = about()
    spw = replace(whole.observation.spws[0], n_chan=1, last_hz=1e9, chan_width_hz=0.0)
    one = replace(whole, observation=replace(whole.observation, spws=(spw,)))
    part = block()
    part = replace(part, channel=part.channel[:1], frequency_hz=part.frequency_hz[:1],
                   flag=part.flag[:, :1], data=part.data[:, :1])  # fmt: skip
    cloud = bins.Cloud(one, bins.Plot("frequency", "amp"))
    cloud.add(part)
    assert (cloud.x.low, cloud.x.high) == pytest.approx((999.5, 1000.5))
    assert cloud.number == np.count_nonzero(~part.flag)
