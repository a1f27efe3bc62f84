"""The images of a self-calibration, and the judgement of each round.

An image is cleaned within a mask of its own, down to the noise of what is left, measured again
until that does not fall any more. The same rule makes the image of every round, so that rounds
can be compared; and the image that judges a round is the model of the next.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..casa import channel_range, first_flags, invoke, read, selfcal_image, solution_snr
from ..casa.image_copies import WEIGHTS, copy_images
from ..casa.mask_image import rectangles
from ..casa.standing_imager import Cleaned, StandingImager
from ..files import read_json, write_product
from ..qa import metrics, selfcal_mask
from .results import SAID, SKIPPED
from .selfcal_idle import judged, no_image, why_not

Params = Mapping[str, Any]
Outcome = dict[str, Any]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]

DEPTH = 3.0
"""A clean goes down to this many times the noise of what it leaves, ..."""

STEP = 0.1
"""... or to this part of what is left in the mask; then it is looked at again."""

ON = 0.25
"""From three times the noise it goes on in such steps."""

FALLS = 0.85
"""A step to a quarter must bring the noise off the mask to this part. Then it took sidelobes of
what is in the mask, as of a source between two pixels (data without errors, from step to step:
0.3, 0.6, 0.65, 0.7, 0.8). Else what it cleaned was artefact, of which hardly anything is gone off
the mask (0.91 to 0.98 with errors of 30 deg, 12 or 27 antennas), and it is taken back: a model that
holds artefacts is what holds a self-calibration back (27 antennas: dynamic range after one round
8240 from where this ends, 5000 one such step deeper, 1050 from a clean to the noise)."""

SCATTER = 1.02
"""A noise is measured no better than to this factor."""

NEAR_NOISE = 1.3
"""Where the noise is that of the data alone to this factor it cannot fall, and the clean goes down
to `DEPTH` times it whatever that does to it."""

AT_NOISE = 1.1
"""Nothing is left to gain where the noise is that of the data alone, to this factor."""

PATIENCE = 1000
"""So many iterations, and as many as all steps before it took, are the most of a step with scales:
each is 5 ms or more, and the last steps, far below the noise, gain little with many (extended
emission of 0.75 Jy, amplitudes of 10 %: 95 s for one image)."""

_SETTLED = 1.5
_MOST_CLEANS = 16
_CHANGED = ("model", "residual", "mask")
_GOES_ON = (0, 2, 8)  # a threshold was reached: not the iterations' limit, no divergence


def image(params: Params) -> Outcome:
    """Make the image of a round: dirty, then cleaned in a mask made anew, and measured.

    Parameters
    ----------
    params : mapping
        `round`; `vis` and `datacolumn`; `tclean`, its parameters of grid and deconvolver;
        `prefix` of the images; `like`, that of the first image, empty for itself; `state` of the
        round before and `solve`, paths of JSON, empty for the first image; `niter`, the most
        iterations; `out`, where the numbers are written.

    Returns
    -------
    dict
        The same numbers, and `how` they were come by: ``tclean``, and the ``cleans`` that count;
        ``_skipped`` where the round does not take place.
    """
    if why := why_not(params):
        told = no_image(params, why)
        write_product(params["out"], told)
        return told | {SKIPPED: why, "_absent": _products(params)}
    thermal = _thermal(params)
    with StandingImager(_settings(params)) as imager:
        cleaning = _Cleaning(params, thermal, imager)
        cleaning.clean()
    channel_range.restore(_settings(params))
    measured = {"round": params["round"], "skipped": "", **_measured(params, cleaning)}
    numbers: dict[str, Any] = invoke.plain(measured)
    write_product(params["out"], numbers)
    absent = [path for path in _products(params) if not Path(path).exists()]
    how = {"tclean": _settings(params), "cleans": cleaning.cleans}
    return numbers | {"how": how, "_absent": absent}


def judge(params: Params) -> Outcome:
    """Judge a round, and say what comes next.

    Parameters
    ----------
    params : mapping
        `round`; `image`, `solve` and `states`, paths of the round's JSON and of all earlier
        states; `limits` and `ladder` of the recipe; `out`, where the state is written.

    Returns
    -------
    dict
        Whether it was accepted, the reason and what comes next; ``_skipped`` where the round
        did not take place.
    """
    state = judged(params)
    write_product(params["out"], state)
    told = {key: state[key] for key in ("accepted", "reason", "next", "ended")}
    if state["skipped"]:
        return told | {SKIPPED: state["skipped"], "_absent": []}
    return told | {SAID: state["reason"]}


def _settings(params: Params) -> dict[str, Any]:
    """Return tclean's parameters but for those of a clean."""
    return {
        **params["tclean"], "vis": list(params["vis"]), "imagename": str(params["prefix"]),
        "datacolumn": params["datacolumn"], "savemodel": "none",
    }  # fmt: skip


def _like(params: Params) -> str:
    """Return the prefix of images of the same weights, or nothing where there are none."""
    like = str(params.get("like", ""))
    return like if like and all(map(first_flags.unchanged, params["vis"])) else ""


def _products(params: Params) -> list[str]:
    """Return the images that tclean may write."""
    tclean, prefix = params["tclean"], params["prefix"]
    kinds = ["image", "residual", "dirty", "model", "psf", "sumwt", "weight", "pb"]
    if tclean.get("deconvolver") != "mtmfs":
        return [f"{prefix}.{kind}" for kind in [*kinds, "mask"]]
    terms = int(tclean.get("nterms", 2))
    found = [f"{prefix}.mask", f"{prefix}.pb.tt0"]
    found += [f"{prefix}.{kind}.tt{t}" for kind in kinds[:4] for t in range(terms)]
    found += [f"{prefix}.{kind}.tt{t}" for kind in kinds[4:7] for t in range(2 * terms - 1)]
    return found + ([f"{prefix}.alpha", f"{prefix}.alpha.error"] if terms > 1 else [])


@dataclass(frozen=True)
class _Kept:
    """How far a clean had come, its images aside."""

    threshold: float
    mask: Bools
    stopcode: int
    done: tuple[int, int]
    """Its cleans, and cycles of the last of them."""


@dataclass
class _Cleaning:
    """A clean in progress: its mask, and how far it has come."""

    params: Params
    thermal: float | None
    imager: StandingImager
    mask: Bools = field(init=False)
    sidelobe: float = field(init=False)
    width_pixels: float = field(init=False)
    threshold: float | None = None
    kept_noise: float | None = None
    kept: _Kept = field(init=False)
    saved: dict[Path, Floats] = field(default_factory=dict)
    iterations: int = 0
    stopcode: int = 0
    in_vain: bool = False
    cleans: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Make the dirty image."""
        self.deconvolver = self.params["tclean"].get("deconvolver")
        self.suffix = ".tt0" if self.deconvolver == "mtmfs" else ""
        self.imager.dirty(_like(self.params))
        prefix = str(self.params["prefix"])
        copy_images(prefix, prefix, {"residual": "dirty"})
        psf = self.plane("psf")
        self.beam = psf.beam
        self.cell_arcsec = psf.cell_arcsec
        self.width_pixels = psf.beam[0] / psf.cell_arcsec if psf.beam else math.nan
        self.sidelobe = selfcal_mask.sidelobe(psf.pixels, self.width_pixels)
        self.mask = np.zeros(psf.pixels.shape, bool)

    def plane(self, kind: str) -> selfcal_image.Plane:
        """Read an image of this clean."""
        return selfcal_image.plane(f"{self.params['prefix']}.{kind}{self.suffix}")

    def clean(self) -> None:
        """Clean down, step by step, to the noise that is left, extending the mask."""
        for _ in range(_MOST_CLEANS):
            threshold = self._next_threshold()
            if threshold is None or self._left <= 0 or self.stopcode not in _GOES_ON:
                break
            self._clean_to(threshold)
        if self.in_vain:
            self._back()

    @property
    def _left(self) -> int:
        """The iterations that are left."""
        return int(self.params["niter"]) - self.iterations

    def _took(self, cleaned: Cleaned) -> None:
        self.iterations += cleaned.iterations
        self.stopcode = cleaned.stopcode

    def _next_threshold(self) -> float | None:
        """Look at the residual; return how far to clean now, in Jy, or None at the end."""
        residual = self.plane("residual")
        found = selfcal_mask.emission(residual.pixels, residual.valid, self.mask, self.sidelobe)
        self.mask = found.mask
        if not self.mask.any():
            return None
        noise = selfcal_mask.noise(residual.pixels[residual.valid & ~self.mask]) or 0.0
        if self._paid_nothing(noise, grew=found.grew):
            self.in_vain = True
            return None
        left = float(np.abs(residual.pixels[self.mask]).max())
        threshold = max(DEPTH * noise, STEP * left)
        if self.threshold is not None:
            if not found.grew and threshold > self.threshold / _SETTLED:
                threshold = ON * self.threshold
                if self.thermal is not None and noise <= AT_NOISE * self.thermal:
                    return None
            self._keep(noise)
        return threshold

    def _paid_nothing(self, noise: float, *, grew: bool) -> bool:
        """Tell whether the last step, which did not only clean what is new, was in vain."""
        if self.kept_noise is None or self.threshold is None:
            return False
        near = self.thermal is not None and noise <= NEAR_NOISE * self.thermal
        if near and self.threshold > (DEPTH - 0.1) * noise:
            return False
        quarters = math.log(max(self.kept.threshold / self.threshold, 1.0)) / math.log(1 / ON)
        return noise > SCATTER * (1.0 if grew else FALLS**quarters) * self.kept_noise

    def _keep(self, noise: float) -> None:
        """Remember the clean as it is now."""
        self.kept_noise = noise
        done = (len(self.cleans), len(self.imager.cycles))
        self.kept = _Kept(self.threshold or math.inf, self.mask.copy(), self.stopcode, done)
        self.saved = {path: selfcal_image.stored(path) for path in self._changing()}

    def _back(self) -> None:
        """Take the last step back."""
        kept = self.kept
        self.threshold, self.mask = kept.threshold, kept.mask
        self.stopcode = kept.stopcode
        del self.cleans[kept.done[0] :]
        self.imager.cycles = self.cleans[-1]["cycles"]
        del self.imager.cycles[kept.done[1] :]
        for path, pixels in self.saved.items():
            selfcal_image.write_plane(path, pixels)

    def _changing(self) -> list[Path]:
        """Return the images that a clean changes."""
        prefix = Path(self.params["prefix"])
        found = sorted(prefix.parent.glob(f"{prefix.name}.*"))
        return [path for path in found if path.name[len(prefix.name) + 1 :].startswith(_CHANGED)]

    def _clean_to(self, threshold: float) -> None:
        prefix = str(self.params["prefix"])
        mask = f"{prefix}.mask"
        if Path(mask).exists():
            selfcal_image.write_plane(mask, self.mask)
        else:
            selfcal_image.write_mask(f"{prefix}.residual{self.suffix}", self.mask, mask)
        cycles = self.imager.cycles = list[Any]()
        self.cleans.append({"mask": rectangles(self.mask), "cycles": cycles})
        self.threshold = threshold
        if self.deconvolver == "hogbom":
            self._took(self.imager.down(threshold, self._left))
        else:
            niter = min(self._left, self.iterations + PATIENCE)
            more = {"niter": niter, "threshold": f"{threshold:.9g}Jy"}
            self.cleans[-1]["tclean"] = more
            self._took(self.imager.clean({**more, "usemask": "user"}))


def _measured(params: Params, cleaning: _Cleaning) -> dict[str, Any]:
    """Return the numbers of a round's image; null where one is not known."""
    picture, residual = cleaning.plane("image"), cleaning.plane("residual")
    mask, valid = cleaning.mask, residual.valid
    empty = not mask.any()
    near = selfcal_mask.near_field(mask, valid, cleaning.width_pixels)
    rms = selfcal_mask.noise(residual.pixels[valid & ~mask])
    near_rms = selfcal_mask.noise(residual.pixels[near]) or rms
    peak = float(picture.pixels[mask if not empty else valid].max(initial=-math.inf))
    bmaj, bmin, bpa = picture.beam or cleaning.beam or (None, None, None)
    flux = 0.0 if empty else float(cleaning.plane("model").pixels.sum())
    return {
        "peak_jy_per_beam": peak if math.isfinite(peak) else None,
        "rms_noise_jy_per_beam": rms,
        "near_rms_noise_jy_per_beam": near_rms,
        "snr": metrics.dynamic_range(peak, rms),
        "near_snr": metrics.dynamic_range(peak, near_rms),
        "min_jy_per_beam": float(picture.pixels[valid].min()) if valid.any() else None,
        "residual_max_jy_per_beam": float(np.abs(residual.pixels).max()),
        "bmaj_arcsec": bmaj,
        "bmin_arcsec": bmin,
        "bpa_deg": bpa,
        "beam_area_arcsec2": (
            None if bmaj is None else metrics.beam_area_pixels(bmaj, bmin or 0.0, 1.0)
        ),
        "model_flux_jy": flux,
        "mask_pixels": int(np.count_nonzero(mask)),
        "beam_pixels": cleaning.width_pixels if math.isfinite(cleaning.width_pixels) else None,
        "sources": selfcal_mask.sources(picture.pixels, mask),
        "empty": empty,
        "thermal_noise_jy_per_beam": cleaning.thermal,
        "threshold_jy": cleaning.threshold,
        "iterations": cleaning.iterations,
        "stopcode": cleaning.stopcode,
        "prefix": params["prefix"],
    }


def _thermal(params: Params) -> float | None:
    """Return the noise that the data's own allows the image, in Jy/beam; measured once."""
    if params.get("state"):
        known: float | None = read_json(Path(params["state"])).get("thermal_noise_jy_per_beam")
        return known
    weight = 0.0
    for vis in params["vis"]:
        noise = solution_snr.noise_by_spw(Path(vis))
        imaged = selfcal_image.imaged_parts(vis, str(params["tclean"].get("spw", "")))
        for spw, number in _samples(vis).items():
            if noise.get(spw):
                weight += imaged.get(spw, 0.0) * number / noise[spw] ** 2
    if not weight:
        return None
    factor = selfcal_image.noise_factor(list(params["vis"]), params["tclean"])
    return factor / math.sqrt(weight)


def _samples(vis: str) -> dict[int, int]:
    """Count the unflagged visibilities of the parallel hands, by spectral window."""
    about = read.layout(vis)
    found: dict[int, int] = {}
    for rows in read.rows(vis, about):
        hands = about.parallel_hands(rows.ddid)
        good = int(np.count_nonzero(~rows.flag[hands][:, :, rows.cross]))
        found[rows.spw] = found.get(rows.spw, 0) + good
    return found


def dirty(params: Params) -> Outcome:
    """Take over the dirty image of the round that is kept: of the same data, with their weights.

    Parameters
    ----------
    params : mapping
        `summary`, what `selfcal.finish` wrote; `tclean`, the parameters of a call that would make
        the same.

    Returns
    -------
    dict
        `source`, the prefix of the round's images.
    """
    source = str(read_json(Path(params["summary"]))["after"]["prefix"])
    copy_images(source, params["tclean"]["imagename"], {**WEIGHTS, "dirty": "residual"})
    return {"source": source}


ACTIONS: dict[str, Callable[[Params], Outcome]] = {
    "selfcal.dirty": dirty,
    "selfcal.image": image,
    "selfcal.judge": judge,
}
