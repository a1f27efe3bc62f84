"""From the numbers to `qa/metrics.json`: checks, each with its limit, and the verdict."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from . import scores, selfcal_table
from .advice import advised
from .scores import FAIL, PASS, WARN
from .scores import at_most as _at_most
from .scores import check as _check

_ORDER = (PASS, WARN, FAIL)

MAX_SOLUTIONS_FLAGGED = 0.5
MAX_FLUX_ERROR = 0.05
MAX_RESIDUAL_SIGMA = 10.0
MIN_CELLS_PER_BMIN = 2.0
MAX_SELFCAL_FLUX_BIAS = 0.03

Numbers = Mapping[str, Any]


def assemble(
    datasets: Mapping[str, Numbers],
    images: Sequence[Numbers],
    limits: Mapping[str, float],
    missing: Sequence[Mapping[str, str]] = (),
    fallbacks: Sequence[Mapping[str, Any]] = (),
    selfcal: Mapping[str, Numbers] | None = None,
    cubes: Sequence[Numbers] = (),
) -> dict[str, Any]:
    """Gather all numbers of a run and judge them.

    Parameters
    ----------
    datasets : mapping
        What `collect.measure_dataset` returned, by dataset name.
    images : sequence of mapping
        What `collect.measure_image` returned.
    limits : mapping
        The recipe's ``[qa]``: ``max_flagged_fraction`` and ``min_dynamic_range``.
    missing : sequence of mapping
        Products that were asked for and are not there, each with ``subject`` and ``reason``;
        each fails.
    fallbacks : sequence of mapping
        Products that were made with a fallback that the recipe declares, each with ``subject``,
        ``diverged`` (how many attempts) and ``parameters`` (as text); each warns.
    selfcal : mapping, optional
        What the steps ``selfcal.finish`` wrote, by target; one that declined warns.
    cubes : sequence of mapping
        What `collect.measure_cube` returned.

    Returns
    -------
    dict
        The content of ``qa/metrics.json``, after ``schemas/metrics.schema.json``.
    """
    rounds = selfcal or {}
    checks = [
        *_product_checks(missing, fallbacks),
        *(one for name, found in datasets.items() for one in _dataset_checks(name, found, limits)),
        *(one for target, found in rounds.items() for one in _selfcal_checks(target, found)),
        *(one for found in images for one in _image_checks(found, limits)),
    ]
    return {
        "metrics_version": 1,
        "verdict": worst(check["verdict"] for check in checks),
        "checks": [advised(check) for check in checks],
        "datasets": {name: _dataset_numbers(numbers) for name, numbers in datasets.items()},
        "images": _by_target(images),
        "selfcal": {target: selfcal_table.table(found) for target, found in rounds.items()},
        "cubes": {name_of_cube(found): _without(found, ("kind", "plots")) for found in cubes},
    }


def _by_target(images: Sequence[Numbers]) -> dict[str, dict[str, Any]]:
    """Return the numbers of images by target and name."""
    found: dict[str, dict[str, Any]] = {}
    for numbers in images:
        of_target = found.setdefault(numbers["target"], {})
        of_target[numbers["image"]] = _without(numbers, _NOT_METRICS)
    return found


def _without(numbers: Numbers, keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in numbers.items() if key not in keys}


def _product_checks(
    missing: Sequence[Mapping[str, str]], fallbacks: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yield the checks of products that are not there, or not as the recipe first wanted them."""
    for item in missing:
        text = f"not made: {item['reason']}"
        yield _check("product_made", item["subject"], FAIL, False, True, text)
    for item in fallbacks:
        text = f"diverged with the recipe's own parameters; made with {item['parameters']} instead"
        yield _check("fallbacks_used", item["subject"], WARN, item["diverged"], 0, text)


def name_of_cube(numbers: Numbers) -> str:
    """Return the name by which what was made of a cube is known: ``<target>.<name>``."""
    return ".".join(part for part in (numbers["target"], numbers["image"]) if part)


_NOT_METRICS = ("kind", "target", "image", "plots", "per_channel")


def worst(verdicts: Iterator[str] | Sequence[str]) -> str:
    """Return the worst of some verdicts; pass for none."""
    return max(verdicts, key=_ORDER.index, default=PASS)


_NOT_OF_TABLES = ("by_antenna", "antennas", "against")


def _dataset_numbers(numbers: Numbers) -> dict[str, Any]:
    flux = numbers.get("fluxscale") or {}
    tables = [_without(table, _NOT_OF_TABLES) for table in numbers.get("caltables", ())]
    return {
        "flagged_fraction": numbers["flagged_fraction"],
        "fluxscale": flux.get("flux_jy", {}),
        "fluxscale_error_jy": flux.get("error_jy", {}),
        "fluxscale_reason": flux.get("flux_jy_reason", {}),
        "fluxscale_fit": flux.get("fit", {}),
        "model_flux_jy": numbers.get("model_flux_jy", {}),
        "calibrators": numbers.get("calibrators", {}),
        "caltables": tables,
    }


def _dataset_checks(
    name: str, numbers: Numbers, limits: Mapping[str, float]
) -> Iterator[dict[str, Any]]:
    flagged = numbers["flagged_fraction"]
    limit = limits.get("max_flagged_fraction", 0.8)
    yield _at_most("flagged_fraction", name, flagged["total"], limit,
                   "of all cross-correlations are flagged", FAIL)  # fmt: skip
    for field in numbers.get("target_fields", ()):
        value = flagged["field"].get(field)
        yield _at_most("flagged_fraction", f"{name}, {field}", value, limit,
                       "of this target's cross-correlations are flagged", FAIL)  # fmt: skip
    lost = [antenna for antenna, value in flagged["antenna"].items() if value >= 1]
    if lost:
        text = f"antennas without any unflagged data: {', '.join(lost)}"
        yield _check("antennas_lost", name, WARN, len(lost), 0, text)
    for table in numbers.get("caltables", ()):
        yield _table_check(name, table)
    yield from _flux_checks(name, numbers.get("fluxscale") or {})
    yield from scores.of_dataset(name, numbers)


def _table_check(name: str, table: Numbers) -> dict[str, Any]:
    subject = f"{name}, {table['kind']}"
    value = table.get("flagged_fraction")
    if value is None:
        reason = table.get("flagged_fraction_reason", "no solutions")
        return _check("solutions_flagged", subject, FAIL, None, 1.0, reason)
    text = "of the solutions of antennas with data are flagged"
    verdict = FAIL if value >= 1 else WARN if value > MAX_SOLUTIONS_FLAGGED else PASS
    return _check("solutions_flagged", subject, verdict, value, MAX_SOLUTIONS_FLAGGED, text)


def _flux_checks(name: str, flux: Numbers) -> Iterator[dict[str, Any]]:
    for field, spws in flux.get("flux_jy", {}).items():
        for spw, value in spws.items():
            subject = f"{name}, {field}, spw {spw}"
            error = flux["error_jy"][field][spw]
            if value is None:
                reason = flux["flux_jy_reason"][field][spw]
                yield _check("fluxscale", subject, FAIL, None, MAX_FLUX_ERROR, reason)
            else:
                ratio = None if error is None else error / value
                text = f"relative error of the flux density of {value:.4g} Jy"
                yield _at_most("fluxscale", subject, ratio, MAX_FLUX_ERROR, text, WARN)


def _selfcal_checks(target: str, numbers: Numbers) -> Iterator[dict[str, Any]]:
    subject = f"{target}, self-calibration"
    accepted = selfcal_table.n_accepted(numbers)
    if accepted:
        text = f"rounds accepted; round {numbers['best_round']} is kept{_gain(numbers)}"
    else:
        text = f"declined: {numbers.get('reason')}"
    verdict = PASS if accepted else WARN
    yield _check("selfcal_accepted", subject, verdict, accepted, 1, text)
    solved = selfcal_table.applied(numbers) if accepted else []
    biases = [solve["flux_bias_expected"] for solve in solved
              if solve.get("flux_bias_expected") is not None]  # fmt: skip
    if biases:
        text = "may be added to the flux density by noise in the solutions: 0.83 over S/N squared"
        yield _at_most("selfcal_flux_bias", subject, max(biases), MAX_SELFCAL_FLUX_BIAS, text, WARN)
    dead = numbers.get("dead_antennas") or ()
    if dead:
        text = f"antennas whose solutions failed, flagged in the copy: {', '.join(dead)}"
        yield _check("selfcal_dead_antennas", subject, WARN, len(dead), 0, text)


def _gain(numbers: Numbers) -> str:
    """Write what a self-calibration has brought, as far as it was measured."""
    before, after = numbers.get("before") or {}, numbers.get("after") or {}
    said = ""
    for key, word in (("snr", "dynamic range"), ("near_snr", "in the near field")):
        if before.get(key) is not None and after.get(key) is not None:
            first, last = (f"{part[key]:{'.0f' if part[key] >= 100 else '.3g'}}"
                           for part in (before, after))  # fmt: skip
            said += f", {word} {first} to {last}"
    return said


def _image_checks(numbers: Numbers, limits: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    subject = f"{numbers['target']}, {numbers['image']}"
    reached, wanted = numbers.get("dynamic_range"), limits.get("min_dynamic_range", 0.0)
    good = reached is not None and reached >= wanted
    text = "peak over noise" if reached is not None else numbers["dynamic_range_reason"]
    yield _check("dynamic_range", subject, PASS if good else FAIL, reached, wanted, text)
    if "cleaned" in numbers:
        done = bool(numbers["cleaned"])
        text = "the model holds flux" if done else "the model is empty: nothing was cleaned"
        yield _check("model_not_empty", subject, PASS if done else WARN, done, True, text)
    if numbers.get("residual_peak_sigma") is not None:
        yield _at_most("residual_peak", subject, numbers["residual_peak_sigma"],
                       MAX_RESIDUAL_SIGMA, "is the largest residual", WARN)  # fmt: skip
    if numbers.get("bmin_arcsec") and numbers.get("cell_arcsec"):
        cells = numbers["bmin_arcsec"] / numbers["cell_arcsec"]
        enough = cells >= MIN_CELLS_PER_BMIN
        text = "across the synthesized beam's minor axis"
        yield _check("beam_sampling", subject, PASS if enough else WARN, cells,
                     MIN_CELLS_PER_BMIN, text)  # fmt: skip
    yield from scores.of_image(subject, numbers)
