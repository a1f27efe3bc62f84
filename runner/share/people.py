"""Who made a reduction, and under which licence its products may be used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..errors import DataError
from ..files import read_json
from ..folder import RunFolder

CITATION: Final = "CITATION.cff"
CITATION_LIMIT_BYTES: Final = 1_000_000
_ORCID: Final = re.compile(r"\d{4}-\d{4}-\d{4}-\d{3}[\dX]", re.ASCII)


@dataclass(frozen=True)
class Person:
    """One who made a reduction; ORCID and affiliation may be empty."""

    name: str
    orcid: str = ""
    affiliation: str = ""


@dataclass(frozen=True)
class Credit:
    """The people of a run, and the licence: an SPDX identifier, an address, or nothing."""

    people: tuple[Person, ...] = ()
    license: str = ""


def credit(folder: RunFolder) -> Credit:
    """Return what a run's recipe says of it, else what a ``CITATION.cff`` beside it said.

    Raises
    ------
    DataError
        If that file is no YAML of the kind.
    """
    try:
        told = _of_recipe(read_json(folder.recipe).get("project", {}))
    except OSError as error:
        raise DataError(f"{folder.recipe} is missing; run the recipe again") from error
    except (AttributeError, TypeError) as error:
        raise DataError(f"{folder.recipe} is damaged; run the recipe again") from error
    if told.people and told.license:
        return told
    path = folder.citation
    cited = _of_citation(path.read_bytes(), str(path)) if path.is_file() else Credit()
    return Credit(told.people or cited.people, told.license or cited.license)


def _of_recipe(project: Mapping[str, Any]) -> Credit:
    people = []
    for author in project.get("authors", ()):
        name, _, orcid = author.partition("<")
        people.append(Person(name.strip(), orcid.rstrip(">")))
    return Credit(tuple(people), project.get("license", ""))


def _of_citation(content: bytes, name: str) -> Credit:
    """Read authors and licence of the Citation File Format 1.2."""
    import yaml

    try:
        if len(content) > CITATION_LIMIT_BYTES:
            raise ValueError("it is larger than 1 MB")
        found = yaml.safe_load(content)
        people = tuple(map(_person, found.get("authors", [])))
        licence = found.get("license", "")
        return Credit(people, _word(licence[0] if isinstance(licence, list) else licence))
    except (yaml.YAMLError, ValueError, AttributeError, TypeError, RecursionError) as error:
        said = str(error).replace("\n", " ")
        raise DataError(f"{name} is no citation file (CFF 1.2): {said}") from None


def _person(author: Mapping[str, Any]) -> Person:
    given = (_word(author.get(key)) for key in ("given-names", "name-particle", "family-names"))
    name = " ".join(word for word in given if word) or _word(author.get("name"))
    if not name:
        raise ValueError("an author has no name")
    orcid = _ORCID.search(_word(author.get("orcid")))
    return Person(name, orcid.group() if orcid else "", _word(author.get("affiliation")))


def _word(value: Any) -> str:
    """Return a text, nothing for nothing.

    Raises
    ------
    TypeError
        If it is neither: lists of lists of lists, of a file of 1 MB, fill any memory when written.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"expected a text, found a {type(value).__name__}")
    return value or ""
