"""What a step's action does, and how its success is proven.

Runs in the step's own process, in its work folder, where the products that the step
declared stand at their paths.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..casa import checks, fits_object, invoke, logscan, metadata, table_files
from ..casa.image_copies import WEIGHTS, copy_images
from ..errors import Cause, DataError, StepFailedError, with_advice
from ..files import copy_tree, read_json, write_product
from ..plan import Check, Step
from ..quantities import parse
from . import provenance
from .causes import cause_in, cause_of
from .results import SKIPPED
from .scene import Scene
from .unpacking import MemberError, unpack

Params = Mapping[str, Any]
Outcome = dict[str, Any]

_CLEANS = ("clean", "ranges.clean")
_BULKY = ("summaryminor", "summarymajor")


def perform(step: Step, params: dict[str, Any], scene: Scene) -> Outcome:
    """Do what a step is for.

    Parameters
    ----------
    step : Step
        The step.
    params : dict
        Its parameters, late values resolved.
    scene : Scene
        Where it runs and logs.

    Returns
    -------
    dict
        What came of it, as data that JSON can hold.

    Raises
    ------
    StepFailedError
        Where the failure could be told apart; other exceptions pass through.
    """
    invoke.use_log(scene.log_file)
    task = step.action.removeprefix("casa:")
    action = None if task != step.action else named(task)
    try:
        outcome = call(task, params) if action is None else action(params)
        provenance.sign(step, scene)
        return outcome
    except StepFailedError:
        raise
    except Exception as error:
        findings = logscan.scan(scene.log_file)
        explained = checks.explain(error, task, params, findings) or _by_log(error, findings)
        if explained is None:
            raise
        raise explained from error


def _by_log(error: Exception, findings: logscan.LogFindings) -> StepFailedError | None:
    """Return an error with the cause that CASA's log has and its exception has not.

    Two tasks that both write an MS's HISTORY can be in each other's way: ``fluxscale`` then raises
    "Error in Calibrater::fluxscale", and only the log speaks of the lock.
    """
    if cause_of(error) is not Cause.EXCEPTION:
        return None
    for line in findings.severe:
        cause = cause_in(line)
        if cause is not None:
            return StepFailedError(cause, line)
    return None


def prove(step: Step, params: dict[str, Any], outcome: Outcome, scene: Scene) -> dict[str, Any]:
    """Prove a step's success: no unexplained SEVERE line, and its post-conditions hold.

    Returns
    -------
    dict
        ``warnings`` and ``severe`` lines of the log, and what each check measured.

    Raises
    ------
    StepFailedError
        With the failed check's message, or the first SEVERE line.
    """
    findings = logscan.scan(scene.log_file)
    measured = {}
    warnings = list(findings.warnings)
    # A round of a self-calibration that does not take place makes nothing to be checked.
    for check in () if outcome.get(SKIPPED) else step.checks:
        try:
            numbers = checks.run(check, params, outcome, findings)
        except StepFailedError as error:
            raise _with_fallback(step, error) from None
        warnings += numbers.pop("warnings", [])
        name = f"{check.name} {check.params['path']}" if "path" in check.params else check.name
        measured[name] = numbers
    if findings.severe:
        raise StepFailedError(
            Cause.SEVERE,
            f"CASA reported: {findings.severe[0]}",
            "The step's casa.log has the lines around it.",
        )
    return {"warnings": warnings, "severe": list(findings.severe), "checks": measured}


def idle(step: Step, params: Params) -> bool:
    """Say whether a step will find nothing to do, and so change nothing."""
    if not step.action.startswith("selfcal."):
        return False
    from . import selfcal_idle, selfcal_solve

    return step.action in selfcal_solve.ACTIONS and bool(selfcal_idle.why_not(params))


def leaves(step: Step, path: str) -> frozenset[str]:
    """Return the files of a product in the work folder that a step does not touch.

    Returns
    -------
    frozenset of str
        Paths in the product; none where that is not known.
    """
    return table_files.left_alone(step.action.removeprefix("casa:"), step.params, Path(path))


def _with_fallback(step: Step, error: StepFailedError) -> StepFailedError:
    """Return an error whose advice names the fallbacks of a clean that has none."""
    if error.cause is not Cause.DIVERGED or step.action not in _CLEANS or step.fallbacks:
        return error
    key = f"image.{step.image}.fallback"
    more = f"Or say what to do when it diverges: {key} = [{{ gain = 0.05 }}], for example."
    return StepFailedError(error.cause, error.message, with_advice(error.advice, more))


def call(task: str, params: Params) -> Outcome:
    """Call a CASA task and keep what it returned, without bulky tables."""
    if task == "exportfits":
        with fits_object.with_short_object(params) as exportable:
            invoke.task(task, exportable)
            return {"object": fits_object.shortened(exportable)} if exportable != params else {}
    else:
        returned = invoke.task(task, params)
    if isinstance(returned, dict):
        return {key: value for key, value in returned.items() if key not in _BULKY}
    return {"returned": returned}


def _fluxscale(params: Params) -> Outcome:
    """Carry the flux scale over, and keep the flux densities beside the table.

    CASA kills the process where a field of `transfer` has no solutions, so that is looked at
    first.
    """
    solved = checks.run(Check("caltable", {"path": params["caltable"]}), params, {})["fields"]
    for field in params["transfer"].split(","):
        if int(field) not in solved:
            raise StepFailedError(
                Cause.POSTCONDITION,
                f"field {field} has no unflagged solutions in {params['caltable']}, so its flux "
                "density cannot be found",
                "Look at its data and flags; lower calibrate.minsnr, lengthen "
                "calibrate.solint.amp, or leave the field out of calibrators.phase.",
            )
    outcome = call("fluxscale", params)
    write_product(f"{params['fluxtable']}.json", outcome)
    return outcome


def _clean(params: Params) -> Outcome:
    """Clean, going on from the dirty image; down to a multiple of the noise, if that is asked.

    The noise of the dirty image may be sidelobes. So what the clean leaves is measured again,
    and the clean goes on to the new noise, until that falls by less than `_SETTLED`. tclean's own
    ``nsigma`` does not end there: in a simulated snapshot of 12 antennas it went to half of the
    thermal noise, every peak of which had become a component.
    """
    settings = dict(params["tclean"])
    imagename, began = str(settings["imagename"]), _model(params)
    kinds = {**WEIGHTS, "residual": "residual"} | ({"model": "model"} if began else {})
    copy_images(began or str(params["dirty"]), imagename, kinds)
    outcome = call("tclean", settings)
    if began:
        outcome["began"] = began
    if "until" in params:
        outcome |= _clean_on(settings, outcome, **params["until"])
    optional = [f"{imagename}.{suffix}" for suffix in ("mask", "alpha", "alpha.error")]
    outcome["_absent"] = [path for path in optional if not Path(path).exists()]
    return outcome


def _model(params: Params) -> str:
    """Return the prefix of a self-calibration's images whose model a clean goes on from, if any.

    Of data that no round made better it goes on from the dirty image, as without it.
    """
    if "selfcal" not in params:
        return ""
    summary = read_json(Path(params["selfcal"]))
    return "" if summary["kept_first"] else str(summary["after"]["prefix"])


_SETTLED = 0.2
_MOST_ROUNDS = 10
_GOES_ON = (0, 2, 8)  # a threshold was reached: not the iterations' limit, no divergence


def _clean_on(settings: Params, first: Outcome, sigmas: float, suffix: str) -> Outcome:
    """Go on with a clean as long as the noise of what is left falls.

    Parameters
    ----------
    settings : mapping
        tclean's parameters of the clean so far.
    first : dict
        What came of it.
    sigmas : float
        The threshold as a multiple of the noise.
    suffix : str
        Empty or ``.tt0``.

    Returns
    -------
    dict
        tclean's own words of the last round; ``iterdone`` and ``nmajordone`` of all rounds,
        ``thresholds_jy``, which each of them cleaned to, and with what each after the first was
        `called`.
    """
    name, outcome, called = str(settings["imagename"]), dict(first), list[Params]()
    thresholds = [parse(str(settings["threshold"]), "flux")]
    iterations, majors = int(first.get("iterdone", 0)), int(first.get("nmajordone", 0))
    while len(thresholds) < _MOST_ROUNDS and outcome.get("stopcode", 0) in _GOES_ON:
        left = int(settings["niter"]) - iterations
        threshold = sigmas * _noise_left(name, suffix)
        if left <= 0 or threshold > (1 - _SETTLED) * thresholds[-1]:
            break
        called.append({"niter": left, "threshold": f"{threshold:.9g}Jy"})
        more = {**settings, **called[-1]}
        if more.get("usemask") == "user":  # tclean has made an image of the mask already
            more.pop("mask", None)
        outcome = call("tclean", more)
        thresholds.append(threshold)
        iterations += int(outcome.get("iterdone", 0))
        majors += int(outcome.get("nmajordone", 0))
    return outcome | {
        "iterdone": iterations, "nmajordone": majors, "thresholds_jy": thresholds,
        "threshold": thresholds[-1], "called": called,
    }  # fmt: skip


def _noise_left(name: str, suffix: str) -> float:
    """Return the noise off source of what a clean has left, in Jy/beam."""
    mask = f"{name}.mask"
    found = named("noise")(
        {
            "image": f"{name}.residual{suffix}",
            "pb": f"{name}.pb{suffix}",
            "mask": mask if Path(mask).exists() else "",
        }
    )
    return float(found["rms_jy_per_beam"])


def _copy(params: Params) -> Outcome:
    copy_tree(Path(params["source"]).resolve(), Path(params["target"]))
    return {}


def _observe(params: Params) -> Outcome:
    try:
        observation = metadata.read(Path(params["vis"]))
    except DataError as error:
        raise StepFailedError(Cause.POSTCONDITION, str(error)) from error
    write_product(params["out"], observation.to_json())
    return {"n_rows": observation.n_rows, "n_fields": len(observation.fields)}


def _unpack(params: Params) -> Outcome:
    """Unpack a tar of an MS, UVFITS or ASDM, and make an MS of what is in it."""
    heap = Path("unpacked")
    try:
        unpack(Path(params["archive"]), heap)
    except MemberError as error:
        raise StepFailedError(
            Cause.PARAMETER,
            f"{params['archive']} is not unpacked: {error}",
            "Pack the dataset again, from the folder that it is in.",
        ) from error
    except (tarfile.TarError, OSError) as error:
        raise StepFailedError(
            Cause.PARAMETER, f"{params['archive']} cannot be unpacked: {error}"
        ) from error
    source, what = _found_in(heap, params["archive"])
    outcome: Outcome = {"found": what, "member": str(source.relative_to(heap))}
    if what == "ms":
        shutil.move(source, params["vis"])
    elif what == "asdm":
        outcome |= call("importasdm", {"asdm": str(source), "vis": params["vis"]})
    else:
        outcome |= call("importuvfits", {"fitsfile": str(source), "vis": params["vis"]})
    shutil.rmtree(heap)
    return outcome


def _found_in(heap: Path, archive: str) -> tuple[Path, str]:
    """Return the one dataset in an unpacked archive, and what it is."""
    found: list[tuple[Path, str]] = []
    for root, folders, files in os.walk(heap):
        here = Path(root)
        if "ASDM.xml" in files:
            found.append((here, "asdm"))
            folders.clear()
        elif "table.dat" in files and (here / "SPECTRAL_WINDOW").is_dir():
            found.append((here, "ms"))
            folders.clear()
        else:
            names = sorted(name for name in files if name.lower().endswith((".fits", ".uvfits")))
            found += [(here / name, "uvfits") for name in names]
    if len(found) != 1:
        raise StepFailedError(
            Cause.PARAMETER,
            f"expected one MS, ASDM or UVFITS in {archive}, found {len(found) or 'none'}",
            "Unpack it and name each dataset in the recipe.",
        )
    return found[0]


_ACTIONS: dict[str, Callable[[Params], Outcome]] = {
    "clean": _clean,
    "copy": _copy,
    "fluxscale": _fluxscale,
    "observe": _observe,
    "unpack": _unpack,
}

_ELSEWHERE = {
    "cube": ("cube_join",),
    "mask": ("drawn_mask",),
    "measure": ("measures", "cube_join"),
    "noise": ("measures",),
    "opacity": ("opacity",),
    "ranges": ("ranges",),
    "selfcal": ("selfcal_solve", "selfcal_image", "selfcal_plots"),
}
"""Modules with more actions by the first word of their names, imported when one is wanted: the
first steps of a run need none of what these import."""


def named(name: str) -> Callable[[Params], Outcome]:
    """Return an action that is no CASA task.

    Raises
    ------
    StepFailedError
        If there is none of that name.
    """
    if name in _ACTIONS:
        return _ACTIONS[name]
    for module in _ELSEWHERE.get(name.partition(".")[0], ()):
        found: Mapping[str, Callable[[Params], Outcome]]
        found = import_module(f".{module}", __package__).ACTIONS
        if name in found:
            return found[name]
    raise StepFailedError(Cause.PARAMETER, f"no action is called '{name}'")
