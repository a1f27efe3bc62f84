"""``casarun plot``: pictures of real data and calibration tables, and what it says."""

from pathlib import Path

import numpy as np
import pytest
from casarun.api.plotting import Request, plot
from casarun.casa import read
from casarun.casa.config import configure, packaged_data
from casarun.casa.visibility_average import Averaging
from casarun.casa.visibility_bins import Cloud, Plot, fill
from casarun.casa.visibility_blocks import choose
from casarun.casa.visibility_contents import contents
from casarun.cli import run
from casarun.errors import DataError
from casarun.qa import visibility_panels as panels
from PIL import Image

pytestmark = pytest.mark.casa


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    """Calibrate the demo's flux calibrator."""
    configure()
    import casatasks

    folder = tmp_path_factory.mktemp("reduced")
    ms, gains, delays = (str(folder / name) for name in ("ngc.ms", "bandpass", "delays"))
    casatasks.importuvfits(str(packaged_data() / "demo/NGC5921.fits"), ms)
    casatasks.flagdata(ms, autocorr=True, flagbackup=False)
    casatasks.setjy(ms, field="0", standard="Perley-Butler 2017", usescratch=True)
    casatasks.bandpass(ms, gains, field="0", refant="15", solint="inf", minsnr=1)
    casatasks.gaincal(ms, delays, field="0", refant="15", solint="inf", gaintype="K")
    casatasks.applycal(ms, field="0", gaintable=[gains])
    return folder


def picture(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def has_colour(pixels, wanted, tolerance=12):
    rgb = np.array([int(wanted[i : i + 2], 16) for i in (1, 3, 5)])
    return bool((np.abs(pixels - rgb).max(axis=2) <= tolerance).any())


def test_residuals_are_corrected_less_model(reduced, tmp_path):
    ms = reduced / "ngc.ms"
    wanted = Request(x="uvdist", y=("amp",), column="residual", selection={"field": "0"})
    drawn = plot(ms, wanted, tmp_path / "a.png")
    with read.opened(ms) as main:
        part = main.query("FIELD_ID==0")
        flag = part.getcol("FLAG") | part.getcol("FLAG_ROW")
        left = np.abs(part.getcol("CORRECTED_DATA") - part.getcol("MODEL_DATA"))[~flag]
        part.close()
    assert drawn.number == left.size
    about = contents(ms)
    cloud = Cloud(about, Plot("channel", "amp"))
    fill(ms, about, [cloud], choose(about, {"field": "0"}), "residual")
    ((_, counts),) = cloud.counts()
    expected, _ = np.histogram(left, bins=cloud.y.edges)
    assert np.abs(counts.sum(axis=0) - expected).sum() <= 4
    assert drawn.paths == (tmp_path / "a.png",)
    assert picture(drawn.paths[0]).std() > 5


def test_a_bandpass_is_plotted_as_it_is_in_the_table(reduced, tmp_path):
    table = reduced / "bandpass"
    about = contents(table)
    cloud = Cloud(about, Plot("frequency", "amp", colour="corr", page="antenna"))
    fill(table, about, [cloud])
    points = cloud.points
    solved = read.caltable(table)
    good = ~solved.flag
    assert len(points.y) == np.count_nonzero(good)
    np.testing.assert_allclose(np.sort(points.y), np.sort(np.abs(solved.values[good])))
    mine = (points.page == 4) & (points.colour == 1)
    row = int(np.flatnonzero(solved.antenna == 4)[0])
    np.testing.assert_allclose(points.y[mine], np.abs(solved.values[1, :, row][good[1, :, row]]))
    np.testing.assert_allclose(points.x[mine], solved.frequencies_hz[0][good[1, :, row]] / 1e6)
    drawn = plot(table, Request(page="antenna", colour="corr", y=("amp",)), tmp_path / "b.png")
    assert [path.name for path in drawn.paths] == ["b.png", "b-2.png"]  # 28 antennas, 16 a picture
    assert has_colour(picture(drawn.paths[0]), panels.SERIES[0])
    assert has_colour(picture(drawn.paths[0]), panels.SERIES[1])


def test_delays_have_their_axis(reduced, tmp_path):
    drawn = plot(reduced / "delays", Request(), tmp_path / "d.png")
    assert drawn.number == np.count_nonzero(~read.caltable(reduced / "delays").flag)
    with pytest.raises(DataError, match="there is no axis 'phase' of a K Jones table; axes: time"):
        plot(reduced / "delays", Request(y=("phase",)))


def test_averages_are_drawn_as_points(reduced, tmp_path):
    wanted = Request(x="time", y=("amp", "phase"), colour="antenna1",
                     averaging=Averaging(channels=0, time_s=np.inf))  # fmt: skip
    drawn = plot(reduced / "ngc.ms", wanted, tmp_path / "c.pdf")
    assert drawn.what == "averages of visibilities"
    assert drawn.number < 10_000
    assert drawn.paths[0].read_bytes().startswith(b"%PDF")


def test_many_kinds_get_a_scale_and_few_get_markers():
    few = panels.palette("spw", [0, 3, 5], str)
    assert few.distinct
    assert len(set(few.colours)) == 3
    many = panels.palette("scan", range(40), str)
    assert not many.distinct
    brightness = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in many.colours]
    assert all(np.diff(brightness) > 0)  # told apart without colours, too
    np.testing.assert_array_equal(few.rank(np.array([5, 0, 3])), [2, 0, 1])


def test_single_counts_are_widened_only_where_few_cells_have_any():
    counts = np.zeros((200, 200))
    counts[50, 60] = 3
    assert np.count_nonzero(panels.spread(counts)) == 9
    assert panels.spread(counts).max() == 3
    full = np.ones((200, 200))
    assert panels.spread(full) is full


COMMANDS = [
    (["--x", "tme"], "there is no axis 'tme' of visibilities; axes: time, frequency, channel, "
     "uvdist, uvwave, u, v, w, uwave, vwave, wwave, baseline, antenna, antenna1, antenna2, field, "
     "scan, spw, corr, elevation, azimuth, hourangle, parang, amp, phase, real, imag, weight, "
     "flagged; did you mean 'time'?\n"),
    (["--page", "week"], "'week' is nothing to tell apart by; possible: antenna, antenna1, "
     "antenna2, spw, field, corr, scan, baseline\n"),
    (["--column", "corected"], "there is no column 'corected'; columns here: data, corrected, "
     "model, residual, data-model\n"),
    (["--out", "x.jpg"], "x.jpg: a picture is written as .png, .pdf, .svg\n"),
    (["--y-range", "1e9~2e9"], "{ms}: all that is selected is flagged or outside of the ranges\n"),
    (["--x-range", "0~5"], "a part of the time is chosen by --timerange, not by --x-range\n"),
    (["--field", "M51"], "{ms}\n--field 'M51': no field matches 'M51'; fields: 1331+30500002_0, "
     "1445+09900002_0, N5921_2\n"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), COMMANDS, ids=[words[0] for words, _ in COMMANDS])
def test_what_is_wrong_is_said(reduced, capfd, monkeypatch, tmp_path, words, said):
    monkeypatch.chdir(tmp_path)
    ms = reduced / "ngc.ms"
    assert run(["plot", str(ms), *words]) == 2
    assert capfd.readouterr().err == said.format(ms=ms)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--avgtime", "soon"], "--avgtime"),
        (["--avgchannel", "0"], "'0' is no number of channels, nor 'all'"),
        (["--scalar"], "nothing is averaged: give --avgtime or --avgchannel"),
        (["--x-range", "5~1"], "'5~1' is no range like 0~1.5"),
    ],
)
def test_options_are_checked(capfd, words, said):
    assert run(["plot", "no.ms", *words]) == 2
    assert said in capfd.readouterr().err


def test_a_picture_is_named_after_what_it_shows(reduced, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    words = ["--x", "elevation", "--y", "real", "--y", "imag", "--field", "0", "--avgtime", "60s"]
    assert run(["plot", str(reduced / "ngc.ms"), *words]) == 0
    said = capfd.readouterr()
    assert said.out == "ngc.ms.real+imag-elevation.png\n"
    assert said.err.endswith(" averages of visibilities\n")
    assert "SEVERE" not in said.err  # CASA's words about leap seconds are none of the user's
    assert (tmp_path / "ngc.ms.real+imag-elevation.png").stat().st_size > 10_000


def test_files_that_are_no_tables_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no MeasurementSet or calibration table"):
        plot(tmp_path / "x.ms", Request())
    fits = Path(packaged_data()) / "demo/NGC5921.fits"
    with pytest.raises(DataError, match="casarun imports UVFITS, ASDMs and tars in a run"):
        plot(fits, Request())
