from __future__ import annotations

from typing import Any

import pytest
import tomli
from casarun.errors import Problem
from casarun.recipe.positions import Source, render
from hypothesis import given
from hypothesis import strategies as st

TEXT = """\
casarun = 1
calibrate.solint.phase = "int"  # dotted
"größe" = "µ"

[project]
name = "é" # comment
[[image]]
name = "a"
tclean = { gridder = "mosaic", "x y" = [1, 2] }
[image.immoments]
axis = 1
[[image]]
scales = [
  0,  # first
  6,
]
[image.tclean.deep]
k = '''
two lines'''
"""


@pytest.mark.parametrize(
    ("key", "at_key", "place"),
    [
        (("casarun",), False, (1, 11)),
        (("casarun",), True, (1, 1)),
        (("calibrate", "solint", "phase"), False, (2, 26)),
        (("calibrate", "solint", "phase"), True, (2, 1)),
        (("calibrate", "solint"), False, (2, 1)),
        (("größe",), False, (3, 11)),
        (("project",), False, (5, 2)),
        (("project", "name"), False, (6, 8)),
        (("project", "missing"), False, (5, 2)),
        (("image",), False, (7, 3)),
        (("image", 0), False, (7, 3)),
        (("image", 0, "tclean", "gridder"), False, (9, 22)),
        (("image", 0, "tclean", "x y"), True, (9, 32)),
        (("image", 0, "tclean", "x y", 1), False, (9, 44)),
        (("image", 0, "immoments", "axis"), False, (11, 8)),
        (("image", 1), False, (12, 3)),
        (("image", 1, "scales", 0), False, (14, 3)),
        (("image", 1, "scales", 1), False, (15, 3)),
        (("image", 1, "tclean", "deep", "k"), False, (18, 5)),
        (("image", 1, "name"), False, (12, 3)),
        (("nowhere",), False, None),
        ((), False, None),
    ],
)
def test_locate(key: tuple[str | int, ...], at_key: bool, place: tuple[int, int] | None) -> None:
    assert Source(TEXT, "recipe.toml").locate(key, at_key) == place


def test_render_places_carets_under_wide_characters_and_tabs() -> None:
    source = Source('\tname = "星é"\n', "r.toml")
    assert render([Problem("is odd", ("name",))], source) == (
        "r.toml:1:9: name: is odd\n"
        '    1 |  name = "星é"\n'
        "      |         ^^^^^"
    )  # fmt: skip


def test_render_sorts_and_marks_warnings() -> None:
    source = Source("a = 1\nb = 2\n", "r.toml", {("c",): "--set c=3"})
    problems = [
        Problem("second", ("b",), "warning", at_key=True),
        Problem("first", ("a",)),
        Problem("given", ("c",)),
        Problem("whole"),
    ]
    assert render(problems, source) == (
        "--set c=3: c: given\n"
        "r.toml: whole\n"
        "r.toml:1:5: a: first\n"
        "    1 | a = 1\n"
        "      |     ^\n"
        "r.toml:2:1: warning: b: second\n"
        "    2 | b = 2\n"
        "      | ^"
    )


def test_render_escapes_what_drives_a_terminal() -> None:
    text = render(
        [Problem("found '\x1b[31m\u202e'", line=1, column=1)], Source("\x1b[2J", "r.toml")
    )
    assert text == (
        "r.toml:1:1: found '\\x1b[31m\\u202e'\n    1 | \N{REPLACEMENT CHARACTER}[2J\n      | ^"
    )


def test_render_shows_a_part_of_a_long_line() -> None:
    source = Source(f"a = [{'1, ' * 1000}'x']\n", "r.toml")
    head, line, carets = render([Problem("bad", ("a", 1000))], source).splitlines()
    assert head == "r.toml:1:3006: a[1000]: bad"
    assert len(line) < 140
    assert line[carets.index("^") : carets.rindex("^") + 1] == "'x'"


def test_keys_that_moved_are_shown_as_the_document_has_them() -> None:
    source = Source('[[dataset]]\nvis = "*.ms"\n', "r.toml", moved={("dataset", 2): ("dataset", 0)})
    assert render([Problem("has no rows", ("dataset", 2, "vis"))], source) == (
        'r.toml:2:7: dataset[0].vis: has no rows\n    2 | vis = "*.ms"\n      |       ^^^^^^'
    )


def test_what_the_grammar_does_not_know_leaves_the_rest_findable() -> None:
    # Newlines in inline tables: TOML 1.1, which tomli reads and the grammar may not.
    source = Source("a = {x = 1,\n y = 2}\n[b]\nc = 3\n", "r.toml")
    assert source.locate(("nothing",)) is None
    assert render([Problem("m", ("a", "y"))], source).startswith("r.toml")


SCALARS = st.one_of(
    st.integers(-1000, 1000).map(str),
    st.sampled_from(["true", "2.5", "1979-05-27", "'liter al'", '"""one"""']),
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), max_size=6).map(
        lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    ),
)
KEYS = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,6}", fullmatch=True),
    st.text(st.characters(categories=["L", "N"], codec="utf-8"), min_size=1, max_size=5).map(
        lambda text: f'"{text}"'
    ),
    st.sampled_from(["'a b'", '"a.b"', '"\\u0061b"']),
)
Values = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=5,
)
SECTIONS = st.lists(
    st.tuples(
        st.sampled_from(["table", "array", "dotted"]), st.lists(st.tuples(KEYS, Values), max_size=3)
    ),
    max_size=5,
)


class Writer:
    """Writes TOML and keeps where each value was put."""

    def __init__(self) -> None:
        self.text = ""
        self.places: dict[tuple[str | int, ...], tuple[int, int, str]] = {}

    def here(self) -> tuple[int, int]:
        return self.text.count("\n") + 1, len(self.text) - self.text.rfind("\n")

    def value(self, path: tuple[str | int, ...], value: Any) -> None:
        line, column = self.here()
        start = len(self.text)
        if isinstance(value, list):
            self.text += "[ "
            for index, item in enumerate(value):
                self.value((*path, index), item)
                self.text += ", # é\n  " if index % 2 else ", "
            self.text += "]"
        elif isinstance(value, dict):
            self.text += "{"
            for index, (key, item) in enumerate(value.items()):
                self.text += (", " if index else " ") + f"k{index}-x.{key} = "
                self.value((*path, f"k{index}-x", named(key)), item)
            self.text += " }"
        else:
            self.text += value
        self.places[path] = (line, column, self.text[start:])


def named(key: str) -> str:
    return next(iter(tomli.loads(f"{key} = 0")))


@given(SECTIONS)
def test_locate_finds_the_text_of_any_document(sections: Any) -> None:
    writer = Writer()
    rows = 0
    for number, (kind, pairs) in enumerate(sections):
        path: tuple[str | int, ...] = {
            "table": (f"t{number}",),
            "array": ("rows", rows),
            "dotted": ("outer é", f"d{number}"),
        }[kind]
        rows += kind == "array"
        writer.text += {
            "table": f"[ t{number} ] # é\n",
            "array": "[[rows]]\n",
            "dotted": f'["outer é".d{number}]\n',
        }[kind]
        for index, (key, value) in enumerate(pairs):
            writer.text += f"\tp{index}.{key} = "
            writer.value((*path, f"p{index}", named(key)), value)
            writer.text += " # é\n"
    document = tomli.loads(writer.text)
    source = Source(writer.text, "x.toml")
    for place, (line, column, text) in writer.places.items():
        found: Any = document
        for part in place:
            found = found[part]
        span = source.span(place)
        assert span is not None
        assert (span.line, span.column) == (line, column) == source.locate(place)
        first = text.split("\n")[0]
        assert source.lines[line - 1][span.column - 1 : span.end - 1] == first
