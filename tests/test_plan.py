"""Plans: the graph and the fingerprints that follow from what steps touch."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from casarun.plan import Check, Plan, Resources, Step, and_above, digest, hazards, nested
from hypothesis import given
from hypothesis import strategies as st


def step(number: str, **what: object) -> Step:
    return Step(number, "stage", number, "make", **what)  # type: ignore[arg-type]


def overlap(one: str, two: str) -> bool:
    return one == two or one.startswith(two + "/") or two.startswith(one + "/")


def clash(one: Step, two: Step) -> bool:
    """Say whether two steps may not overlap in time, straight from the definition."""

    def changes(s: Step) -> tuple[str, ...]:
        return (*s.writes, *s.updates)

    return any(
        overlap(p, q)
        for a, b in ((one, two), (two, one))
        for p in changes(a)
        for q in (*b.reads, *changes(b))
    )


PATHS = st.sampled_from(["a", "a/b", "a/b/c", "a/bc", "d", "d/e", "/in/x", "/in"])
SETS = st.lists(PATHS, max_size=2, unique=True).map(tuple)
PLANS = st.lists(st.tuples(SETS, SETS, SETS), max_size=9).map(
    lambda rows: tuple(
        step(f"s{i}", reads=reads, writes=writes, updates=updates)
        for i, (reads, writes, updates) in enumerate(rows)
    )
)


def reachable(waits: dict[str, frozenset[str]], start: str) -> set[str]:
    found: set[str] = set()
    todo = [start]
    while todo:
        for before in waits[todo.pop()] - found:
            found.add(before)
            todo.append(before)
    return found


@given(PLANS)
def test_steps_that_clash_are_ordered_and_no_others(steps: tuple[Step, ...]) -> None:
    waits = hazards(steps)
    places = {s.id: i for i, s in enumerate(steps)}
    needed: dict[str, set[str]] = {}
    for i, later in enumerate(steps):
        direct = {s.id for s in steps[:i] if clash(s, later)}
        needed[later.id] = direct.union(*(needed[s] for s in direct))
        assert all(places[before] < i for before in waits[later.id])
        assert reachable(waits, later.id) == needed[later.id]


@given(PLANS, st.integers(0, 8), st.data())
def test_a_change_reaches_exactly_what_depends_on_it(
    steps: tuple[Step, ...], which: int, data: st.DataObject
) -> None:
    if which >= len(steps):
        return
    changed = tuple(
        Step.from_json({**s.to_json(), "params": {"niter": 1}}) if i == which else s
        for i, s in enumerate(steps)
    )
    old, new = Plan(steps).fingerprints, Plan(changed).fingerprints
    tainted: set[str] = set()
    for i, s in enumerate(steps):
        if i < which:
            assert old[s.id] == new[s.id]
        if i == which:
            assert old[s.id] != new[s.id]
            tainted.update((*s.writes, *s.updates))
        # Whatever needs something that the changed step never reached stays as it was.
        if i > which and not any(overlap(p, q) for p in (*s.reads, *s.updates) for q in tainted):
            assert old[s.id] == new[s.id]
        elif i > which:
            tainted.update((*s.writes, *s.updates))


@given(PLANS)
def test_independent_neighbours_may_change_places(steps: tuple[Step, ...]) -> None:
    for i in range(len(steps) - 1):
        if not clash(steps[i], steps[i + 1]):
            swapped = (*steps[:i], steps[i + 1], steps[i], *steps[i + 2 :])
            assert Plan(steps).fingerprints == Plan(swapped).fingerprints


ODD = st.lists(st.sampled_from(["a", "b", ".h", "a.b"]), min_size=1, max_size=4).map("/".join)


@given(st.sets(st.builds(str.format, st.sampled_from(["{}", "/{}", "./{}", "{}/", "a//{}"]), ODD)))
def test_paths_that_are_not_nested_overlap_no_other(paths: set[str]) -> None:
    apart = paths - nested(paths)
    for path in apart:
        assert and_above(path)[0] == path
        for other in paths - {path}:
            assert path not in and_above(other)
            assert and_above(other)[0] not in and_above(path)
    # Those that are written plainly are told apart.
    plain = {path for path in paths if "." not in path and "//" not in path and path[-1] != "/"}
    for path in plain - apart:
        assert any(
            path in and_above(other) or and_above(other)[0] in and_above(path)
            for other in paths - {path}
        )


def test_a_reader_sees_the_change_just_before_it() -> None:
    chain = (
        step("import", writes=("raw/x.ms",)),
        step("flag", updates=("raw/x.ms",), params={"mode": "quack"}),
        step("image", reads=("raw/x.ms",), writes=("images/x",)),
    )
    other = (chain[0], step("flag", updates=("raw/x.ms",), params={"mode": "clip"}), chain[2])
    old, new = Plan(chain).fingerprints, Plan(other).fingerprints
    assert old["import"] == new["import"]
    assert old["flag"] != new["flag"]
    assert old["image"] != new["image"]


def test_inputs_and_versions_count_and_resources_do_not() -> None:
    reader = step("import", reads=("/data/x.fits",), writes=("raw/x.ms",))
    plain = Plan((reader,), {"/data/x.fits": "1"}, {"casatasks": "6.7"})
    big = Step.from_json({**reader.to_json(), "title": "t", "resources": {"cores": 8}})
    same = Plan((big,), plain.inputs, plain.versions)
    assert same.fingerprints == plain.fingerprints
    assert Plan((reader,), {"/data/x.fits": "2"}, plain.versions).fingerprints != plain.fingerprints
    assert Plan((reader,), plain.inputs, {"casatasks": "6.6"}).fingerprints != plain.fingerprints


def test_a_step_survives_json() -> None:
    full = Step(
        "a.b",
        "calibrate",
        "bandpass",
        "casa:bandpass",
        {"solint": "inf", "gaintable": ["a"]},
        ("raw/x.ms",),
        ("caltables/b",),
        (),
        (Check("solutions", {"least": 1}),),
        Resources(2, 10, 60.0),
        "apr13",
    )
    assert Step.from_json(json.loads(json.dumps(full.to_json()))) == full


def test_a_step_that_needs_more_is_the_same_else() -> None:
    step = Step("a", "image", "t", "casa:tclean", {"niter": 1}, ("b",), ("c",), dataset="d")
    more = Resources(memory_bytes=5, seconds=2.0)
    assert step.needing(more) == replace(step, resources=more) != step


def test_a_part_has_no_step_without_those_that_it_waits_for() -> None:
    plan = Plan(
        (
            step("a", writes=("raw/a.ms",)),
            step("b", writes=("raw/b.ms",)),
            step("flag", updates=("raw/a.ms",)),
            step("both", reads=("raw/a.ms", "raw/b.ms"), writes=("images/x",)),
            step("one", reads=("raw/a.ms",), writes=("images/y",)),
        )
    )
    assert [s.id for s in plan.part(lambda s: s.id != "b").steps] == ["a", "flag", "one"]
    assert [s.id for s in plan.part(lambda s: s.id != "flag").steps] == ["a", "b"]


def test_a_digest_does_not_see_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": (2, 3)}) == digest({"b": [2, 3], "a": 1})


@pytest.mark.timeout(60)
def test_a_plan_of_twenty_thousand_steps_is_quick() -> None:
    plan = Plan(
        tuple(
            step(f"s{i}", reads=(f"raw/{i % 100}.ms",), writes=(f"images/{i}",))
            if i >= 100
            else step(f"s{i}", writes=(f"raw/{i}.ms",))
            for i in range(20_000)
        )
    )
    assert len(plan.waits_for["s19999"]) == 1
    assert len(set(plan.fingerprints.values())) == 20_000
