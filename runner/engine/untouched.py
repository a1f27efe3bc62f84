"""Whether the data that a step works on are as the plan, or the step before, left them.

Somebody may remove or alter a product, or the input itself, while a run goes on; a disk may lose
the end of a file. CASA works on with what there is: most of its tasks say nothing of an MS whose
DATA end too early.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..errors import Cause, DataError, StepFailedError
from ..files import identity, signature

_LOOKS_AGAIN: Final = 5
_BETWEEN_LOOKS_S: Final = 0.05
_ADVICE: Final = "Let nothing else change the run folder while a run goes on."
_PLAN_AGAIN: Final = "Run the same command again: it plans from the data as they are then."
_PUT_BACK: Final = "Put it back, and run the same command again."


def check_products(root: Path, states: Mapping[str, str]) -> None:
    """See that products are as they were left.

    Parameters
    ----------
    root : Path
        The run folder.
    states : mapping of str to str
        What `casarun.files.product_state` said of each of them, by path; names, sizes and
        modification times are compared.

    Raises
    ------
    StepFailedError
        With the cause LOST_PRODUCT.
    """
    for path, state in states.items():
        present = _signature(root / path, state.partition(".")[0])
        if present == state.partition(".")[0]:
            continue
        if present is None:
            message = f"{path}, which the step needs, was removed while the run went on"
        else:
            message = (
                f"{path}, which the step needs, is no longer as casarun left it: something else "
                "changed it while the run went on"
            )
        raise StepFailedError(Cause.LOST_PRODUCT, message, _ADVICE)


def _signature(path: Path, wanted: str) -> str | None:
    """Return a product's signature; look again where it is not the wanted one.

    CASA may write table.info anew in a table that it only reads, and another step may be reading
    this one (images have views for that): for a moment that file is empty.
    """
    found = signature(path)
    for _ in range(_LOOKS_AGAIN):
        if found == wanted:
            break
        time.sleep(_BETWEEN_LOOKS_S)
        found = signature(path)
    return found


def check_inputs(inputs: Mapping[str, str]) -> None:
    """See that what is read from outside of the run folder is what the plan was made for.

    Parameters
    ----------
    inputs : mapping of str to str
        What `casarun.files.identity` said of each of them, by absolute path.

    Raises
    ------
    StepFailedError
        With the cause INPUT_CHANGED.
    """
    for path, known in inputs.items():
        try:
            same = identity(Path(path)) == known
        except DataError:
            message = f"{path}, which the step reads, was removed since the run was planned"
            raise StepFailedError(Cause.INPUT_CHANGED, message, _PUT_BACK) from None
        if not same:
            message = f"{path}, which the step reads, was changed since the run was planned"
            raise StepFailedError(Cause.INPUT_CHANGED, message, _PLAN_AGAIN)
