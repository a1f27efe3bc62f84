"""Which of the steps that are ready goes first: the one that the longest work waits for."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import pytest
from casarun.engine.walker import Walker, turns
from casarun.plan import Plan, Resources, Step
from hypothesis import given
from hypothesis import strategies as st


def step(name: str, seconds: float = 1.0, after: Sequence[str] = ()) -> Step:
    """Return a step that reads what others make."""
    resources = Resources(seconds=seconds)
    return Step(name, "test", name, "look", reads=tuple(after), writes=(name,), resources=resources)


def length(plan: Plan, cores: int, order: Sequence[str]) -> float:
    """Return how long a run takes on paper, without a clock."""
    walker = Walker([s.id for s in plan.steps], plan.waits_for, turns=order)
    now, running = 0.0, list[tuple[float, str]]()
    while walker:
        while len(running) < cores and (step_id := walker.take()) is not None:
            heapq.heappush(running, (now + plan.by_id[step_id].resources.seconds, step_id))
        now, ended = heapq.heappop(running)
        walker.finish(ended)
    return now


def test_the_step_goes_first_that_the_longest_work_waits_for() -> None:
    plan = Plan((step("a"), step("b"), step("c", 3), step("d", 5, ["b"]), step("e", 1, ["d"])))
    assert turns(plan, 2) == ["b", "d", "c", "a", "e"]
    walker = Walker("abcde", plan.waits_for, turns=turns(plan, 2))
    assert [walker.take(), walker.take(), walker.take(), walker.take()] == ["b", "c", "a", None]
    walker.put_back("a")
    walker.finish("b")
    assert [walker.take(), walker.take()] == ["d", "a"]


def test_without_times_it_is_the_order_of_the_plan() -> None:
    plan = Plan((step("a", 0), step("b", 0, ["a"]), step("c", 0), step("d", 0, ["a", "c"])))
    assert turns(plan, 2) == ["a", "b", "c", "d"]


def test_what_earlier_runs_took_counts_before_the_plan() -> None:
    plan = Plan((step("a", 2), step("b", 1)))
    assert turns(plan, 1) == ["a", "b"]
    assert turns(plan, 1, {"b": 9.0}) == ["b", "a"]


def test_a_critical_path_ends_a_run_sooner_than_plan_order() -> None:
    short = [step(f"s{n}", 2) for n in range(4)]
    plan = Plan((*short, step("dirty", 4), step("clean", 4, ["dirty"])))
    assert length(plan, 2, [s.id for s in plan.steps]) == 12
    assert length(plan, 2, turns(plan, 2)) == 8


def dataset(name: str) -> tuple[Step, ...]:
    steps = [step(f"{name}.0")]
    for number in range(1, 5):
        steps.append(step(f"{name}.{number}", 1, [steps[-1].id]))
    return tuple(steps)


def test_many_datasets_go_one_after_the_other_and_the_last_ones_together() -> None:
    plan = Plan(tuple(s for n in range(50) for s in dataset(f"d{n:02}")))
    order = turns(plan, 2)
    assert order[:200] == [s.id for s in plan.steps][:200]
    assert order[-4:] == [f"d{n}.4" for n in (46, 47, 48, 49)]
    assert length(plan, 2, order) == 125  # both cores are busy to the end


def test_a_long_dataset_among_many_begins_in_time() -> None:
    long = tuple(step(f"l{n}", 20, [f"l{n - 1}"] if n else []) for n in range(4))
    plan = Plan((*(s for n in range(50) for s in dataset(f"d{n:02}")), *long))
    assert length(plan, 2, [s.id for s in plan.steps]) == 125 + 80
    assert length(plan, 2, turns(plan, 2)) == (250 + 80) / 2


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    count = draw(st.integers(1, 12))
    return Plan(
        tuple(
            step(
                f"s{n}",
                draw(st.integers(0, 9)),
                [f"s{m}" for m in range(n) if draw(st.integers(0, 3)) == 0],
            )
            for n in range(count)
        )
    )


def longest_path(plan: Plan) -> float:
    ends: Mapping[str, float] = {}
    for one in plan.steps:
        begin = max((ends[before] for before in plan.waits_for[one.id]), default=0.0)
        ends = {**ends, one.id: begin + one.resources.seconds}
    return max(ends.values())


@given(plans(), st.integers(1, 4))
def test_no_step_has_its_turn_before_what_it_waits_for(plan: Plan, cores: int) -> None:
    order = turns(plan, cores)
    assert sorted(order) == sorted(plan.by_id)
    for name in order:
        before = order[: order.index(name)]
        assert plan.waits_for[name] <= set(before)
    work = sum(s.resources.seconds for s in plan.steps)
    bound = work / cores + (1 - 1 / cores) * longest_path(plan)  # Graham 1966
    assert longest_path(plan) <= length(plan, cores, order) <= bound + 1e-9


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_with_cores_for_all_a_run_takes_its_longest_path(cores: int) -> None:
    plan = Plan(tuple(s for n in range(cores) for s in dataset(f"d{n:02}")))
    assert length(plan, cores, turns(plan, cores)) == longest_path(plan) == 5
