"""Images in a viewer."""

from __future__ import annotations

from ..share.viewing import Viewed, Wish, view

__all__ = ["Viewed", "Wish", "view"]
