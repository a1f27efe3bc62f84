"""Whether a core had better wait for a step that is about to be ready."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import pytest
from casarun.engine.foresight import SHARE, Foresight
from casarun.engine.walker import Walker, turns
from casarun.plan import Plan, Resources, Step
from hypothesis import given, settings
from hypothesis import strategies as st


def step(name: str, seconds: float = 1.0, after: Sequence[str] = ()) -> Step:
    """Return a step that reads what others make."""
    resources = Resources(seconds=seconds)
    return Step(name, "test", name, "look", reads=tuple(after), writes=(name,), resources=resources)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def length(plan: Plan, cores: int, *, foreseen: bool) -> float:
    """Return how long a run takes on paper."""
    order, clock = turns(plan, cores), Clock()
    walker = Walker([s.id for s in plan.steps], plan.waits_for, turns=order)
    foresight = Foresight(plan, order, cores, {}, clock)
    ends, started = list[tuple[float, str]](), dict[str, float]()
    while walker:
        waiting = []
        while len(started) < cores and (step_id := walker.take()) is not None:
            if foreseen and foresight.better_waits(step_id, started):
                waiting.append(step_id)
                continue
            started[step_id] = clock.now
            heapq.heappush(ends, (clock.now + plan.by_id[step_id].resources.seconds, step_id))
        for step_id in waiting:
            walker.put_back(step_id)
        clock.now, ended = heapq.heappop(ends)
        foresight.over(ended, clock.now - started.pop(ended))
        walker.finish(ended)
    return clock.now


def cube_and_continuum(dirty: float = 0.3, continuum: float = 3.0) -> Plan:
    """A cube by two ranges, whose end comes last, and an image beside it."""
    return Plan(
        (
            step("dirty", dirty),
            step("continuum", continuum),
            step("clean0", 2, ["dirty"]),
            step("clean1", 2, ["dirty"]),
            step("join", 2, ["clean0", "clean1"]),
        )
    )


def test_a_long_step_leaves_its_core_to_what_the_end_depends_on() -> None:
    plan = cube_and_continuum()
    assert length(plan, 2, foreseen=False) == pytest.approx(6.3)
    assert length(plan, 2, foreseen=True) == pytest.approx(5.3)


def test_it_does_not_wait_for_what_is_far_off() -> None:
    far = cube_and_continuum(dirty=SHARE * 3.0 + 0.01)
    assert length(far, 2, foreseen=True) == length(far, 2, foreseen=False)


def test_it_does_not_wait_where_a_core_is_free_in_time() -> None:
    plan = Plan((step("dirty", 0.3), step("other", 3), step("clean", 4, ["dirty"])))
    foresight = Foresight(plan, turns(plan, 2), 2, {}, Clock())
    assert not foresight.better_waits("other", {"dirty": 0.0})
    assert not Foresight(
        cube_and_continuum(), turns(cube_and_continuum(), 3), 3, {}, Clock()
    ).better_waits("continuum", {"dirty": 0.0})


def test_it_waits_no_longer_than_it_would_have_to() -> None:
    """What was expected may not come: a step that hangs must not idle the others' cores."""
    plan, clock = cube_and_continuum(), Clock()
    foresight = Foresight(plan, turns(plan, 2), 2, {}, clock)
    assert foresight.better_waits("continuum", {"dirty": 0.0})
    clock.now = 0.44
    assert foresight.better_waits("continuum", {"dirty": 0.0})
    clock.now = 0.46
    assert not foresight.better_waits("continuum", {"dirty": 0.0})


def test_what_is_done_but_for_the_disk_ends_soon_however_long_it_took() -> None:
    plan, clock = cube_and_continuum(), Clock()
    foresight = Foresight(plan, turns(plan, 2), 2, {}, clock)
    clock.now = 9.0
    assert not foresight.better_waits("continuum", {"dirty": 0.0})
    assert foresight.better_waits("continuum", {"dirty": 0.0}, ["dirty"])


def test_times_are_those_of_the_run_so_far() -> None:
    """Four times as fast as planned, after 0.1 s of 2 s there are 0.4 s left, not 1.9 s."""
    cube = (step("dirty", 2), step("clean0", 8, ["dirty"]), step("clean1", 8, ["dirty"]))
    plan = Plan((step("before", 4), *cube, step("join", 8, ["clean0", "clean1"]), step("c", 12)))
    clock = Clock()
    foresight = Foresight(plan, turns(plan, 2), 2, {}, clock)
    clock.now = 0.1
    assert not foresight.better_waits("c", {"dirty": 0.0})
    foresight.over("before", 1.0)
    assert foresight.better_waits("c", {"dirty": 0.0})


def test_among_many_datasets_nothing_waits() -> None:
    """Where any order ends as soon, a core that waits is lost."""
    steps = [step(f"d{n}", 1) for n in range(100)]
    plan = Plan((*cube_and_continuum().steps, *steps))
    assert length(plan, 2, foreseen=True) == length(plan, 2, foreseen=False)


@given(st.data())
@settings(deadline=None, max_examples=60)
def test_a_run_is_never_much_longer_for_it(data: st.DataObject) -> None:
    number = data.draw(st.integers(2, 9))
    steps = []
    for index in range(number):
        before = data.draw(st.sets(st.integers(0, index - 1), max_size=2)) if index else set()
        seconds = data.draw(st.floats(0.1, 9))
        steps.append(step(str(index), seconds, [str(b) for b in sorted(before)]))
    plan, cores = Plan(tuple(steps)), data.draw(st.integers(1, 3))
    longest = max(s.resources.seconds for s in steps)
    waited, not_waited = (length(plan, cores, foreseen=yes) for yes in (True, False))
    assert waited <= not_waited + longest + SHARE * sum(s.resources.seconds for s in steps)
