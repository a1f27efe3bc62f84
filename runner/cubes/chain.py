"""What a ``[[cube]]`` asks for, held against the cube: axes, beams, memory. Pure.

The same words serve before a run, where the cube is there already, and in the step that begins
with a cube which the run has made. The order is fixed: continuum, beam, spectral smoothing,
rebinning, regridding, mask, moments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Final, NamedTuple

from ..heuristics import SPEED_OF_LIGHT
from ..quantities import arcsec, human_bytes, parse
from ..recipe.channel_list import channels
from . import moment_kinds
from .beams import Beam, Covariance, kernel
from .spectral import Axis, Mix, boxcar, hanning, interpolated

Settings = Mapping[str, Any]
"""A ``[[cube]]`` as plain data, keys as in the recipe."""

BASE_BYTES: Final = 2.6e8
"""A process with CASA, SciPy and Astropy in it, whatever the cube."""

_MOST_AT_ONCE: Final = 16
_CONTINUUM_LEAST: Final = 2


class Wrong(NamedTuple):
    """What does not fit: the key below ``[[cube]]``, and why."""

    key: tuple[str, ...]
    message: str


@dataclass(frozen=True)
class Cube:
    """A cube's shape, axes and beams.

    Attributes
    ----------
    n_x, n_y : int
        Pixels of a plane.
    axis : Axis
        The spectral axis.
    cell_arcsec : tuple of float
        The pixel's step to the east along x, and to the north along y.
    beams : tuple of Beam
        One, or one a channel; none where the cube has no synthesized beam.
    unit : str
        Of the brightness.
    """

    n_x: int
    n_y: int
    axis: Axis
    cell_arcsec: tuple[float, float]
    beams: tuple[Beam, ...] = ()
    unit: str = "Jy/beam"

    @property
    def pixels(self) -> int:
        """Pixels of a plane."""
        return self.n_x * self.n_y

    @property
    def by_beam(self) -> bool:
        """Whether the brightness is given by synthesized beam."""
        return "/beam" in self.unit

    def beam(self, channel: int) -> Beam | None:
        """Return the beam of a channel."""
        if not self.beams:
            return None
        return self.beams[channel if len(self.beams) > 1 else 0]

    def beam_pixels(self, channel: int) -> float | None:
        """Return the area of a channel's beam in pixels; None where brightness is not by beam."""
        beam = self.beam(channel)
        if beam is None or not self.by_beam or beam.major_arcsec <= 0:
            return None
        return beam.area_arcsec2 / abs(self.cell_arcsec[0] * self.cell_arcsec[1])

    def to_json(self) -> dict[str, Any]:
        """Return the cube as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cube:
        """Build a cube from what `to_json` gave."""
        return cls(
            data["n_x"],
            data["n_y"],
            Axis(**data["axis"]),
            tuple(data["cell_arcsec"]),
            tuple(Beam(**beam) for beam in data["beams"]),
            data["unit"],
        )


@dataclass(frozen=True)
class Chain:
    """A cube and what is to be done to it, every ``auto`` decided.

    Attributes
    ----------
    source : Cube
        The cube as it is.
    settings : mapping
        The ``[[cube]]``; `common` holds the common beam where one is needed, `template` what
        `regrid.template` has: ``n_x``, ``n_y`` and ``axis`` (or None).
    """

    source: Cube
    settings: Settings
    common: Beam | None = None
    template: Mapping[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> Settings:
        """Return a table of the settings; an empty one where it is left out."""
        found: Settings = self.settings.get(name) or {}
        return found

    @property
    def moments(self) -> tuple[int, ...]:
        """The moment maps."""
        return tuple(self.settings.get("moments", ()))

    @property
    def masked(self) -> bool:
        """Whether a mask is asked for."""
        return bool(self.part("mask"))

    @property
    def width(self) -> int:
        """Channels of the spectral smoothing; 1 for none."""
        smooth = self.part("smooth")
        kind = smooth.get("spectral", "none")
        return {"none": 1, "hanning": 3}.get(kind, int(smooth.get("width", 3)))

    @property
    def factors(self) -> tuple[int, int]:
        """Pixels and channels that are averaged."""
        rebin = self.part("rebin")
        return int(rebin.get("pixels", 1)), int(rebin.get("channels", 1))

    @cached_property
    def fit_channels(self) -> tuple[int, ...]:
        """The channels that the continuum is fitted to."""
        text = str(self.part("contsub").get("channels", ""))
        return channels(text) if text else ()

    @property
    def order(self) -> int:
        """The order of the continuum's polynomial."""
        return int(self.part("contsub").get("order", 0))

    @property
    def changes(self) -> bool:
        """Whether the pixels of the result differ from the cube's."""
        return bool(self.fit_channels) or any(
            (
                self.part("smooth").get("beam"),
                self.width > 1,
                self.factors != (1, 1),
                self.regrids,
            )
        )

    @property
    def regrids(self) -> bool:
        """Whether another grid is asked for."""
        regrid = self.part("regrid")
        return any(regrid.get(key) for key in ("template", "start", "width"))

    @property
    def target(self) -> Beam | None:
        """The beam that is smoothed to; None where no smoothing is asked for."""
        wanted = self.part("smooth").get("beam")
        if not wanted:
            return None
        if wanted == "common":
            return self.common
        return beam_of(wanted)

    @property
    def result_beams(self) -> tuple[Beam, ...]:
        """The beams of the result: one, one a channel, or none."""
        target = self.target
        if target is not None:
            return (target,)
        if len(self.source.beams) > 1 and self.axis != self.source.axis:
            return ()  # `problems` refuses this: channels of several beams cannot be mixed
        return self.source.beams

    def kernel(self, channel: int) -> Covariance | None:
        """Return what a channel is smoothed with; None for nothing."""
        beam, target = self.source.beam(channel), self.target
        if beam is None or target is None or beam.major_arcsec <= 0:
            return None
        found = kernel(beam, target)
        return found if found is not None and any(found) else None

    def scale(self, channel: int) -> float:
        """Return what a smoothed channel is multiplied with: Jy/beam of the new beam."""
        beam, target = self.source.beam(channel), self.target
        if beam is None or target is None or not self.source.by_beam:
            return 1.0
        return target.area_arcsec2 / beam.area_arcsec2

    @cached_property
    def smooth_axis(self) -> Axis:
        """The axis after the spectral smoothing."""
        kind = self.part("smooth").get("spectral", "none")
        return self.source.axis.boxcar(self.width) if kind == "boxcar" else self.source.axis

    @cached_property
    def rebinned_axis(self) -> Axis:
        """The axis after the rebinning."""
        return self.smooth_axis.rebinned(self.factors[1])

    @cached_property
    def axis(self) -> Axis:
        """The axis of the result."""
        regrid, have = self.part("regrid"), self.rebinned_axis
        if self.template.get("axis"):
            new = Axis(**self.template["axis"])
            return replace(new, rest_hz=have.rest_hz)
        start, width = regrid.get("start", ""), regrid.get("width", "")
        if start == "" and width == "":
            return have
        return _axis(have, start, width, int(regrid.get("nchan", -1)))

    @property
    def rebinned_shape(self) -> tuple[int, int]:
        """Rows and columns after the rebinning."""
        return self.source.n_y // self.factors[0], self.source.n_x // self.factors[0]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the result."""
        if self.template:
            return int(self.template["n_y"]), int(self.template["n_x"])
        return self.rebinned_shape

    @property
    def result(self) -> Cube:
        """The cube that is made."""
        n_y, n_x = self.shape
        cell = [size * self.factors[0] for size in self.source.cell_arcsec]
        if self.template:
            cell = list(self.template["cell_arcsec"])
        beams = self.result_beams
        return Cube(n_x, n_y, self.axis, (cell[0], cell[1]), beams, self.source.unit)

    def smoothing(self, channel: int) -> Mix:
        """Return what a channel of the spectrally smoothed cube is made of."""
        if self.part("smooth").get("spectral") == "hanning":
            return hanning(self.source.axis, channel)
        return boxcar(self.width, channel)

    def regridding(self, channel: int) -> Mix:
        """Return what a channel of the result is made of."""
        linear = self.part("regrid").get("interpolation", "linear") == "linear"
        return interpolated(self.rebinned_axis, self.axis, channel, linear=linear)

    def memory_bytes(self, at_once: int = 1) -> int:
        """Return what a step that makes a piece holds at its most, `BASE_BYTES` included.

        Parameters
        ----------
        at_once : int
            Channels that are read at a time.
        """
        pixels = self.source.pixels
        n_y, n_x = self.shape
        out = n_y * n_x
        held = 12 * pixels * at_once + 8 * pixels * self.width
        if self.fit_channels:
            held += 4 * pixels * (self.order + 3)
        if self.target is not None:
            held += 32 * pixels
        held += 10 * pixels * (self.factors != (1, 1))
        held += 8 * pixels * (2 if self.regrids else 0) + (24 * out if self.template else 0)
        held += 24 * out + moment_kinds.memory_bytes(self.moments, out)
        if self.masked:
            run = int(self.part("mask").get("channels", 2))
            held += (30 + 6 * (2 * run + 2)) * out
        return round(BASE_BYTES + held)

    def at_once(self, budget_bytes: float) -> int:
        """Return how many channels may be read at a time within a budget: at least one."""
        each = self.memory_bytes(2) - self.memory_bytes(1)
        room = budget_bytes - self.memory_bytes(0)
        return max(1, min(_MOST_AT_ONCE, int(room // each)))

    def fit_memory_bytes(self, rows: int) -> int:
        """Return what fitting the continuum of some rows holds at its most."""
        pixels = rows * self.source.n_x
        return round(BASE_BYTES + pixels * (8 * 3 * (self.order + 1) + 24 + 16 * 4))

    def problems(self, budget_bytes: float) -> list[Wrong]:
        """Return what of the settings does not fit the cube or the memory."""
        found = [*self._continuum(), *self._beams(), *self._spectral(), *self._moments()]
        if not found:
            need = self.memory_bytes()
            if need > budget_bytes:
                found.append(Wrong((), too_large(need, budget_bytes, self.source)))
        return found

    def _continuum(self) -> Iterator[Wrong]:
        number, last = len(self.fit_channels), self.source.axis.n_chan - 1
        beyond = [one for one in self.fit_channels if one > last]
        if beyond:
            yield Wrong(
                ("contsub", "channels"),
                f"channel {beyond[0]} is not there: the cube has channels 0 to {last}",
            )
        elif number and number < self.order + _CONTINUUM_LEAST:
            yield Wrong(
                ("contsub", "order"),
                f"a polynomial of order {self.order} needs {self.order + _CONTINUUM_LEAST} "
                f"channels or more, contsub.channels are {number}",
            )
        if number > last + 1 - _CONTINUUM_LEAST and number and not beyond:
            yield Wrong(
                ("contsub", "channels"),
                "every channel is taken for continuum: nothing is left for a line",
            )

    def _beams(self) -> Iterator[Wrong]:
        key = ("smooth", "beam")
        if not self.part("smooth").get("beam"):
            if len(self.source.beams) > 1 and (
                self.width > 1 or self.factors[1] > 1 or self.regrids or self.moments
            ):
                yield Wrong(
                    key,
                    "the channels have a synthesized beam each, and are to be mixed: smooth them "
                    'to one first, beam = "common"',
                )
            return
        if not any(beam.major_arcsec > 0 for beam in self.source.beams):
            yield Wrong(key, "the cube has no synthesized beam, so none can be smoothed to")
            return
        target = self.target
        if target is None:
            return  # "common", which the step that begins will find
        for channel, beam in enumerate(self.source.beams):
            if beam.major_arcsec > 0 and kernel(beam, target) is None:
                which = f"channel {channel}'s" if len(self.source.beams) > 1 else "the cube's"
                yield Wrong(
                    key,
                    f"{target.words} does not enclose {which} synthesized beam, {beam.words}: "
                    "smoothing cannot sharpen; a round one of "
                    f"{_up(max(b.major_arcsec for b in self.source.beams)):g} arcsec would, or "
                    '"common"',
                )
                return

    def _spectral(self) -> Iterator[Wrong]:
        n_chan = self.source.axis.n_chan
        if self.width > n_chan:
            yield Wrong(
                ("smooth", "width"), f"{self.width} channels are more than the cube's {n_chan}"
            )
            return
        pixels, together = self.factors
        if together > self.smooth_axis.n_chan:
            yield Wrong(
                ("rebin", "channels"),
                f"{together} channels are more than the cube's {self.smooth_axis.n_chan}",
            )
            return
        if pixels > min(self.source.n_x, self.source.n_y) // 2:
            yield Wrong(
                ("rebin", "pixels"),
                f"blocks of {pixels} pixels leave nothing of {self.source.n_x} x {self.source.n_y}",
            )
        yield from self._new_axis()

    def _new_axis(self) -> Iterator[Wrong]:
        regrid, have = self.part("regrid"), self.rebinned_axis
        velocities = [key for key in ("start", "width") if str(regrid.get(key, "")).endswith("m/s")]
        if velocities and have.rest_hz <= 0:
            yield Wrong(
                ("regrid", velocities[0]),
                "a velocity needs a rest frequency, and the cube has none: give a frequency, or "
                "set image.restfreq",
            )
            return
        if not self.regrids:
            return
        new = self.axis
        if new.n_chan < 1:
            yield Wrong(("regrid", "width"), "not one channel of this width fits into the cube")
            return
        low, high = sorted((have.channel(new.hz(0)), have.channel(new.hz(new.n_chan - 1))))
        if high < 0 or low > have.n_chan - 1:
            yield Wrong(
                ("regrid", "start" if regrid.get("start", "") != "" else "template"),
                f"the new axis, {_span(new)}, has nothing of the cube's, {_span(have)}",
            )
        elif not -0.5 <= have.channel(new.hz(0)) <= have.n_chan - 0.5 and not self.template:
            yield Wrong(
                ("regrid", "start"),
                f"the new axis begins at {_span(new, 1)}, outside the cube, {_span(have)}: planes "
                "there would be blank",
            )
        elif (low < -0.5 or high > have.n_chan - 0.5) and not self.template:
            yield Wrong(
                ("regrid", "nchan"),
                f"{new.n_chan} channels reach from {_span(new)}, the cube from {_span(have)}: "
                "planes beyond would be blank; leave nchan out to take as many as there are",
            )

    def _moments(self) -> Iterator[Wrong]:
        if self.moments and self.source.axis.n_chan < 2:
            yield Wrong(("moments",), "the cube has a single channel")
        elif {0, *moment_kinds.OF_VELOCITY} & set(self.moments) and self.source.axis.rest_hz <= 0:
            yield Wrong(
                ("moments",),
                "moments are in velocity, and the cube has no rest frequency: set image.restfreq",
            )


def beam_of(wanted: Any) -> Beam:
    """Read a beam of a recipe, once its form was checked: ``20arcsec`` or three values.

    Angles are those of `casarun.quantities`.
    """
    texts = [wanted] if isinstance(wanted, str) else list(wanted)
    numbers = [parse(text, "angle") for text in texts]
    major = arcsec(numbers[0])
    minor = arcsec(numbers[1]) if len(numbers) > 1 else major
    return Beam(major, minor, math.degrees(numbers[2]) if len(numbers) > 2 else 0.0)


def _axis(have: Axis, start: Any, width: Any, nchan: int) -> Axis:
    """Return a new axis from what ``regrid`` says; what is left out follows the cube."""

    def hertz(value: Any, *, difference: bool) -> float:
        text = str(value)
        if text.endswith("m/s"):
            velocity = parse(text, "velocity")
            shift = -velocity * have.rest_hz / SPEED_OF_LIGHT
            return shift if difference else have.hz_of(velocity)
        return parse(text, "frequency")

    step = hertz(width, difference=True) if width != "" else have.step_hz
    if start == "":
        # From the end of the cube at which an axis in this direction begins.
        first = have.hz(0) if step * have.step_hz > 0 else have.hz(have.n_chan - 1)
    else:
        first = hertz(start, difference=False)
    if nchan < 1:
        end = have.hz(have.n_chan - 1) if step * have.step_hz > 0 else have.hz(0)
        nchan = math.floor((end - first) / step + 1e-6) + 1
    return Axis(nchan, first, step, have.rest_hz)


def _span(axis: Axis, ends_shown: int = 2) -> str:
    """Write where an axis begins, and ends."""
    ends = (0, axis.n_chan - 1)[:ends_shown]
    if axis.rest_hz > 0:
        return f"{' to '.join(f'{axis.velocity_km_s(end):.6g}' for end in ends)} km/s"
    return f"{' to '.join(f'{axis.hz(end) / 1e9:.8g}' for end in ends)} GHz"


def _up(number: float) -> float:
    """Round up to two digits."""
    grain = 10.0 ** (math.floor(math.log10(number)) - 1)
    return math.ceil(number / grain) * grain


def too_large(need: int, have: float, cube: Cube) -> str:
    """Say that the planes of a cube do not fit into the memory of a step."""
    return (
        f"planes of {cube.n_x} x {cube.n_y} pixels need {human_bytes(need)} to be processed one at "
        f"a time, resources.memory_per_core is {human_bytes(have)}"
    )
