"""Images in a viewer."""

from __future__ import annotations

from ..share.viewing import Viewed, view

__all__ = ["Viewed", "view"]
