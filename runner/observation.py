"""Metadata of a dataset, as plain frozen classes.

The reader lives behind the door (`casarun.casa.metadata`); everything here can be built
by hand in a test. Times are MJD seconds (UTC), angles degrees, frequencies Hz, lengths m.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class Field:
    """A FIELD row.

    `n_rows` counts its visibilities' rows in MAIN, and `flagged_fraction` is how much of them
    was flagged as the data came.
    """

    id: int
    name: str
    ra_deg: float
    dec_deg: float
    intents: tuple[str, ...] = ()
    n_rows: int = 0
    flagged_fraction: float = 0.0


@dataclass(frozen=True)
class SpectralWindow:
    """A spectral window that has data. Frequencies are channel centres.

    `rest_hz` are the rest frequencies that the SOURCE table gives for it, sorted.
    """

    id: int
    name: str
    n_chan: int
    first_hz: float
    last_hz: float
    chan_width_hz: float
    frame: str = "TOPO"
    correlations: tuple[str, ...] = ()
    rest_hz: tuple[float, ...] = ()

    @property
    def centre_hz(self) -> float:
        """Centre frequency in Hz."""
        return 0.5 * (self.first_hz + self.last_hz)

    @property
    def bandwidth_hz(self) -> float:
        """Width of all channels together in Hz."""
        return abs(self.chan_width_hz) * self.n_chan

    @property
    def highest_hz(self) -> float:
        """Highest channel centre in Hz."""
        return max(self.first_hz, self.last_hz)


@dataclass(frozen=True)
class Scan:
    """A scan: what was observed from `start_mjd_s` to `end_mjd_s`."""

    number: int
    field_ids: tuple[int, ...]
    spw_ids: tuple[int, ...]
    start_mjd_s: float
    end_mjd_s: float
    integration_s: float
    intents: tuple[str, ...] = ()
    obs_id: int = 0


@dataclass(frozen=True)
class Antenna:
    """An antenna that has data.

    `distance_m` is its distance from the array's centre (median of the positions),
    `flagged_fraction` that of its cross-correlations as the data came, and
    `present_fraction` the share of the scans in which it has data.
    """

    id: int
    name: str
    station: str
    diameter_m: float
    distance_m: float
    flagged_fraction: float = 0.0
    present_fraction: float = 1.0


@dataclass(frozen=True)
class Observation:
    """Read-only metadata of one dataset.

    `measures_until_mjd_s` is how far CASA's table of the Earth's orientation reached when the
    metadata were read; 0 where that is not known.
    """

    vis: str
    telescope: str
    observer: str
    start_mjd_s: float
    end_mjd_s: float
    n_rows: int
    size_bytes: int
    shortest_baseline_m: float
    longest_baseline_m: float
    columns: tuple[str, ...]
    fields: tuple[Field, ...]
    spws: tuple[SpectralWindow, ...]
    scans: tuple[Scan, ...]
    antennas: tuple[Antenna, ...]
    measures_until_mjd_s: float = 0.0

    def field(self, field_id: int) -> Field:
        """Return the field with this id."""
        return next(field for field in self.fields if field.id == field_id)

    def spw(self, spw_id: int) -> SpectralWindow:
        """Return the spectral window with this id."""
        return next(spw for spw in self.spws if spw.id == spw_id)

    def match_fields(self, pattern: str) -> tuple[Field, ...]:
        """Return the fields whose name (or, for a number, id) matches a glob pattern."""
        by_name = tuple(field for field in self.fields if fnmatchcase(field.name, pattern))
        if by_name or not pattern.strip().isdigit():
            return by_name
        return tuple(field for field in self.fields if field.id == int(pattern))

    def fields_with_intent(self, word: str) -> tuple[Field, ...]:
        """Return the fields of which some scan intent contains `word`."""
        return tuple(
            field for field in self.fields if any(word in intent for intent in field.intents)
        )

    def spws_of_fields(self, field_ids: set[int]) -> tuple[int, ...]:
        """Return the ids of the spectral windows in which any of these fields was observed."""
        found = {
            spw for scan in self.scans if field_ids & set(scan.field_ids) for spw in scan.spw_ids
        }
        return tuple(sorted(found))

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Observation:
        """Build the metadata from what `to_json` gave."""
        plain = dict(data)
        tables = {"fields": Field, "spws": SpectralWindow, "scans": Scan, "antennas": Antenna}
        for key, row in tables.items():
            plain[key] = tuple(row(**_tuples(item)) for item in plain[key])
        return cls(**_tuples(plain))


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` with its lists as tuples, as the frozen classes hold them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
