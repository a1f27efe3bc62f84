"""Many runs as rows of one table: one row an image, or the run itself where it has none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from .places import load
from .runs import Run, items, mapping, number, text

_MJD_EPOCH: Final = datetime(1858, 11, 17, tzinfo=UTC)
_NUMBERS: Final = (
    "peak_jy_per_beam", "rms_noise_jy_per_beam", "dynamic_range", "bmaj_arcsec", "bmin_arcsec",
    "bpa_deg",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One image of one run; of a run without images, the run.

    Attributes
    ----------
    run : str
        The run folder as its reader knows it, relative to what all runs share.
    folder : str
        Its absolute path.
    title : str
        The run's own.
    state : str
        See `casarun.report.runs.Run`.
    verdict : str
        Of the whole run: ``pass``, ``warn``, ``fail``; empty where it was not judged.
    concerns : tuple of str
        The checks of this image, its datasets and its target that did not pass, the worst
        first; why the run is not done.
    datasets : tuple of str
        Those that the image was made of; of a row without image, all of the run.
    target, image : str
        Empty for a run without images.
    peak_jy_per_beam, rms_noise_jy_per_beam, dynamic_range, bmaj_arcsec, bmin_arcsec, bpa_deg
        Of the image, as in ``qa/metrics.json``; None where not measured.
    flagged_fraction : float or None
        Of the target in these datasets, the mean; of a row without image, of the datasets.
    observed : str
        When the first of the datasets begins; ISO 8601, UTC; empty where not known.
    started, ended : str
        Of the run's last part, likewise.
    wall_s : float or None
        From `started` to `ended`.
    versions : str
        Of casarun and casatasks.
    """

    run: str
    folder: str
    title: str
    state: str
    verdict: str
    concerns: tuple[str, ...]
    datasets: tuple[str, ...] = ()
    target: str = ""
    image: str = ""
    peak_jy_per_beam: float | None = None
    rms_noise_jy_per_beam: float | None = None
    dynamic_range: float | None = None
    bmaj_arcsec: float | None = None
    bmin_arcsec: float | None = None
    bpa_deg: float | None = None
    flagged_fraction: float | None = None
    observed: str = ""
    started: str = ""
    ended: str = ""
    wall_s: float | None = None
    versions: str = ""
    fits: str = ""
    channel: int | None = None
    fluxes_jy: Mapping[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the row as ``dashboard.json`` has it."""
        shown = asdict(self)
        del shown["channel"]
        return shown


def labels(runs: Sequence[Run]) -> list[str]:
    """Name runs by their folders, as short as tells them apart."""
    roots = [str(run.folder.root) for run in runs]
    if len(roots) == 1:
        return [clean(Path(roots[0]).name)]
    top = os.path.commonpath(roots)
    return [clean(os.path.relpath(root, top)) for root in roots]


def clean(name: str) -> str:
    """Return a name as text that can be written: its bytes need not be UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()


def rows(run: Run, label: str) -> list[Row]:
    """Return the rows of a run; there is always one at least."""
    about = run.about
    started, ended = text(about.get("started")), text(about.get("ended"))
    shared: dict[str, Any] = {
        "run": label,
        "folder": clean(str(run.folder.root)),
        "title": text(about.get("title")) or text(about.get("name")),
        "state": run.state,
        "verdict": run.verdict,
        "started": started or text(run.status.get("started")),
        "ended": ended,
        "wall_s": _span_s(started, ended),
        "versions": _versions(mapping(about.get("versions"))),
    }
    made_of = _made_of(run)
    made = [
        Row(**shared, **_image(run, (target, name), mapping(numbers), made_of))
        for target, images in mapping(run.metrics.get("images")).items()
        for name, numbers in mapping(images).items()
    ]
    for numbers in map(mapping, mapping(run.metrics.get("cubes")).values()):
        name = text(numbers.get("target")), text(numbers.get("image"))
        made.append(Row(**shared, **_image(run, name, _as_image(numbers), made_of)))
    return made or [Row(**shared, **_without_image(run))]


def _as_image(cube: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of what was made of a cube as those of an image, if it is in Jy/beam."""
    peak, noise = number(cube.get("peak")), number(cube.get("rms_noise"))
    if cube.get("unit") != "Jy/beam":
        peak = noise = None
    return {
        **cube,
        "peak_jy_per_beam": peak,
        "rms_noise_jy_per_beam": noise,
        "dynamic_range": peak / noise if peak is not None and noise else None,
        "peak_position": {"channel": cube.get("peak_channel")},
    }


def _image(
    run: Run,
    name: tuple[str, str],
    numbers: Mapping[str, Any],
    made_of: Mapping[tuple[str, str], tuple[str, ...]],
) -> dict[str, Any]:
    target, image = name
    datasets = made_of.get(name) or tuple(mapping(run.metrics.get("datasets")))
    position = mapping(numbers.get("peak_position"))
    subjects = (f"{target}, {image}", f"{target}, self-calibration")
    return {
        **{key: number(numbers.get(key)) for key in _NUMBERS},
        "target": target,
        "image": image,
        "datasets": datasets,
        "concerns": tuple(_concerns(run, subjects, datasets)),
        "flagged_fraction": _flagged(run, datasets, target),
        "observed": _observed(run, datasets),
        "fits": text(numbers.get("fits")),
        "channel": _whole(position.get("channel")),
        "fluxes_jy": _fluxes(run, datasets),
    }


def _without_image(run: Run) -> dict[str, Any]:
    datasets = tuple(mapping(run.metrics.get("datasets"))) or _planned(run)
    return {
        "datasets": datasets,
        "concerns": tuple(_concerns(run, (), datasets)),
        "flagged_fraction": _flagged(run, datasets, ""),
        "observed": _observed(run, datasets),
        "fluxes_jy": _fluxes(run, datasets),
    }


def _steps(run: Run) -> Iterator[Mapping[str, Any]]:
    return (mapping(step) for step in items(run.plan.get("steps")))


def _planned(run: Run) -> tuple[str, ...]:
    """Return the datasets that the plan knows."""
    return tuple(dict.fromkeys(text(s.get("dataset")) for s in _steps(run) if s.get("dataset")))


def _made_of(run: Run) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return which datasets each image was made of, by target and image.

    What a step writes comes from its own dataset, or from those of what it reads.
    """
    sources: dict[str, dict[str, None]] = {}
    found: dict[tuple[str, str], dict[str, None]] = {}
    for step in _steps(run):
        dataset = text(step.get("dataset"))
        touched = [str(path) for key in ("reads", "updates") for path in items(step.get(key))]
        mine = {dataset: None} if dataset else {}
        if not dataset:
            for path in touched:
                mine |= sources.get(path, {})
        for path in items(step.get("writes")):
            sources[str(path)] = mine
        name = text(step.get("target")), text(step.get("image"))
        if all(name):
            found.setdefault(name, {}).update(mine)
    return {name: tuple(datasets) for name, datasets in found.items()}


def _flagged(run: Run, datasets: Sequence[str], target: str) -> float | None:
    """Return the mean flagged fraction of a target in its datasets, or of these."""
    found = []
    for name in datasets:
        numbers = mapping(mapping(run.metrics.get("datasets")).get(name))
        flagged = mapping(numbers.get("flagged_fraction"))
        value = number(mapping(flagged.get("field")).get(target))
        value = number(flagged.get("total")) if value is None else value
        if value is not None:
            found.append(value)
    return sum(found) / len(found) if found else None


def _fluxes(run: Run, datasets: Sequence[str]) -> dict[str, float]:
    """Return the flux densities of the calibrators by field: the mean over windows and datasets."""
    found: dict[str, list[float]] = {}
    for name in datasets:
        numbers = mapping(mapping(run.metrics.get("datasets")).get(name))
        for source, spws in mapping(numbers.get("fluxscale")).items():
            values = [number(value) for value in mapping(spws).values()]
            found.setdefault(source, []).extend(v for v in values if v is not None)
    return {source: sum(values) / len(values) for source, values in found.items() if values}


def _observed(run: Run, datasets: Sequence[str]) -> str:
    """Return when the first of some datasets begins."""
    paths = [run.inside(f"raw/{name}.observation.json") for name in datasets]
    found = [_start_mjd_s(path) for path in paths if path]
    starts = [start_s for start_s in found if start_s is not None]
    if not starts:
        return ""
    try:
        moment = _MJD_EPOCH + timedelta(seconds=min(starts))
    except OverflowError:
        return ""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


@lru_cache(maxsize=4096)
def _start_mjd_s(path: Path) -> float | None:
    """Return when an observation begins; its images share the answer."""
    return number(load(path).get("start_mjd_s"))


def _concerns(run: Run, subjects: Sequence[str], datasets: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with some subjects and datasets of a run, the worst first."""
    if run.problem:
        yield run.problem
    if run.state == "died":
        yield "the run was killed; the same command goes on with it"
    elif run.state in ("running", "interrupted", "unheard"):
        yield _progress(run)
    steps = mapping(run.meta.get("steps"))
    failed = [name for name in steps if mapping(steps[name]).get("state") == "failed"]
    if run.state == "failed" and failed:
        yield f"failed: {', '.join(failed)}"
    mine = [
        check
        for check in map(mapping, items(run.metrics.get("checks")))
        if not subjects or _about(text(check.get("subject")), subjects, datasets)
    ]
    for verdict in ("fail", "warn"):
        for check in mine:
            if check.get("verdict") == verdict:
                name = text(check.get("name")).replace("_", " ")
                yield f"{verdict}: {name}, {text(check.get('subject'))}: {text(check.get('text'))}"


def _about(subject: str, subjects: Sequence[str], datasets: Sequence[str]) -> bool:
    known = (*subjects, *datasets)
    return subject in known or any(subject.startswith(f"{name}, ") for name in datasets)


def _progress(run: Run) -> str:
    counts = mapping(run.status.get("counts"))
    done = sum(int(number(counts.get(key)) or 0) for key in ("done", "skipped"))
    total = int(number(counts.get("total")) or 0)
    silent = "" if run.state != "unheard" else ", not heard of for long"
    return f"{done} of {total} steps done{silent}" if total else f"just begun{silent}"


def _versions(versions: Mapping[str, Any]) -> str:
    known = (name for name in ("casarun", "casatasks") if text(versions.get(name)))
    return ", ".join(f"{name} {versions[name]}" for name in known)


def _whole(value: Any) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _span_s(started: str, ended: str) -> float | None:
    try:
        return (datetime.fromisoformat(ended) - datetime.fromisoformat(started)).total_seconds()
    except (ValueError, TypeError):
        return None
