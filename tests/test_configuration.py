"""The user's own configuration: where it is, what it may say, who may have written it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from casarun.configuration import Notifier, configured, filled, place
from casarun.errors import RefusedError
from jsonschema import Draft202012Validator


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / ".config" / "casarun").mkdir(parents=True)
    return tmp_path


def write(home: Path, text: str) -> Path:
    path = home / ".config" / "casarun" / "config.toml"
    path.write_text(text)
    return path


def refused(home: Path) -> str:
    with pytest.raises(RefusedError) as error:
        configured({"HOME": str(home)})
    return str(error.value)


def test_it_is_where_the_xdg_specification_has_it(home: Path) -> None:
    assert place({"HOME": "/h"}) == Path("/h/.config/casarun/config.toml")
    assert place({"HOME": "/h", "XDG_CONFIG_HOME": "/c"}) == Path("/c/casarun/config.toml")
    # What is relative counts as unset: else the current folder would define commands.
    assert place({"HOME": "/h", "XDG_CONFIG_HOME": "c"}) == Path("/h/.config/casarun/config.toml")
    assert place({"HOME": "h"}) == place({}) == Path.home() / ".config/casarun/config.toml"


def test_without_a_file_nothing_is_defined(home: Path) -> None:
    assert configured({"HOME": str(home)}).notifiers == {}


def test_notifiers(home: Path) -> None:
    write(
        home,
        '[notify.me]\ncommand = ["mail", "-s", "{title}", "me@example.org"]\n'
        '[notify.lab]\nurl = "json://example.org"\ntimeout = "2min"\n'
        '[notify.two]\nurl = ["json://a", "json://b"]\n',
    )
    assert configured({"HOME": str(home)}).notifiers == {
        "me": Notifier("me", command=("mail", "-s", "{title}", "me@example.org")),
        "lab": Notifier("lab", url=("json://example.org",), timeout_s=120),
        "two": Notifier("two", url=("json://a", "json://b")),
    }


WRONG = {
    "[notify.me]\n": "1:9: notify.me: give either a command or a url",
    '[notify.me]\ncommand = ["a"]\nurl = "b"\n': "1:9: notify.me: give either a command or a url",
    '[notify."a b"]\nurl = "c"\n': (
        "1:9: notify.a b: 'a b' cannot be a name: letters, digits and _ - + . only, at most 64, "
        "not beginning with . or -"
    ),
    '[notify.me]\ncommand = "mail me"\n': (
        "2:11: notify.me.command: expected an array, found a string"
    ),
    '[notify.me]\ncommand = ["./tell"]\n': (
        "2:12: notify.me.command[0]: './tell' depends on the current folder: give the program's "
        "absolute path, or a name that is on the PATH"
    ),
    '[notify.me]\ncommand = ["mail", "{titel}"]\n': (
        "2:20: notify.me.command[1]: {titel} stands for nothing; did you mean 'title'? "
        "(known: {title}, {name}, {verdict}, {report}, {folder})"
    ),
    '[notify.me]\nurl = "json://x"\ntimeout = "0s"\n': (
        "3:11: notify.me.timeout: '0s' must be more than zero"
    ),
    '[notify.me]\nurl = "json://x"\non = ["failure"]\n': (
        "3:1: notify.me.on: unknown key; it belongs to [notify]"
    ),
    "[notfy.me]\n": "1:2: notfy: unknown key; did you mean 'notify'?",
    "[notify.me\n": "1:11: Expected ']' at the end of a table declaration",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_at_its_place(home: Path, text: str) -> None:
    path = write(home, text)
    assert refused(home).splitlines()[0] == f"{path}:{WRONG[text]}"


def test_a_file_that_others_may_write_defines_no_commands(home: Path) -> None:
    path = write(home, '[notify.me]\ncommand = ["mail"]\n')
    path.chmod(0o666)
    assert refused(home) == f"{path}: {path} may be written by everyone: chmod o-w {path}"
    path.chmod(0o644)
    path.parent.chmod(0o777)
    folder = path.parent
    assert refused(home) == f"{path}: {folder} may be written by everyone: chmod o-w {folder}"
    path.parent.chmod(0o755)
    assert set(configured({"HOME": str(home)}).notifiers) == {"me"}


def test_words_in_braces() -> None:
    words = {"title": "a {name}", "name": "b"}
    assert filled('{title}, {name}: {"x": 1} {} {Name}', words) == 'a {name}, b: {"x": 1} {} {Name}'


def test_the_page_shows_every_key_and_what_it_shows_is_taken(home: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
    shown = "\n".join(line[4:] for line in page.splitlines() if line.startswith("    "))
    write(home, shown)
    document = configured({"HOME": str(home)}).document
    schema = json.loads(
        (Path(__file__).parent.parent / "schemas" / "config.schema.json").read_text()
    )
    Draft202012Validator(schema).validate(document)

    def keys(node: Any) -> set[str]:
        inner = node.get("additionalProperties")
        below = [
            *node.get("properties", {}).values(),
            *([inner] if isinstance(inner, dict) else []),
        ]
        return set(node.get("properties", {})).union(*map(keys, below))

    def used(value: Any) -> set[str]:
        return set(value).union(*map(used, value.values())) if isinstance(value, dict) else set()

    assert keys(schema) <= used(document)
