"""Records held to their schemas: people edit them."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def damage(data: Any, name: str) -> str:
    """Say where data are not as a schema has them.

    Parameters
    ----------
    data : any
        As read from JSON.
    name : {"compare", "dashboard", "metrics", "plan"}
        Which of ``schemas/*.schema.json``.

    Returns
    -------
    str
        The first place where they differ; empty where all is as it should be.
    """
    from jsonschema import Draft202012Validator

    text = files(__package__.partition(".")[0]).joinpath(f"schemas/{name}.schema.json")
    schema = json.loads(text.read_text(encoding="utf-8"))
    try:
        error = next(Draft202012Validator(schema).iter_errors(data), None)
    except RecursionError:
        return "its values are nested too deeply"
    if error is None:
        return ""
    where = "/".join(map(str, error.absolute_path)) or "all of it"
    return f"{where} is not as in {name}.schema.json"
