"""``[[cube]]`` in recipes and plans: what is refused, which steps there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.cubes.beams import Beam
from casarun.cubes.chain import Cube
from casarun.cubes.moment_kinds import SUMS
from casarun.cubes.spectral import Axis
from casarun.errors import RefusedError
from casarun.recipe import model
from casarun.recipe.build import build
from casarun.recipe.cube_rules import MOMENTS
from casarun.recipe.load import load
from casarun.stages.compile import Compiled, full, imports
from support.observations import vla

HEAD = 'casarun = 1\n[[dataset]]\nvis = "a.ms"\n[[image]]\nname = "hi"\nspecmode = "cube"\n'
CUBE = Cube(1024, 1024, Axis(256, 1.41e9, 1e4, 1.420405752e9), (-2.0, 2.0), (Beam(8.0, 6.0, 30.0),))
Refused = Callable[[str], str]


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    (tmp_path / "a.ms").mkdir()
    (tmp_path / "old.fits").touch()

    def run(text: str) -> str:
        (tmp_path / "r.toml").write_text(text)
        with pytest.raises(RefusedError) as caught:
            load(tmp_path / "r.toml")
        lines = str(caught.value).replace(str(tmp_path), "FOLDER").splitlines()
        return "\n".join(line for line in lines if line.startswith("FOLDER"))

    return run


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            'name = "x"\nimage = "hj"',
            "9:9: cube[0].image: 'hj' is neither an [[image]] of the recipe nor a file in its "
            "folder",
        ),
        (
            'name = "hi"\nimage = "hi"',
            "8:8: cube[0].name: 'hi' is already the name of an [[image]]",
        ),
        (
            'name = "x"\nimage = "hi"\nmoments = [0, 3]',
            "10:11: cube[0].moments: moment 3 needs all channels at once; plane by plane there are "
            "-1, 0, 1, 2, 5, 6, 8, 9, 10, 11 (image.moments has the others)",
        ),
        (
            'name = "x"\nimage = "hi"\nsmooth = { beam = "20" }',
            "",
        ),
        (
            'name = "x"\nimage = "hi"\nsmooth = { beam = ["20arcsec", "30arcsec"] }',
            "10:19: cube[0].smooth.beam: the first axis is the major one, the larger of both",
        ),
        (
            'name = "x"\nimage = "hi"\nregrid = { template = "old.fits", start = "5km/s" }',
            "10:43: cube[0].regrid.start: regrid.template has the channels to take; give one or "
            "the other",
        ),
        (
            'name = "x"\nimage = "hi"\ncontsub = { channels = "5~2" }',
            "10:24: cube[0].contsub.channels: '5~2' ends before it begins",
        ),
    ],
)
def test_what_is_refused(refused: Refused, table: str, message: str) -> None:
    said = refused(f"{HEAD}[[cube]]\n{table}\n")
    if message:
        assert said == f"FOLDER/r.toml:{message}"
    else:
        assert said.startswith("FOLDER/r.toml:10:19: cube[0].smooth.beam: ")


def test_an_image_that_is_no_cube(refused: Refused) -> None:
    text = HEAD.replace('"cube"', '"mfs"') + '[[cube]]\nname = "x"\nimage = "hi"\n'
    assert (
        refused(text)
        == "FOLDER/r.toml:9:9: cube[0].image: image 'hi' is no cube: specmode = \"cube\""
    )
    text = HEAD + 'stokes = "IQUV"\n[[cube]]\nname = "x"\nimage = "hi"\n'
    assert refused(text) == (
        "FOLDER/r.toml:10:9: cube[0].image: image 'hi' has the Stokes parameters 'IQUV'; cubes are "
        "processed with one: make an image of each"
    )


def test_a_recipe_of_cubes_needs_no_dataset(tmp_path: Path, refused: Refused) -> None:
    assert refused("casarun = 1\n") == "FOLDER/r.toml: dataset: this key is required"
    text = 'casarun = 1\n[[cube]]\nname = "x"\nimage = "old.fits"\n'
    (tmp_path / "r.toml").write_text(text)
    recipe = load(tmp_path / "r.toml").recipe
    assert recipe.dataset == ()
    assert recipe.cube[0].image == str(tmp_path / "old.fits")


def test_the_moments_of_recipes_are_those_there_are() -> None:
    assert set(MOMENTS) == set(SUMS)


def of_file(cube: Cube = CUBE, memory: str = "2GB", **tables: Any) -> Compiled:
    document = {
        "casarun": 1,
        "cube": [{"name": "x", "image": "/data/old.fits", **tables}],
        "resources": {"memory_per_core": memory},
    }
    return full(build(document, Path("r.toml")), {}, {"x": cube})


def ids(found: Compiled) -> list[str]:
    assert found.problems == ()
    return [step.id for step in found.steps]


def test_what_a_cube_is_comes_first() -> None:
    document = {"casarun": 1, "cube": [{"name": "x", "image": "/data/old.fits"}]}
    (step,) = imports(build(document, Path("r.toml"))).steps
    assert (step.id, step.action, step.reads) == (
        "x.cube.inspect",
        "cube.inspect",
        ("/data/old.fits",),
    )


def test_pieces_follow_from_the_work() -> None:
    found = ids(of_file(smooth={"beam": "20arcsec"}, fits=False, stats=False))
    pieces = [f"x.cube.piece.{number}" for number in range(9)]
    assert found == ["x.cube.inspect", "x.cube.begin", *pieces, "x.cube.join", "x.cube.measure"]
    small = replace(CUBE, n_x=256, n_y=256, axis=replace(CUBE.axis, n_chan=46))
    assert sum(".piece." in one for one in ids(of_file(small))) == 1
    huge = replace(CUBE, n_x=4096, n_y=4096, axis=replace(CUBE.axis, n_chan=4000))
    assert sum(".piece." in one for one in ids(of_file(huge, "8GB"))) == 64


def test_only_what_is_asked_for_is_made() -> None:
    steps = {step.id: step for step in of_file(moments=[0, 1], stats=False).steps}
    writes = {path for step in steps.values() for path in step.writes}
    assert "images/x.image" not in writes
    assert "images/x.fits" not in writes
    assert {"images/x.mom0", "images/x.mom0.fits", "images/x.mom1.fits"} <= writes
    assert steps["x.cube.piece.0"].params["planes"] is False


def test_pieces_wait_for_the_fit_and_nothing_else() -> None:
    found = of_file(contsub={"channels": "0~9;246~255"})
    plan = found.plan({}, {})
    fits = {step.id for step in plan.steps if ".fit." in step.id}
    assert len(fits) == 9
    for step in plan.steps:
        if ".piece." in step.id:
            assert plan.waits_for[step.id] == fits | {"x.cube.begin"}
            assert step.intermediates == step.writes


def test_less_memory_makes_more_fits_and_the_same_pieces() -> None:
    tables = {"contsub": {"channels": "0~9;246~255", "order": 3}}
    large = replace(CUBE, n_x=3000, n_y=3000, axis=replace(CUBE.axis, n_chan=40))
    tables["contsub"]["channels"] = "0~9;30~39"
    much, little = (ids(of_file(large, memory, **tables)) for memory in ("8GB", "1GB"))
    assert [one for one in much if ".piece." in one] == [one for one in little if ".piece." in one]
    few = replace(large, n_x=8000, n_y=1000, axis=replace(CUBE.axis, n_chan=40))
    parts = [sum(".fit." in one for one in ids(of_file(few, memory, **tables)))
             for memory in ("8GB", "1.5GB")]  # fmt: skip
    assert parts[0] <= parts[1]


def test_steps_say_what_they_will_hold() -> None:
    found = of_file(smooth={"beam": "20arcsec"}, memory="600MB")
    pieces = [step for step in found.steps if ".piece." in step.id]
    assert all(2.6e8 < step.resources.memory_bytes <= 6e8 for step in pieces)


@pytest.mark.parametrize(
    ("tables", "memory", "key", "message"),
    [
        (
            {"smooth": {"beam": "7arcsec"}},
            "2GB",
            ("cube", 0, "smooth", "beam"),
            "7 arcsec, round does not enclose the cube's synthesized beam, 8 x 6 arcsec at 30 deg: "
            'smoothing cannot sharpen; a round one of 8 arcsec would, or "common"',
        ),
        (
            {"contsub": {"channels": "0~9;250~256"}},
            "2GB",
            ("cube", 0, "contsub", "channels"),
            "channel 256 is not there: the cube has channels 0 to 255",
        ),
        (
            {},
            "200MB",
            ("resources", "memory_per_core"),
            "a step of [[cube]] needs 260 MB before its first plane",
        ),
    ],
)
def test_a_file_is_checked_before_the_run(
    tables: dict[str, Any], memory: str, key: tuple[str | int, ...], message: str
) -> None:
    (problem,) = of_file(memory=memory, **tables).problems
    assert (problem.key, problem.message) == (key, message)


def of_image(**tables: Any) -> Compiled:
    image = model.Image(name="hi", specmode="cube", nchan=40, start=5)
    cube = build(
        {"casarun": 1, "cube": [{"name": "x", "image": "hi", **tables}]}, Path("r.toml")
    ).cube
    recipe = model.Recipe(
        casarun=1,
        dataset=(model.Dataset(vis="/data/day1.fits", name="day1"),),
        calibrators=model.Calibrators(
            flux=model.FluxCalibrator(field="1331*"), bandpass="1331*", phase=("1445*",)
        ),
        targets=model.Targets(fields=("N5921",)),
        image=(image,),
        cube=cube,
    )
    return full(recipe, {"day1": vla()})


def test_a_cube_of_an_image_follows_it() -> None:
    found = of_image(smooth={"beam": "90arcsec"}, moments=[0])
    steps = {step.id: step for step in found.steps}
    assert found.problems == ()
    begin = steps["N5921.x.cube.begin"]
    assert begin.reads == ("images/N5921.hi.image",)
    assert steps["N5921.x.cube.join"].writes == ("images/N5921.x.image",)
    plan = found.plan({}, {})
    makers = {step.id for step in found.steps if "images/N5921.hi.image" in step.writes}
    assert len(makers) == 1
    assert makers <= plan.waits_for["N5921.x.cube.begin"]
    assert begin.stage == "cube"


def test_channels_that_the_image_will_not_have() -> None:
    found = of_image(contsub={"channels": "0~5;35~40"})
    (problem,) = [one for one in found.problems if one.key[0] == "cube"]
    assert problem.key == ("cube", 0, "contsub", "channels")
    assert problem.message == "channel 40 is not there: the cube has channels 0 to 39"


def test_targets_that_the_image_is_not_made_of() -> None:
    (problem,) = of_image(targets=["N5922"]).problems
    assert problem.message == (
        "no target of image 'hi' matches 'N5922'; it is made of N5921; did you mean 'N5921'?"
    )
