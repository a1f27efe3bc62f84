"""What is known of a plan's products before they are made: visibilities, sizes and images.

What a step finds is what those before it made; `casarun.stages.costs` says what each costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from ..observation import Observation
from ..plan import Step
from .costs_images import Shape

COMPLEX_BYTES: Final = 8.0
_WEIGHT_BYTES: Final = 4.0
_FLAG_BYTES: Final = 1 / 8
_ROW_BYTES: Final = 140.0
_TABLES_BYTES: Final = 4e5


@dataclass(frozen=True)
class Visibilities:
    """What an MS holds.

    Attributes
    ----------
    rows, values : mapping of int to float
        Rows of MAIN, and visibilities (rows times channels times correlations), by field id.
    columns : frozenset of str
        The columns of MAIN.
    channels : int
        Channels of the widest spectral window.
    integration_s : float
        How long an integration is; 0 where that is not known.
    telescopes : frozenset of str
        Which telescopes observed it.
    """

    rows: Mapping[int, float] = field(default_factory=dict)
    values: Mapping[int, float] = field(default_factory=dict)
    columns: frozenset[str] = frozenset({"DATA"})
    channels: int = 1
    integration_s: float = 0.0
    telescopes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, observation: Observation) -> Visibilities:
        """Return what an observation's MS holds; its spectral windows count alike."""
        spws = {spw.id: spw for spw in observation.spws}
        rows, values = {}, {}
        for one in observation.fields:
            seen = [spws[i] for i in observation.spws_of_fields({one.id}) if i in spws]
            seen = seen or list(spws.values())
            each = sum(s.n_chan * max(1, len(s.correlations)) for s in seen) / max(1, len(seen))
            rows[one.id], values[one.id] = float(one.n_rows), one.n_rows * each
        channels = max((spw.n_chan for spw in observation.spws), default=1)
        integration_s = max((scan.integration_s for scan in observation.scans), default=0.0)
        telescopes = frozenset({observation.telescope})
        return cls(
            rows, values, frozenset(observation.columns), channels, integration_s, telescopes
        )

    @cached_property
    def n_values(self) -> float:
        """Visibilities of all fields."""
        return sum(self.values.values())

    def part(self, selection: Any) -> Visibilities:
        """Return the part of the fields that a list of ids selects; all for any other text."""
        wanted = self._wanted(selection)
        if not wanted:
            return self
        return replace(
            self,
            rows={i: n for i, n in self.rows.items() if i in wanted},
            values={i: n for i, n in self.values.items() if i in wanted},
        )

    def values_of(self, selection: Any) -> float:
        """Return the visibilities of the part that is selected; see `part`."""
        wanted = self._wanted(selection)
        return sum(n for i, n in self.values.items() if not wanted or i in wanted)

    def _wanted(self, selection: Any) -> set[int]:
        try:
            return {int(word) for word in str(selection).split(",")} & self.rows.keys()
        except ValueError:
            return set()

    def bytes_of(self, data_columns: int = 1) -> float:
        """Return the size of an MS that a task writes of this.

        8 bytes a visibility and data column, 1/8 for the flag; 4 each for WEIGHT_SPECTRUM and
        SIGMA_SPECTRUM, which split and mstransform write where there are weights by channel;
        140 a row. Measured: 27.7 MB for 12 852 rows of 126 visibilities.
        """
        each = data_columns * COMPLEX_BYTES + _FLAG_BYTES
        if "WEIGHT_SPECTRUM" in self.columns:
            each += 2 * _WEIGHT_BYTES
        return _TABLES_BYTES + sum(self.rows.values()) * _ROW_BYTES + self.n_values * each


def mss(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the MSs that parameters name: one, a list, or by dataset."""
    vis = params.get("vis", "")
    if isinstance(vis, Mapping):
        return tuple(vis.values())
    return tuple(vis) if isinstance(vis, (list, tuple)) else (str(vis),)


@dataclass
class Known:
    """What is known of the products so far, by path."""

    visibilities: dict[str, Visibilities] = field(default_factory=dict)
    sizes: dict[str, float] = field(default_factory=dict)
    images: dict[str, Shape] = field(default_factory=dict)

    def of(self, step: Step) -> Visibilities:
        """Return what a step's MSs hold together."""
        return self.of_vis(step.params)

    def of_vis(self, params: Mapping[str, Any]) -> Visibilities:
        """Return what the MSs hold together that parameters name."""
        found = [self.visibilities[path] for path in mss(params) if path in self.visibilities]
        if len(found) == 1:
            return found[0]
        return Visibilities(
            {i: sum(one.rows.values()) for i, one in enumerate(found)},
            {i: one.n_values for i, one in enumerate(found)},
            frozenset({"DATA"}.union(*(one.columns for one in found))),
            max((one.channels for one in found), default=1),
            telescopes=frozenset().union(*(one.telescopes for one in found)),
        )

    def largest(self, paths: Iterable[str]) -> Shape:
        """Return the largest image among some paths; one without pixels where there is none."""
        shapes = (self.images[path] for path in paths if path in self.images)
        return max(shapes, key=lambda shape: shape.pixels, default=Shape(0.0))

    def makes(self, step: Step, shape: Shape) -> None:
        """Remember what images a step makes."""
        self.images |= {path: shape for path in step.writes if ".sumwt" not in path}
