"""The metadata of a recipe's datasets are read, importing first what must be imported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..cubes.chain import Cube
from ..engine.executors.local import LocalExecutor
from ..engine.resume import decide, survey
from ..engine.signals import StopFlag
from ..errors import CasarunError, DataError, KeyPath, Problem, RefusedError, with_advice
from ..files import read_json
from ..folder import RunFolder
from ..observation import Observation
from ..stages import compile as stages
from ..stages.cube import header_file
from ..stages.ingest import observation_file
from .beginning import executor_here
from .opening import Options, Reduction, held, open_recipe, uncollected
from .steps import Listener, as_plan, disk_problem, need_casa, run_steps


def observe(
    reduction: Reduction,
    executor: LocalExecutor,
    listener: Listener | None = None,
    stop: StopFlag | None = None,
) -> tuple[dict[str, Observation], list[str]]:
    """Read the metadata of all datasets, importing first what must be imported.

    Metadata are kept: where import and metadata are up to date, nothing runs. The caller
    holds the run folder.

    Returns
    -------
    observations : dict of str to Observation
        By dataset name.
    done : list of str
        The steps that ran for it.

    Raises
    ------
    RefusedError
        If a dataset cannot be imported or is not what it claims to be.
    """
    recipe = reduction.loaded.recipe
    folder = reduction.folder
    done: list[str] = []
    with uncollected():
        plan = as_plan(stages.imports(recipe), folder)
        decided = decide(plan, survey(plan, folder))
    if decided:
        need_casa(executor)
        problem = disk_problem(reduction, plan)
        if problem is not None:
            raise reduction.refused([problem])
        outcome = run_steps(reduction, plan, executor, listener, stop)
        problems = [
            _unread(reduction, step_id, with_advice(failure.message, failure.advice))
            for step_id, failure in outcome.failed.items()
        ]
        if problems:
            raise reduction.refused(problems)
        done = outcome.done
    with uncollected():
        found = {d.name: _observation(folder, observation_file(d)) for d in recipe.dataset
                if (folder.root / observation_file(d)).is_file()}  # fmt: skip
    return found, done


def _unread(reduction: Reduction, step_id: str, message: str) -> Problem:
    """Return what was wrong with the input of a step that failed, at its key."""
    recipe = reduction.loaded.recipe
    for index, cube in enumerate(recipe.cube):
        if step_id == f"{cube.name}.cube.inspect":
            return Problem(message, ("cube", index, "image"))
    index = _index(reduction, step_id)
    key: KeyPath = ("dataset", index, "vis")
    about = [
        pair
        for dataset in recipe.dataset[index : index + 1]
        for pair in (("dataset", dataset.name), ("file", dataset.vis))
    ]
    return Problem(message, key, about=tuple(about))


def cube_headers(reduction: Reduction) -> dict[str, Cube]:
    """Return what the recipe's own cubes are, by the name of their ``[[cube]]``, after `observe`.

    Raises
    ------
    DataError
        If that cannot be read.
    """
    root = reduction.folder.root
    found = {}
    for cube in reduction.loaded.recipe.cube:
        path = root / header_file(cube)
        if path.is_file():
            try:
                found[cube.name] = Cube.from_json(read_json(path))
            except (OSError, ValueError, TypeError, KeyError) as error:
                raise DataError(f"{path} is damaged: remove it and run again") from error
    return found


def _index(reduction: Reduction, step_id: str) -> int:
    names = [dataset.name for dataset in reduction.loaded.recipe.dataset]
    return max((i for i, name in enumerate(names) if step_id.startswith(f"{name}.")), default=0)


def _observation(folder: RunFolder, path: str) -> Observation:
    try:
        return Observation.from_json(read_json(folder.root / path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder.root / path} is damaged: remove it and run again") from error


def info(vis: Path) -> Observation:
    """Read the metadata of an MS, UVFITS, ASDM or tar, leaving nothing behind.

    Raises
    ------
    RefusedError, DataError
        If it cannot be read.
    """
    import tempfile

    with tempfile.TemporaryDirectory(prefix="casarun-info-") as scratch:
        recipe = Path(scratch) / "info.toml"
        recipe.write_text(
            f"casarun = 1\n[[dataset]]\nname = 'data'\nvis = '''{vis.absolute()}'''\n"
        )
        try:
            reduction = open_recipe(recipe, Options(output=Path(scratch) / "run"))
            with held(reduction.folder), executor_here() as executor:
                found, _ = observe(reduction, executor)
        except RefusedError as error:  # without the place in a recipe that nobody wrote
            raise RefusedError(error.problems) from None
        if "data" not in found:
            raise CasarunError(f"{vis}: its metadata were not read")
        return replace(found["data"], vis=str(vis))
