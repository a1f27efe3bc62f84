"""The images of a recipe, target by target, with every ``auto`` of theirs decided.

What the recipe leaves to casarun is chosen here, before any stage adds a step, so that stages and
checks alike see settings and no ``auto``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

from .. import heuristics, selection
from ..errors import KeyPath, did_you_mean
from ..folder import file_safe
from ..observation import Field, Observation, SpectralWindow
from ..plan import Json
from ..quantities import arcsec, parse
from ..recipe.model import Image
from ..selection.error import listed
from . import average
from .average import Averaged
from .draft import Draft, Subject
from .split import selfcal_of

MOSAIC_GRIDDERS = ("mosaic", "awproject", "awphpg", "awp2")


@dataclass(frozen=True)
class Band:
    """A spectral window of a target's MS, and those of its channels that an image takes."""

    subject: Subject
    spw: SpectralWindow
    channels: tuple[int, ...]

    @property
    def edges_hz(self) -> tuple[float, float]:
        """Lowest and highest frequency of the channels, edges included."""
        half = 0.5 * abs(self.spw.chan_width_hz)
        ends = [self.frequency_hz(self.channels[0]), self.frequency_hz(self.channels[-1])]
        return min(ends) - half, max(ends) + half

    def frequency_hz(self, channel: int) -> float:
        """Return the centre of a channel; outside of the window, where one would be."""
        spw = self.spw
        step = (spw.last_hz - spw.first_hz) / (spw.n_chan - 1) if spw.n_chan > 1 else 0.0
        return spw.first_hz + channel * step


@dataclass(frozen=True)
class Reached:
    """What a self-calibration has of an image's own pixels and weights.

    `summary` is where it says which round is the best, and what noise its image has. `images`
    are those of all rounds, where the data stay as the best one left them; the dirty image is
    then one of theirs. If the clean `begins` with a model, that of the best round is it.
    """

    summary: str
    images: tuple[str, ...] = ()
    begins: bool = False


@dataclass(frozen=True)
class Picture:
    """One image of one target: its settings, its datasets, its place.

    `image` holds the recipe's settings without any ``auto``; `index` is its place in the recipe,
    among the tables of the array `table`. With `selfcal` the target is self-calibrated; with
    `averages`, one for each dataset, it is made of data that are averaged. `reached` is what a
    self-calibration has of the same pixels and weights, if there is one.
    """

    image: Image
    index: int
    target: str
    subjects: tuple[Subject, ...]
    selfcal: bool = False
    table: str = "image"
    averages: tuple[Averaged, ...] = ()
    reached: Reached | None = None

    @cached_property
    def name(self) -> str:
        """The name that its files share: ``N5921_2.hi``."""
        return f"{file_safe(self.target)}.{self.image.name}"

    @property
    def prefix(self) -> str:
        """The path that its files share, from the run folder."""
        return f"images/{self.name}"

    @property
    def dirty(self) -> str:
        """The path that the dirty image's files share.

        In a folder of its own: tclean adds its history to every image whose name begins with
        its own image's, and would change the dirty image while cleaning.
        """
        return f"images/dirty/{self.name}"

    @property
    def noise(self) -> str:
        """Where the noise of the dirty image is written."""
        return f"{self.prefix}.noise.json"

    @property
    def vis(self) -> tuple[str, ...]:
        """The MSs that are imaged together."""
        if self.averages:
            return tuple(one.path for one in self.averages)
        contsub = self.image.source == "contsub"
        return tuple(
            subject.target_ms(self.target, contsub=contsub, selfcal=self.selfcal)
            for subject in self.subjects
        )

    @property
    def datacolumn(self) -> str:
        """The column that is imaged; the continuum is subtracted into new data."""
        if self.averages:
            return "data"
        corrected = self.selfcal and self.image.source != "contsub"
        return "corrected" if corrected else "data"

    @property
    def gridder(self) -> str:
        """CASA's gridder."""
        return str(self.image.tclean.get("gridder", self.image.gridder))

    @property
    def first(self) -> str:
        """The suffix of the first Taylor term, where there are terms."""
        return ".tt0" if self.image.deconvolver == "mtmfs" else ""

    @property
    def cleaned(self) -> bool:
        """Whether the image is to be deconvolved."""
        return self.image.niter > 0

    @property
    def cube(self) -> bool:
        """Whether it is a spectral cube."""
        return self.image.specmode == "cube"

    @cached_property
    def parts(self) -> tuple[tuple[Subject, Observation], ...]:
        """The datasets, each with the metadata of the target's MS."""
        return tuple(
            (subject, subject.observation.part(subject.targets[self.target]))
            for subject in self.subjects
        )

    @cached_property
    def bands(self) -> tuple[Band, ...]:
        """What ``image.spw`` selects; all there is where it selects nothing."""
        found = []
        for subject, observation in self.parts:
            observed = observation.spws_of_fields({field.id for field in observation.fields})
            for spw_id, channels in _selected(self.image.spw, observation).items():
                if spw_id in observed and channels:
                    found.append(Band(subject, observation.spw(spw_id), channels))
        return tuple(found) or tuple(
            Band(subject, spw, tuple(range(spw.n_chan)))
            for subject, observation in self.parts
            for spw in observation.spws
        )

    @property
    def pointings(self) -> tuple[Field, ...]:
        """The fields of the target, of all datasets."""
        return tuple(field for _, observation in self.parts for field in observation.fields)

    @cached_property
    def spread_arcsec(self) -> float:
        """How far apart the outermost pointings are."""
        fields = self.pointings
        return 3600 * max(
            (heuristics.separation_deg(a, b) for a in fields for b in fields), default=0.0
        )

    @property
    def spw(self) -> str:
        """What tclean selects; nothing of channels that are selected and averaged before."""
        return "" if any(one.bins for one in self.averages) else self.image.spw

    @property
    def diameter_m(self) -> float:
        """The smallest dish: it has the widest primary beam."""
        return min(a.diameter_m for s in self.subjects for a in s.observation.antennas)

    @property
    def longest_m(self) -> float:
        """The longest baseline."""
        return max(subject.observation.longest_baseline_m for subject in self.subjects)

    @cached_property
    def edges_hz(self) -> tuple[float, float]:
        """Lowest and highest frequency that is imaged."""
        edges = [band.edges_hz for band in self.bands]
        return min(low for low, _ in edges), max(high for _, high in edges)

    @property
    def resolution_arcsec(self) -> float:
        """Lambda/B at the highest frequency, about the width of the synthesized beam."""
        return heuristics.resolution_arcsec(self.longest_m, self.edges_hz[1])

    @property
    def cell_arcsec(self) -> float:
        """The pixel."""
        return arcsec(parse(self.image.cell, "angle"))

    @property
    def sides(self) -> tuple[int, int]:
        """Width and height in pixels."""
        size = self.image.imsize
        if isinstance(size, tuple):
            return size
        return int(size), int(size)

    def key(self, *more: str | int) -> KeyPath:
        """Return a key path in the recipe."""
        return (self.table, self.index, *more)

    def setting(self, name: str) -> str:
        """Return the recipe key of a setting of the image, as choices are known by it."""
        if self.table == "image":
            return f"image.{name}"
        return f"{self.table}.tclean.{name.removeprefix('tclean.')}"

    def late_noise(self, times: float, unit: str, *, reached: bool = False) -> Json:
        """Return a multiple of the noise, to be taken when the step runs.

        Of that which a self-calibration has `reached`, where it is less than the dirty image's.
        """
        key = "reached_rms_jy_per_beam" if reached and self.reached else "rms_jy_per_beam"
        return {"$late": {"path": self.noise, "key": key, "times": times, "unit": unit}}


def _selected(text: str, observation: Observation) -> Mapping[int, tuple[int, ...]]:
    """Return the channels of a selection by spw; a wrong one is the preflight's to report."""
    try:
        return {one.spw_id: one.channels for one in selection.spws(text, observation)}
    except selection.SelectionError:
        return {spw.id: tuple(range(spw.n_chan)) for spw in observation.spws}


def pictures(draft: Draft, subjects: Sequence[Subject]) -> list[Picture]:
    """Return the images of all targets, datasets of one target together."""
    by_target: dict[str, list[Subject]] = {}
    for subject in subjects:
        for name in subject.targets:
            by_target.setdefault(name, []).append(subject)
    found = []
    for index, image in enumerate(draft.recipe.image):
        for pattern in image.targets:
            if by_target and not any(fnmatchcase(name, pattern) for name in by_target):
                draft.problem(
                    f"no target matches '{pattern}'; targets: {listed(by_target)}"
                    f"{did_you_mean(pattern, by_target)}",
                    ("image", index, "targets"),
                )
        for name, having in by_target.items():
            if any(fnmatchcase(name, pattern) for pattern in image.targets):
                selfcal = selfcal_of(draft.recipe, name) is not None
                picture = decided(draft, Picture(image, index, name, tuple(having), selfcal))
                averages = average.decided(draft, picture)
                found.append(replace(picture, averages=averages) if averages else picture)
    return found


def decided(draft: Draft, picture: Picture) -> Picture:
    """Return a picture in which every ``auto`` has become a value, chosen in the draft."""
    for decide in (_deconvolver, _scale, _size, _centre, _gridder, _restfreq, _scales):
        image = picture.image
        more = decide(draft, picture)
        if more:
            known = {key: vars(picture)[key] for key in _OF_DATA if key in vars(picture)}
            picture = replace(picture, image=replace(image, **more))
            vars(picture).update(known)
    return picture


Decided = Mapping[str, Any]
_OF_DATA: Final[tuple[str, ...]] = ("name", "parts", "bands", "spread_arcsec", "edges_hz")
"""What is derived of a picture and hangs on no setting that is decided."""


def _deconvolver(draft: Draft, picture: Picture) -> Decided:
    image, more = picture.image, dict[str, Any]()
    if image.deconvolver == "auto":
        choice = heuristics.deconvolver(*picture.edges_hz, cube=picture.cube)
        more["deconvolver"] = draft.choose(picture.setting("deconvolver"), picture.name, choice)
    if image.nterms == "auto":
        terms = heuristics.nterms(*picture.edges_hz)
        mtmfs = more.get("deconvolver", image.deconvolver) == "mtmfs"
        more["nterms"] = (
            draft.choose(picture.setting("nterms"), picture.name, terms) if mtmfs else 1
        )
    return more


def _scale(draft: Draft, picture: Picture) -> Decided:
    if picture.image.cell != "auto":
        return {}
    highest = max(
        max(band.frequency_hz(band.channels[0]), band.frequency_hz(band.channels[-1]))
        for band in picture.bands
    )
    choice = heuristics.cell(picture.longest_m, highest)
    return {"cell": str(draft.choose(picture.setting("cell"), picture.name, choice))}


def _size(draft: Draft, picture: Picture) -> Decided:
    size = picture.image.imsize
    if size != "auto":
        return {"imsize": (size, size)} if isinstance(size, int) else {}
    lowest = min(
        min(band.frequency_hz(band.channels[0]), band.frequency_hz(band.channels[-1]))
        for band in picture.bands
    )
    choice = heuristics.imsize(
        picture.diameter_m,
        lowest,
        picture.cell_arcsec,
        cube=picture.cube,
        spread_arcsec=picture.spread_arcsec if mosaicked(picture) else 0.0,
    )
    side = draft.choose(picture.setting("imsize"), picture.name, choice)
    return {"imsize": (side, side)}


def _centre(draft: Draft, picture: Picture) -> Decided:
    """Centre a mosaic on its pointings: tclean would take the first of them."""
    tclean = picture.image.tclean
    if "phasecenter" in tclean or not mosaicked(picture):
        return {}
    centre = heuristics.phasecenter(picture.pointings)
    value = draft.choose(picture.setting("tclean.phasecenter"), picture.name, centre)
    return {"tclean": {**tclean, "phasecenter": value}}


def _gridder(draft: Draft, picture: Picture) -> Decided:
    image = picture.image
    if "gridder" in image.tclean or image.gridder != "auto":
        return {}
    diameters = [a.diameter_m for s in picture.subjects for a in s.observation.antennas]
    choice = heuristics.gridder(
        diameters,
        picture.longest_m,
        picture.edges_hz[0],
        0.5 * max(picture.sides) * picture.cell_arcsec,
        pointings=len(picture.pointings) if mosaicked(picture) else 1,
    )
    value = draft.choose(picture.setting("gridder"), picture.name, choice)
    planes = {"wprojplanes": -1} if value == "wproject" else {}
    return {"gridder": value, "tclean": {**planes, **image.tclean}}


def _restfreq(draft: Draft, picture: Picture) -> Decided:
    if picture.image.restfreq != "auto":
        return {}
    if not picture.cube:
        return {"restfreq": ""}
    known = {hertz for band in picture.bands for hertz in band.spw.rest_hz}
    choice = heuristics.restfreq(known, *picture.edges_hz)
    if choice.value:
        draft.choose(picture.setting("restfreq"), picture.name, choice)
    return {"restfreq": choice.value}


def _scales(draft: Draft, picture: Picture) -> Decided:
    image = picture.image
    if image.scales != "auto":
        return {}
    if image.deconvolver not in ("multiscale", "mtmfs", "asp"):
        return {"scales": ()}
    choice = heuristics.scales(image.deconvolver, picture.resolution_arcsec, picture.cell_arcsec)
    return {"scales": tuple(draft.choose(picture.setting("scales"), picture.name, choice))}


def mosaicked(picture: Picture) -> bool:
    """Tell whether the pointings differ by more than a twentieth of the primary beam.

    Less is no mosaic: the epochs of one source differ by its proper motion or by rounding.
    """
    width = heuristics.primary_beam_arcsec(picture.diameter_m, picture.edges_hz[1])
    return not math.isnan(width) and picture.spread_arcsec > 0.05 * width
