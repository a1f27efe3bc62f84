"""What CASA's tasks hold their arguments against is believed to be sound.

A task builds definitions of its parameters at each call, and Cerberus, which comes with casatools,
holds these against its own rules before it holds the arguments against them: once in a process,
but a step is a process. That takes 10 to 50 ms of the CPU time of each step, four fifths of all
that CASA does with arguments. The definitions are CASA's own, and `tests/test_task_definitions.py`
holds all of them against the rules; arguments are checked as before.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any


def trust() -> None:
    """Let the definitions of parameters pass in this process and those forked from it.

    Without the validator that comes with casatools, all stays as it is.
    """
    with suppress(ImportError, AttributeError):
        from casatools.__cerberus__.schema import DefinitionSchema

        if callable(DefinitionSchema.validate):
            DefinitionSchema.validate = _believe


def _believe(definitions: Any, schema: Any = None) -> None:
    """Stand in for ``DefinitionSchema.validate``, which raises where definitions are unsound."""
    del definitions, schema
