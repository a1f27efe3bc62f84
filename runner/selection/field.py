"""The ``field`` selection."""

from __future__ import annotations

from fnmatch import fnmatchcase

from ..errors import did_you_mean
from ..observation import Field, Observation
from .error import SelectionError, fields_there, quoted_hint
from .pattern import (
    NUMBER,
    RANGE,
    backwards,
    bounded,
    is_quoted,
    is_regex,
    matches,
    parts,
)

# CASA ends an unquoted name before these.
_ENDS_A_NAME = set("()[]|^~\\<>&$")


def fields(text: str, observation: Observation) -> tuple[int, ...]:
    """Resolve a ``field`` selection.

    Parameters
    ----------
    text : str
        Ids, ``0~3``, ``<2``, ``>2&<5``, names, wildcards, ``/regular expression/``, with commas
        between; empty for all. An id comes before a name that is a number.
    observation : Observation
        The data.

    Returns
    -------
    tuple of int
        Ids of the fields that are selected and have data, sorted.

    Raises
    ------
    SelectionError
        If CASA cannot read it, or an item selects nothing.
    """
    found: set[int] = set()
    with_data = {field.id for field in observation.fields if field.n_rows > 0}
    if not text.strip():
        return tuple(sorted(with_data))
    for item in parts(text):
        ids = _item(item, observation)
        if not ids & with_data:
            names = ", ".join(observation.field(i).name for i in sorted(ids)[:5])
            raise SelectionError(f"'{item}' is {names}, without data; {fields_there(observation)}")
        found |= ids & with_data
    return tuple(sorted(found))


def matching_fields(text: str, observation: Observation) -> tuple[Field, ...]:
    """Return the fields that a recipe's pattern means: a role, or targets.

    A recipe is kinder than CASA: first the whole text is taken as a name or a wildcard, so that
    names with commas, parentheses and spaces work as they are; only then as CASA's selection.

    Parameters
    ----------
    text : str
        A name, a wildcard, or any ``field`` selection.
    observation : Observation
        The data.

    Returns
    -------
    tuple of Field
        The fields, by id; none where nothing matches.
    """
    exact = tuple(field for field in observation.fields if field.name == text)
    by_name = exact or tuple(f for f in observation.fields if fnmatchcase(f.name, text))
    if by_name or not text.strip():
        return by_name
    try:
        chosen = {i for item in parts(text) for i in _item(item, observation)}
    except SelectionError:
        return ()
    return tuple(field for field in observation.fields if field.id in chosen)


def _item(item: str, observation: Observation) -> set[int]:
    """Return the ids that one item of the list selects."""
    ids = [field.id for field in observation.fields]
    names = [field.name for field in observation.fields]
    bound = bounded(item, ids, or_equal=False)
    span = RANGE.fullmatch(item)
    if bound is not None:
        found = set(bound)
    elif span is not None:
        low, high = int(span[1]), int(span[2])
        if low > high:
            raise backwards(item, low, high)
        found = {i for i in ids if low <= i <= high}
    elif NUMBER.fullmatch(item):
        # An id that is there comes first; then only a name can be meant.
        found = {int(item)} & set(ids) or {ids[i] for i in matches(item, names)}
    else:
        if not (is_quoted(item) or is_regex(item)) and _ENDS_A_NAME & set(item):
            raise SelectionError(
                f"CASA cannot read '{item}' as a name{quoted_hint(item, names)}; "
                f"{fields_there(observation)}"
            )
        found = {ids[i] for i in matches(item, names)}
    if not found:
        raise _nothing(item, observation, names)
    return found


def _nothing(item: str, observation: Observation, names: list[str]) -> SelectionError:
    bare = item.strip("\"'")
    if NUMBER.fullmatch(item) or RANGE.fullmatch(item) or item[0] in "<>":
        return SelectionError(
            f"no field has the id '{item}': ids are 0~{len(names) - 1}; {fields_there(observation)}"
        )
    hint = quoted_hint(item, names) or did_you_mean(bare, names)
    return SelectionError(f"no field matches '{item}'; {fields_there(observation)}{hint}")
