"""Metadata of a dataset, as plain frozen classes.

The reader lives behind the door (`casarun.casa.metadata`); everything here can be built
by hand in a test. Times are MJD seconds (UTC), angles degrees, frequencies Hz, lengths m.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Field:
    """A FIELD row.

    `n_rows` counts its visibilities' rows in MAIN, and `flagged_fraction` is how much of them
    was flagged as the data came. `not_finite_fraction` and `zero_fraction` are of its unflagged
    cross-correlations, `no_weight_fraction` of its unflagged rows (weights that are zero,
    negative or not finite); of a large MS they come from a sample.
    """

    id: int
    name: str
    ra_deg: float
    dec_deg: float
    intents: tuple[str, ...] = ()
    n_rows: int = 0
    flagged_fraction: float = 0.0
    not_finite_fraction: float = 0.0
    zero_fraction: float = 0.0
    no_weight_fraction: float = 0.0


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
    metadata were read; 0 where that is not known. `warnings` are sentences about what is odd in
    the data, without the dataset's name. With `has_model` there is a model of an earlier
    calibration, which CASA would solve against.
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
    warnings: tuple[str, ...] = ()
    has_model: bool = False

    def field(self, field_id: int) -> Field:
        """Return the field with this id."""
        return self._by_id[field_id]

    @cached_property
    def _by_id(self) -> dict[int, Field]:
        return {field.id: field for field in self.fields}

    def spw(self, spw_id: int) -> SpectralWindow:
        """Return the spectral window with this id."""
        return next(spw for spw in self.spws if spw.id == spw_id)

    def fields_with_intent(self, word: str) -> tuple[Field, ...]:
        """Return the fields of which some scan intent contains `word`."""
        return tuple(
            field for field in self.fields if any(word in intent for intent in field.intents)
        )

    def spws_of_fields(self, field_ids: set[int]) -> tuple[int, ...]:
        """Return the ids of the spectral windows in which any of these fields was observed."""
        wanted = frozenset(field_ids)
        found = self._spws_of.get(wanted)
        if found is None:
            its = (s.spw_ids for s in self.scans if not wanted.isdisjoint(s.field_ids))
            found = self._spws_of[wanted] = tuple(sorted(set().union(*its)))
        return found

    @cached_property
    def _spws_of(self) -> dict[frozenset[int], tuple[int, ...]]:
        """The spectral windows of fields, as far as they were asked for."""
        return {}

    def part(self, field_ids: Iterable[int]) -> Observation:
        """Return the metadata of an MS that CASA's ``split`` makes of some of the fields.

        ``split(field=...)`` numbers the fields anew, in the order of their ids; spectral windows,
        data descriptions, antennas, scans and states keep their ids, used or not (measured with
        casatasks 6.7.0 and 6.7.5). ``uvcontsub`` of a whole MS changes no id.

        Parameters
        ----------
        field_ids : iterable of int
            Ids of the fields that are taken.

        Returns
        -------
        Observation
            With one data column, ``DATA``; sizes go with the number of rows. Antennas stay as
            they are: which of them saw which field the metadata do not hold.

        Raises
        ------
        ValueError
            If there is no such field.
        """
        wanted = tuple(sorted(set(field_ids)))
        if wanted not in self._parts:
            self._parts[wanted] = self._part(wanted)
        return self._parts[wanted]

    @cached_property
    def _parts(self) -> dict[tuple[int, ...], Observation]:
        """The parts that were asked for: stages and checks ask for the same ones."""
        return {}

    def _part(self, wanted: tuple[int, ...]) -> Observation:
        """Return the metadata of some of the fields; see `part`."""
        new = {old: number for number, old in enumerate(wanted)}
        fields = tuple(replace(field, id=new[field.id]) for field in self.fields if field.id in new)
        if not new or len(fields) < len(new):
            raise ValueError(f"no fields with all of the ids {sorted(new)}")
        scans = tuple(
            replace(scan, field_ids=tuple(new[i] for i in scan.field_ids if i in new))
            for scan in self.scans
            if new.keys() & set(scan.field_ids)
        )
        n_rows = sum(field.n_rows for field in fields)
        unused = {"CORRECTED_DATA", "MODEL_DATA", "DATA", "FLOAT_DATA"}
        return replace(
            self,
            start_mjd_s=min((scan.start_mjd_s for scan in scans), default=self.start_mjd_s),
            end_mjd_s=max((scan.end_mjd_s for scan in scans), default=self.end_mjd_s),
            n_rows=n_rows,
            size_bytes=round(self.size_bytes * n_rows / max(1, self.n_rows)),
            columns=tuple(sorted({*self.columns} - unused | {"DATA"})),
            has_model=False,
            fields=fields,
            scans=scans,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Observation:
        """Build the metadata from what `to_json` gave."""
        plain = dict(data)
        plain["antennas"] = tuple(Antenna(**item) for item in plain["antennas"])  # has no lists
        for key, row in (("fields", Field), ("spws", SpectralWindow), ("scans", Scan)):
            plain[key] = tuple(row(**_tuples(item)) for item in plain[key])
        return cls(**_tuples(plain))


def _tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return `data` with its lists as tuples, as the frozen classes hold them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
