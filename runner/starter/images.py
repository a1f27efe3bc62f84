"""Which images to make: by the spectral windows in which the targets were observed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..observation import Observation, SpectralWindow
from ..quantities import human_frequency
from .lines import Line, free_channels, km_s, line_in, narrow, resolved
from .roles import Guess, Seen


@dataclass(frozen=True)
class Cube:
    """A cube of one window: its name, its line where one is known, and how sure that is."""

    name: str
    spw: SpectralWindow
    line: Line | None
    doubt: str


@dataclass(frozen=True)
class Setup:
    """Targets that were observed in the same windows, and what to make of them.

    Attributes
    ----------
    targets : tuple of str
        Their names.
    spws : tuple of SpectralWindow
        The windows.
    cubes : tuple of Cube
        Of the windows that look like the setup of a line.
    possible : tuple of SpectralWindow
        Wide windows that could show a line, too.
    """

    targets: tuple[str, ...]
    spws: tuple[SpectralWindow, ...]
    cubes: tuple[Cube, ...]
    possible: tuple[SpectralWindow, ...]

    @property
    def lowest_hz(self) -> float:
        """The lowest frequency."""
        return min(min(spw.first_hz, spw.last_hz) for spw in self.spws)

    @property
    def fitspec(self) -> str:
        """The channels free of lines, of the windows that have one; empty where none has.

        ``uvcontsub`` takes all channels of the windows that are not named.
        """
        return ",".join(f"{cube.spw.id}:{free_channels(cube.spw)}" for cube in self.cubes)

    @property
    def bands(self) -> tuple[tuple[SpectralWindow, ...], ...]:
        """The windows, apart where they are a fifth of their frequency apart.

        Taylor terms do not bridge such a gap: what is not measured in it is extrapolated.
        """
        ordered = sorted(self.spws, key=lambda spw: spw.centre_hz)
        bands = [[ordered[0]]]
        for spw in ordered[1:]:
            top = max(one.highest_hz for one in bands[-1])
            if min(spw.first_hz, spw.last_hz) > 1.2 * top:
                bands.append([])
            bands[-1].append(spw)
        return tuple(tuple(sorted(band, key=lambda spw: spw.id)) for band in bands)

    def continuum(self, band: tuple[SpectralWindow, ...]) -> str:
        """Return the channels of a band's continuum image; empty where that is all there is."""
        if not self.cubes and len(band) == len(self.spws):
            return ""
        lines = {cube.spw.id for cube in self.cubes}
        return ",".join(
            f"{spw.id}:{free_channels(spw)}" if spw.id in lines else str(spw.id) for spw in band
        )


def setups(observations: Sequence[Observation], guesses: Sequence[Guess]) -> tuple[Setup, ...]:
    """Return the targets of all datasets, grouped by their windows.

    A target of several datasets counts with the windows of the first that has it.
    """
    groups: dict[tuple[tuple[int, int, int], ...], tuple[list[str], Observation, Seen]] = {}
    done: set[str] = set()
    for observation, found in zip(observations, guesses, strict=True):
        for target in found.targets:
            if target.name in done:
                continue
            done.add(target.name)
            windows = _windows(observation, target)
            key = tuple((spw.id, spw.n_chan, round(spw.centre_hz / 1e6)) for spw in windows)
            groups.setdefault(key, ([], observation, target))[0].append(target.name)
    return tuple(
        _setup(tuple(names), _windows(observation, target))
        for names, observation, target in groups.values()
    )


def _windows(observation: Observation, target: Seen) -> tuple[SpectralWindow, ...]:
    ids = observation.spws_of_fields(set(target.ids))
    return tuple(observation.spw(i) for i in ids)


def _setup(names: tuple[str, ...], spws: tuple[SpectralWindow, ...]) -> Setup:
    cubes: list[Cube] = []
    for spw in spws:
        if narrow(spw):
            cubes.append(_cube(spw, {cube.name for cube in cubes}))
    possible = tuple(spw for spw in spws if resolved(spw))
    return Setup(names, spws, tuple(cubes), possible)


def _cube(spw: SpectralWindow, taken: set[str]) -> Cube:
    found = line_in(spw)
    width = km_s(spw.bandwidth_hz, spw.centre_hz)
    looks = (
        f"spw {spw.id} looks like the setup of a line: {spw.n_chan} channels over {width:.0f} km/s"
    )
    if found is None:
        name, line = f"line{spw.id}", None
        doubt = (
            f"{looks}, but no line is known near {human_frequency(spw.centre_hz)}: velocities "
            "refer to its centre until you give the rest frequency (restfreq)"
        )
    else:
        line, velocity = found
        name = line.name
        given = any(abs(line.rest_hz / hertz - 1) < 1e-9 for hertz in spw.rest_hz)
        source = "the data's own rest frequency" if given else "the nearest known line"
        doubt = (
            f"{looks}; {source} is {human_frequency(line.rest_hz)}, which puts its centre at "
            f"{velocity:.0f} km/s"
        )
    if name in taken:
        name = f"{name}-{spw.id}"
    return Cube(name, spw, line, doubt)
