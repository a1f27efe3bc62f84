"""What README, tutorial and recipes show exists: commands, options, links, recipes, tables."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import tomli
from casarun import __version__
from casarun.cli.commands import cli
from casarun.engine.policy import AGAIN
from casarun.errors import Cause, ExitCode
from casarun.folder import PRODUCT_FOLDERS
from casarun.recipe.load import load
from casarun.stages.draft import ORDER

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
FRAGMENT = "casarun = 1\ndataset = [{ vis = 'casadata:demo/NGC5921.fits' }]\n"


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)


def words(line: str) -> Iterator[list[str]]:
    """Give each command of a shell line, without the variables set for it."""
    command: list[str] = []
    for word in [*shlex.split(line.partition(" > ")[0], comments=True), "&&"]:
        if word == "&&":
            if command:
                yield command
            command = []
        elif command or not re.match(r"[A-Z_]+=", word):
            command.append(word)


def shown() -> list[tuple[str, list[str]]]:
    """Return the commands of all pages and of the recipes' comments, with where they stand."""
    lines = [(page.name, line) for page in PAGES for block in blocks(page, "sh")
             for line in block.splitlines()]  # fmt: skip
    for recipe in RECIPES:
        for line in recipe.read_text(encoding="utf-8").splitlines():
            match = re.match(r"#.*?(\S+=\S+ )?(casarun \S+\.toml.*|casarun check .*)", line)
            if match:
                lines.append((recipe.name, match[2]))
    return [(where, command) for where, line in lines for command in words(line)]


COMMANDS = shown()


def parse(arguments: list[str]) -> dict[str, Any]:
    """Parse casarun's arguments as click would, but for whether files exist."""
    context = click.Context(cli, info_name="casarun")
    _, command, rest = cli.resolve_command(context, arguments)
    assert command is not None
    inner = click.Context(command, parent=context)
    values, left, _ = command.make_parser(inner).parse_args(rest)
    assert left == [], f"too many arguments: {left}"
    for parameter in command.get_params(inner):
        value = values.get(parameter.name)
        if isinstance(parameter, click.Option) and value is not None:
            parameter.type_cast_value(inner, value)
        elif parameter.required:
            assert isinstance(value, (str, list, tuple)), f"{parameter.name} is missing"
    return dict(values)


def test_there_are_commands_to_look_at() -> None:
    where = {name for name, _ in COMMANDS}
    assert {"README.md", "tutorial.md", "vla-survey.toml"} <= where
    assert len([words for _, words in COMMANDS if words[0].endswith("casarun")]) > 15


@pytest.mark.parametrize(
    ("where", "command"), COMMANDS, ids=lambda x: x if isinstance(x, str) else " ".join(x)
)
def test_command_exists(where: str, command: list[str]) -> None:
    program, *arguments = command
    if program.endswith("casarun"):
        values = parse(arguments)
        assert values.get("until") in (None, *ORDER)
        recipe = values.get("recipe")
        if recipe and "/" in recipe:
            assert (ROOT / recipe).is_file()
    elif program.endswith("pip"):
        extras = tomli.loads((ROOT / "pyproject.toml").read_text())["project"][
            "optional-dependencies"
        ]
        assert re.fullmatch(r"\.\[(\w+)\]", arguments[-1])
        assert arguments[-1][2:-1] in extras
    elif program == "python":
        assert (ROOT / arguments[0]).is_file()
        source = (ROOT / arguments[0]).read_text()
        if "measuring.parser(" in source:
            source += (ROOT / "benchmarks" / "measuring.py").read_text()
        assert set(re.findall(r'"(--\w+)"', source)) >= {
            word for word in arguments if word.startswith("--")
        }
    else:
        assert [program, *arguments] in (
            ["python3", "-m", "venv", ".venv"],
            [".venv/bin/pytest"],
            [".venv/bin/mkdocs", "serve"],
        )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["chek", "x.toml"], "No such command 'chek'"),
        (["plan", "x.toml", "--fromat", "json"], "No such option '?--fromat"),
        (["plan", "x.toml", "--format", "svg"], "'svg' is not one of"),
        (["status", "a", "b"], "too many arguments"),
        (["check"], "recipe is missing"),
    ],
)
def test_a_wrong_command_would_be_found(wrong: list[str], message: str) -> None:
    with pytest.raises((click.UsageError, AssertionError), match=message):
        parse(wrong)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link
        if page.parent.name == "docs":
            # mkdocs sees its own folder only.
            assert target.resolve().is_relative_to(ROOT / "docs"), link


LAB = """casarun = 1
vars.target = "3C286"
flag.manual = ["antenna='1'"]
targets.fields = ["${target}"]
[[image]]
name = "hi"
"""
"""What a recipe in the text extends."""
CONFIG = '[notify.me]\ncommand = ["mail"]\n[notify.lab]\ncommand = ["mail"]\n'
LOG = "night,file\nn1,58001\n"
TOML = [(page, block) for page in PAGES for block in blocks(page, "toml")]


def test_readme_and_tutorial_show_recipes() -> None:
    assert {page.name for page, _ in TOML} >= {"README.md", "tutorial.md"}


@pytest.mark.parametrize(("page", "block"), TOML, ids=lambda x: getattr(x, "name", None))
def test_recipes_in_the_text_load(page: Path, block: str, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "NGC5921.fits").touch()
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "l-band.toml").write_text(LAB)
    (tmp_path / "observing-log.csv").write_text(LOG)
    (tmp_path / "data" / "58001.ms").mkdir(parents=True)
    recipe = tmp_path / "shown.toml"
    recipe.write_text(block if "casarun = " in block else FRAGMENT + block)
    for name in re.findall(r'vis += "(?!casadata:)([^"*${]+)"', block):
        (tmp_path / name).mkdir()
    (tmp_path / "casarun").mkdir()
    (tmp_path / "casarun" / "config.toml").write_text(CONFIG)
    given = {"DATA": str(tmp_path / "demo"), "XDG_CONFIG_HOME": str(tmp_path)}
    assert load(recipe, environ=given, demo_data=lambda: tmp_path).warnings == ()


def test_the_recipe_in_ten_lines_has_ten() -> None:
    assert "A recipe in ten lines" in (ROOT / "README.md").read_text()
    assert len(blocks(ROOT / "README.md", "toml")[0].splitlines()) == 10


def test_the_tutorials_recipe_is_the_one_that_is_shipped() -> None:
    told = tomli.loads(blocks(ROOT / "docs" / "tutorial.md", "toml")[0])
    real = tomli.loads((ROOT / "recipes" / "ngc5921.toml").read_text())
    del real["project"]
    assert told == real


def first_column(heading: str) -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = text.partition(f"| {heading} |")[2].partition("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip().strip("`/") for row in rows]


def test_exit_codes_are_those_of_the_program() -> None:
    assert sorted(map(int, first_column("exit code"))) == sorted(code.value for code in ExitCode)


def test_folders_are_those_of_a_run() -> None:
    assert sorted(first_column("folder")) == sorted(PRODUCT_FOLDERS)


def test_every_page_is_in_the_manual() -> None:
    """A new page goes below one of the sections of ``nav`` in mkdocs.yml, and in docs/index.md."""
    text = (ROOT / "mkdocs.yml").read_text()
    nav = set(re.findall(r"^ +- (?:.*: )?(\w[\w-]*\.md)$", text, re.MULTILINE))
    written = {page.name for page in PAGES if page.parent.name == "docs"}
    assert written - nav == set(), "pages that have no place in mkdocs.yml"
    assert nav - written == set(), "mkdocs.yml has places for pages that are not there"


def table_of(page: Path, heading: str) -> list[str]:
    text = page.read_text(encoding="utf-8").partition(f"| {heading} |")[2]
    return [row.split("|")[1].strip() for row in text.partition("\n\n")[0].splitlines()[2:]]


def test_exit_codes_and_causes_have_their_page() -> None:
    page = ROOT / "docs" / "exit-codes.md"
    assert sorted(map(int, table_of(page, "exit code"))) == sorted(code.value for code in ExitCode)
    assert [f"`{cause}`" for cause in Cause] == table_of(page, "cause")
    again = {row.split("|")[1].strip(" `"): row.split("|")[3].strip()
             for row in page.read_text().splitlines() if row.startswith("| `")}  # fmt: skip
    assert {cause for cause, how in again.items() if not how.startswith(("no", "only"))} == {
        str(cause) for cause in AGAIN
    }


def test_quoted_messages_are_what_the_program_says() -> None:
    said = (ROOT / "tests" / "faults" / "messages.toml").read_text(encoding="utf-8")
    said += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "runner").rglob("*.py"))
    page = ROOT / "docs" / "troubleshooting.md"
    rows = table_of(page, "it says | it means") + table_of(
        page, "it says | it means, and what helps"
    )
    quoted = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    assert len(quoted) > 20
    assert [words for words in quoted if words not in said] == []


def test_the_changelog_knows_this_version() -> None:
    newest = re.findall(r"^## (\S+?),", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert newest == __version__


def test_hooks_need_no_network() -> None:
    text = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (\S+)", text) == ["local"]
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
