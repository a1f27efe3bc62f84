"""What is read for plots, held against CASA's own tools on real data and a simulated sky."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from casarun.casa import read
from casarun.casa.config import configure, packaged_data
from casarun.casa.visibility_average import Averaging
from casarun.casa.visibility_bins import Averages, Cloud, Plot, fill
from casarun.casa.visibility_blocks import Selection, blocks, choose, column
from casarun.casa.visibility_contents import contents
from casarun.errors import DataError
from support import skies

pytestmark = pytest.mark.casa


@pytest.fixture(scope="module")
def ngc5921(tmp_path_factory):
    """Import the demo, flag a part of it, and add a column of corrected data."""
    configure()
    import casatasks

    ms = tmp_path_factory.mktemp("ngc") / "ngc5921.ms"
    casatasks.importuvfits(str(packaged_data() / "demo/NGC5921.fits"), str(ms))
    casatasks.flagdata(str(ms), mode="quack", quackinterval=20.0, flagbackup=False)
    casatasks.flagdata(str(ms), antenna="3", scan="2", flagbackup=False)
    return ms


def all_of(ms, about, name, chosen=None, what="data", averaging=None):
    """Return every value of an axis, as points."""
    cloud = Cloud(about, Plot(name, name if name not in ("amp", "phase") else "time"))
    read_ = list(blocks(ms, about, chosen or choose(about, {}), what, {"WEIGHT", "horizon"}))
    values = []
    for block in read_:
        for found in cloud.reader.samples(block):
            values.append(found.flat(found.x))
    return np.concatenate(values)


@pytest.mark.parametrize(
    ("selection", "own"),
    [
        ({}, {}),
        ({"field": "N5921*", "spw": "0:6~56"}, {"field": "2", "spw": "0:6~56"}),
        ({"antenna": "1&2"}, {}),
        ({"antenna": "!15;!3", "correlation": "RR"}, {}),
        ({"uvrange": ">1klambda", "scan": "1,3"}, {}),
        ({"timerange": "09:30:00~10:10:00"}, {}),
    ],
)
def test_amplitudes_are_those_of_visstat(ngc5921, selection, own):
    import casatasks

    ms = str(ngc5921)
    about = contents(ms)
    values = all_of(ms, about, "amp", replace(choose(about, selection), autocorrelations=True))
    (found,) = casatasks.visstat(
        ms, axis="amplitude", datacolumn="data", useflags=True, **(selection | own)
    ).values()
    assert len(values) == found["npts"]
    assert values.mean() == pytest.approx(found["mean"], rel=1e-5)
    assert values.max() == pytest.approx(found["max"], rel=1e-5)
    assert values.std(ddof=1) == pytest.approx(found["stddev"], rel=1e-4)


def test_a_histogram_of_the_demo_is_that_of_numpy(ngc5921):
    about = contents(ngc5921)
    cloud = Cloud(about, Plot("uvdist", "amp", colour="field", cells=(100, 80)))
    fill(ngc5921, about, [cloud], column="data")  # no autocorrelations, which nobody asked for
    with read.opened(ngc5921) as main:
        data, flag = main.getcol("DATA"), main.getcol("FLAG") | main.getcol("FLAG_ROW")
        flag |= main.getcol("ANTENNA1") == main.getcol("ANTENNA2")
        uvw, field = main.getcol("UVW"), main.getcol("FIELD_ID")
    distance = np.broadcast_to(np.hypot(uvw[0], uvw[1]), data.shape)
    for (_, number), counts in cloud.counts():
        good = ~flag & (field == number)
        expected, _, _ = np.histogram2d(
            distance[good], np.abs(data[good]), bins=(cloud.x.edges, cloud.y.edges)
        )
        assert np.abs(counts - expected).sum() <= 4  # of 2.8 million, at an edge
        assert counts.sum() == expected.sum() == np.count_nonzero(good)


def test_averages_are_those_of_split(ngc5921, tmp_path):
    import casatasks

    averaged = tmp_path / "averaged.ms"
    casatasks.split(str(ngc5921), str(averaged), field="0", datacolumn="data", width=9,
                    timebin="1e6s", keepflags=False)  # fmt: skip
    about = contents(ngc5921)
    ours = Cloud(about, Plot("baseline", "amp", colour="corr"))
    chosen = replace(choose(about, {"field": "0"}), autocorrelations=True)
    fill(ngc5921, about, [ours], chosen, "data", Averaging(channels=9, time_s=np.inf))
    theirs_about = contents(averaged)
    theirs = Cloud(theirs_about, Plot("baseline", "amp", colour="corr"))
    fill(averaged, theirs_about, [theirs], Selection(autocorrelations=True), "data")
    mine, its = ours.points, theirs.points
    assert len(mine.y) == len(its.y) > 4000
    np.testing.assert_allclose(np.sort(mine.y), np.sort(its.y), rtol=2e-4)
    for points in (mine, its):
        points.order = np.lexsort((points.corr, points.x))
    np.testing.assert_array_equal(mine.x[mine.order], its.x[its.order])


def test_the_horizon_is_that_of_measures(ngc5921):
    from casatools import measures, quanta

    me, qa = measures(), quanta()  # AZELGEO stands on the ellipsoid, AZEL does not
    about = contents(ngc5921)
    horizon = about.horizon()
    with read.opened(f"{ngc5921}/ANTENNA") as table:
        middle = np.median(table.getcol("POSITION"), axis=1)
    with read.opened(f"{ngc5921}/FIELD") as table:
        ra, dec = table.getcell("PHASE_DIR", 2)[:, 0]
    site = me.position("ITRF", *(qa.quantity(float(x), "m") for x in middle))
    times = np.linspace(about.observation.start_mjd_s, about.observation.end_mjd_s, 7)
    direction = me.direction("J2000", qa.quantity(ra, "rad"), qa.quantity(dec, "rad"))
    zenith = me.direction("AZELGEO", "0deg", "90deg")
    for time in times:
        me.doframe(site)
        me.doframe(me.epoch("UTC", qa.quantity(time, "s")))
        azel, hadec = me.measure(direction, "AZELGEO"), me.measure(direction, "HADEC")
        parang = me.posangle(direction, zenith)["value"]
        at = (np.array([time]), np.array([2]))
        found = [
            np.degrees(getattr(horizon, name)(*at)[0])
            for name in ("azimuth", "elevation", "hour_angle", "parallactic_angle")
        ]
        expected = [np.degrees(azel["m0"]["value"]) % 360, np.degrees(azel["m1"]["value"]),
                    np.degrees(hadec["m0"]["value"]), parang]  # fmt: skip
        np.testing.assert_allclose(found[:3], expected[:3], atol=0.003)
        # measures counts it from the pole of J2000, 4.7 years from that of date.
        assert found[3] == pytest.approx(expected[3], abs=0.03)


def test_rows_are_those_of_the_ms_tool(ngc5921):
    from casatools import ms

    tool = ms()
    tool.open(str(ngc5921))
    tool.msselect({"baseline": "2&7", "scan": "1", "uvdist": "0~400m"})
    there = tool.getdata(["uvdist", "time", "u", "ha"])
    tool.close()
    about = contents(ngc5921)
    chosen = choose(about, {"antenna": "2&7", "scan": "1", "uvrange": "0~400m"})
    found = list(blocks(ngc5921, about, chosen, "", {"horizon"}))
    rows = np.concatenate([b.time_s for b in found])
    np.testing.assert_allclose(rows, there["time"])
    uvw = np.concatenate([b.uvw_m for b in found], axis=1)
    np.testing.assert_allclose(np.hypot(uvw[0], uvw[1]), there["uvdist"])


def test_a_simulated_sky_has_its_fluxes(sky):
    vis, truth = sky
    about = contents(vis)
    averages = Averages(about, Plot("channel", "real", colour="field", cells=(4, 1)))
    phases = Averages(about, Plot("scan", "phase", colour="field"))
    fill(vis, about, [averages, phases], choose(about, {"field": "0,1"}), "data")
    spw = truth.sky.spws[0]
    for (_, field), number, mean, spread in averages.averages():
        for channel in range(4):
            flux = truth.flux_jy(field, spw.start_hz + channel * spw.width_hz)
            error = truth.sky.noise_jy / np.sqrt(number[channel])
            assert abs(mean[channel] - flux) < 5 * error
            assert spread[channel] == pytest.approx(truth.sky.noise_jy, rel=0.1)
    for _, number, mean, _ in phases.averages():
        assert np.all(np.abs(mean[number > 0]) < 0.1)


def test_windows_of_several_shapes_and_rows_out_of_order(tmp_path):
    sky = skies.Sky(fields=(skies.PHASE_CAL,), scans=(0, 0), n_antennas=6, noise_jy=0.0,
                    spws=(skies.Spw(), skies.Spw(2.0e9, 2e6, 7)))  # fmt: skip
    vis = tmp_path / "two.ms"
    skies.build(vis, sky)
    with read.opened(vis) as main:
        n_rows = main.nrows()
        backwards = main.selectrows(np.arange(n_rows)[::-1].tolist())
        backwards.copy(str(tmp_path / "turned.ms"), deep=True).close()
        backwards.close()
    found = []
    for ms in (vis, tmp_path / "turned.ms"):
        about = contents(ms)
        assert [spw.n_chan for spw in about.observation.spws] == [4, 7]
        cloud = Cloud(about, Plot("frequency", "amp", colour="spw"))
        fill(ms, about, [cloud], None, "data", Averaging(time_s=60.0))
        points = cloud.points
        np.testing.assert_allclose(points.y, 2.5, rtol=1e-5)
        found.append(np.sort(points.x))
    np.testing.assert_array_equal(found[0], found[1])
    assert len(found[0]) == 2 * 2 * 15 * 2 * (4 + 7)  # intervals, hands, baselines, scans, channels


def test_what_is_not_there_is_named(ngc5921, tmp_path):
    about = contents(ngc5921)
    with pytest.raises(DataError) as said:
        choose(about, {"field": "NGC1068", "spw": "0:3~99"})
    assert str(said.value) == (
        f"{ngc5921}\n"
        "--field 'NGC1068': no field matches 'NGC1068'; fields: 1331+30500002_0, 1445+09900002_0, "
        "N5921_2\n"
        "--spw '0:3~99': '0:3~99' asks for channel 99 of spw 0, which has 63 channels, 0~62: CASA "
        "would take the nearest one without a word; spws: 0 (63 channels)"
    )
    with pytest.raises(DataError) as said:
        column(about, "corrected")
    assert str(said.value) == (
        f"{ngc5921} has no CORRECTED_DATA, so no 'corrected'; columns here: data"
    )
    assert column(about) == "data"
    with pytest.raises(DataError, match="no rows are selected: each part of the selection"):
        list(blocks(ngc5921, about, choose(about, {"field": "0", "scan": "3"})))
    with pytest.raises(DataError, match="cannot be opened as a casacore table"):
        contents(tmp_path / "nothing.ms")
    with pytest.raises(DataError, match="is neither a MeasurementSet nor a calibration table"):
        contents(Path(ngc5921) / "ANTENNA")
