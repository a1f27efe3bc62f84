"""A cube by channel ranges, as it stands in the plan."""

from __future__ import annotations

from typing import Any

import pytest
from casarun.observation import Observation
from casarun.plan import Step, hazards
from casarun.recipe.model import (
    Calibrators,
    Dataset,
    FluxCalibrator,
    Image,
    Recipe,
    Resources,
    Targets,
)  # fmt: skip
from casarun.stages.compile import Compiled, full
from support.observations import spw, vla

CALIBRATORS = Calibrators(flux=FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1445*",))


def compiled(
    observation: Observation | None = None, memory: str = "2GB", **settings: Any
) -> Compiled:
    given = {"imsize": 256, "cell": "10arcsec", "nchan": 40, "restfreq": "1.4GHz", **settings}
    recipe = Recipe(
        casarun=1,
        dataset=(Dataset(vis="/data/day1.fits", name="day1"),),
        calibrators=CALIBRATORS,
        targets=Targets(fields=("N5921",)),
        image=(Image(name="c", specmode="cube", **given),),
        resources=Resources(memory_per_core=memory),
    )
    return full(recipe, {"day1": observation or vla()})


def steps(**settings: Any) -> dict[str, Step]:
    found = compiled(**settings)
    assert found.problems == ()
    return {s.id.removeprefix("N5921.c."): s for s in found.steps if s.id.startswith("N5921.c.")}


def chosen(**settings: Any) -> tuple[Any, str]:
    auto = next(auto for auto in compiled(**settings).autos if auto.key == "image.chunk")
    return auto.value, auto.reason


def ranges(**settings: Any) -> list[tuple[int, int | None, int]]:
    return [
        (step.params["first"], step.params["last"], step.params["margin"])
        for name, step in steps(**settings).items()
        if name.startswith("dirty.")
    ]


def test_a_number_of_channels_makes_ranges() -> None:
    assert ranges(chunk=10) == [(0, 9, 0), (10, 19, 0), (20, 29, 0), (30, None, 0)]
    assert ranges(chunk=15) == [(0, 13, 0), (14, 26, 0), (27, None, 0)]
    assert ranges(chunk=100) == [(0, None, 0)]
    assert ranges(chunk="none") == [(0, None, 0)]


def test_ranges_do_not_wait_for_each_other() -> None:
    found = steps(chunk=10)
    waits = hazards(list(found.values()))
    of = {
        name: {w.removeprefix("N5921.c.") for w in waits[step.id]} for name, step in found.items()
    }
    assert of["dirty.1"] == {"axis"}
    assert of["noise"] == {f"dirty.{i}" for i in range(4)}
    assert of["clean1.2"] == {"axis", "dirty.2", "noise"}
    assert of["settle1"] == {f"clean1.{i}" for i in range(4)}
    assert of["clean2.2"] == {"axis", "dirty.2", "noise", "clean1.2", "settle1"}
    assert "clean1.2" in of["restore.2"]
    assert not {"clean1.1", "restore.1"} & of["restore.2"]
    assert of["join.image"] == {"axis", *(f"restore.{i}" for i in range(4))}
    assert of["join.residual"] == {"axis", "settle4", *(f"restore.{i}" for i in range(4))}
    # Ready with the cleans, not before, so that it takes no core from them.
    assert of["join.weights"] == {"axis", "noise", *(f"dirty.{i}" for i in range(4))}


def test_a_clean_to_a_flux_density_restores_where_no_channel_is_cut_away() -> None:
    clean = "images/chunks/N5921.c.0.clean1.image"
    found = steps(chunk=10, threshold="5mJy")
    assert clean in found["clean1.0"].writes
    assert clean in found["join.image"].reads
    assert "images/chunks/N5921.c.0.clean2.residual" in found["join.residual"].reads
    for settled in (steps(chunk=10), steps(chunk=10, threshold="5mJy", start="1.4GHz", nchan=30)):
        assert clean not in settled["clean1.0"].writes
        assert "images/chunks/N5921.c.0.restored.image" in settled["join.image"].reads


def test_what_is_only_of_ranges_is_intermediate_and_the_cube_is_not() -> None:
    for name, step in steps(chunk=10).items():
        kept = {"noise", "join.image", "join.residual", "join.weights"}
        is_range = name.split(".")[0].rstrip("1234") in (
            "axis",
            "dirty",
            "clean",
            "settle",
            "restore",
        )
        assert bool(step.intermediates) == is_range or name in kept
        assert all(path.startswith("images/chunks/") for path in step.intermediates)


def test_the_cube_has_the_names_it_ever_had() -> None:
    made = {path for step in steps(chunk=10).values() for path in step.writes}
    kinds = ("image", "mask", "model", "pb", "psf", "residual", "sumwt")
    assert {f"images/N5921.c.{kind}" for kind in kinds} <= made
    assert "images/N5921.c.noise.json" in made


def test_a_dirty_cube_is_restored_and_joined() -> None:
    found = steps(chunk=20, niter=0)
    assert not [name for name in found if name.startswith(("clean", "settle"))]
    assert "join.residual" not in found
    assert set(found["join.image"].writes) == {
        "images/dirty/N5921.c.image", "images/dirty/N5921.c.residual",
    }  # fmt: skip
    assert found["pbcor"].params["imagename"] == "images/dirty/N5921.c.image"


def test_rounds_follow_from_the_threshold() -> None:
    sigma, flux = steps(chunk=20), steps(chunk=20, threshold="1mJy")
    assert [name for name in sigma if name.startswith("settle")] == [
        "settle1",
        "settle2",
        "settle3",
        "settle4",
    ]
    assert [name for name in flux if name.startswith("settle")] == ["settle1", "settle2"]
    assert sigma["settle1"].params["sigmas"] == 3.0
    assert flux["settle1"].params["sigmas"] == 0
    assert flux["clean1.0"].params["tclean"]["threshold"] == "1mJy"


def test_auto_follows_memory_per_core() -> None:
    size, _ = chosen()
    small, why = chosen(memory="300MB")
    assert small < size
    assert why.endswith("5 MB a channel, within resources.memory_per_core = 300MB")


def test_auto_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = steps()
    monkeypatch.setattr("os.cpu_count", lambda: 1000)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(1000)))
    assert steps() == before


@pytest.mark.parametrize(
    ("settings", "margin"),
    [
        ({}, 0),
        ({"start": 3, "width": 2, "nchan": 20}, 0),
        ({"start": "1.4GHz", "nchan": 30}, 3),
        ({"width": "60kHz", "nchan": 20}, 3),
        ({"start": "1.4GHz", "nchan": 30, "tclean": {"interpolation": "nearest"}}, 0),
    ],
)
def test_neighbours_are_imaged_with_a_range_where_channels_mix(
    settings: dict[str, Any], margin: int
) -> None:
    assert {beside for *_, beside in ranges(chunk=5, **settings)} == {margin}


def test_one_range_has_no_neighbours() -> None:
    assert ranges(start="1.4GHz", nchan=30, chunk="none") == [(0, None, 0)]


def test_two_windows_mix_channels() -> None:
    two = vla(spws=(spw(0), spw(1, centre_hz=1.4016e9)))
    assert {beside for *_, beside in ranges(observation=two, chunk=5)} == {3}


def test_trimmed_ranges_have_weights_of_their_own() -> None:
    found = steps(chunk=10, start="1.4GHz", nchan=30)
    assert "images/chunks/N5921.c.0.restored.psf" in found["restore.0"].writes
    assert "images/chunks/N5921.c.0.restored.psf" in found["join.weights"].reads


@pytest.mark.parametrize(
    ("tclean", "why"),
    [
        ({"nmajor": 3}, "image.tclean.nmajor is for a cube as a whole"),
        ({"gridder": "awproject"}, "the gridder awproject has not been tried by ranges"),
        ({"gridder": "mosaic"}, "the gridder mosaic has not been tried by ranges"),
        (
            {"perchanweightdensity": False},
            "perchanweightdensity = false weighs all channels together",
        ),
        ({"interpolation": "cubic"}, "cubic interpolation takes in far channels"),
    ],
)
def test_what_takes_a_cube_as_a_whole_is_left_to_one_tclean(
    tclean: dict[str, Any], why: str
) -> None:
    found = steps(tclean=tclean)
    assert {"dirty", "noise", "clean"} <= set(found)
    assert chosen(tclean=tclean) == ("none", why)


def test_the_last_range_takes_what_there_is() -> None:
    assert ranges(nchan=-1, chunk=32) == [(0, 31, 0), (32, None, 0)]


def test_a_fallback_is_that_of_each_range() -> None:
    found = steps(chunk=20, fallback=({"gain": 0.05},))
    assert found["clean1.1"].fallbacks == ({"tclean": {"gain": 0.05}},)


def test_what_a_range_costs_is_its_part() -> None:
    two, one = steps(chunk=20), steps(chunk="none")
    pair = two["clean1.0"].resources.memory_bytes + two["clean1.1"].resources.memory_bytes
    assert pair - 5.6e8 == pytest.approx(one["clean1.0"].resources.memory_bytes - 2.8e8, rel=0.02)
    assert two["clean2.0"].resources.seconds < 1
    cube, half = two["join.image"].resources, two["restore.0"].resources
    assert cube.disk_bytes == pytest.approx(half.disk_bytes, rel=0.1)  # half of the kinds
