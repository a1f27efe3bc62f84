"""Fields of different names as one target: what becomes of them, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from casarun.observation import Field, Observation
from casarun.recipe.model import Dataset, Image, Recipe, Targets
from casarun.stages.compile import Compiled, full
from support.observations import vla


def pointings(*names: str) -> Observation:
    """Return an observation of pointings 10 arcmin from each other: 0.3 primary beams."""
    made = vla()
    fields = tuple(
        Field(number, name, 230.5, 5.0 + number / 6, (), 1000) for number, name in enumerate(names)
    )
    scans = tuple(
        replace(made.scans[0], number=field.id + 1, field_ids=(field.id,)) for field in fields
    )
    return replace(made, fields=fields, scans=scans)


def compiled(*observations: Observation, **targets: Any) -> Compiled:
    names = ("day1", "day2")[: len(observations)]
    recipe = Recipe(
        casarun=1, dataset=tuple(Dataset(f"/data/{n}.ms", n, calibrated=True) for n in names),
        targets=Targets(fields=("*",), **targets), image=(Image("c"),),
    )  # fmt: skip
    return full(recipe, dict(zip(names, observations, strict=True)))


def messages(plan: Compiled) -> list[tuple[str, str]]:
    return [(".".join(map(str, p.key)), p.message) for p in plan.problems]


def test_fields_of_a_mosaic_are_one_target_and_others_stay_alone() -> None:
    plan = compiled(pointings("M31_1", "M31_2", "N5921"), mosaics={"M31": ("M31_*",)})
    assert plan.problems == ()
    split = {step.target: step.params for step in plan.steps if step.stage == "split"}
    assert {name: params["field"] for name, params in split.items()} == {"M31": "0,1", "N5921": "2"}
    dirty = {step.target: step.params for step in plan.steps if step.id.endswith(".dirty")}
    assert dirty["M31"]["gridder"] == "mosaic"
    assert dirty["M31"]["phasecenter"] == "J2000 230.5000000deg 5.0833333deg"
    assert dirty["N5921"]["gridder"] == "standard"
    assert "phasecenter" not in dirty["N5921"]


def test_a_mosaic_of_two_datasets_with_other_pointings() -> None:
    plan = compiled(pointings("M31_1"), pointings("x", "M31_2"), mosaics={"M31": ("M31_*",)})
    assert plan.problems == ()
    dirty = next(step for step in plan.steps if step.id == "M31.c.dirty")
    assert dirty.reads == ("calibrated/day1.M31.ms", "calibrated/day2.M31.ms")
    assert dirty.params["gridder"] == "mosaic"


def test_images_of_different_targets_wait_for_nothing_of_each_other() -> None:
    plan = compiled(pointings("M31_1", "M31_2", "N5921"), mosaics={"M31": ("M31_*",)}).plan({}, {})
    for target, other in (("M31", "N5921"), ("N5921", "M31")):
        waits, ahead = set[str](), [f"{target}.c.measure"]
        while ahead:
            new = plan.waits_for[ahead.pop()] - waits
            waits |= new
            ahead += new
        assert waits
        assert not [name for name in waits if plan.by_id[name].target == other]


def test_what_is_no_mosaic_is_refused() -> None:
    observation = pointings("M31_1", "M31_2", "M31")
    assert messages(compiled(observation, mosaics={"x": ("M33_*",)})) == [
        ("targets.mosaics.x",
         "no target of dataset day1 matches 'M33_*'; targets: M31_1, M31_2, M31"),
    ]  # fmt: skip
    assert messages(compiled(observation, mosaics={"a": ("M31_*",), "b": ("M31_1",)})) == [
        ("targets.mosaics.b", "M31_1 is named as a pointing of a and of b"),
    ]  # fmt: skip
    assert messages(compiled(observation, mosaics={"M31": ("M31_*",)})) == [
        ("targets.mosaics.M31",
         "'M31' is a target of dataset day1 that is no pointing of this mosaic: give the mosaic "
         "another name, or add the field to it"),
    ]  # fmt: skip
