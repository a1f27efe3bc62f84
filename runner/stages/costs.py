"""What each step writes to disk, holds in memory and takes in time, before anything runs.

A model of few numbers, measured on the recipes of this project (casatasks 6.7.0.31, one
thread): good to a quarter in memory and in the disk of a run, to a factor of three for a single
step's disk and time (tests/test_costs.py). `casarun.engine.forecast` holds it against the
machine, and corrects the times by what earlier runs took there.

Everything is pure: the plan's steps and the datasets' metadata in, numbers out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ..plan import Resources, Step
from ..quantities import parse
from . import costs_images
from .costs_images import Shape
from .costs_known import COMPLEX_BYTES, Known, Visibilities, mss
from .draft import Subject

_BASE_BYTES: Final = 2.4e8
"""A process that has CASA in it: 160 to 260 MB in all light steps that were measured."""

_FIRST_BYTES: Final = -4e7
"""A run's first steps lack what plots, which is imported beside them: 110 to 230 MB."""

_HELD: Final = 2e7
"""No more visibilities than these are held at once: tasks work in chunks of a scan."""

_START_S: Final = 0.2
_LIKELY_ROUNDS: Final = 3
"""So many rounds of a self-calibration usually take place, whatever the recipe allows."""
_IDLE_S: Final = 0.01
"""For a step that finds nothing to do: the runner itself does it."""
_FIELD_COLUMNS: Final = {"DATA", "CORRECTED_DATA", "MODEL_DATA", "FLOAT_DATA"}


@dataclass(frozen=True)
class Cost:
    """What a step costs: bytes it adds to disk, bytes it holds over the base, seconds."""

    disk_bytes: float = 0.0
    memory_bytes: float = 0.0
    seconds: float = _START_S


def estimated(steps: Sequence[Step], subjects: Sequence[Subject]) -> list[Step]:
    """Return the steps of a plan with what each is expected to cost.

    Parameters
    ----------
    steps : sequence of Step
        In order: what a step finds is what those before it made.
    subjects : sequence of Subject
        The datasets with their metadata.

    Returns
    -------
    list of Step
        With `resources.disk_bytes`, `memory_bytes` and `seconds`; all else as it was.
    """
    known = Known()
    for subject in subjects:
        known.visibilities[subject.pristine] = Visibilities.of(subject.observation)
        known.sizes[subject.pristine] = float(subject.observation.size_bytes)
    found = []
    for step in steps:
        task = step.action.removeprefix("casa:")
        cost = _MODELS.get(task, _any)(step, known)
        if step.resources.seconds:  # the stage has said it
            found.append(step)
            continue
        resources = Resources(
            step.resources.cores,
            round(_BASE_BYTES + cost.memory_bytes),
            step.resources.time_limit_s,
            round(cost.disk_bytes),
            round(cost.seconds, 2),
        )
        found.append(step.needing(resources))
    return found


def _import(step: Step, known: Known) -> Cost:
    """Return the cost of an import: 15 ns a byte (importuvfits: 0.3 to 0.5 s for 36 MB)."""
    size = known.sizes.get(str(step.params["vis"]), 0.0)
    return Cost(size, _FIRST_BYTES + 2e7, _START_S + 15e-9 * size)


def _copy(step: Step, known: Known) -> Cost:
    """All of it, at 300 MB/s; a filesystem with reflinks does it for nothing."""
    source, target = str(step.params["source"]), str(step.params["target"])
    if source in known.visibilities:
        known.visibilities[target] = known.visibilities[source]
    made = known.visibilities[source].bytes_of() if source in known.visibilities else 0.0
    size = known.sizes[target] = known.sizes.get(source, made)
    return Cost(size, _FIRST_BYTES, _START_S + size / 3e8)


def _flagdata(step: Step, known: Known) -> Cost:
    """0.2 us a visibility; tfcrop and rflag, which look at its neighbours, 1.3 us."""
    values = known.of(step).values_of(step.params.get("field", ""))
    searching = any(word in str(step.params) for word in ("tfcrop", "rflag"))
    return Cost(0.0, 2e7, _START_S + (1.3e-6 if searching else 0.2e-6) * values)


def _model(step: Step, known: Known) -> Cost:
    """``setjy`` and ``ft``: a whole column where it is asked for, else next to nothing."""
    if not step.params.get("usescratch", step.action == "casa:ft"):
        return Cost(0.0, 2e7, 0.5)
    seconds = 0.5 + 0.4e-6 * known.of(step).n_values
    return Cost(_new_column(step, known, "MODEL_DATA"), 2e7, seconds)


def _new_column(step: Step, known: Known, name: str) -> float:
    """Add a column of visibilities to a step's MSs; return the bytes that it takes."""
    added = 0.0
    for vis in mss(step.params):
        before = known.visibilities.get(vis)
        if before is not None and name not in before.columns:
            known.visibilities[vis] = replace(before, columns=before.columns | {name})
            added += COMPLEX_BYTES * before.n_values
    return added


def _solve(step: Step, known: Known) -> Cost:
    """0.5 s and 1 us a visibility that is solved for; 25 bytes of each; tables of 0.3 MB."""
    values = known.of(step).values_of(step.params.get("field", ""))
    return Cost(3e5, 25 * min(values, _HELD), 0.5 + 1e-6 * values)


def _applycal(step: Step, known: Known) -> Cost:
    """CORRECTED_DATA, as large as DATA, when it is first written; 0.5 us a visibility.

    80 bytes of memory for each of the field's, which come a scan at a time.
    """
    values = known.of(step).values_of(step.params.get("field", ""))
    disk = _new_column(step, known, "CORRECTED_DATA")
    return Cost(disk, 80 * min(values, _HELD), 0.3 + 0.5e-6 * values + disk / 3e8)


def _new_ms(step: Step, known: Known) -> Cost:
    """``split``, ``mstransform``, ``uvcontsub`` and their like: what they select, written anew.

    0.2 us a visibility and column; a fit of the continuum 0.6 us more.
    """
    source = known.of(step)
    part = source.part(step.params.get("field", ""))
    everything = str(step.params.get("datacolumn", "")).lower() == "all"
    columns = max(1, len(part.columns & _FIELD_COLUMNS)) if everything else 1
    out = str(step.params.get("outputvis", ""))
    kept = step.action == "casa:uvcontsub"  # split counts the fields anew
    known.visibilities[out] = replace(
        part,
        rows=part.rows if kept else dict(enumerate(part.rows.values())),
        values=part.values if kept else dict(enumerate(part.values.values())),
        columns=part.columns if everything else part.columns - _FIELD_COLUMNS | {"DATA"},
    )
    made = known.visibilities[out] = _averaged(step, known.visibilities[out])
    seconds = 0.3 + 0.2e-6 * columns * part.n_values + (0.6e-6 if kept else 0) * part.n_values
    return Cost(made.bytes_of(columns), 2e7, seconds)


def _averaged(step: Step, made: Visibilities) -> Visibilities:
    """Return what is left of an MS whose times and channels a step averages."""
    length, (times, channels) = made.integration_s, (1.0, 1.0)
    if step.params.get("timeaverage") and length:
        length = max(length, _duration_s(step.params.get("timebin")))
        times = made.integration_s / length
    if step.params.get("chanaverage"):
        given = step.params.get("chanbin", 1)
        bins = [
            max(1.0, float(n)) for n in (given if isinstance(given, (list, tuple)) else [given])
        ]
        channels = len(bins) / sum(bins)
    columns = (
        made.columns | {"WEIGHT_SPECTRUM"} if step.params.get("usewtspectrum") else made.columns
    )
    return replace(
        made,
        rows={i: n * times for i, n in made.rows.items()},
        values={i: n * times * channels for i, n in made.values.items()},
        columns=columns,
        channels=max(1, round(made.channels * channels)),
        integration_s=length,
    )


def _duration_s(given: Any) -> float:
    """Return a recipe's duration in s; 0 for none, and for one that only CASA can read."""
    try:
        return parse(str(given), "duration")
    except ValueError:
        return 0.0


def _tclean(step: Step, known: Known) -> Cost:
    params: Mapping[str, Any] = step.params.get("tclean", step.params)
    data = known.of_vis(params)
    shape = costs_images.shape_of(params, data.channels)
    known.makes(step, shape)
    return Cost(
        costs_images.disk_of(shape.pixels, step.writes),
        costs_images.memory_of(shape, params, data.telescopes),
        costs_images.seconds_of(shape, params, data.n_values, data.telescopes),
    )


def _in_turn(model: Callable[[Step, Known], Cost]) -> Callable[[Step, Known], Cost]:
    """Return the cost of a step of self-calibration; that of a round that is likely skipped, none.

    Memory is what it takes if the round takes place.
    """

    def cost(step: Step, known: Known) -> Cost:
        full = model(step, known)
        if int(step.params.get("round", 0)) <= _LIKELY_ROUNDS:
            return full
        return replace(full, disk_bytes=0.0, seconds=_IDLE_S)

    return cost


def _selfcal_image(step: Step, known: Known) -> Cost:
    """Return the cost of a clean in steps: of hogbom's each is one major cycle, as many as a clean.

    Measured: one to six cycles; other deconvolvers go through several in each step.
    """
    params = {**step.params["tclean"], "vis": step.params["vis"], "niter": step.params["niter"]}
    once = _tclean(replace(step, params={"tclean": params}), known)
    hogbom = params.get("deconvolver", "hogbom") == "hogbom"
    return once if hogbom else replace(once, seconds=2 * once.seconds)


def _selfcal_predict(step: Step, known: Known) -> Cost:
    """Return the cost of one degridding, and of the model's column where it is first written."""
    params = {**step.params["tclean"], "calcres": False, "calcpsf": False}
    values = known.of(step).n_values
    shape = costs_images.shape_of(params, 1)
    disk = _new_column(step, known, "MODEL_DATA")
    seconds = costs_images.seconds_of(shape, params, 0.0) + 1e-6 * values + disk / 3e8
    return Cost(disk, costs_images.memory_of(shape, params), seconds)


def _selfcal_solve(step: Step, known: Known) -> Cost:
    """Return the cost of two solves and of the prediction, which read all data."""
    values = known.of(step).n_values
    memory = 2e7 + 25 * min(values, _HELD)
    return Cost(3e5 * len(mss(step.params)), memory, 0.3 + 4e-6 * values)


def _channel_range(step: Step, known: Known) -> Cost:
    """Return the cost of a range of a cube's channels; of a round that is likely skipped, none.

    A range takes its part of the visibilities.
    """
    whole = {**step.params["tclean"]}
    data = known.of_vis(whole)
    total = costs_images.shape_of({**whole, "specmode": "cube"}, data.channels).channels
    first, last = step.params["first"], step.params["last"]
    inner = (total - 1 if last is None else last) - first + 1
    channels = max(1, inner + 2 * step.params["margin"])
    params = {**whole, "nchan": channels}
    if step.action == "ranges.clean":
        params |= {"calcpsf": False, "calcres": False}
    shape = costs_images.shape_of(params, channels)
    known.makes(step, shape)
    full = Cost(
        costs_images.disk_of(shape.pixels, step.writes),
        costs_images.memory_of(shape, params, data.telescopes),
        costs_images.range_seconds_of(
            shape, params, data.n_values * min(1.0, channels / total), data.telescopes
        ),
    )
    if step.params.get("round", 1) == 1:
        return full
    return replace(full, disk_bytes=0.0, seconds=_START_S)


def _ranges_join(step: Step, known: Known) -> Cost:
    """Return the cost of joining ranges: all their channels, 0.01 us a pixel and image."""
    kinds, parts = step.params["kinds"], step.params["parts"]
    shapes = [known.largest(f"{part}.{kind}" for kind in kinds) for part in parts]
    widest = max(shapes, key=lambda shape: shape.side_pixels, default=Shape(0.0))
    made = replace(widest, channels=sum(shape.channels for shape in shapes))
    known.makes(step, made)
    disk = costs_images.disk_of(made.pixels, step.writes)
    return Cost(disk, 2e7, 0.2 + 0.01e-6 * made.pixels * len(kinds))


def _image(step: Step, known: Known) -> Cost:
    """Return the cost of an image made of another: as many pixels, 0.05 us each, in pieces.

    A moment and a drawn mask have but one plane.
    """
    source = known.largest(step.reads)
    made = replace(source, channels=1) if step.action in ("casa:immoments", "mask") else source
    known.makes(step, made)
    seconds = 0.1 + 0.05e-6 * source.pixels
    disk = costs_images.disk_of(made.pixels, step.writes)
    return Cost(disk, 8 * min(source.pixels, _HELD), seconds)


def _measure_image(step: Step, known: Known) -> Cost:
    """Planes in blocks of 4 million pixels; 1.2 s of plots and 0.7 us a pixel.

    A catalogue of sources takes the whole plane at once.
    """
    pixels = known.largest(step.reads).pixels
    catalogue = step.params.get("catalogue") is not None
    memory = 55 * min(pixels, 4e6) + (25 * pixels if catalogue else 0)
    return Cost(4e5, memory, 1.2 + (0.8e-6 if catalogue else 0.7e-6) * pixels)


def _noise(step: Step, known: Known) -> Cost:
    """As the measuring of an image, without plots."""
    pixels = known.largest(step.reads).pixels
    return Cost(1e3, 35 * min(pixels, 4e6), 0.1 + 0.2e-6 * pixels)


def _measure_dataset(step: Step, known: Known) -> Cost:
    """2 s of plots; 1 us for each visibility, of which no more than 200 million are read."""
    vis = known.visibilities.get(str(step.params.get("ms", "")), Visibilities())
    return Cost(7e5, 6e7, 2 + 1e-6 * min(vis.n_values, 2e8))


def _any(step: Step, known: Known) -> Cost:
    """Take what a task that is not known makes for as large as the largest that it reads."""
    values = known.of(step).n_values
    shape = known.largest(step.reads)
    known.makes(step, shape)
    sizes = [known.visibilities[p].bytes_of() for p in step.reads if p in known.visibilities]
    sizes.append(costs_images.disk_of(shape.pixels, step.reads[:1]))
    seconds = 0.5 + 1e-6 * values + 0.1e-6 * shape.pixels
    return Cost(max(sizes) if step.writes else 0.0, 4e7 + 8 * min(shape.pixels, _HELD), seconds)


_MODELS: Final[dict[str, Callable[[Step, Known], Cost]]] = {
    "importuvfits": _import,
    "importasdm": _import,
    "unpack": _import,
    "observe": lambda step, known: Cost(1e4, _FIRST_BYTES, 0.3),
    "copy": _copy,
    "flagdata": _flagdata,
    "flagcmd": _flagdata,
    "flagmanager": lambda step, known: Cost(0.0, 0.0, 0.3),
    "setjy": _model,
    "ft": _model,
    "gaincal": _solve,
    "bandpass": _solve,
    "polcal": _solve,
    "fringefit": _solve,
    "gencal": lambda step, known: Cost(2e5, 0.0, 0.3),
    "opacity": lambda step, known: Cost(1e4, 0.0, 35.0),
    "fluxscale": lambda step, known: Cost(2e5, 0.0, 0.4),
    "applycal": _applycal,
    "split": _new_ms,
    "mstransform": _new_ms,
    "phaseshift": _new_ms,
    "cvel": _new_ms,
    "cvel2": _new_ms,
    "hanningsmooth": _new_ms,
    "uvcontsub": _new_ms,
    "tclean": _tclean,
    "clean": _tclean,
    "mask": _image,
    "noise": _noise,
    "impbcor": _image,
    "immoments": _image,
    "exportfits": _image,
    "imsmooth": _image,
    "immath": _image,
    "imregrid": _image,
    "specsmooth": _image,
    "ranges.axis": lambda step, known: Cost(1e4, 2e7, 0.3),
    "ranges.dirty": _channel_range,
    "ranges.gather": lambda step, known: Cost(1e4, 0.0, 0.1),
    "ranges.clean": _channel_range,
    "ranges.settle": lambda step, known: Cost(1e4, 0.0, 0.05),
    "ranges.restore": _image,
    "ranges.join": _ranges_join,
    "selfcal.image": _in_turn(_selfcal_image),
    "selfcal.judge": lambda step, known: Cost(1e4, 0.0, 0.05),
    "selfcal.predict": _in_turn(_selfcal_predict),
    "selfcal.solve": _in_turn(_selfcal_solve),
    "selfcal.apply": _in_turn(_applycal),
    "selfcal.finish": _applycal,
    "selfcal.plots": lambda step, known: Cost(5e5, 8e7, 1.2),
    "measure.image": _measure_image,
    "measure.dataset": _measure_dataset,
}
