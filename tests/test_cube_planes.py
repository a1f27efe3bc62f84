"""Operations on planes: beams, kernels, channels, sums. Without CASA."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from casarun.cubes import stream
from casarun.cubes.beams import Beam, kernel
from casarun.cubes.chain import BASE_BYTES, Chain, Cube
from casarun.cubes.continuum import ContinuumFit, basis, continuum
from casarun.cubes.convolve import Smoother
from casarun.cubes.masks import Clipped
from casarun.cubes.moments import Moments
from casarun.cubes.spectral import Axis, boxcar, hanning, interpolated
from casarun.recipe.channel_list import channels

AXIS = Axis(40, 1.41e9, 1e4, 1.420405752e9)
CUBE = Cube(64, 48, AXIS, (-2.0, 2.0), (Beam(8.0, 6.0, 30.0),))


def settings(**tables: Any) -> dict[str, Any]:
    return {"name": "made", **tables}


def test_kernels_add_to_the_beam_in_quadrature() -> None:
    found = kernel(Beam(3.0, 3.0), Beam(5.0, 5.0))
    assert found is not None
    assert math.sqrt(8 * math.log(2) * found.east) == pytest.approx(4.0)
    assert found.east == pytest.approx(found.north)
    assert found.both == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("wanted", "possible"),
    [
        (Beam(8.0, 6.0, 30.0), True),
        (Beam(8.00001, 6.0, 30.0), True),
        (Beam(8.0, 8.0), True),
        (Beam(8.0, 6.0, 40.0), False),
        (Beam(9.0, 5.0, 30.0), False),
        (Beam(7.0, 7.0), False),
    ],
)
def test_a_beam_must_enclose_the_old_one(wanted: Beam, possible: bool) -> None:
    assert (kernel(Beam(8.0, 6.0, 30.0), wanted) is not None) == possible


def test_smoothing_conserves_flux_and_turns_east_with_the_sky() -> None:
    """A kernel along position angle 90 deg widens a source east-west, which is along x."""
    plane = np.zeros((64, 96), np.float32)
    plane[32, 48] = 1
    gaussian = kernel(Beam(1.0, 1.0), Beam(12.0, 1.0, 90.0))
    assert gaussian is not None
    smooth = Smoother(plane.shape, (-1.0, 1.0), gaussian)(plane)
    assert smooth.sum() == pytest.approx(1.0, rel=1e-5)
    y, x = np.mgrid[:64, :96]
    assert np.sqrt((smooth * (x - 48) ** 2).sum()) * 2.3548 == pytest.approx(11.96, rel=0.01)
    assert np.abs((smooth * (y - 32) ** 2).sum()) < 1e-3


def test_position_angles_are_from_north_through_east() -> None:
    plane = np.zeros((64, 64), np.float32)
    plane[32, 32] = 1
    gaussian = kernel(Beam(1.0, 1.0), Beam(14.0, 4.0, 45.0))
    assert gaussian is not None
    smooth = Smoother(plane.shape, (-1.0, 1.0), gaussian)(plane)
    # North-east is up and to the left, where x falls.
    assert smooth[36, 28] > 5 * smooth[36, 36]


def test_edges_do_not_reach_around() -> None:
    plane = np.zeros((50, 50), np.float32)
    plane[0, 0] = 1
    gaussian = kernel(Beam(1.0, 1.0), Beam(9.0, 9.0))
    assert gaussian is not None
    assert abs(Smoother(plane.shape, (-1.0, 1.0), gaussian)(plane)[-6:, -6:]).max() < 1e-6


def test_masked_pixels_count_as_zero_and_stay_masked() -> None:
    plane = np.ones((40, 40), np.float32)
    plane[20, 20] = np.nan
    gaussian = kernel(Beam(1.0, 1.0), Beam(4.0, 4.0))
    assert gaussian is not None
    smoother = Smoother(plane.shape, (-1.0, 1.0), gaussian)
    smooth = smoother(plane)
    assert np.isnan(smooth[20, 20])
    assert np.isfinite(smooth).sum() == 1599
    assert smooth[20, 21] == pytest.approx(smoother(np.nan_to_num(plane))[20, 21])
    assert smooth[20, 21] < 0.97


class Counted:
    """Planes that count how often they were read."""

    def __init__(self, n_chan: int) -> None:
        self.reads: list[int] = []
        self.data = np.arange(n_chan, dtype=np.float32)[:, None, None] * np.ones((4, 6), np.float32)

    def read(self, first: int, last: int) -> np.ndarray:
        self.reads += range(first, last)
        return self.data[first:last]


@pytest.mark.parametrize("at_once", [1, 3, 16])
def test_each_channel_is_read_once_and_few_are_held(at_once: int) -> None:
    counted = Counted(40)
    source = stream.Source(counted.read, 40, at_once)
    smooth = stream.Mixed(source, lambda c: hanning(AXIS, c), (4, 6))
    rebinned = stream.Rebinned(smooth, 2, 3)
    for channel in range(13):
        plane = rebinned.plane(channel)
        rebinned.drop(channel + 1)
        assert plane[0, 0] == pytest.approx(1 + 3 * channel + (0.5 / 3 if channel == 0 else 0))
        assert len(source._kept) <= at_once + 3
        assert len(smooth._kept) <= 3
    assert counted.reads == list(range(40))


def test_what_is_half_masked_is_masked() -> None:
    data = np.ones((5, 1, 2), np.float32)
    data[1, 0, 0] = data[2, 0, 0] = np.nan
    mixed = stream.Mixed(
        stream.Source(lambda a, b: data[a:b], 5, 2), lambda c: boxcar(3, c), (1, 2)
    )
    assert np.isnan(mixed.plane(0)).tolist() == [[True, False]]
    mixed = stream.Mixed(
        stream.Source(lambda a, b: data[a:b], 5, 2), lambda c: boxcar(3, c), (1, 2)
    )
    assert mixed.plane(2)[0].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("channel", [0, 5, 39])
def test_interpolation_gives_a_linear_spectrum_back(channel: int) -> None:
    new = Axis(40, AXIS.hz(3.3), 0.7 * AXIS.step_hz, AXIS.rest_hz)
    mix = interpolated(AXIS, new, channel)
    assert sum(w * c for c, w in zip(mix.channels, mix.weights, strict=True)) == pytest.approx(
        3.3 + 0.7 * channel
    )


def test_nothing_is_interpolated_outside() -> None:
    new = replace(AXIS, first_hz=AXIS.hz(-1))
    assert interpolated(AXIS, new, 0).channels == ()
    assert interpolated(AXIS, new, 1).channels == (0,)


def test_a_polynomial_is_found_whatever_is_masked() -> None:
    rng = np.random.default_rng(3)
    shape, free = (6, 7), tuple(range(30))
    truth = rng.standard_normal((3, *shape))
    spectrum = np.einsum("ct,tyx->cyx", basis(30, 2), truth).astype(np.float32)
    spectrum[rng.random(spectrum.shape) < 0.2] = np.nan
    spectrum[3:, 0, 0] = np.nan
    fit = ContinuumFit(free, 30, 2, shape)
    for channel in free:
        fit.add(channel, spectrum[channel])
    found = fit.solve()
    assert np.isnan(found[:, 0, 0]).all()
    found[:, 0, 0] = truth[:, 0, 0]
    np.testing.assert_allclose(found, truth, atol=1e-5)
    np.testing.assert_allclose(
        continuum(found, basis(30, 2)[7])[np.isfinite(spectrum[7])],
        spectrum[7][np.isfinite(spectrum[7])],
        atol=1e-5,
    )


def test_sums_of_parts_are_the_sums_of_all() -> None:
    rng = np.random.default_rng(4)
    data = rng.standard_normal((12, 5, 5)).astype(np.float32)
    data[rng.random(data.shape) < 0.3] = np.nan
    every = (-1, 0, 1, 2, 5, 6, 8, 9, 10, 11)
    whole, first, second = (Moments(every, (5, 5), 100.0) for _ in range(3))
    for channel, plane in enumerate(data):
        whole.add(plane, 90.0 + channel)
        (first if channel < 7 else second).add(plane, 90.0 + channel)
    first.merge(second.sums.__getitem__)
    for moment in every:
        np.testing.assert_allclose(first.map(moment, 2.0), whole.map(moment, 2.0), rtol=1e-5)
    np.testing.assert_allclose(whole.map(8, 2.0), np.nanmax(data, axis=0))
    speeds = 90.0 + np.nanargmax(data, axis=0)
    np.testing.assert_allclose(whole.map(9, 2.0), speeds)
    np.testing.assert_allclose(whole.map(0, 2.0), 2 * np.nansum(data, axis=0), rtol=1e-5)


def test_a_spike_in_one_channel_is_no_line() -> None:
    rng = np.random.default_rng(5)
    data = rng.standard_normal((10, 30, 30)).astype(np.float32)
    data[4, 10, 10] = 30
    data[6:9, 20, 20] = 30

    def mask(run: int) -> Clipped:
        return Clipped(stream.Source(lambda a, b: data[a:b], 10, 4), 10, 10.0, run)

    one, two = mask(1), mask(2)
    found = np.array([[one.plane(c), two.plane(c)] for c in range(10)])
    assert found[:, 0, 10, 10].nonzero()[0].tolist() == [4]
    assert not found[:, 1, 10, 10].any()
    assert found[:, 1, 20, 20].nonzero()[0].tolist() == [6, 7, 8]


def test_velocities_and_frequencies_are_of_one_channel() -> None:
    chain = Chain(CUBE, settings(regrid={"start": "2120km/s", "width": "3km/s"}))
    axis = chain.axis
    assert axis.velocity_km_s(0) == pytest.approx(2120)
    assert axis.velocity_km_s(1) - axis.velocity_km_s(0) == pytest.approx(3)
    last = axis.velocity_km_s(axis.n_chan - 1)
    assert last <= AXIS.velocity_km_s(0) < last + 3
    assert chain.problems(1e9) == []


def test_an_axis_against_the_cube_begins_at_its_other_end() -> None:
    chain = Chain(CUBE, settings(regrid={"width": "-20kHz"}))
    assert chain.axis.first_hz == AXIS.hz(39)
    assert chain.axis.n_chan == 20


@pytest.mark.parametrize(
    ("tables", "cube", "key", "message"),
    [
        (
            {"smooth": {"beam": "20arcsec"}},
            replace(CUBE, beams=()),
            ("smooth", "beam"),
            "the cube has no synthesized beam, so none can be smoothed to",
        ),
        (
            {"smooth": {"spectral": "hanning"}},
            replace(CUBE, beams=tuple(Beam(8.0 + c, 6.0) for c in range(40))),
            ("smooth", "beam"),
            "the channels have a synthesized beam each, and are to be mixed: smooth them to one "
            'first, beam = "common"',
        ),
        (
            {"moments": (1,)},
            replace(CUBE, axis=replace(AXIS, rest_hz=0.0)),
            ("moments",),
            "moments are in velocity, and the cube has no rest frequency: set image.restfreq",
        ),
        (
            {"moments": (0,)},
            replace(CUBE, axis=replace(AXIS, n_chan=1)),
            ("moments",),
            "the cube has a single channel",
        ),
        (
            {"contsub": {"channels": "0~2", "order": 2}},
            CUBE,
            ("contsub", "order"),
            "a polynomial of order 2 needs 4 channels or more, contsub.channels are 3",
        ),
        (
            {"contsub": {"channels": "0~39"}},
            CUBE,
            ("contsub", "channels"),
            "every channel is taken for continuum: nothing is left for a line",
        ),
        (
            {"smooth": {"spectral": "boxcar", "width": 50}},
            CUBE,
            ("smooth", "width"),
            "50 channels are more than the cube's 40",
        ),
        (
            {"rebin": {"channels": 41}},
            CUBE,
            ("rebin", "channels"),
            "41 channels are more than the cube's 40",
        ),
        (
            {"rebin": {"pixels": 25}},
            CUBE,
            ("rebin", "pixels"),
            "blocks of 25 pixels leave nothing of 64 x 48",
        ),
        (
            {"regrid": {"start": "2100km/s"}},
            replace(CUBE, axis=replace(AXIS, rest_hz=0.0)),
            ("regrid", "start"),
            "a velocity needs a rest frequency, and the cube has none: give a frequency, or set "
            "image.restfreq",
        ),
        (
            {"regrid": {"start": "2120km/s", "width": "3km/s", "nchan": 500}},
            CUBE,
            ("regrid", "nchan"),
            "500 channels reach from 2120 to 3617 km/s, the cube from 2196.25 to 2113.94 km/s: "
            "planes beyond would be blank; leave nchan out to take as many as there are",
        ),
    ],
)
def test_what_does_not_fit(
    tables: dict[str, Any], cube: Cube, key: tuple[str, ...], message: str
) -> None:
    (wrong,) = Chain(cube, settings(**tables)).problems(1e9)
    assert wrong.key == key
    assert wrong.message == message


def test_memory_that_does_not_hold_a_plane() -> None:
    large = replace(CUBE, n_x=20000, n_y=20000)
    (wrong,) = Chain(large, settings(smooth={"beam": "20arcsec"})).problems(2e9)
    assert wrong.key == ()
    assert wrong.message.startswith("planes of 20000 x 20000 pixels need ")
    assert wrong.message.endswith(
        " to be processed one at a time, resources.memory_per_core is 2 GB"
    )


def test_channels_at_once_follow_the_memory() -> None:
    chain = Chain(replace(CUBE, n_x=2048, n_y=2048), settings(smooth={"beam": "20arcsec"}))
    counts = [chain.at_once(budget) for budget in (5e8, 8e8, 2e9)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
    for budget, count in zip((8e8, 2e9), counts[1:], strict=True):
        assert chain.memory_bytes(count) <= budget
    assert chain.memory_bytes(0) > BASE_BYTES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0~5;a", "'a' is no range of channels; write for example \"0~5;40~45\", counted from 0 in "
                  "the cube"),
        ("5~3", "'5~3' ends before it begins"),
        ("0~5;", "'' is no range of channels; write for example \"0~5;40~45\", counted from 0 in "
                 "the cube"),
    ],
)  # fmt: skip
def test_channels_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        channels(text)


def test_channels_are_each_once() -> None:
    assert channels("4; 0 ~ 2;1~3") == (0, 1, 2, 3, 4)
