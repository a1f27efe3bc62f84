"""Averaging in time and frequency before imaging, as far as smearing allows.

An image that asks for it is made of a small MS of its own, which images that ask for the same
share. It is made last of all, after self-calibration and continuum subtraction, so that nothing
is solved or fitted on averages.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from ..heuristics import Choice, smearing
from ..plan import Json, digest
from ..quantities import parse
from ..recipe.model import Average
from .draft import Draft, Subject, check

if TYPE_CHECKING:
    from .picture import Band, Picture

_PBLIMIT: Final = 0.2
"""tclean's default."""


@dataclass(frozen=True)
class Averaged:
    """What an image takes of one dataset: the MS that is averaged, and how.

    Attributes
    ----------
    source, datacolumn : str
        The MS of the target and its column.
    dataset, target : str
        Whose it is.
    seconds : float
        Length of an average; 0 for the integrations as they are.
    bins : mapping of int to int
        How many channels make one, by spw id; empty for the channels as they are.
    spw : str
        What is taken, where channels are averaged: their numbers change.
    tag : str
        Part of the name, where time and number of channels do not say it all.
    """

    source: str
    datacolumn: str
    dataset: str
    target: str
    seconds: float
    bins: Mapping[int, int]
    spw: str = ""
    tag: str = ""

    @property
    def path(self) -> str:
        """The MS that is imaged: ``calibrated/apr13.N5921_2.30s-4ch.ms``."""
        parts = [f"{self.seconds:g}s"] if self.seconds else []
        if self.bins:
            parts.append(f"{max(self.bins.values())}ch")
        parts += [self.tag] if self.tag else []
        return f"{self.source.removesuffix('.ms')}.{'-'.join(parts)}.ms"

    @property
    def params(self) -> dict[str, Json]:
        """The parameters of ``mstransform``; weights by channel, for flags differ by channel."""
        params: dict[str, Json] = {
            "vis": self.source,
            "outputvis": self.path,
            "datacolumn": self.datacolumn,
            "keepflags": False,
            "usewtspectrum": True,
        }
        if self.seconds:
            params |= {"timeaverage": True, "timebin": f"{self.seconds:g}s"}
        if self.bins:
            params |= {"spw": self.spw, "chanaverage": True, "chanbin": list(self.bins.values())}
        return params


def decided(draft: Draft, picture: Picture) -> tuple[Averaged, ...]:
    """Return what an image takes of each dataset; nothing where it is made of them as they are.

    Nothing, too, where it selects nothing of one: that is refused elsewhere.

    Where one is averaged, all are taken along: they are then alike in columns and windows.
    Choices are recorded with what they cost; problems where it is more than the bound.
    """
    wanted = picture.image.average
    seen = {band.subject.name for band in picture.bands}
    if wanted is None or any(subject.name not in seen for subject in picture.subjects):
        return ()
    found = tuple(
        _Dataset(draft, picture, wanted, subject, source).averaged()
        for subject, source in zip(picture.subjects, picture.vis, strict=True)
    )
    channels = any(count > 1 for one in found for count in one.bins.values())
    if channels:
        return found
    found = tuple(replace(one, bins={}, spw="", tag="") for one in found)
    if not any(one.seconds for one in found):
        return ()
    return tuple(one if one.seconds else replace(one, tag="whole") for one in found)


def steps(draft: Draft, pictures: Iterable[Picture]) -> None:
    """Add the steps that average, each once however many images it serves."""
    made: set[str] = set()
    for picture in pictures:
        for one in picture.averages:
            if one.path not in made:
                made.add(one.path)
                _step(draft, one)


def _step(draft: Draft, one: Averaged) -> None:
    name = one.path.removeprefix(f"calibrated/{one.dataset}.").removesuffix(".ms")
    draft.add(
        f"{one.dataset}.average.{name}",
        "casa:mstransform",
        one.params,
        stage="image",
        title=f"average {one.target}",
        reads=(one.source,),
        writes=(one.path,),
        intermediates=(one.path,),
        checks=(check("ms", path=one.path),),
        dataset=one.dataset,
        target=one.target,
    )


@dataclass(frozen=True)
class _Dataset:
    """How far one dataset of an image may be averaged."""

    draft: Draft
    picture: Picture
    wanted: Average
    subject: Subject
    source: str

    def averaged(self) -> Averaged:
        """Return the averaging, recorded with its reason."""
        reach = {band.spw.id: self._reach(band) for band in self._bands}
        bins, seconds = self._decided(reach)
        self._say(reach, bins, seconds, max(self._losses(reach, bins, seconds)))
        spw = ",".join(map(_selection, self._bands))
        plain = not self.picture.image.spw and len(set(bins.values())) == 1
        return Averaged(
            self.source,
            self.picture.datacolumn,
            self.subject.name,
            self.picture.target,
            seconds if seconds > self._integration_s else 0.0,
            bins,
            spw,
            "" if plain else digest([spw, list(bins.values())])[:6],
        )

    def _decided(self, reach: Mapping[int, smearing.Reach]) -> tuple[dict[int, int], float]:
        """Return how many channels become one by spw id, and the length of an average in s.

        Of time and channels both get half of the bound if both are for casarun to choose, or what
        the other leaves of it as it came; else the one gets what the other leaves.
        """
        limit, own = self.wanted.loss, self._integration_s
        if "auto" == self.wanted.time == self.wanted.channels:
            left = limit - max(one.loss(0.0, own) for one in reach.values())
            bins = self._bins(reach, min(0.5 * limit, left))
            left = limit - max(loss for loss, _ in self._losses(reach, bins, 0.0))
            return bins, self._seconds(reach, min(0.5 * limit, left))
        if self.wanted.channels == "auto":
            asked = self.wanted.time
            seconds = own if asked == "none" else max(own, parse(asked, "duration"))
            left = limit - max(one.loss(0.0, seconds) for one in reach.values())
            return self._bins(reach, left), seconds
        bins = self._bins(reach, limit)
        left = limit - max(loss for loss, _ in self._losses(reach, bins, 0.0))
        return bins, self._seconds(reach, left)

    @property
    def _bands(self) -> Sequence[Band]:
        return sorted(
            (band for band in self.picture.bands if band.subject is self.subject),
            key=lambda band: band.spw.id,
        )

    @property
    def _scans(self) -> tuple[float, float]:
        """The longest integration and the longest scan in s."""
        part = next(part for subject, part in self.picture.parts if subject is self.subject)
        scans = part.scans
        return (
            max((scan.integration_s for scan in scans), default=0.0),
            max((scan.end_mjd_s - scan.start_mjd_s for scan in scans), default=0.0),
        )

    @property
    def _integration_s(self) -> float:
        return self._scans[0]

    def _reach(self, band: Band) -> smearing.Reach:
        picture, observation = self.picture, self.subject.observation
        edge = 0.5 * math.hypot(*picture.sides) * picture.cell_arcsec
        pblimit = float(picture.image.tclean.get("pblimit", _PBLIMIT))
        if "phasecenter" in picture.image.tclean:  # sources may be anywhere from the pointing
            edge = edge + picture.spread_arcsec if pblimit <= 0 else math.inf
        return smearing.reach(
            edge, min((antenna.diameter_m for antenna in observation.antennas), default=0.0),
            observation.longest_baseline_m, *band.edges_hz, pblimit=pblimit,
        )  # fmt: skip

    def _bins(self, reach: Mapping[int, smearing.Reach], loss: float) -> dict[int, int]:
        """Return how many channels become one, by spw id."""
        asked = self.wanted.channels
        bins = {}
        for band in self._bands:
            width, count = abs(band.spw.chan_width_hz), len(band.channels)
            if asked != "auto":
                bins[band.spw.id] = min(int(asked), count)
            elif self.picture.cube or not _gapless(band):
                bins[band.spw.id] = 1
            else:
                bins[band.spw.id] = smearing.channels(reach[band.spw.id], count, width, loss)
        return bins

    def _seconds(self, reach: Mapping[int, smearing.Reach], loss: float) -> float:
        """Return the length of an average in s; the integration's where there is none."""
        integration, scan = self._scans
        if self.wanted.time == "none":
            return integration
        if self.wanted.time != "auto":
            return max(integration, parse(self.wanted.time, "duration"))
        if loss <= 0 or integration <= 0:
            return integration
        return smearing.seconds(list(reach.values()), integration, scan, loss)

    def _losses(
        self, reach: Mapping[int, smearing.Reach], bins: Mapping[int, int], seconds: float
    ) -> list[tuple[float, int]]:
        """Return what a source at the edge loses, and in which spw."""
        return [
            (reach[b.spw.id].loss(bins[b.spw.id] * abs(b.spw.chan_width_hz), seconds), b.spw.id)
            for b in self._bands
        ]

    def _say(
        self,
        reach: Mapping[int, smearing.Reach],
        bins: Mapping[int, int],
        seconds: float,
        worst: tuple[float, int],
    ) -> None:
        """Record the choice with what it costs, or refuse what costs too much."""
        loss, spw_id = worst
        own = max(self._losses(reach, dict.fromkeys(bins, 1), self._integration_s))[0]
        far = reach[spw_id]
        band = next(band for band in self._bands if band.spw.id == spw_id)
        width = bins[spw_id] * abs(band.spw.chan_width_hz)
        where = (
            f"{far.theta_arcsec / 60:.3g} arcmin out, the edge of what is imaged of "
            f"{self.picture.target}, in a synthesized beam of {far.beam_arcsec:.3g} arcsec "
            f"(0.8 lambda/B of dataset {self.subject.name})"
        )
        taken = f"channels of {_hertz(width)} and integrations of {seconds:g} s"
        averaged = seconds > self._integration_s or any(n > 1 for n in bins.values())
        if averaged and loss > self.wanted.loss * (1 + 1e-9):
            self.draft.problem(
                f"{taken} take {_percent(loss)} of a source {where}; the bound is "
                f"{_percent(self.wanted.loss)}, and the data as they are lose {_percent(own)}: "
                f'average = "auto" keeps it, or raise average.loss',
                self.picture.key("average"),
                target=self.picture.target,
                dataset=self.subject.name,
            )
        value = {"time": f"{seconds:g}s", "channels": _counts(bins)}
        reason = (
            f"{taken} take {_percent(loss)} of a source {where}; at most "
            f"{_percent(self.wanted.loss)} is allowed, the data as they are lose {_percent(own)}"
        )
        if not averaged:
            reason = f"nothing is averaged: {reason}"
        self.draft.choose(self.picture.setting("average"), self.picture.name, Choice(value, reason))


def _counts(bins: Mapping[int, int]) -> Json:
    """Return the number of channels that become one: one for all, or by spw."""
    counts = set(bins.values())
    return counts.pop() if len(counts) == 1 else {str(spw): n for spw, n in bins.items()}


def _gapless(band: Band) -> bool:
    return len(band.channels) == band.channels[-1] - band.channels[0] + 1


def _selection(band: Band) -> str:
    """Return a band as CASA's selection."""
    if len(band.channels) == band.spw.n_chan:
        return str(band.spw.id)
    return f"{band.spw.id}:{band.channels[0]}~{band.channels[-1]}"


def _hertz(width: float) -> str:
    return f"{width / 1e6:.4g} MHz" if width >= 1e6 else f"{width / 1e3:.4g} kHz"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
