"""Which calibrated data get an MS of their own, as it is planned."""

from __future__ import annotations

from typing import Any

from casarun.recipe.model import Contsub, Dataset, Image, Recipe, Selfcal, Split, Targets
from casarun.stages.compile import Compiled, full
from support.observations import spw, vla

WINDOWS = tuple(spw(number, centre_hz=1.4e9 + 5e7 * number) for number in range(4))


def compiled(*images: Image, **tables: Any) -> Compiled:
    recipe = Recipe(
        casarun=1, dataset=(Dataset("/data/day.ms", "day", calibrated=True),), image=images,
        targets=Targets(fields=("N5921",)), split=Split(spw="imaged"), **tables,
    )  # fmt: skip
    return full(recipe, {"day": vla(spws=WINDOWS)})


def taken(plan: Compiled) -> Any:
    """Return the windows that the target's split takes; empty for all."""
    (step,) = [step for step in plan.steps if step.stage == "split"]
    assert step.action == ("casa:mstransform" if "spw" in step.params else "casa:split")
    return step.params.get("spw", "")


def test_windows_that_images_name_are_taken_and_keep_their_numbers() -> None:
    plan = compiled(Image("a", spw="1"), Image("b", spw="3:4~9"))
    (step,) = [step for step in plan.steps if step.stage == "split"]
    assert step.params == {
        "vis": "raw/day.imported.ms", "outputvis": "calibrated/day.N5921.ms", "field": "2",
        "datacolumn": "data", "keepflags": False, "spw": "1,3", "reindex": False,
    }  # fmt: skip
    assert step.checks[1].params["spws"] == [1, 3]
    (auto,) = [auto for auto in plan.autos if auto.key == "split.spw"]
    assert (auto.value, auto.reason) == (
        "1,3", "the images of N5921 take 2 of 4 spectral windows",
    )  # fmt: skip


def test_all_are_taken_where_an_image_or_the_recipe_takes_them() -> None:
    assert taken(compiled(Image("a", spw="1"), Image("b"))) == ""
    assert taken(compiled(Image("a", spw="0~3"))) == ""
    assert taken(compiled()) == ""


def test_what_selfcal_and_contsub_need_is_taken() -> None:
    cube = Image("line", specmode="cube", spw="2", restfreq="1.5GHz", source="contsub")
    assert taken(compiled(cube, contsub=Contsub("2:0~9"))) == "2"
    assert taken(compiled(cube, contsub=Contsub("1~2:0~9"))) == "1,2"
    flat = Image("flat", spw="0")
    assert taken(compiled(flat, cube, selfcal=(Selfcal("*"),))) == "0,2"
    assert taken(compiled(flat, cube, selfcal=(Selfcal("*", tclean={"spw": "3"}),))) == "0,2,3"
    # Without an image of its own a self-calibration takes all channels.
    assert taken(compiled(cube, selfcal=(Selfcal("*"),))) == ""


def test_calibrators_are_left_out_if_the_recipe_says_so() -> None:
    def made(**tables: Any) -> list[str]:
        recipe = Recipe(casarun=1, dataset=(Dataset("/data/day.ms", "day"),), **tables)
        plan = full(recipe, {"day": vla(intents=True)})
        return [step.id for step in plan.steps if step.stage == "split"]

    assert made() == ["day.split.calibrators", "day.split.N5921"]
    assert made(split=Split(calibrators=False)) == ["day.split.N5921"]
