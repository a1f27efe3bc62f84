"""QA of real CASA products made from a simulated sky whose truth is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from casarun.casa import image_file, read
from casarun.errors import DataError, StepFailedError
from casarun.qa import collect
from casarun.qa.verdict import assemble
from PIL import Image
from support import skies

pytestmark = pytest.mark.casa

TARGET = 2


def image_of(casa, vis, name, **changes):
    """Image the target; its pixels are a fifth of the synthesized beam."""
    params = {
        "vis": str(vis), "imagename": name, "field": str(TARGET), "datacolumn": "data",
        "imsize": 256, "cell": "10arcsec", "weighting": "natural", "specmode": "mfs",
        "niter": 500, "threshold": "2mJy",
    }  # fmt: skip
    outcome, _ = casa("tclean", **(params | changes))
    assert not isinstance(outcome, Exception), outcome


def measured(prefix, **changes):
    return collect.measure_image(
        {
            "target": "target", "image": "x", "prefix": prefix, "specmode": "mfs", "suffix": "",
            "fits": f"{prefix}.fits", "moments": [], "data": f"qa/data/{prefix}.json",
            "plots": f"qa/plots/{prefix}",
        }
        | changes
    )  # fmt: skip


def plots_of(numbers):
    paths = [Path("qa") / plot["file"] for plot in numbers["plots"]]
    pictures = [path for path in paths if path.suffix == ".png"]
    assert [path.name for path in pictures if path.stat().st_size <= 5000] == []
    assert [path.name for path in pictures if coloured(path) < 3e-4] == []
    return [path.name for path in pictures]


def coloured(picture):
    """Return the share of pixels that are neither black nor grey nor white, as axes and text."""
    with Image.open(picture) as found:
        pixels = np.asarray(found.convert("RGB"), dtype=int)
    return float((np.ptp(pixels, axis=-1) > 60).mean())


def test_a_clean_image_of_two_point_sources(casa, sky):
    vis, truth = sky
    image_of(casa, vis, "clean")
    numbers = measured("clean")
    first, second = truth.sky.fields[TARGET].sources
    assert numbers["peak_jy_per_beam"] == pytest.approx(first.flux_jy, rel=0.03)
    assert numbers["model_flux_jy"] == pytest.approx(first.flux_jy + second.flux_jy, rel=0.1)
    theory = truth.image_noise_jy(TARGET)
    assert theory / 1.5 < numbers["rms_noise_jy_per_beam"] < 1.5 * theory
    ratio = numbers["peak_jy_per_beam"] / numbers["rms_noise_jy_per_beam"]
    assert numbers["dynamic_range"] == pytest.approx(ratio)
    field = truth.sky.fields[TARGET]
    found = SkyCoord(
        numbers["peak_position"]["ra_deg"], numbers["peak_position"]["dec_deg"], unit="deg"
    )
    offset = found.separation(SkyCoord(field.ra, field.dec)).arcsec
    assert offset < 0.1 * numbers["bmin_arcsec"]
    assert numbers["shape"] == [256, 256, 1, 1]
    assert numbers["cell_arcsec"] == pytest.approx(10)
    assert numbers["cleaned"] is True
    assert plots_of(numbers) == ["maps.png", "beam.png"]
    assert json.loads(Path("qa/data/clean.json").read_text()) == numbers


def test_a_dirty_image_that_is_not_to_be_cleaned(casa, sky):
    image_of(casa, sky[0], "x.dirty", niter=0, restoration=False)
    numbers = measured("x.dirty", displayed="x.dirty.residual")
    assert "cleaned" not in numbers
    assert numbers["model_flux_jy_reason"] == "the image was not cleaned"
    assert numbers["peak_jy_per_beam"] == pytest.approx(0.8, rel=0.1)
    assert plots_of(numbers) == ["maps.png", "beam.png"]


def test_an_image_in_taylor_terms(casa, sky):
    image_of(casa, sky[0], "mt", deconvolver="mtmfs", nterms=1)
    numbers = measured("mt", suffix=".tt0")
    found, _ = casa("imstat", imagename="mt.image.tt0")
    assert numbers["peak_jy_per_beam"] == pytest.approx(found["max"][0])
    assert numbers["model_flux_jy"] == pytest.approx(1.1, rel=0.05)
    assert numbers["cleaned"] is True


def test_a_cube_with_moments(casa, sky):
    topo = {"specmode": "cube", "outframe": "TOPO"}  # each channel has data
    image_of(casa, sky[0], "cube", **topo, restoringbeam="common", niter=2000)
    casa("immoments", imagename="cube.image", moments=[0], outfile="cube.mom0")
    numbers = measured("cube", specmode="cube", moments=[0], moment_prefix="cube")
    n_chan = sky[1].sky.spws[0].n_chan
    assert numbers["shape"][3] == n_chan
    assert len(numbers["per_channel"]["rms_jy_per_beam"]) == n_chan
    assert numbers["frequency_min_hz"] < numbers["frequency_max_hz"]
    assert plots_of(numbers) == [
        "maps.png", "beam.png", "spectrum.png", "moments.png", "channels.png",
    ]  # fmt: skip


def test_noise_of_a_dirty_image_is_not_its_sources(casa, sky):
    vis, truth = sky
    image_of(casa, vis, "d", niter=0)
    found = collect.measure_noise(
        {"image": "d.residual", "pb": "d.pb", "out": "images/d.noise.json"}
    )
    assert json.loads(Path("images/d.noise.json").read_text()) == found
    # Sidelobes of 0.8 Jy are in it, the source itself is not.
    assert truth.image_noise_jy(TARGET) < found["rms_jy_per_beam"] < 0.1
    assert found["peak_jy_per_beam"] == pytest.approx(0.8, rel=0.1)


def test_noise_that_cannot_be_measured_is_an_error(casa, sky):
    image_of(casa, sky[0], "d", niter=0)
    from casatools import image

    tool = image()
    tool.open("d.residual")
    tool.set(pixels="0.0")
    tool.done()
    with pytest.raises(StepFailedError, match=r"the noise of d\.residual cannot be measured"):
        collect.measure_noise({"image": "d.residual", "pb": "", "out": "n.json"})
    assert not Path("n.json").exists()


def solve(casa, vis):
    casa("setjy", vis=str(vis), field="0", standard="Perley-Butler 2017", usescratch=False)
    common = {"vis": str(vis), "refant": "0", "minsnr": 3}
    casa("gaincal", **common, caltable="c.phase0", field="0", solint="int", calmode="p")
    casa("bandpass", **common, caltable="c.bandpass", field="0", gaintable=["c.phase0"])
    casa("gaincal", **common, caltable="c.amp", field="0,1", solint="inf", calmode="ap",
         gaintable=["c.bandpass"])  # fmt: skip
    fluxes, _ = casa("fluxscale", vis=str(vis), caltable="c.amp", fluxtable="c.fluxscale",
                     reference="0", transfer="1")  # fmt: skip
    Path("c.fluxscale.json").write_text(json.dumps(fluxes))
    casa("applycal", vis=str(vis), gaintable=["c.bandpass", "c.fluxscale"], flagbackup=False)


def test_a_calibrated_dataset(casa, own_sky, sky):
    casa("flagdata", vis=str(own_sky), mode="manual", antenna="3", flagbackup=False)
    solve(casa, own_sky)
    kinds = ("phase0", "bandpass", "amp", "fluxscale")
    numbers = collect.measure_dataset(
        {
            "dataset": "sim", "ms": str(own_sky), "column": "corrected",
            "caltables": [{"path": f"c.{kind}", "kind": kind} for kind in kinds],
            "fluxscale": "c.fluxscale.json",
            "fields": {"flux": [0], "bandpass": [0], "phase": [1], "targets": [2]},
            "data": "qa/data/sim.json", "plots": "qa/plots/sim",
        }
    )  # fmt: skip
    flagged = numbers["flagged_fraction"]
    names = list(flagged["antenna"])
    assert flagged["antenna"][names[3]] == 1.0
    n_antennas = sky[1].sky.n_antennas
    assert flagged["antenna"][names[0]] == pytest.approx(1 / (n_antennas - 1))
    assert flagged["total"] == pytest.approx(2 / n_antennas)
    name = sky[1].sky.fields[1].name
    assert numbers["fluxscale"]["flux_jy"][name]["0"] == pytest.approx(2.5, rel=0.03)
    tables = {table["kind"]: table for table in numbers["caltables"]}
    assert tables["bandpass"]["flagged_fraction"] == 0.0
    assert tables["bandpass"]["median_snr"] > 20
    assert numbers["target_fields"] == [sky[1].sky.fields[TARGET].name]
    assert plots_of(numbers) == [
        "phase0.png", "bandpass-amplitude.png", "bandpass-phase.png",
        "fluxscale.png", "uv.png", "amp-uvdist.png", "time.png",
    ]  # fmt: skip
    verdict = assemble({"sim": numbers}, [], {"max_flagged_fraction": 0.5})
    assert verdict["verdict"] == "warn"  # an antenna is lost


def dataset_params(vis, **changes):
    return {
        "dataset": "s", "ms": str(vis), "column": "auto", "caltables": [], "fluxscale": "",
        "fields": {"targets": [TARGET]}, "data": "qa/data/s.json", "plots": "qa/plots/s",
    } | changes  # fmt: skip


def test_a_dataset_of_which_everything_is_flagged(casa, own_sky):
    casa("flagdata", vis=str(own_sky), mode="manual", flagbackup=False)
    numbers = collect.measure_dataset(dataset_params(own_sky))
    assert numbers["flagged_fraction"]["total"] == 1.0
    assert plots_of(numbers) == []


def test_corrected_data_that_are_not_there(casa, sky):
    with pytest.raises(DataError, match="has no CORRECTED_DATA: nothing was applied to it"):
        collect.measure_dataset(dataset_params(sky[0], column="corrected"))


def test_a_table_that_is_not_there_is_a_reason(casa, sky):
    numbers = collect.measure_dataset(
        dataset_params(sky[0], caltables=[{"path": "lost.tbl", "kind": "bandpass"}])
    )
    (table,) = numbers["caltables"]
    assert table["flagged_fraction"] is None
    assert table["flagged_fraction_reason"].startswith("lost.tbl: cannot be opened")


@pytest.fixture(scope="module")
def two_windows(tmp_path_factory):
    """An observation in two windows of different widths."""
    path = tmp_path_factory.mktemp("two") / "two.ms"
    spws = (skies.Spw(n_chan=4), skies.Spw(start_hz=1.6e9, n_chan=8))
    skies.build(path, skies.Sky(spws=spws, scans=(0, 2)))
    return path


def test_windows_of_different_widths(casa, two_windows, monkeypatch):
    about = read.layout(two_windows)
    whole = list(read.rows(two_windows, about, "DATA"))
    assert {chunk.spw: chunk.flag.shape[1] for chunk in whole} == {0: 4, 1: 8}
    # Small chunks give the same rows, and beyond the limit only some carry visibilities.
    monkeypatch.setattr(read, "CHUNK_SAMPLES", 800)
    small = list(read.rows(two_windows, about, "DATA"))
    assert len(small) > len(whole)
    for spw in (0, 1):
        parts = [np.concatenate([c.data for c in chunks if c.spw == spw], axis=2)
                 for chunks in (whole, small)]  # fmt: skip
        assert np.array_equal(*parts)
    monkeypatch.setattr(read, "SAMPLE_LIMIT", 4000)
    thin = list(read.rows(two_windows, about, "DATA"))
    assert sum(c.time_s.size for c in thin) == about.n_rows
    assert 0 < sum(c.data is not None for c in thin) < len(thin)
    numbers = collect.measure_dataset(dataset_params(two_windows))
    assert set(numbers["flagged_fraction"]["spw"]) == {"0", "1"}
    assert "One row in" in numbers["plots"][1]["caption"]


def test_solutions_in_windows_of_different_widths(casa, two_windows):
    casa("bandpass", vis=str(two_windows), caltable="b", field="0", refant="0")
    table = read.caltable("b")
    assert table.values.shape[1] == 8
    narrow = table.spw == 0
    assert table.flag[:, 4:, narrow].all()
    assert not table.flag[:, :4, narrow].all()
    numbers = collect.measure_dataset(
        dataset_params(two_windows, caltables=[{"path": "b", "kind": "bandpass"}])
    )
    assert "bandpass-amplitude.png" in plots_of(numbers)


def test_planes_have_rows_of_constant_declination(casa, sky):
    image_of(casa, sky[0], "o", imsize=[128, 100], niter=0)
    with image_file.ImageFile("o.image") as image:
        pixels, valid = image.plane()
        assert pixels.shape == valid.shape == (100, 128)
        y, x = np.unravel_index(int(np.argmax(pixels)), pixels.shape)
        assert (x, y) == (64, 50)
        assert image.header.beams[0][0] > image.header.beams[0][1] > 0


def test_what_is_no_image_or_table_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be opened as an image"):
        image_file.ImageFile(tmp_path / "none.image")
    with pytest.raises(DataError, match="cannot be opened as a casacore table"):
        read.caltable(tmp_path / "none.tbl")
