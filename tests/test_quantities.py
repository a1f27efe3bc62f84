from __future__ import annotations

import math

import pytest
from casarun import quantities


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("10s", "duration", 10.0),
        ("1.5 min", "duration", 90.0),
        ("180deg", "angle", math.pi),
        ("2mas", "angle", math.radians(2e-3 / 3600)),
        ("0.1mJy", "flux", 1e-4),
        (".5GHz", "frequency", 5e8),
        ("-5km/s", "velocity", -5000.0),
        ("8GB", "size", 8e9),
        ("1KiB", "size", 1024.0),
        ("1e3Hz", "frequency", 1000.0),
    ],
)
def test_parse(text: str, dimension: str, value: float) -> None:
    assert quantities.parse(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        (
            "2 parsec",
            "angle",
            "'parsec' in '2 parsec' is not a unit of angle; "
            "use one of marcsec, mas, arcsec, arcmin, deg, rad",
        ),
        (
            "8",
            "duration",
            "'8' has no unit; write for example \"10s\" (units: ms, s, min, h, d)",
        ),
        ("fast", "duration", "'fast' is not a duration; write for example \"10s\""),
        ("", "angle", "'' is not an angle; write for example \"2arcsec\""),
        ("infs", "duration", "'infs' is not a duration; write for example \"10s\""),
        ("1e999s", "duration", "'1e999s' is not a duration; write for example \"10s\""),
        ("1e308d", "duration", "'1e308d' is too large"),
        ("5ghz", "frequency", "'ghz' in '5ghz' is not a unit of frequency; "
         "use one of Hz, kHz, MHz, GHz"),
    ],
)  # fmt: skip
def test_parse_refuses(text: str, dimension: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as error:
        quantities.parse(text, dimension)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("function", "number", "text"),
    [
        (quantities.human_bytes, 12, "12 B"),
        (quantities.human_bytes, 35e6, "35 MB"),
        (quantities.human_bytes, 2.5e13, "25 TB"),
        (quantities.human_seconds, 0.42, "0.42 s"),
        (quantities.human_seconds, 59.7, "1 min 00 s"),
        (quantities.human_seconds, 185, "3 min 05 s"),
        (quantities.human_seconds, 7800, "2 h 10 min"),
        (quantities.human_frequency, 1.4127e9, "1412.7 MHz"),
        (quantities.human_frequency, 2.3e11, "230 GHz"),
    ],
)
def test_human(function, number: float, text: str) -> None:  # type: ignore[no-untyped-def]
    assert function(number) == text
