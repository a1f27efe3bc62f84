"""A recipe from somebody else runs no command, writes nothing outside, reaches no network.

The attempts go through the whole language: `support/hostile_recipes.toml` has them with the exact
message of each refusal. Every text of the language is tried besides.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli
from casarun.api.opening import Options, open_recipe
from casarun.errors import RefusedError
from casarun.recipe.positions import render
from casarun.recipe.schema import resolved, schema
from casarun.stages import compile as stages
from support.observations import vla

ATTEMPTS = tomli.loads((Path(__file__).parent / "support" / "hostile_recipes.toml").read_text())[
    "attempt"
]
DATA = '[[dataset]]\nvis = "a.ms"\n'
ROLES = """[calibrators]
flux = "1331*"
bandpass = "1331*"
phase = "1445*"
"""
TARGETS = '[targets]\nfields = ["N*"]\n'
GUARD = """
import sys
def guard(event, args):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn",
                         "os.fork", "urllib.", "http.", "ftplib.", "smtplib.")):
        raise RuntimeError(f"{event}: {args}")
    if event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        raise RuntimeError(f"open: {args}")
    if event == "compile" and isinstance(args[0], (str, bytes)) and "touch" in str(args[0]):
        raise RuntimeError(f"compile: {args}")
sys.addaudithook(guard)
"""
"""What nothing of a recipe may bring about: told as an error that is no refusal."""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a recipe's folder, which is the current one; nothing is configured."""
    folder = tmp_path / "shared"  # what is written beside it is found, too
    (folder / "a.ms").mkdir(parents=True)
    (folder / "b.fits").touch()
    (folder / "evil.txt").write_text("__import__('os').system('touch x')")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    return folder


def told(text: str, planned: bool) -> str:
    """Return what is said of a recipe; nothing where it is taken."""
    has_data = "[[dataset]]" in text or "extends" in text
    targets = "" if "[targets]" in text else TARGETS
    rest = DATA + ROLES + targets if planned else "" if has_data else DATA
    Path("r.toml").write_text(f"casarun = 1\n{text}{rest}")
    try:
        reduction = open_recipe(Path("r.toml"), Options())
    except RefusedError as error:
        return str(error)
    if not planned:
        return ""
    compiled = stages.full(reduction.loaded.recipe, {"a": vla()})
    return render(compiled.problems, reduction.loaded.source)


def errors(said: str) -> list[str]:
    lines = (line for line in said.splitlines() if line.startswith("r.toml:"))
    return [line.removeprefix("r.toml:") for line in lines if ": warning: " not in line]


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda one: f"{one['to']}: {one['recipe']!r}")
def test_is_refused(here: Path, attempt: Mapping[str, Any]) -> None:
    before = sorted(here.parent.rglob("*"))
    said = errors(told(attempt["recipe"], attempt.get("planned", False)))
    assert said, "it was taken"
    assert said[0] == attempt["said"].replace("HERE", str(here))
    assert sorted(here.parent.rglob("*")) == sorted([*before, here / "r.toml"])


def test_the_attempts_go_through_all_tables_that_hold_texts() -> None:
    tried = "".join(attempt["recipe"] for attempt in ATTEMPTS)
    tables = {path.partition(".")[0].partition("[")[0] for path, _ in texts(schema(), "")}
    # A limit of the QA, a number of tries: they run nothing, and name nothing.
    idle = {"qa", "resources", "retry", "split", "remove", "matrix"}
    missing = {table for table in tables - idle if table not in tried}
    assert missing == set()
    assert {attempt["to"] for attempt in ATTEMPTS} == {
        "run a command", "write outside", "reach the network",
    }  # fmt: skip


def texts(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each key of the language that may hold a text: ``image[].tclean``, and its node."""
    node = resolved(node)
    for choice in node.get("anyOf", ()):
        yield from texts(choice, path)
    kind = node.get("type")
    if kind == "string" or "enum" in node:
        yield path, node
    elif kind == "array":
        yield from texts(node["items"], f"{path}[]")
    elif kind == "object":
        for name, child in node.get("properties", {}).items():
            yield from texts(child, f"{path}.{name}".lstrip("."))
        if not node.get("properties"):
            yield f"{path}.anything", {"type": "string"}


HOSTILE = (
    "$(touch x)", "`touch x`", "; touch x", "| touch x", "a\n!touch x",
    "__import__('os').system('touch x')",
    "{__import__('os').system('touch x')}", "${__import__('os').system('touch x')}", "!touch x",
    "../../x", "/etc/x", "~/x", "https://example.org/x", "file:///etc/passwd", "\\\\host\\x",
)  # fmt: skip
"""What no text of a recipe can bring to anything."""


def documents() -> list[str]:
    """Return a recipe for each text of the language and each hostile value."""
    found = []
    for path, _ in dict(texts(schema(), "")).items():
        for value in HOSTILE:
            found.append(_document(path, json.dumps(value)))
    return found


def _document(path: str, value: str) -> str:
    """Write a recipe in which one key has a value: inline tables all the way down."""
    first, *rest = path.split(".")
    for part in reversed(rest):
        name, _, lists = part.partition("[")
        value = f"{{ {json.dumps(name)} = {'[' if lists else ''}{value}{']' if lists else ''} }}"
    name, _, lists = first.partition("[")
    whole = f"{name} = {'[' if lists else ''}{value}{']' if lists else ''}\n"
    data = "" if name == "dataset" else 'dataset = [{ vis = "a.ms" }]\n'
    return f"casarun = 1\n{whole}{data}"


TRY = """
import json, pathlib, sys
from casarun.api.opening import Options, open_recipe
from casarun.errors import RefusedError
from casarun.recipe import positions, standalone, written, matrix, observing_log
import casarun.recipe.positions, tree_sitter, tree_sitter_toml, difflib
documents = json.loads(pathlib.Path("documents.json").read_text())
path = pathlib.Path("r.toml")
files = {}
real = pathlib.Path.open
import io
def opened(self, *args, **more):
    if self.name == "r.toml":
        return io.BytesIO(files["r.toml"].encode())
    return real(self, *args, **more)
path.touch()
pathlib.Path.open = opened
GUARD
refused = 0
for text in documents:
    files["r.toml"] = text
    try:
        open_recipe(path, Options())
    except RefusedError:
        refused += 1
print(refused, len(documents))
"""


def test_no_text_of_the_language_comes_to_anything(here: Path) -> None:
    all_of_them = documents()
    assert len(all_of_them) > 1500
    (here / "documents.json").write_text(json.dumps(all_of_them))
    done = subprocess.run(
        [sys.executable, "-c", TRY.replace("GUARD", GUARD)], cwd=here, env=dict(os.environ),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    refused, number = map(int, done.stdout.split())
    assert number == len(all_of_them)
    assert refused > number / 2
    assert not list(here.parent.rglob("x"))


def test_who_watches_would_see_it(here: Path) -> None:
    for deed in (
        "import os; os.system('true')", "import subprocess; subprocess.run(['true'])",
        "import socket; socket.socket()", "open('y', 'w')", "eval('1 # touch')",
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", f"{GUARD}\n{deed}"], cwd=here, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 1, deed
        assert "RuntimeError" in done.stderr


def test_a_task_may_ask_a_server_if_its_user_says_so(here: Path) -> None:
    text = (
        '[[step]]\ntask = "gencal"\nafter = "import"\n'
        'params = { caltable = "caltables/a", caltype = "antpos" }\n'
    )
    assert errors(told(text, False))
    (here / "config" / "casarun").mkdir(parents=True)
    (here / "config" / "casarun" / "config.toml").write_text('[allow]\nnetwork = ["gencal"]\n')
    assert errors(told(text, False)) == []


@pytest.mark.parametrize(
    "params",
    [
        'caltype = "antpos", antenna = "ea01", parameter = [0.01, 0.0, 0.0]',
        'caltype = "antpos", infile = "{recipe}/evil.txt"',
        'caltype = "gc", infile = "{recipe}/evil.txt"',
    ],
)
def test_what_asks_no_server_is_taken(here: Path, params: str) -> None:
    step = (
        '[[step]]\ntask = "gencal"\nafter = "import"\nparams = {{ caltable = "caltables/a", {} }}\n'
    )
    assert errors(told(step.format(params), False)) == []
