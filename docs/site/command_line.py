"""The reference of the command line, from click's own commands."""

from __future__ import annotations

import inspect

import click
from casarun.cli.commands import cli

HEAD = """# Command line

Made from `casarun --help` and the help of each command. What the exit codes mean has
[a page of its own](../exit-codes.md).
"""


def page() -> str:
    """Return the page as Markdown."""
    context = click.Context(cli, info_name="casarun")
    sections = [HEAD, f"    {_usage(cli, context)}\n", _text(cli)]
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if command is not None and not command.hidden:
            sections.append(_section(command, click.Context(command, context, info_name=name)))
    return "\n".join(sections)


def _usage(command: click.Command, context: click.Context) -> str:
    return command.get_usage(context).removeprefix("Usage: ")


def _text(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b", "") + "\n"


def _section(command: click.Command, context: click.Context) -> str:
    lines = [f"## casarun {context.info_name}", "", f"    {_usage(command, context)}", ""]
    lines.append(_text(command))
    records = [
        record
        for one in command.get_params(context)
        if isinstance(one, click.Option) and (record := one.get_help_record(context)) is not None
    ]
    lines += ["| option | |", "|---|---|"]
    lines += [f"| `{option}` | {_cell(meaning)} |" for option, meaning in records]
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")
