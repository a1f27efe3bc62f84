"""Who made a run: from its recipe, or from a CITATION.cff beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from casarun.errors import DataError
from casarun.share.people import Credit, Person, credit
from support.crates import small_run

CITED = """
cff-version: 1.2.0
license: [MIT, Apache-2.0]
authors:
  - given-names: Ludwig
    name-particle: van
    family-names: Beam
    orcid: https://orcid.org/0000-0002-1825-0097
    affiliation: NRAO
  - name: The Survey Team
"""
PEOPLE = (Person("Ludwig van Beam", "0000-0002-1825-0097", "NRAO"), Person("The Survey Team"))


def test_people_of_a_citation_file(tmp_path: Path) -> None:
    folder, _ = small_run(tmp_path)
    assert credit(folder) == Credit()
    folder.citation.write_text(CITED)
    assert credit(folder) == Credit(PEOPLE, "MIT")


def test_what_the_recipe_says_counts(tmp_path: Path) -> None:
    folder, _ = small_run(tmp_path, {"authors": ["Jane Doe <0000-0002-1825-0097>", "J. Roe"]})
    folder.citation.write_text(CITED)
    people = (Person("Jane Doe", "0000-0002-1825-0097"), Person("J. Roe"))
    assert credit(folder) == Credit(people, "MIT")


@pytest.mark.parametrize(
    "text", ["a: [", "just words", "authors: 3", "authors: [{}]", "authors: [x]", "!!python/x y"]
)
def test_what_is_no_citation_file_is_told(tmp_path: Path, text: str) -> None:
    folder, _ = small_run(tmp_path)
    folder.citation.write_text(text)
    with pytest.raises(DataError, match=r"CITATION\.cff is no citation file \(CFF 1\.2\): "):
        credit(folder)


def test_a_citation_file_that_would_fill_the_memory(tmp_path: Path) -> None:
    """Lists of lists of lists: a thousand characters of YAML, a hundred petabytes as text."""
    folder, _ = small_run(tmp_path)
    lists = ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]"
                                 for n in range(1, 18))]  # fmt: skip
    for what in ("authors: [{name: *a17}]", "authors: []\nlicense: *a17"):
        folder.citation.write_text("\n".join([*lists, what, ""]))
        with pytest.raises(DataError, match="expected a text, found a list"):
            credit(folder)


@pytest.mark.parametrize("edited", ["[1]", "null", '{"project": 3}', '{"project": {"authors": 3}}'])
def test_a_record_of_the_recipe_that_was_edited(tmp_path: Path, edited: str) -> None:
    folder, _ = small_run(tmp_path)
    folder.recipe.write_text(edited)
    with pytest.raises(DataError, match=r"recipe\.json is damaged; run the recipe again"):
        credit(folder)
