"""Plots are drawn from arrays, without CASA; odd input must not break them."""

import numpy as np
import pytest
from casarun.qa import plots, sky, tiles
from casarun.qa.datasets import averaged, field_groups, plot
from casarun.qa.metrics import histogram
from casarun.qa.style import short
from PIL import Image


def is_drawn(path):
    """Say whether a PNG has more than an empty page."""
    pixels = np.asarray(Image.open(path).convert("L"))
    return pixels.shape[1] >= 500 and np.count_nonzero(pixels < 250) > 2000


def visibilities(n_rows=500, fields=(0, 1, 2)):
    random = np.random.default_rng(1)
    shape = (2, n_rows)
    return plots.Visibilities(
        time_s=np.sort(random.uniform(4.3e9, 4.3e9 + 5000, n_rows)),
        field=random.choice(fields, n_rows),
        u_klambda=random.normal(0, 2, n_rows),
        v_klambda=random.normal(0, 2, n_rows),
        amplitude_jy=np.abs(random.normal(1, 0.1, shape)),
        phase_deg=random.normal(0, 10, shape),
    )


GROUPS = {"<b>$x^2$</b>": [0], "1445+099": [1], "$N5921_2": [2]}


def test_visibility_plots_with_hostile_names(tmp_path):
    vis = visibilities()
    calibrators = ["<b>$x^2$</b>", "1445+099"]
    drawn = [
        plots.amplitude_against_uv_distance(tmp_path / "a.png", vis, GROUPS, calibrators),
        plots.against_time(tmp_path / "t.png", vis, GROUPS, calibrators),
        plots.uv_coverage(tmp_path / "u.png", {"$N": (vis.u_klambda, vis.v_klambda)}, 8.0),
    ]
    assert all(is_drawn(path) for path in drawn)


def test_a_group_that_is_all_flagged_is_said_to_be(tmp_path):
    vis = visibilities()
    vis.amplitude_jy[:, vis.field == 1] = np.nan
    path = plots.amplitude_against_uv_distance(tmp_path / "a.png", vis, GROUPS, [])
    assert is_drawn(path)


@pytest.mark.parametrize(
    ("what", "against"), [("amplitude", "frequency"), ("phase", "time"), ("delay", "time")]
)
def test_solutions_with_flagged_ones(tmp_path, what, against):
    random = np.random.default_rng(2)
    tile = np.repeat(np.arange(27), 20)
    good = tile != 5
    x = np.tile(np.linspace(1400, 1500, 20), 27)
    series = [tiles.Series(hand, tile, x, random.normal(1, 0.1, 540), good) for hand in "RL"]
    names = [f"ea{i:02d}" for i in range(27)]
    path = plots.solutions(tmp_path / "s.png", "title", names, series, what, against)
    assert is_drawn(path)


def test_a_table_of_which_everything_is_flagged_is_drawn(tmp_path):
    tile = np.zeros(3, np.int64)
    nothing = tiles.Series("R", tile, np.arange(3.0), np.ones(3), np.zeros(3, bool))
    assert plots.solutions(tmp_path / "s.png", "t", ["1"], [nothing], "amplitude", "time").is_file()


@pytest.mark.parametrize("number", [1, 6, 7, 27, 28, 64])
def test_tiles_hold_all_antennas(number):
    columns = tiles._columns(number)
    rows = -(-number // columns)
    assert columns * rows >= number
    assert columns * (rows - 1) < number


def test_tile_axis_scales_into_its_range():
    axis = tiles.Axis("x", 10.0, 20.0, (), str)
    assert axis.scaled(np.array([10.0, 15.0, 20.0, 99.0])).tolist() == [0.0, 0.5, 1.0, 1.0]


SKY = sky.Sky("J2000", "SIN", (230.5, 5.07), (32.0, 32.0), (-15 / 3600, 15 / 3600), (53, 47, 8))


def test_wcs_puts_the_reference_where_it_belongs():
    for corner in ((0, 0), (10, 20)):
        found = SKY.wcs(corner).wcs_pix2world(32.0 - corner[0], 32.0 - corner[1], 0)
        assert [float(value) for value in found] == pytest.approx([230.5, 5.07])


def test_maps_of_a_masked_image(tmp_path):
    pixels = np.random.default_rng(1).normal(0, 1, (64, 64))
    pixels[:10] = np.nan
    mask = np.zeros((64, 64), bool)
    mask[30:34, 30:34] = True
    drawn = [sky.Map("image $", pixels, "mJy/beam", (-3.0, 10.0), contour=mask)]
    assert is_drawn(sky.maps(tmp_path / "m.png", SKY, drawn))
    drawn.append(sky.moment_map(1, pixels, "km/s"))
    assert is_drawn(sky.maps(tmp_path / "m2.png", SKY, drawn, (20, 20, 60, 60)))


def test_maps_of_a_blank_image(tmp_path):
    blank = np.full((64, 64), np.nan)
    limits = sky.brightness_limits(blank, None, None)
    drawn = [sky.Map("image", blank, "Jy/beam", limits), sky.moment_map(0, blank, "Jy/beam.km/s")]
    assert sky.maps(tmp_path / "m.png", SKY, drawn).is_file()


def test_beam_histogram_and_spectrum(tmp_path):
    pixels = np.random.default_rng(1).normal(0, 1e-3, (64, 64))
    psf = np.exp(-(np.hypot(*np.mgrid[-20:21, -20:21]) ** 2) / 8)
    path = sky.beam_and_histogram(
        tmp_path / "b.png", (psf, SKY), histogram(pixels), (1e-3, 0.0, 4096), "Jy/beam"
    )
    assert is_drawn(path)
    x = (np.linspace(1400, 1600, 46), "radio velocity (km/s)")
    line = np.exp(-(((x[0] - 1500) / 20) ** 2))
    line[3] = np.nan
    path = sky.spectrum(tmp_path / "s.png", x, (line, "a"), (line, "b"), np.full(46, 0.1))
    assert is_drawn(path)


def test_brightness_limits_show_noise_and_peak():
    pixels = np.zeros((4, 4))
    assert sky.brightness_limits(pixels, 1.0, 30.0) == (-3.0, 30.0)
    assert sky.brightness_limits(pixels, 1.0, 4000.0) == (-3.0, 60.0)
    assert sky.brightness_limits(pixels, 1.0, 4.0) == (-3.0, 6.0)


def test_averages_leave_out_flagged_channels():
    data = np.array([[[1 + 0j], [3 + 0j], [100 + 0j]]])
    flag = np.array([[[False], [False], [True]]])
    assert averaged(data, flag)[0, 0] == 2 + 0j
    assert np.isnan(averaged(data, np.ones_like(flag))[0, 0])


def test_field_groups_take_ids_and_names_and_gather_many_targets():
    names = ["3C286", "J1445", *(f"t{i}" for i in range(6))]
    roles = {"flux": [0], "bandpass": "3C286", "phase": (1,), "targets": [2, "t1"]}
    roles["phase_of"] = {"2": [1]}
    groups, calibrators = field_groups(roles, names, set(range(8)))
    assert groups == {"3C286": [0], "J1445": [1], "t0": [2], "t1": [3]}
    assert calibrators == ["3C286", "J1445"]
    groups, _ = field_groups({"targets": range(2, 8)}, names, set(range(8)))
    assert groups == {"targets (6 fields)": [2, 3, 4, 5, 6, 7]}


def test_plot_paths_start_below_qa(tmp_path):
    made = plot("uv", tmp_path / "qa" / "plots" / "apr13" / "uv.png", "t", "c")
    assert made["file"] == "plots/apr13/uv.png"


def test_short_names_start_no_mathematics():
    assert short("a$b$") == r"a\$b\$"
    assert short("x" * 30, 10) == "x" * 9 + "…"


def test_clock_and_date():
    assert plots.clock(4304481524.999771) == "09:18"
    assert plots.date(4304481524.999771) == "13 April 1995"
