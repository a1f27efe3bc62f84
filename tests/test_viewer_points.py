"""What is written of solutions and visibilities for the report's plot viewer."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from casarun.casa.read import Layout, Rows
from casarun.qa import viewer_points, viewer_visibilities
from casarun.qa.viewer_points import write_solutions
from casarun.qa.viewer_visibilities import Averages
from support.viewer_tables import EPOCH_S, caltable
from test_viewer_images import content

START_S = 797_764_500.0


def columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of a script of points."""
    found = content(path)
    read = {}
    for key, one in found["columns"].items():
        if "all" in one:
            read[key] = np.full(found["number"], one["all"])
        else:
            values = np.frombuffer(b64decode(one["data"]), f"<{one['type']}")
            read[key] = values + np.float64(one.get("from", 0))
    return read


def test_solutions_come_back_with_what_they_are_of(tmp_path: Path) -> None:
    table = caltable()
    path = write_solutions(tmp_path / "b.js", table, "bandpass", "bandpass", ("R", "L"))
    about, read = content(path), columns(path)
    assert [axis["key"] for axis in about["x"]] == ["frequency", "time"]
    assert [axis["key"] for axis in about["y"]] == ["amplitude", "phase"]
    assert about["names"]["antenna"] == list(table.antennas)
    assert about["number"] == table.values.size
    assert about["remark"] == ""
    shape = table.values.shape
    assert read["amplitude"].reshape(shape) == pytest.approx(np.abs(table.values), rel=1e-6)
    assert read["phase"].reshape(shape) == pytest.approx(np.degrees(np.angle(table.values)),
                                                         abs=1e-4)  # fmt: skip
    assert np.array_equal(read["flagged"].reshape(shape), table.flag)
    assert np.array_equal(read["antenna"].reshape(shape)[0, 0], table.antenna)
    assert np.array_equal(read["channel"].reshape(shape)[1, :, 0], [0, 1, 2, 3])
    frequency = read["frequency"].reshape(shape)
    assert frequency[0, :, 0] == pytest.approx(table.frequencies_hz[0] / 1e6, abs=1e-6)
    assert read["time"].reshape(shape)[0, 0] == pytest.approx(table.time_s - EPOCH_S, abs=1e-3)


def test_what_a_table_leaves_as_it_is_is_no_plot(tmp_path: Path) -> None:
    table = caltable()
    phases = replace(table, values=table.values / np.abs(table.values))
    about = content(write_solutions(tmp_path / "p.js", phases, "phase-int", "phases", ("X", "Y")))
    assert [axis["key"] for axis in about["y"]] == ["phase"]
    delays = replace(table, values=np.real(table.values))
    about = content(write_solutions(tmp_path / "k.js", delays, "delay", "delays", ("X", "Y")))
    assert [(axis["key"], axis["unit"]) for axis in about["y"]] == [("delay", "ns")]
    flagged = replace(table, flag=np.ones_like(table.flag))
    about = content(write_solutions(tmp_path / "f.js", flagged, "amp", "gains", ("X", "Y")))
    assert [axis["key"] for axis in about["y"]] == ["amplitude"]


def test_large_tables_are_thinned_and_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_points, "MOST_POINTS", 40)
    table = caltable()
    path = write_solutions(tmp_path / "b.js", table, "bandpass", "bandpass", ("R", "L"))
    assert content(path)["remark"] == "One of 3 times of 4 is here."
    read = columns(path)
    assert len(np.unique(read["time"])) == 2
    assert set(read["antenna"]) == set(table.antenna)
    monkeypatch.setattr(viewer_points, "_LEAST_CHANNELS", 2)
    path = write_solutions(tmp_path / "b.js", table, "bandpass", "bandpass", ("R", "L"))
    assert content(path)["remark"].startswith("One of 2 channels is here.")


LAYOUT = Layout(
    fields=("cal", "target"), antennas=("A", "B", "C"), spw_of=(0,),
    correlations_of=(("RR", "RL", "LR", "LL"),),
    frequencies_hz=(1.4e9 + 1e6 * np.arange(8),), n_rows=48, columns=("DATA",),
)  # fmt: skip


def chunk(seed: int, n_times: int = 4) -> Rows:
    """Return rows of two scans of two fields: four baselines of which one is an antenna's own."""
    random = np.random.default_rng(seed)
    first, second = (np.tile(one, n_times) for one in ([0, 0, 1, 0], [1, 2, 2, 0]))
    n_rows = 4 * n_times
    scan = np.repeat(1 + np.arange(n_times) // (n_times // 2), 4)
    return Rows(
        ddid=0, spw=0, time_s=EPOCH_S + START_S + 10.0 * np.repeat(np.arange(n_times), 4),
        antenna1=first, antenna2=second, field=scan - 1, scan=scan,
        uvw_m=random.normal(0, 100, (3, n_rows)), flag=random.random((4, 8, n_rows)) < 0.2,
        data=random.normal(size=(4, 8, n_rows)) + 1j * random.normal(size=(4, 8, n_rows)),
    )  # fmt: skip


def test_baselines_are_averaged_over_scans_and_channels(tmp_path: Path) -> None:
    averages, chunks = Averages(LAYOUT), [chunk(1), chunk(2)]
    for one in chunks:
        averages.add(one)
    (_, path), _ = averages.write(tmp_path)
    read = columns(path)
    assert len(read["scan"]) == 2 * 3 * 2
    assert content(path)["names"]["correlation"] == ["LL", "LR", "RL", "RR"]
    for point in range(len(read["scan"])):
        hand = {3: 0, 0: 3}[int(read["correlation"][point])]  # RR, LL
        real, metres, times = [], [], []
        for one in chunks:
            rows = np.flatnonzero(
                (one.scan == read["scan"][point]) & (one.antenna1 == read["antenna1"][point])
                & (one.antenna2 == read["antenna2"][point])
            )  # fmt: skip
            assert one.data is not None
            real.append(one.data[hand][:, rows][~one.flag[hand][:, rows]])
            metres.append(np.hypot(*one.uvw_m[:2, rows]))
            times.append(one.time_s[rows])
        mean = np.concatenate(real).mean()
        assert read["amplitude"][point] == pytest.approx(abs(mean), rel=1e-5)
        assert read["phase"][point] == pytest.approx(np.degrees(np.angle(mean)), abs=1e-3)
        klambda = np.concatenate(metres).mean() * LAYOUT.frequencies_hz[0].mean() / 299792458 / 1e3
        assert read["uvdist"][point] == pytest.approx(klambda, rel=1e-5)
        assert read["time"][point] == pytest.approx(np.mean(times) - EPOCH_S, abs=1e-3)


def test_spectra_are_averaged_over_an_antennas_baselines(tmp_path: Path) -> None:
    averages, one = Averages(LAYOUT), chunk(3)
    averages.add(one)
    _, (_, path) = averages.write(tmp_path)
    read = columns(path)
    assert set(read["antenna"]) == {0, 1, 2}
    for point in range(0, len(read["antenna"]), 7):
        hand = {3: 0, 0: 3}[int(read["correlation"][point])]
        channel = np.argmin(np.abs(LAYOUT.frequencies_hz[0] / 1e6 - read["frequency"][point]))
        antenna = read["antenna"][point]
        rows = np.flatnonzero(
            ((one.antenna1 == antenna) | (one.antenna2 == antenna)) & one.cross
            & (one.field == read["field"][point])
        )  # fmt: skip
        assert one.data is not None
        mean = one.data[hand, channel, rows][~one.flag[hand, channel, rows]].mean()
        assert read["amplitude"][point] == pytest.approx(abs(mean), rel=1e-5)


def test_channels_are_binned_to_a_bounded_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_visibilities, "_CHANNELS", 3)
    averages = Averages(LAYOUT)
    averages.add(chunk(1))
    _, (_, path) = averages.write(tmp_path)
    assert np.unique(columns(path)["frequency"]) == pytest.approx([1401, 1404, 1406.5])
    assert content(path)["remark"] == "Each point is the mean of up to 3 channels."


def test_blank_and_flagged_data_have_no_part(tmp_path: Path) -> None:
    one = chunk(1)
    assert one.data is not None
    bad = replace(one, data=np.where(one.flag, np.nan, one.data), flag=one.flag * False)
    averages = {"flagged": Averages(LAYOUT), "blank": Averages(LAYOUT), "none": Averages(LAYOUT)}
    averages["flagged"].add(one)
    averages["blank"].add(bad)
    averages["none"].add(replace(one, flag=one.flag | True))
    averages["none"].add(replace(one, data=None))
    read = [columns(averages[key].write(tmp_path / key)[0][1]) for key in ("flagged", "blank")]
    assert np.array_equal(read[0]["amplitude"], read[1]["amplitude"])
    assert averages["none"].write(tmp_path) == []


def test_memory_is_bounded_by_leaving_scans_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_visibilities, "_MOST_SUMS", 40)
    averages = Averages(LAYOUT)
    for number in range(40):
        one = chunk(number)
        averages.add(replace(one, scan=one.scan + 2 * number))
        assert sum(len(part["scan"]) for part in averages._baselines) <= 52
    (_, path), _ = averages.write(tmp_path)
    scans = np.unique(columns(path)["scan"])
    every = int(scans[1] - scans[0])
    assert content(path)["remark"] == f"One of {every} scans is here."
    assert len(scans) >= 2
    assert np.array_equal(scans, np.arange(every, 81, every))


def test_of_many_visibilities_some_go_into_spectra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer_visibilities, "_SPECTRUM_SAMPLES", 48 * 32 // 2)
    averages, first = Averages(LAYOUT), Averages(LAYOUT)
    averages.add(chunk(1))
    averages.add(chunk(2))
    first.add(chunk(1))
    paths = [one.write(tmp_path / name)[1][1] for name, one in (("a", averages), ("b", first))]
    read = [columns(path)["amplitude"] for path in paths]
    assert np.array_equal(read[0], read[1])
    assert content(paths[0])["remark"] == "One of 2 parts of the data went into them."
