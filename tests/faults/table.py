"""All faults, by id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from . import against, bad_data, known, machines, recipes, steps
from .fault import Fault

FAULTS: Final[Mapping[str, Fault]] = {
    fault.id: fault
    for fault in (
        *recipes.STATIC,
        *recipes.CASA,
        *against.SELECTIONS,
        *against.CALIBRATORS,
        *against.IMAGES,
        *known.KNOWN,
        *bad_data.DATA,
        *machines.MACHINES,
        *steps.STEPS,
    )
}
