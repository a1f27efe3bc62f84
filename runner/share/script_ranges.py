"""Cubes that are imaged by ranges of channels, in a CASA script.

The functions that the lines call stand in ``templates/casa_script_ranges.txt``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from ..engine.results import SKIPPED
from ..plan import Step
from .late_source import late, late_words, unresolved
from .python_source import Expression, Variables, argument, comment, variables

if TYPE_CHECKING:
    from .script_steps import Steps

Lines = list[str]


class Cubes:
    """The variables that hold cubes: tclean's parameters without cleaning, and coordinates."""

    def __init__(self) -> None:
        self._grids: dict[str, Mapping[str, Any]] = {}

    def add(self, axis: str, grid: Mapping[str, Any]) -> None:
        """Take a cube by the path of its axis."""
        self._grids[axis] = grid

    def names(self, axis: str) -> tuple[Expression, Expression]:
        """Return the variables of a cube: its parameters, its coordinates."""
        ends = [path.removesuffix(".axis.json") for path in self._grids]
        name = variables(ends)[axis.removesuffix(".axis.json")]
        return Expression(f"CUBE_{name}"), Expression(f"AXIS_{name}")

    def over(self, axis: str, tclean: Mapping[str, Any], names: Variables) -> Expression:
        """Return a cube's parameters with those that differ laid over them."""
        grid, (cube, _) = self._grids[axis], self.names(axis)
        differ = {n: v for n, v in tclean.items() if v is not None and grid.get(n) != v}
        if not differ:
            return cube
        words = [cube.text, *(argument(name, value, names) for name, value in differ.items())]
        return Expression(f"dict({', '.join(words)})")


def _axis(steps: Steps, step: Step) -> Lines:
    params = step.params
    steps.cubes.add(params["out"], params["tclean"])
    cube, axis = steps.cubes.names(params["out"])
    made = steps.call(f"{cube.text} = dict", params["tclean"])
    return [*made, f"{axis.text} = cube_axis({cube.text})"]


def _dirty(steps: Steps, step: Step) -> Lines:
    if SKIPPED in steps.outcome(step):
        return []
    return _range(steps, step, "dirty_range", step.params["tclean"], {})


def _range(
    steps: Steps, step: Step, function: str, tclean: Mapping[str, Any], more: Mapping[str, Any]
) -> Lines:
    """Return the lines of a call that works on a range."""
    params = step.params
    _, axis = steps.cubes.names(params["axis"])
    place = {name: params[name] for name in ("first", "last", "margin")}
    given = {"axis": axis, "prefix": params["prefix"], **more, **place}
    cube = steps.cubes.over(params["axis"], tclean, steps.names)
    return steps.call(function, {"tclean": cube, **given})


def _clean(steps: Steps, step: Step) -> Lines:
    told = steps.outcome(step)
    if SKIPPED in told:
        return []
    if not steps.known and step.params["state"]:
        return comment("Only if the round before does not end it: known at run time.")
    how = told.get("how") or {
        "source": step.params["dirty"], "cycleniter": late("iterations of a cycle"), "tclean": {},
        "depths_jy": late("depths of the cycles, from the peak and the PSFs of all channels"),
    }  # fmt: skip
    tclean = {**steps.params(step)["tclean"], **how["tclean"]}
    more = {key: how[key] for key in ("source", "depths_jy", "cycleniter")}
    said = [*steps.fallback(step), *late_words(step.params["tclean"])]
    return said + _range(
        steps, step, "clean_range", tclean, {"dirty": step.params["dirty"], **more}
    )


def _restore(steps: Steps, step: Step) -> Lines:
    told = steps.outcome(step)
    if SKIPPED in told:
        return []
    params = step.params
    how = told.get("how") or {
        "source": late("the last round of cleaning") if params["rounds"] else params["dirty"],
        "restoringbeam": (
            late("the common beam of all channels") if params["common"]
            else params["tclean"].get("restoringbeam", "")
        ),
    }  # fmt: skip
    tclean = {**steps.params(step)["tclean"], "restoringbeam": how["restoringbeam"], "niter": 0}
    tclean.pop("threshold", None)
    if tclean.get("usemask") == "user":  # there is an image of the mask by now
        tclean["mask"] = ""
    more = {"source": how["source"], "dirty": params["dirty"]}
    return _range(steps, step, "restore_range", unresolved(tclean), more)


def _join(steps: Steps, step: Step) -> Lines:
    return steps.call("join", {name: step.params[name] for name in ("parts", "kinds", "prefix")})


ACTIONS: Final[Mapping[str, Callable[[Steps, Step], Lines]]] = {
    "ranges.axis": _axis,
    "ranges.dirty": _dirty,
    "ranges.clean": _clean,
    "ranges.restore": _restore,
    "ranges.join": _join,
}
