"""What a CASA script needs before its steps: imports, functions, and what it can claim."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from importlib import resources
from pathlib import PurePosixPath
from typing import Final

from ..plan import Step
from . import script_selfcal

_IMAGES: Final = '''\
def copy_images(source, target, kinds):
    """Copy the images of some kinds that share a prefix to another prefix."""
    for kind in kinds:
        shutil.copytree(f"{source}.{kind}", f"{target}.{kind}")
'''
_LATE: Final = '''\
def known_at_run_time(what):
    """Stand in for a value that an earlier step of the run measures or decides."""
    raise SystemExit(f"known at run time: {what}; put it here, or take the script of a run")
'''
_RUN: Final = """\
# The run folder: what casarun itself has decided or drawn is taken from there.
RUN = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
"""
_EXACT: Final = (
    "What it makes is equal to what the run made, bit for bit, with the same CASA: calibration "
    "tables; visibilities, weights and flags; images, and the pixels of FITS files. Not equal: "
    "times, histories and logs; what CASA notes of the machine (MEMAVAIL); the cards with which "
    "casarun signs FITS files."
)
_UNKNOWN: Final = (
    "Where known_at_run_time stands, a value is measured or decided by an earlier step, and the "
    "script stops. After a run, scripts/casa_script.py in its folder has the values."
)
_OF_DIRECTIONS: Final = ("gc", "gceff", "opac", "antpos", "antposvla")
_DIRECTIONS: Final = (
    "Opacities, gain curves and positions of antennas go by where a source stands in the sky, of "
    "which CASA carries something from one call to the next: the last bits of corrected data may "
    "differ from those of a run, in which each step has a process of its own."
)
_SELFCAL: Final = (
    "Self-calibration: all rounds are repeated, those that were not accepted, too. The masks and "
    "depths of their images, and what was solved for and applied, stand as casarun decided them."
)
_MASKS: Final = (
    "Masks of DS9 region files are taken from the run folder: CASA cannot read such files. With "
    "resources.keep = 'products' they are gone."
)
_CUBES: Final = (
    "Not made: what casarun's own code makes of cubes ([[cube]] of the recipe), and what follows "
    "from it."
)
_NO_PRODUCTS: Final = ("qa", "scripts", "logs", "docs")
_TASKS: Final = {
    "clean": ("tclean",),
    "fluxscale": ("fluxscale",),
    "unpack": ("importasdm", "importuvfits"),
    "selfcal.finish": script_selfcal.TASKS,
}
_MODULES: Final = {"glob", "inspect"}
"""Of Python, for all kinds of steps that have functions of their own."""

_TOOLS: Final = {
    "ranges": ("coordsys", "image", "regionmanager", "synthesisimager"),
    "selfcal": ("image", "table"),
}
_IMAGER_PARTS: Final = (
    "from casatasks.private.imagerhelpers.imager_base import PySynthesisImager",
    "from casatasks.private.imagerhelpers.input_parameters import ImagerParameters",
)


def has_products(folder: str) -> bool:
    """Say whether a folder of a run holds what CASA makes."""
    return folder != "." and PurePosixPath(folder).parts[0] not in _NO_PRODUCTS


def imports(steps: Sequence[Step]) -> tuple[list[str], list[str]]:
    """Return the modules of Python that a script imports, and the lines that import CASA."""
    actions = {step.action for step in steps}
    kinds = _kinds(actions)
    modules = {"os", "shutil"} | ({"tarfile"} if "unpack" in actions else set())
    modules |= _MODULES if kinds else set()
    tasks = {action.removeprefix("casa:") for action in actions if action.startswith("casa:")}
    tasks |= {task for action in actions for task in _TASKS.get(action, ())}
    named = [f"from casatasks import {', '.join(sorted(tasks))}"] if tasks else []
    if named and len(named[0]) > 100:
        named = ["from casatasks import (", *(f"    {task}," for task in sorted(tasks)), ")"]
    numpy = ["import numpy as np"] if "selfcal" in kinds else []
    parts = _IMAGER_PARTS if kinds else ()
    tools = sorted({tool for kind in kinds for tool in _TOOLS[kind]})
    named += [*parts, f"from casatools import {', '.join(tools)}"] if tools else []
    return sorted(modules), ["import casatasks", *numpy, *named]


def _kinds(actions: Set[str]) -> list[str]:
    """Return which of the kinds of steps are there that have functions of their own."""
    return [kind for kind in _TOOLS if any(action.startswith(f"{kind}.") for action in actions)]


def claims(steps: Sequence[Step], *, known: bool) -> Iterator[str]:
    """Yield what a script says of what it makes, compared with the run."""
    yield _EXACT
    if not known:
        yield _UNKNOWN
    if any(step.params.get("caltype") in _OF_DIRECTIONS for step in steps):
        yield _DIRECTIONS
    if any(step.action == "selfcal.finish" for step in steps):
        yield _SELFCAL
    if any(step.action == "mask" for step in steps):
        yield _MASKS
    if any(step.action.startswith("cube.") for step in steps):
        yield _CUBES


def definitions(steps: Sequence[Step], *, known: bool) -> Iterator[str]:
    """Yield the functions that the steps of a script use."""
    actions = {step.action for step in steps}
    if not known:
        yield _LATE
    if "clean" in actions:
        yield _IMAGES
    if "mask" in actions:
        yield _RUN
    kinds = _kinds(actions)
    for kind in (["imager"] if kinds else []) + kinds:
        text = resources.files("casarun") / "templates" / f"casa_script_{kind}.txt"
        yield text.read_text("utf-8")
