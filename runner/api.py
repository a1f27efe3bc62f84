"""check, plan, run and report as functions; the command line only puts words around them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .engine import machine
from .engine.executors.local import LocalExecutor
from .engine.policy import RetryPolicy
from .engine.resume import Decision, decide, decide_part, survey
from .engine.scheduler import Outcome, recording
from .engine.scheduler import run as run_plan
from .engine.signals import StopFlag
from .errors import (
    CasarunError,
    DataError,
    ExitCode,
    Problem,
    RefusedError,
    StepFailedError,
    did_you_mean,
)
from .files import FolderLock, identity, read_json, remove_tree, tree_size
from .folder import PRODUCT_FOLDERS, RunFolder
from .observation import Observation
from .plan import Plan
from .quantities import parse
from .recipe.load import LoadedRecipe, load
from .recipe.positions import render
from .recipe.schema import judge
from .report.conclude import conclude, record_plan, render_again
from .stages import compile as stages
from .stages.ingest import observation_file

Listener = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Options:
    """What the command line adds to a recipe.

    Attributes
    ----------
    output : Path or None
        The run folder, over the recipe's.
    overrides : tuple of str
        ``KEY=VALUE`` over the recipe's values.
    jobs : int or None
        How many steps may run at once.
    until : str
        The last stage to run.
    only : str
        The one dataset to run.
    fresh : bool
        Forget what an earlier run left.
    """

    output: Path | None = None
    overrides: tuple[str, ...] = ()
    jobs: int | None = None
    until: str = ""
    only: str = ""
    fresh: bool = False


@dataclass(frozen=True)
class Reduction:
    """A recipe that was read, and the folder that its run lives in."""

    loaded: LoadedRecipe
    folder: RunFolder
    options: Options

    def refused(self, problems: Sequence[Problem]) -> RefusedError:
        """Return the refusal that shows problems at their places in the recipe."""
        return RefusedError(problems, render(problems, self.loaded.source))


@dataclass
class RunResult:
    """What a run came to.

    Attributes
    ----------
    exit_code : ExitCode
        For the shell.
    outcome : Outcome
        Of its steps.
    plan : Plan
        What was wanted.
    metrics : dict
        The content of ``qa/metrics.json``; empty where there is none.
    folder : RunFolder
        Where.
    """

    exit_code: ExitCode
    outcome: Outcome
    plan: Plan
    folder: RunFolder
    metrics: dict[str, Any] = field(default_factory=dict)


def open_recipe(recipe: Path, options: Options) -> Reduction:
    """Read and check a recipe by itself.

    Raises
    ------
    RefusedError
        With all that is wrong with it, each at its place.
    """
    loaded = load(recipe, options.overrides)
    output = options.output or Path(loaded.recipe.project.output)
    reduction = Reduction(loaded, RunFolder(Path.cwd() / output), options)
    _known(reduction, "until", options.until, stages.ORDER)
    _known(reduction, "only", options.only, [d.name for d in loaded.recipe.dataset])
    return reduction


def _known(reduction: Reduction, option: str, value: str, known: Sequence[str]) -> None:
    if value and value not in known:
        raise reduction.refused(
            [Problem(f"--{option}: '{value}' is none of {', '.join(known)}"
                     f"{did_you_mean(value, known)}")]
        )  # fmt: skip


def _judged(reduction: Reduction) -> Reduction:
    """Let JSON Schema have its say before anything is planned or run."""
    problems = judge(reduction.loaded.document)
    if problems:
        raise reduction.refused(problems)
    return reduction


def versions() -> dict[str, str]:
    """Return the versions of the software that products depend on."""
    found = {"casarun": __version__}
    for name in ("casatools", "casatasks", "casadata", "numpy"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def input_identities(plan_steps: Sequence[Any]) -> dict[str, str]:
    """Return the identity of each path outside of the run folder that steps read."""
    paths = {path for step in plan_steps for path in step.reads if path.startswith("/")}
    return {path: identity(Path(path)) for path in sorted(paths) if Path(path).exists()}


def _as_plan(compiled: stages.Compiled) -> Plan:
    return compiled.plan(input_identities(compiled.steps), versions())


@contextmanager
def held(folder: RunFolder) -> Iterator[None]:
    """Hold a run folder; refuse one that is something else."""
    root = folder.root
    if root.exists() and not root.is_dir():
        raise RefusedError([Problem(f"{root} is not a folder; choose another with --output")])
    if root.is_dir() and not folder.private.is_dir() and any(root.iterdir()):
        raise RefusedError(
            [Problem(f"{root} is not empty and not a run folder; choose another with --output")]
        )
    with FolderLock(folder.lock):
        yield


def wipe(folder: RunFolder) -> None:
    """Forget all that earlier runs left in a run folder. The caller holds it."""
    for name in PRODUCT_FOLDERS:
        remove_tree(folder.root / name)
    for path in sorted(folder.private.iterdir()):
        if path != folder.lock:
            remove_tree(path)


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
    plan = _as_plan(stages.imports(recipe))
    folder = reduction.folder
    done: list[str] = []
    if any(d.run for d in decide(plan, survey(plan, folder)).values()):
        executor.warm_up()
        problem = _disk_problem(reduction, plan)
        if problem is not None:
            raise reduction.refused([problem])
        outcome = _engine(reduction, plan, executor, listener, stop)
        problems = [
            Problem(f"{failure.message} {failure.advice}".strip(),
                    ("dataset", _index(reduction, step_id), "vis"))
            for step_id, failure in outcome.failed.items()
        ]  # fmt: skip
        if problems:
            raise reduction.refused(problems)
        done = outcome.done
    found = {d.name: _observation(folder, observation_file(d)) for d in recipe.dataset
            if (folder.root / observation_file(d)).is_file()}  # fmt: skip
    return found, done


def _index(reduction: Reduction, step_id: str) -> int:
    names = [dataset.name for dataset in reduction.loaded.recipe.dataset]
    return max((i for i, name in enumerate(names) if step_id.startswith(f"{name}.")), default=0)


def _observation(folder: RunFolder, path: str) -> Observation:
    try:
        return Observation.from_json(read_json(folder.root / path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{folder.root / path} is damaged: remove it and run again") from error


def _disk_problem(reduction: Reduction, plan: Plan) -> Problem | None:
    size = sum(tree_size(Path(path)) for path in plan.inputs)
    factor = reduction.loaded.recipe.resources.disk_factor
    return machine.disk_problem(reduction.folder.root, size, factor)


def make_plan(reduction: Reduction, observations: Mapping[str, Observation]) -> Plan:
    """Compile the plan.

    Raises
    ------
    RefusedError
        Where recipe and data do not fit, with each problem at its place in the recipe.
    """
    compiled = stages.full(reduction.loaded.recipe, observations)
    if compiled.problems:
        raise reduction.refused(compiled.problems)
    return _as_plan(compiled)


@dataclass(frozen=True)
class Planned:
    """A plan, and what of it would run."""

    reduction: Reduction
    plan: Plan
    decisions: Mapping[str, Decision]


def plan(recipe: Path, options: Options, listener: Listener | None = None) -> Planned:
    """Plan a run. Data that must be imported for their metadata are, once.

    Raises
    ------
    RefusedError
        With all that is wrong with the recipe, by itself or against the data.
    """
    reduction = _judged(open_recipe(recipe, options))
    with held(reduction.folder), _executor() as executor:
        observations, _ = observe(reduction, executor, listener)
        whole = make_plan(reduction, observations)
        planned = stages.asked_for(whole, reduction.options.only, reduction.options.until)
        decisions = decide_part(reduction.folder, whole, planned, fresh=options.fresh)
    return Planned(reduction, planned, decisions)


@contextmanager
def _executor() -> Iterator[LocalExecutor]:
    executor = LocalExecutor()
    try:
        yield executor
    finally:
        executor.close()


def run(
    recipe: Path,
    options: Options,
    listener: Listener | None = None,
    stop: StopFlag | None = None,
    ready: Callable[[Reduction, Plan], None] | None = None,
) -> RunResult:
    """Run a recipe, or go on with its run; then judge and report.

    Parameters
    ----------
    recipe : Path
        The recipe's file.
    options : Options
        What is added to it.
    listener : callable, optional
        Is told every event.
    stop : StopFlag, optional
        Asks the run to stop.
    ready : callable, optional
        Is told when the plan is made, before its steps run.

    Returns
    -------
    RunResult
        With the exit code.

    Raises
    ------
    RefusedError
        If the recipe, the data or the machine cannot work.
    LockedError
        If another run holds the folder.
    """
    reduction = _judged(open_recipe(recipe, options))
    with held(reduction.folder), _executor() as executor:
        if listener:
            listener({"event": "run-opened", "folder": str(reduction.folder.root)})
        if options.fresh:
            wipe(reduction.folder)
        return _run_held(reduction, executor, listener, stop, ready)


def _run_held(
    reduction: Reduction,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
    ready: Callable[[Reduction, Plan], None] | None,
) -> RunResult:
    """Run in a folder that is held: metadata, plan, steps, judgement, report."""
    folder = reduction.folder
    observations, imported = observe(reduction, executor, listener, stop)
    if stop:
        return RunResult(ExitCode.INTERRUPTED, Outcome(interrupted=True), Plan(()), folder)
    whole = make_plan(reduction, observations)
    planned = stages.asked_for(whole, reduction.options.only, reduction.options.until)
    if ready:
        ready(reduction, planned)
    decisions = decide_part(folder, whole, planned)
    if any(decision.run for decision in decisions.values()):
        outcome = _run_steps(reduction, planned, executor, listener, stop)
    else:
        outcome = Outcome(skipped={step: d.reason for step, d in decisions.items()})
    outcome.done[:0] = [step for step in imported if outcome.skipped.pop(step, "")]
    with recording(folder):
        metrics = conclude(folder, planned, outcome, reduction.loaded, versions())
    return RunResult(_exit_code(outcome, metrics), outcome, planned, folder, metrics)


def _run_steps(
    reduction: Reduction,
    planned: Plan,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
) -> Outcome:
    """Record the plan and run what must run of it."""
    executor.warm_up()
    problem = _disk_problem(reduction, planned)
    if problem is not None:
        raise reduction.refused([problem])
    with recording(reduction.folder):
        record_plan(reduction.folder, planned, reduction.loaded)
    return _engine(reduction, planned, executor, listener, stop)


def _engine(
    reduction: Reduction,
    planned: Plan,
    executor: LocalExecutor,
    listener: Listener | None,
    stop: StopFlag | None,
) -> Outcome:
    recipe = reduction.loaded.recipe
    return run_plan(
        planned,
        reduction.folder,
        executor,
        RetryPolicy(recipe.retry.attempts, parse(recipe.retry.wait, "duration")),
        machine.budget(recipe.resources, reduction.options.jobs),
        listener,
        stop,
    )


def _exit_code(outcome: Outcome, metrics: Mapping[str, Any]) -> ExitCode:
    if outcome.interrupted:
        return ExitCode.INTERRUPTED
    if outcome.failed:
        return ExitCode.STEP_FAILED
    return ExitCode.QA_FAILED if metrics.get("verdict") == "fail" else ExitCode.DONE


def report(run: Path) -> Path:
    """Render the report of a run again from what its folder holds.

    Raises
    ------
    DataError
        If the folder holds no run.
    """
    folder = run_folder(run)
    with held(folder):
        return render_again(folder)


def run_folder(path: Path) -> RunFolder:
    """Return a run's folder.

    Raises
    ------
    DataError
        If there is no run in it.
    """
    folder = RunFolder(path.absolute())
    if not folder.journal.is_file():
        raise DataError(f"{path}: not a run folder (it has no .casarun/journal.jsonl)")
    return folder


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
        reduction = open_recipe(recipe, Options(output=Path(scratch) / "run"))
        with held(reduction.folder), _executor() as executor:
            found, _ = observe(reduction, executor)
        if "data" not in found:
            raise CasarunError(f"{vis}: its metadata were not read")
        return replace(found["data"], vis=str(vis))


__all__ = [
    "Options",
    "Planned",
    "Reduction",
    "RunResult",
    "StepFailedError",
    "info",
    "open_recipe",
    "plan",
    "report",
    "run",
    "run_folder",
]
