"""Copies of the images that share a name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..files import copy_tree

WEIGHTS: Final = {kind: kind for kind in ("psf", "pb", "sumwt", "weight")}
"""The images that do not depend on the visibilities, but on their weights and flags."""


def copy_images(source: str, target: str, kinds: Mapping[str, str]) -> None:
    """Copy images to other names.

    Parameters
    ----------
    source, target : str
        Prefixes of their paths.
    kinds : mapping of str to str
        Which, and what they are called then; ``model`` stands for all of its Taylor terms.
    """
    before = Path(source)
    for path in sorted(before.parent.glob(f"{before.name}.*")):
        kind, dot, term = path.name[len(before.name) + 1 :].partition(".")
        if kind in kinds:
            copy_tree(path, Path(f"{target}.{kinds[kind]}{dot}{term}"))
