"""Images of a sweep against each other: which, in which order, on which axis."""

from casarun.report.render import environment
from casarun.report.sweeps import sections

HOSTILE = "</td><script>alert(1)</script>"


def image(name, noise, **more):
    sort = {"peak": 0.08, "noise": noise, "dynamic_range": 0.08 / noise, "beam": 50.0}
    summary = {"peak": "p", "noise": "n", "dynamic_range": "d", "beam": "b"}
    shown = {"target": "N5921_2", "name": name, "anchor": f"image-{name}", "plots": []}
    return {**shown, "sort": sort, "summary": summary, **more}


def swept(*combinations):
    return {f"x.{n}": {"of": "x", "values": values} for n, values in enumerate(combinations)}


def labels(section):
    return [chart["label"] for chart in section["charts"]]


def titles(chart):
    return [shape["title"] for shape in chart["shapes"] if shape["kind"] == "dot"]


def test_one_key_is_the_axis_in_the_order_of_its_values():
    made = swept({"robust": 2}, {"robust": -0.5}, {"robust": 0.5})
    noises = (1.0e-3, 3.0e-3, 2.0e-3)
    images = [image(f"x.{n}", noise) for n, noise in enumerate(noises)]
    (found,) = sections(made, [*images, image("other", 1.0)])
    assert (found["target"], found["of"], found["keys"]) == ("N5921_2", "x", ["robust"])
    assert [row["values"] for row in found["rows"]] == [["2"], ["-0.5"], ["0.5"]]
    assert labels(found) == [
        "noise (mJy/beam) of x against robust", "peak (mJy/beam) of x against robust",
        "dynamic range of x against robust", "beam's major axis (arcsec) of x against robust",
    ]  # fmt: skip
    assert titles(found["charts"][0]) == ["x: 3", "x: 2", "x: 1"]


def test_the_key_with_most_numbers_is_the_axis_and_others_make_lines():
    made = swept(
        *({"scales": scales, "robust": robust, "threshold": "3sigma"}
          for scales in ([0], [0, 5]) for robust in (-1, 0, 1))
    )  # fmt: skip
    (found,) = sections(made, [image(name, 1e-3) for name in made])
    assert [name for name, _ in found["charts"][0]["legend"]] == [
        "scales 0, threshold 3sigma", "scales 0, 5, threshold 3sigma",
    ]  # fmt: skip
    assert labels(found)[0] == "noise (mJy/beam) of x against robust"


def test_words_have_no_axis_and_are_compared_in_the_table_alone():
    made = swept({"deconvolver": "hogbom"}, {"deconvolver": "multiscale"})
    (found,) = sections(made, [image(name, 1e-3) for name in made])
    assert found["charts"] == []
    assert [row["values"] for row in found["rows"]] == [["hogbom"], ["multiscale"]]


def test_an_image_that_was_not_made_leaves_a_gap():
    made = swept({"robust": 0}, {"robust": 1}, {"robust": 2})
    gone = {"target": "N5921_2", "name": "x.1", "anchor": "a", "plots": [], "missing": "failed"}
    (found,) = sections(made, [image("x.0", 1e-3), gone, image("x.2", 2e-3)])
    assert titles(found["charts"][0]) == ["x: 1", "x: 2"]
    html = environment().from_string(TEMPLATE).render(sweeps=[found])
    assert '<td colspan="4">failed</td>' in html


def test_targets_have_sections_of_their_own_and_a_single_image_none():
    made = swept({"robust": 0}, {"robust": 1})
    images = [image("x.0", 1e-3), image("x.1", 1e-3)]
    others = [{**one, "target": "M31"} for one in images]
    assert [one["target"] for one in sections(made, [*images, *others])] == ["N5921_2", "M31"]
    assert sections(made, images[:1]) == []
    assert sections({}, images) == []


TEMPLATE = (
    '{% from "macros.html" import measured, sized %}{% from "charts.html" import chart %}'
    '{% include "sweeps.html" %}'
)


def test_what_came_from_a_recipe_is_text():
    plot = {"src": "a.png", "title": "Maps", "width": 9, "height": 7}
    made = swept({"threshold": HOSTILE}, {"threshold": "3sigma"})
    found = sections(made, [image(name, 1e-3, plots=[plot]) for name in made])
    html = environment().from_string(TEMPLATE).render(sweeps=found)
    assert "<script>" not in html
    assert html.count('width="9" height="7"') == 2
