"""The numbers in two ``qa/metrics.json`` side by side, each with its error where it has one."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..qa.metrics import beam_area_pixels
from ..report.runs import items, mapping, number, text
from .judged import Number, OnlyIn, one_sided

Metrics = Mapping[str, Any]

MAD_EFFICIENCY: Final = 0.37
"""Of the median absolute deviation as a measure of sigma (Rousseeuw & Croux 1993)."""

_BRIGHTNESS: Final = ("peak_jy_per_beam", "min_jy_per_beam", "residual_peak_jy_per_beam", "peak")
_NOISE: Final = ("rms_noise_jy_per_beam", "rms_noise")
"""Of an image; and of what was made of a cube, in its own unit."""

_NOT_COMPARED: Final = ("peak_position", "peak_channel", "shape")
_FRACTION: Final = 1.0


def only(a: Metrics, b: Metrics) -> list[OnlyIn]:
    """Return the datasets, targets, images and calibrators that one run has alone."""
    found = one_sided("dataset", mapping(a.get("datasets")), mapping(b.get("datasets")))
    found += one_sided("target", mapping(a.get("images")), mapping(b.get("images")))
    for target, mine, its in _pairs(a, b, "images"):
        found += one_sided("image", mine, its, target)
    found += one_sided("cube", mapping(a.get("cubes")), mapping(b.get("cubes")))
    found += one_sided("self-calibration of", mapping(a.get("selfcal")), mapping(b.get("selfcal")))
    for name, first, second in _pairs(a, b, "datasets"):
        found += one_sided("flux density of", mapping(first.get("fluxscale")),
                           mapping(second.get("fluxscale")), name)  # fmt: skip
        found += one_sided("calibration table", _tables(first), _tables(second), name)
    return found


def numbers(a: Metrics, b: Metrics) -> Iterator[Number]:
    """Yield the numbers of what both runs have."""
    for target, first, second in _pairs(a, b, "images"):
        for name in _both(first, second):
            yield from _image(f"{target}, {name}", mapping(first[name]), mapping(second[name]))
    for name, first, second in _pairs(a, b, "cubes"):
        yield from _image(f"cube {name}", first, second)
    for name, first, second in _pairs(a, b, "datasets"):
        yield from _fluxes(name, first, second)
        yield from _flagged(name, mapping(first.get("flagged_fraction")),
                            mapping(second.get("flagged_fraction")))  # fmt: skip
        yield from _caltables(name, _tables(first), _tables(second))
    for target, first, second in _pairs(a, b, "selfcal"):
        yield from _selfcal(f"{target}, self-calibration", first, second)


def _both(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    return [name for name in a if name in b]


def _pairs(a: Metrics, b: Metrics, key: str) -> Iterator[tuple[str, Metrics, Metrics]]:
    first, second = mapping(a.get(key)), mapping(b.get(key))
    for name in _both(first, second):
        yield name, mapping(first[name]), mapping(second[name])


def _image(subject: str, a: Metrics, b: Metrics) -> Iterator[Number]:
    noise = noise_of(a, b)
    for name in dict.fromkeys((*a, *b)):
        first, second = number(a.get(name)), number(b.get(name))
        if name in _NOT_COMPARED or (first is None and second is None):
            continue
        error = None
        if name in _BRIGHTNESS:
            error = noise
        elif name == "rms_noise_jy_per_beam":
            error = max((noise_error(one) or 0.0 for one in (a, b)), default=0.0) or None
        elif name == "dynamic_range":
            error = max((_dynamic_range_error(one) or 0.0 for one in (a, b)), default=0.0) or None
        scale = None
        if name == "bpa_deg" and first is not None and second is not None:
            scale = 180.0
            if abs(second - first) > 90:  # an ellipse turned by half a circle is the same one
                second += math.copysign(180.0, first - second)
        note = text(a.get(f"{name}_reason")) or text(b.get(f"{name}_reason"))
        yield Number("image", subject, name, first, second, error, scale, note)


def noise_of(a: Metrics, b: Metrics) -> float | None:
    """Return the larger noise of two images, in their unit; None where neither was measured."""
    found = [number(one.get(name)) for one in (a, b) for name in _NOISE]
    return max((value for value in found if value), default=None)


def noise_error(image: Metrics) -> float | None:
    """Return the error of an image's noise, in Jy/beam.

    Sigma over the root of twice the number of independent values, which is that of synthesized
    beams in the image, times `MAD_EFFICIENCY`.
    """
    noise, cell, shape = (image.get(k) for k in ("rms_noise_jy_per_beam", "cell_arcsec", "shape"))
    axes = [number(image.get(key)) for key in ("bmaj_arcsec", "bmin_arcsec")]
    sides = [number(side) or 0.0 for side in items(shape)]
    if not number(noise) or not number(cell) or not all(axes) or len(sides) != 4:
        return None
    area = beam_area_pixels(float(axes[0] or 0), float(axes[1] or 0), float(cell or 0))
    independent = sides[0] * sides[1] * sides[3] / max(1.0, area)
    if independent < 1:
        return None
    return float(noise or 0) / math.sqrt(2 * MAD_EFFICIENCY * independent)


def _dynamic_range_error(image: Metrics) -> float | None:
    """Return the error of peak over noise, from those of both."""
    ratio, noise = (number(image.get(key)) for key in ("dynamic_range", "rms_noise_jy_per_beam"))
    own = noise_error(image)
    if not ratio or not noise or own is None:
        return None
    return ratio * math.hypot(1 / ratio, own / noise)


def _fluxes(dataset: str, a: Metrics, b: Metrics) -> Iterator[Number]:
    for source, first, second in _pairs(a, b, "fluxscale"):
        errors = [mapping(mapping(one.get("fluxscale_error_jy")).get(source)) for one in (a, b)]
        for spw in dict.fromkeys((*first, *second)):
            both = [number(one.get(spw)) for one in errors]
            known = [error for error in both if error is not None]
            yield Number("flux", f"{dataset}, {source}, spw {spw}", "flux_density_jy",
                         number(first.get(spw)), number(second.get(spw)),
                         max(known) if known else None)  # fmt: skip


def _flagged(dataset: str, a: Metrics, b: Metrics) -> Iterator[Number]:
    """Yield flagged fractions, which are compared by their difference."""
    yield Number("flags", dataset, "flagged_fraction", number(a.get("total")),
                 number(b.get("total")), scale=_FRACTION)  # fmt: skip
    for kind in ("field", "antenna", "spw"):
        first, second = mapping(a.get(kind)), mapping(b.get(kind))
        for name in dict.fromkeys((*first, *second)):
            yield Number("flags", f"{dataset}, {kind} {name}", "flagged_fraction",
                         number(first.get(name)), number(second.get(name)), scale=_FRACTION,
                         minor=True)  # fmt: skip


def _tables(dataset: Metrics) -> dict[str, Metrics]:
    return {text(table.get("kind")): table for table in map(mapping, items(dataset["caltables"]))}


def _caltables(
    dataset: str, a: Mapping[str, Metrics], b: Mapping[str, Metrics]
) -> Iterator[Number]:
    for kind in _both(a, b):
        subject = f"{dataset}, {kind}"
        for name, scale in (("flagged_fraction", _FRACTION), ("median_snr", None)):
            yield Number("table", subject, name, number(a[kind].get(name)),
                         number(b[kind].get(name)), scale=scale)  # fmt: skip
        for name in ("solutions", "intervals"):
            yield Number("table", subject, name, number(a[kind].get(name)),
                         number(b[kind].get(name)), minor=True)  # fmt: skip


def _selfcal(subject: str, a: Metrics, b: Metrics) -> Iterator[Number]:
    yield Number("selfcal", subject, "best_round", number(a.get("best_round")),
                 number(b.get("best_round")))  # fmt: skip
    first, second = mapping(a.get("after")), mapping(b.get("after"))
    noise = noise_of(first, second)
    for name in ("peak_jy_per_beam", "rms_noise_jy_per_beam", "snr", "near_snr", "model_flux_jy"):
        values = number(first.get(name)), number(second.get(name))
        if values != (None, None):
            error = noise if name == "peak_jy_per_beam" else None
            yield Number("selfcal", subject, name, *values, error)
