"""Calibrators' places held against the celestial reference frame that comes with CASA."""

from __future__ import annotations

from typing import Any

import pytest
from casarun.casa import celestial_frame
from casarun.casa.celestial_frame import Source
from casarun.casa.config import configure
from casarun.qa import known_places, scores
from casarun.report import calibration, words

KNOWN = (
    Source(("1442+101", "J144516.4+095836"), 221.31860505, 9.97668679),
    Source(("0003-066", "J000613.8-062335"), 1.55788703, -6.39314857),
    Source(("J000002.0+890000",), 0.0005, 89.0),
)
ARCSEC = 1 / 3600


def measured(**changed: Any) -> dict[str, Any]:
    return {"east_arcsec": 0.25, "north_arcsec": -0.5, "resolution_arcsec": 2.0,
            "position_error_arcsec": 0.01, **changed}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "ra", "dec", "found"),
    [
        ("1445+09900002_0", 221.31860, 9.97668, "1442+101"),
        ("anything", 221.31860, 9.97668 + 50 * ARCSEC, "1442+101"),
        ("anything", 221.31860, 9.97668 + 70 * ARCSEC, ""),
        ("J1445+0958", 221.31860, 9.97668 + 0.5, "1442+101"),
        ("j1445+0958", 200.0, 9.0, "1442+101"),
        ("J1445+0959", 200.0, 9.0, ""),
        ("1445+0958", 200.0, 9.0, ""),  # it may be a name of B1950
        ("wraps", 359.9995, 89.0, "J000002.0+890000"),
        ("3C9", 5.1, 15.7, ""),
    ],
)
def test_a_calibrator_is_found_by_place_or_full_name(
    name: str, ra: float, dec: float, found: str
) -> None:
    source = known_places.find(name, (ra, dec), KNOWN)
    assert (source.names[0] if source else "") == found


def test_how_far_it_is_from_there_is_that_of_the_field_and_that_of_the_fit() -> None:
    numbers = measured()
    place = (1.55788703 + 3 * ARCSEC / 0.99378, -6.39314857 + 1 * ARCSEC)
    known_places.into(numbers, "x", place, KNOWN)
    assert numbers["catalogue"]["name"] == "0003-066 J000613.8-062335"
    assert numbers["catalogue"]["east_arcsec"] == pytest.approx(3.25, abs=1e-3)
    assert numbers["catalogue"]["north_arcsec"] == pytest.approx(0.5, abs=1e-3)
    (check,) = scores._point("d, x", numbers)
    assert (check["name"], check["verdict"]) == ("astrometry", "warn")
    assert check["value"] == pytest.approx(3.288 / 2, abs=1e-3)
    assert check["text"] == (
        "off its place in the ICRF (0003-066 J000613.8-062335): 3.3 arcsec (error 0.01)"
    )
    shown = calibration.points({"calibrators": {"x": numbers}})[0]
    assert shown["known"] == "+3.250″, +0.500″ (0003-066)"


def test_what_is_in_no_catalogue_is_held_against_its_field() -> None:
    for place, known, why in (((10.0, 10.0), KNOWN, "the catalogue has no source there"),
                              ((10.0, 10.0), (), "there is no catalogue")):  # fmt: skip
        numbers = measured()
        known_places.into(numbers, "x", place, known)
        assert numbers["catalogue"] is None
        assert numbers["catalogue_reason"] == why
        (check,) = scores._point("d, x", numbers)
        assert check["text"] == "off the phase centre: 0.56 arcsec (error 0.01)"
        assert calibration.points({"calibrators": {"x": numbers}})[0]["known"] == words.NONE


def test_a_calibrator_without_a_fit_has_no_offset() -> None:
    numbers = measured(east_arcsec=None, north_arcsec=None)
    known_places.into(numbers, "x", (1.55788703, -6.39314857), KNOWN)
    assert numbers["catalogue"]["east_arcsec"] is None
    assert list(scores._point("d, x", numbers)) == []


@pytest.mark.casa
def test_the_frame_of_casa_s_data_has_the_calibrators_that_all_use() -> None:
    configure()
    known = celestial_frame.sources()
    assert len(known) > 500
    for name, ra, dec in (("1328+307", 202.784533, 30.509155), ("0134+329", 24.422081, 33.159759),
                          ("1934-638", 294.854278, -63.712674)):  # fmt: skip
        source = known_places.find(name, (ra, dec), known)
        assert source is not None
        assert name in source.names
        east, north = known_places.offset_arcsec(ra, dec, source)
        assert abs(east) < 0.01
        assert abs(north) < 0.01
