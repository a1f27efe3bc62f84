"""Documents laid over one another: of each value of the whole it is known where it stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from casarun.recipe.extends import Part
from casarun.recipe.merge import Merged
from casarun.recipe.positions import Origin, Source
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.sampled_from(["x", "y", "z"])
LEAF = st.sampled_from([1, 2.5, True, "a", [1, 2], [{"a": 1}], []])
VALUE = st.recursive(LEAF, lambda v: st.dictionaries(NAMES, v, max_size=3), max_leaves=6)
ROW = st.builds(
    lambda table, name: table | ({"name": name} if name else {}),
    st.dictionaries(NAMES, VALUE, max_size=3), st.sampled_from(["", "one", "two"]),
)  # fmt: skip
DOCUMENT = st.fixed_dictionaries(
    {},
    optional={
        "flag": VALUE,
        "calibrators": st.dictionaries(st.just("flux"), st.just("3C286") | VALUE),
        "image": st.lists(ROW, max_size=3) | LEAF,
        "dataset": st.lists(ROW, max_size=2),
    },
)


def leaves(value: Any, key: tuple[str | int, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield what is no table, with its key; rows of an array of tables are tables."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*key, name))
    elif key in (("image",), ("dataset",)) and isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, (*key, index))
    else:
        yield key, value


def at(document: Any, key: tuple[str | int, ...]) -> Any:
    for part in key:
        document = document[part]
    return document


def merged(documents: list[dict[str, Any]]) -> Merged:
    result = Merged(Origin(Source("", "none")))
    for number, document in enumerate(documents):
        assert result.lay(Part(Source("", str(number)), document)) == []
    return result


@given(st.lists(DOCUMENT, min_size=1, max_size=4))
def test_each_value_stands_where_it_is_said_to(documents: list[dict[str, Any]]) -> None:
    whole = merged(documents)
    for key, value in leaves(whole.document):
        origin = whole.origin.find(key)
        assert at(documents[int(origin.source.name)], origin.key) == value


@given(DOCUMENT, DOCUMENT)
def test_what_comes_last_is_all_there(first: dict[str, Any], last: dict[str, Any]) -> None:
    whole = merged([first, last])
    found = {(o.source.name, o.key) for o in map(whole.origin.find, dict(leaves(whole.document)))}
    for key, _ in leaves(last):
        assert ("1", key) in found
    assert merged([last]).document == last
