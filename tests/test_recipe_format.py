"""``casarun fmt``: blank space changes, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import casarun
import pytest
import tomli
from casarun import starter
from casarun.cli.commands import cli
from casarun.recipe.format import formatted
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.observations import vla

RECIPES = sorted((Path(casarun.__file__).parent / "recipes").glob("*.toml"))
DOCS = Path(__file__).parent.parent / "docs"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("\n\n  a=1", "a = 1\n"),
        ("a=1\r\n\r\n\r\nb  =  'x'\t\n", 'a = 1\n\nb = "x"\n'),
        ("a . 'b c' = 1", "a.'b c' = 1\n"),
        ("a = 'say \"x\"'\nb = 'c\\d'\n", "a = 'say \"x\"'\nb = 'c\\d'\n"),
        ("#x\n##\n#:schema y\n#!\n#\n", "# x\n##\n#:schema y\n#!\n#\n"),
        ("[ a . b ]#x\n\n\n\nc=1\n", "[a.b]    # x\nc = 1\n"),
        ("x=1\n[[ a ]]\nx=1\n# of b\n[b]\n", "x = 1\n\n[[a]]\nx = 1\n\n# of b\n[b]\n"),
        ("x=1\n# of x\n\n# of a\n[a]\n", "x = 1\n# of x\n\n# of a\n[a]\n"),
        ("t={a=1,b = {c=[1,2 ,]}}\nu={ }\n", "t = { a = 1, b = { c = [1, 2] } }\nu = {}\n"),
        (
            "x=[1,2,# two\n#own\n 3,4\n,\n\n[5,\n6]]\n",
            "x = [\n    1, 2,  # two\n    # own\n    3, 4,\n"
            "    [\n        5,\n        6,\n    ],\n]\n",
        ),
        ("x = [ # first\n  1 ]\n", "x = [\n    # first\n    1,\n]\n"),
        ("x='''\n  a  \n'''#c\n", "x = '''\n  a  \n'''  # c\n"),
    ],
)
def test_formatted(text: str, expected: str) -> None:
    assert formatted(text) == expected
    assert formatted(expected) == expected


def test_what_is_lined_up_stays_lined_up() -> None:
    text = "name  = 1      # one\nscale =  2     # two\n# more = 3\nlong = 4\n"
    spaced = "name = 1       # one\nscale = 2      # two\n# more = 3\nlong = 4\n"
    assert formatted(text) == spaced
    lined = "  a     =  1    # one\n  bcd   = 2     # two\n  # e   = 3\n  f     = [1]\n"
    spaced = "a   = 1         # one\nbcd = 2         # two\n# e   = 3\nf   = [1]\n"
    assert formatted(lined) == spaced


def test_a_comment_that_goes_on_stays_under_its_beginning() -> None:
    text = "a=1     # begins\n        # goes on\n        # and on\nb=2\n"
    assert formatted(text) == "a = 1   # begins\n        # goes on\n        # and on\nb = 2\n"
    text = "abc=1 # begins\n      # goes on\n"
    assert formatted(text) == "abc = 1  # begins\n         # goes on\n"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_are_in_style(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert formatted(text) == text


@pytest.mark.parametrize("intents", [False, True])
def test_what_init_writes_is_in_style(intents: bool) -> None:
    text = starter.write([vla(intents=intents)], ["x.ms"], "x").text
    assert formatted(text) == text


@pytest.mark.parametrize("page", ["recipe.md", "sharing.md", "tutorial.md", "selfcal.md"])
def test_recipes_in_the_docs_keep_what_they_say(page: str) -> None:
    for block in re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        new = formatted(block)
        assert tomli.loads(new) == tomli.loads(block)
        assert formatted(new) == new


def test_newer_toml_is_left_alone() -> None:
    with pytest.raises(ValueError, match="newer than the formatter: it is left as it is"):
        formatted("x = {\n  a = 1,\n}\n")


SPACE = st.sampled_from(["", " ", "  ", "\t"])
KEY = st.sampled_from(["a", "bc", "'d e'", '"f"', "long_key", "g . h"])
SCALAR = st.sampled_from(
    ["1", "-0.5", "true", '"x # y"', "'lit'", "'q\"'", '"""\n a \n"""', "'''b'''", "1979-05-27",
     '"é星"', "1_000", "0x1F", "''", "inf"]
)  # fmt: skip
COMMENT = st.sampled_from(["# c", "#c", "#", "## x", "#:schema s", "# é  "])
BREAK = st.sampled_from(["", " ", "\n", "\n\n", " # in\n", "\n  # own\n"])


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    item = st.tuples(BREAK, values, BREAK).map("".join)
    return st.builds(
        lambda items, end, tail: f"[{','.join(items)}{end if items else ''}{tail}]",
        st.lists(item, max_size=4), st.sampled_from(["", ","]), BREAK,
    )  # fmt: skip


def inline_tables(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    def write(items: list[str], space: str) -> str:
        return f"{{{space}{','.join(f'k{i}{space}={x}' for i, x in enumerate(items))}{space}}}"

    return st.builds(write, st.lists(values, max_size=3), st.sampled_from(["", " "]))


VALUE = st.recursive(
    SCALAR, lambda inner: arrays(inner) | inline_tables(inner.filter(lambda x: "\n" not in x)),
    max_leaves=6,
)  # fmt: skip
PAIR = st.builds(
    lambda indent, key, left, right, value, space, comment: (
        f"{indent}{key}{left}={right}{value}{space}{comment}"
    ),
    SPACE, KEY, SPACE, SPACE, VALUE, SPACE, st.just("") | COMMENT,
)  # fmt: skip
HEADER = st.builds(
    lambda left, key, right, comment: f"{left}[ {key} ]{right}{comment}",
    SPACE, KEY, SPACE, st.just("") | COMMENT,
)  # fmt: skip
ROWS = st.builds(lambda key, space: f"[[{space}{key}{space}]]", KEY, SPACE)
LINE = PAIR | PAIR | PAIR | HEADER | ROWS | st.builds("{}{}".format, SPACE, COMMENT) | SPACE


def comments(text: str) -> list[str]:
    """Return a text's comments, without the space in them; all strings here hold no newline+#."""
    return sorted(
        re.sub(r"\s", "", found)
        for line in text.split("\n")
        for found in re.findall(r"#.*", line.replace("x # y", ""))
    )


@settings(max_examples=150, deadline=None)
@given(st.lists(LINE, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_any_document_says_the_same_and_is_formatted_once(lines: list[str], end: str) -> None:
    text = end.join(lines).replace("\r\n", "\n").replace("\n", end)
    try:
        before = tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    try:
        new = formatted(text)
    except ValueError as error:
        assert "newer than the formatter" in str(error)  # noqa: PT017 (what newer TOML may be)
        return
    assert repr(tomli.loads(new)) == repr(before)
    assert formatted(new) == new
    assert comments(new) == comments(text)
    assert "\r" not in new
    if '"""' not in new:
        assert not any(line != line.rstrip() for line in new.split("\n"))


# -- the command


def fmt(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["fmt", *arguments], standalone_mode=False)


def test_fmt_writes_what_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.toml").write_text("casarun = 1\n")
    Path("bad.toml").write_bytes(b"\xef\xbb\xbfcasarun=1 #x\r\n")
    Path("bad.toml").chmod(0o600)
    Path("link.toml").symlink_to("bad.toml")
    checked = fmt("--check", "good.toml", "link.toml")
    assert (checked.return_value, checked.output) == (1, "link.toml: would be formatted\n")
    assert Path("bad.toml").read_bytes().startswith(b"\xef\xbb\xbf")
    done = fmt("good.toml", "link.toml")
    assert (done.return_value, done.output) == (0, "link.toml: formatted\n")
    assert Path("bad.toml").read_bytes() == b"casarun = 1  # x\n"
    assert Path("bad.toml").stat().st_mode & 0o777 == 0o600
    assert Path("link.toml").is_symlink()
    assert (fmt("--check", "bad.toml").return_value, fmt("bad.toml").output) == (0, "")


def test_fmt_leaves_alone_what_it_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text("a = \n")
    Path("b.toml").write_text("x = {\n a = 1 }\n")
    Path("c.toml").write_text("a=1\n")
    done = fmt("a.toml", "b.toml", "c.toml")
    assert done.return_value == 2
    assert done.output == (
        "a.toml:1:5: Invalid value\n    1 | a =\n      |     ^\n"
        "b.toml: has TOML in it that is newer than the formatter: it is left as it is\n"
        "c.toml: formatted\n"
    )
