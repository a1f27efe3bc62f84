"""A starter recipe, written from a dataset's own metadata."""

from __future__ import annotations

from .place import as_vis
from .write import Starter, write

__all__ = ["Starter", "as_vis", "write"]
