"""DS9 region files: what is read, what is passed over, and what is said of the rest."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from astropy.wcs import WCS
from casarun.qa import drawn
from casarun.recipe import ds9_regions
from casarun.recipe.ds9_regions import Shape, read
from hypothesis import given, settings
from hypothesis import strategies as st
from regions import Regions

HEAD = """# Region file format: DS9 version 4.1
global color=green dashlist=8 3 width=1 font="helvetica 10 normal roman" select=1 include=1
"""
_RADIAN = math.degrees(1)


def one(text: str) -> Shape:
    found = read(text)
    assert found.complaints() == []
    (shape,) = found.shapes
    return shape


def test_a_file_as_ds9_writes_it() -> None:
    text = HEAD + (
        "fk5\n"
        'circle(15:22:00.0000,+5:04:12.000,100.000") # color=red text={north arm; bright}\n'
        '-ellipse(15:22:09.0354,-5:04:14.996,150.000",75.000",30.000369) # text="core"\n'
        "# text(15:22:00.0,+5:04:00.0) text={circle(1,2,3)}\n"
        '# vector(15:22:00.0,+5:04:00.0,100",30) vector=1\n'
    )
    circle, ellipse = read(text).shapes
    assert circle == Shape(
        4, "circle", "fk5", ((pytest.approx(230.5), pytest.approx(5.07)),),  # type: ignore
        (pytest.approx(100 / 3600),), label="north arm; bright",
    )  # fmt: skip
    assert (ellipse.line, ellipse.kind, ellipse.include, ellipse.label) == (
        5, "ellipse", False, "core",
    )  # fmt: skip
    assert ellipse.points[0] == pytest.approx((230.5376475, -5.0708322), abs=1e-7)
    assert ellipse.sizes == pytest.approx((150 / 3600, 75 / 3600))
    assert ellipse.angle_deg == 30.000369


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("circle(230.5,5.1,0.1)", ("circle", "image", ((230.5, 5.1),), (0.1,))),
        ("image; circle 10 20 3", ("circle", "image", ((10, 20),), (3,))),
        ("physical; circle(10,20,3p)", ("circle", "image", ((10, 20),), (3,))),
        ("J2000; circle(230.5d, 5.1d, 0.5d)", ("circle", "fk5", ((230.5, 5.1),), (0.5,))),
        ("b1950; circle(15h22m00s, -5d06m00s, 6')", ("circle", "fk4", ((230.5, -5.1),), (0.1,))),
        ("galactic; circle(+8:30:00, -47:30:00, 1)", ("circle", "galactic", ((8.5, -47.5),), (1,))),
        ("icrs; circle(1r, 0.5r, 0.1r)",
         ("circle", "icrs", ((_RADIAN, 0.5 * _RADIAN),), (0.1 * _RADIAN,))),
        ("annulus(10,20,3,5)", ("annulus", "image", ((10, 20),), (3, 5))),
        ("annulus(10,20,3,5,7,9)", ("annulus", "image", ((10, 20),), (3, 9))),
        ("annulus(10,20,0,9,n=3)", ("annulus", "image", ((10, 20),), (0, 9))),
        ("box(10,20,3,5,0)", ("box", "image", ((10, 20),), (3, 5))),
        ("rotbox(10,20,3,5,0)", ("box", "image", ((10, 20),), (3, 5))),
        ("box(10,20,3,5,6,10,9,15,0)", ("box", "image", ((10, 20),), (3, 5, 9, 15))),
        ("ellipse(10,20,0,0,9,15,0)", ("ellipse", "image", ((10, 20),), (9, 15))),
        ("point(10,20) # point=cross 11", ("point", "image", ((10, 20),), ())),
        ("polygon(1,2,3,4,5,0) ||", ("polygon", "image", ((1, 2), (3, 4), (5, 0)), ())),
    ],
)  # fmt: skip
def test_shapes(line: str, expected: tuple[Any, ...]) -> None:
    shape = one(line)
    kind, frame, points, sizes = expected
    assert (shape.kind, shape.frame) == (kind, frame)
    assert np.allclose(shape.points, points, rtol=1e-12)
    assert shape.sizes == pytest.approx(sizes)


@pytest.mark.parametrize(
    ("text", "include"),
    [
        ("circle(1,2,3)", True), ("+circle(1,2,3)", True), ("-circle(1,2,3)", False),
        ("!circle(1,2,3)", False), ("- circle(1,2,3)", False),
        ("circle(1,2,3) # include=0", False),
        ("global include=0\ncircle(1,2,3)", False), ("global include=0\n+circle(1,2,3)", True),
        ("global include=0\nglobal color=red\ncircle(1,2,3)", True),
    ],
)  # fmt: skip
def test_what_is_included(text: str, include: bool) -> None:
    assert one(text).include is include


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("circle(1,2)", "a circle of 0 sizes"),
        ("circle(1)", "a circle of 1 values"),
        ("circle(1,2,0)", "a circle without an area"),
        ("circle(1,2,-3)", "a circle without an area"),
        ("circle(1,2,nan)", "'nan' is no size"),
        ("circle(1,2,1e999)", "'1e999' is no size"),
        ("circle(1,2,1e8)", "'1e8' is no size"),
        ("circle(1e8,2,3)", "'1e8' is no place in image"),
        ("fk5; circle(1,2,361)", "'361' is no size"),
        ("fk5; circle(361,2,3)", "'361' is no place in fk5"),
        (f"fk5; circle({'9' * 30}:00:00,2,3)", f"'{'9' * 30}:00:00' is no place in fk5"),
        ('circle(1,2,3")', "the place is in pixels, but '3\"' is an angle"),
        ("fk5; circle(1,2,3p)", "the place is on the sky, but '3p' is in pixels"),
        ("fk5; circle(1,95,3)", "'95' is no place in fk5"),
        ("fk5; circle(east,5,3)", "'east' is no coordinate in fk5"),
        ("circle(15:22:00,5,3)", "'15:22:00' is no coordinate in image"),
        ("annulus(1,2,5,3)", "the inside of this annulus is not smaller than its outside"),
        ("box(1,2,3)", "a box of 0 sizes"),
        ("ellipse(1,2,3,4,x)", "'x' is no angle"),
        ("polygon(1,2,3,4)", "a polygon of 4 values"),
        ("polygon(1,2,3,4,5,6,7)", "a polygon of 7 values"),
        ("circle((1,2),3)", "'((1,2),3)' cannot be read"),
        ("circle(1,2,3) && box(1,2,3,4,0)", "'(1,2,3) && box(1,2,3,4,0)' cannot be read"),
        ("circle(1,2,3) &&", "'&&' cannot be used: draw the common area as a polygon"),
        ("panda(1,2,0,90,1,0,5,1)", "'panda' cannot be used: draw its outline as a polygon"),
        ("field()", "'field' is none of circle, ellipse, box, polygon, annulus, point"),
        ("linear; circle(1,2,3)", "regions in 'linear' coordinates cannot be used: save them as "
         "fk5, icrs, fk4, galactic or image"),
        ("[exec rm]", "'[exec rm]' is no region"),
        ("x" * 60 + "(1)", "'" + "x" * 37 + "...' is none of circle, ellipse, box, polygon, "
         "annulus, point"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_with_its_line(line: str, message: str) -> None:
    found = read(f"{HEAD}image\n\n{line}\n")
    assert found.complaints() == [f"line 5: {message}"]
    assert found.shapes == []


def test_regions_in_refused_coordinates_are_told_once() -> None:
    found = read("ecliptic\ncircle(1,2,3)\ncircle(1,2,4)\nfk5\ncircle(1,2,3)\n")
    assert [number for number, _ in found.unusable] == [1]
    assert [shape.line for shape in found.shapes] == [5]


def test_many_bad_lines_are_summed_up() -> None:
    said = read("field()\n" * 9).complaints()
    assert len(said) == 6
    assert said[-1] == "and 4 more lines that cannot be used"


def test_any_text_is_read_to_its_end() -> None:
    for text in (
        "",
        "\0",
        "circle(" * 1000,
        "#" * 1000,
        ";;;;",
        "global",
        "fk5",
        "\ufeffcircle(1,2,3)",
    ):
        read(text)


_WORDS = st.sampled_from([
    "fk5", "image", "circle", "ellipse", "polygon", "annulus", "box", "point", "(", ")", ",", ";",
    " ", "#", "-", "global", "include=0", "text={", "}", '"', "'", "1", "2.5", "-3e5", "1e308",
    "12:30:00", "+5d6m7s", "n=3", "||", "&&", "\n", "\x00", "é",
])  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(_WORDS, max_size=40).map("".join))
def test_whatever_a_file_holds_is_read_or_told(text: str) -> None:
    found = read(text)
    for shape in found.shapes:
        numbers = [*np.ravel(shape.points), *shape.sizes, shape.angle_deg]
        assert np.isfinite(numbers).all()
        assert shape.reach >= 0
        mask = drawn.mask([shape], WCS(naxis=2), (8, 9)) if shape.frame == "image" else None
        assert mask is None or mask.shape == (8, 9)


def test_the_package_regions_reads_the_same() -> None:
    """Another reader of the format, as a witness."""
    text = HEAD + (
        "fk5\ncircle(15:22:00.0,+5:04:12.0,100\")\nellipse(230.5,5.1,150\",75\",30)\n"
        "box(230.5,5.1,150\",75\",30)\nannulus(230.5,5.1,1',2')\n"
        "polygon(230.5,5.1,230.6,5.1,230.6,5.2)\ngalactic\ncircle(8.1,47.9,0.5)\n"
    )  # fmt: skip
    for own, other in zip(read(text).shapes, Regions.parse(text, format="ds9"), strict=True):
        where = other.vertices if own.kind == "polygon" else other.center
        places = np.transpose(
            [np.ravel(where.spherical.lon.deg), np.ravel(where.spherical.lat.deg)]
        )
        assert np.allclose(own.points, places, rtol=0, atol=1e-9)
        if own.kind in ("ellipse", "box"):
            half = 2 if own.kind == "ellipse" else 1
            assert [other.width.to_value("deg"), other.height.to_value("deg")] == pytest.approx(
                [half * size for size in own.sizes]
            )
            assert other.angle.to_value("deg") == pytest.approx(own.angle_deg)
    assert ds9_regions.is_ds9("arms.reg")
    assert not ds9_regions.is_ds9("arms.crtf")
