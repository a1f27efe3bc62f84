"""Steps that measure and plot products."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from ..qa import collect

ACTIONS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "measure.dataset": collect.measure_dataset,
    "measure.image": collect.measure_image,
    "noise": collect.measure_noise,
}
