"""The catalogue of flux standards: names, places, and that it is CASA's."""

import math
from pathlib import Path
from typing import Any

import pytest
from casarun import standards
from casarun.casa.tasks import task
from casarun.recipe.paths import casadata_folder

PB2017 = "Perley-Butler 2017"


def name_of(calibrator: standards.Calibrator | None) -> str | None:
    return calibrator.name if calibrator else None


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("3C286", "3C286"),
        ("3c286", "3C286"),
        ("1331+305=3C286", "3C286"),
        ("J1331+3030", "3C286"),
        ("1331+30500002_0", "3C286"),
        ("1328+307", "3C286"),
        ("B0134+329", "3C48"),
        ("0137+331=3C48", "3C48"),
        ("3C_147", "3C147"),
        ("PKS1934-638", "1934-638"),
        ("J1939-6342", "1934-638"),
        ("CasA", "Cassiopeia A"),
        ("m87", "Virgo A"),
        ("uranus", "Uranus"),
        ("Europa_1", "Europa"),
        ("3C489", None),
        ("13C48", None),
        ("CASAmbre", None),
        ("Radio", None),
        ("12334-638", None),
        ("N5921_2", None),
        ("", None),
    ],
)
def test_calibrators_by_the_names_that_observers_write(field: str, expected: str | None) -> None:
    assert name_of(standards.by_name(field)) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("1331+30500002_0", "3C286"),
        ("3c286", "3C286"),
        ("3C489", "3C48"),  # an alias anywhere in the name is enough for setjy
        ("CasA", None),  # setjy compares capitals with an alias in small letters
        ("1331+3030", None),
        ("Uranus", None),
    ],
)
def test_setjy_reads_names_in_its_own_way(field: str, expected: str | None) -> None:
    assert name_of(standards.as_setjy(field, 10.0, 10.0, PB2017)) == expected


def test_setjy_knows_places_to_an_arcsecond() -> None:
    ra, dec = 202.7845246, 30.5091444
    assert name_of(standards.as_setjy("x", ra, dec, PB2017)) == "3C286"
    assert name_of(standards.as_setjy("x", ra, dec + 0.9 / 3600, PB2017)) == "3C286"
    assert standards.as_setjy("x", ra, dec + 1.1 / 3600, PB2017) is None


def test_bodies_of_the_solar_system_go_by_the_whole_name() -> None:
    def found(name: str) -> str | None:
        return name_of(standards.as_setjy(name, 0.0, 0.0, "Butler-JPL-Horizons 2012"))

    assert found("uranus") == "Uranus"
    assert found("Uranus_1") is None
    assert found("3C286") is None


def test_the_nearest_calibrator_within_reach() -> None:
    assert name_of(standards.by_position(202.7845, 30.5092)) == "3C286"
    assert standards.by_position(202.7845, 30.54) is None
    assert name_of(standards.by_position(202.7845, 30.54, within_deg=0.1)) == "3C286"
    # Across zero hours.
    assert name_of(standards.by_position(350.85 - 360, 58.815)) == "Cassiopeia A"


def test_separation_is_exact_for_small_and_large_angles() -> None:
    assert standards.separation_deg(10, 0, 10, 1 / 3600) == pytest.approx(1 / 3600, rel=1e-9)
    assert standards.separation_deg(0, 0, 180, 0) == pytest.approx(180)


def test_the_catalogue_is_consistent() -> None:
    names = [one.name for one in standards.CALIBRATORS]
    assert len(set(names)) == len(names)
    for one in standards.CALIBRATORS:
        assert set(one.standards) <= set(standards.STANDARDS)
        assert all(low < high for low, high in one.standards.values())
        assert all(0 <= one.ra_deg < 360 and abs(one.dec_deg) <= 90 for _ in [0] if not one.moves)
        assert one.moves == bool(set(one.standards) & standards.PLANETARY)
    # Each is found by each of its own names, and by its place.
    for one in standards.CALIBRATORS:
        for alias in one.aliases:
            assert standards.by_name(alias) is one
        if not one.moves:
            assert standards.by_position(one.ra_deg, one.dec_deg) is one


def test_the_standards_are_those_of_the_installed_casa() -> None:
    (standard,) = (one for one in task("setjy").parameters if one.name == "standard")
    assert set(standard.allowed) - {"manual", "fluxscale"} == set(standards.STANDARDS)


def test_the_model_images_are_those_of_casadata() -> None:
    there = {path.name for path in (casadata_folder() / "nrao/VLA/CalModels").glob("*.im")}
    assert {image for one in standards.CALIBRATORS for image in one.images} == there


def test_solar_system_ranges_are_those_of_casadata() -> None:
    tables = casadata_folder() / "alma/SolarSystemModels"
    for one in standards.CALIBRATORS:
        span = one.standards.get("Butler-JPL-Horizons 2012")
        if span is None:
            continue
        timed = [*tables.glob(f"{one.name}_*_time.dat")]
        low, high = _span(timed[0] if timed else tables / f"{one.name}_Tb.dat", timed=bool(timed))
        assert span == pytest.approx((low * 1e9, high * 1e9)), one.name


def _span(path: Path, *, timed: bool) -> tuple[float, float]:
    """Return the first and last frequency (GHz) of a table of brightness."""
    lines = path.read_text().splitlines()
    if timed:
        frequencies = [float(word) for word in lines[0].split()]
        return frequencies[0], frequencies[-1]
    return float(lines[0].split()[0]), float(lines[-1].split()[0])


@pytest.mark.casa
def test_ranges_and_places_are_those_of_casadata() -> None:
    from casarun.casa.config import configure

    configure()
    from casatools import table

    folder = casadata_folder() / "nrao/VLA/standards"
    tool = table()
    tool.open(str(folder / "fluxcalibrator.data"))
    places = {
        name: (math.degrees(ra) % 360, math.degrees(dec))
        for name, ra, dec in zip(
            tool.getcol("Name"), tool.getcol("RA_J2000"), tool.getcol("Dec_J2000"), strict=True
        )
    }
    tool.close()
    tool.open(str(folder / "PerleyButler2017Coeffs"))
    ranges = {}
    for column in (name for name in tool.colnames() if name.endswith("_coeffs")):
        keyword: Any = tool.getcolkeyword(column, "ValidFreqRange")
        assert keyword["freqRangeUnit"] == "GHz"
        ranges[column.removesuffix("_coeffs")] = tuple(1e9 * keyword["freqRange"])
    tool.close()
    still = {_casa_name(one): one for one in standards.CALIBRATORS if not one.moves}
    assert {"J" + name if name == "0133-3629" else name for name in places} == set(still)
    for name, place in places.items():
        mine = still["J" + name if name == "0133-3629" else name]
        assert (mine.ra_deg, mine.dec_deg) == pytest.approx(place)
    assert ranges == {
        name: pytest.approx(one.standards[PB2017])
        for name, one in still.items()
        if PB2017 in one.standards
    }


def _casa_name(calibrator: standards.Calibrator) -> str:
    return calibrator.name.upper().replace(" ", "_")


@pytest.mark.casa
def test_who_knows_whom_is_what_setjy_answers(tmp_path: Path) -> None:
    """One field a source, called by its place alone or, last, by name far from it."""
    from support import skies

    still = [one for one in standards.CALIBRATORS if not one.moves]
    places = [(f"by-place-{i}", one.ra_deg, one.dec_deg) for i, one in enumerate(still)]
    names = [(name, 150.0, -20.0) for name in ("3C489", "CasA", "x J0133-3629", "1331+3050_0")]
    fields = tuple(skies.SkyField(n, f"{ra}deg", f"{dec}deg") for n, ra, dec in places + names)
    ms = tmp_path / "all.ms"
    one_channel = (skies.Spw(1.4e9, 1e6, 1),)
    skies.build(
        ms,
        skies.Sky(fields=fields, scans=tuple(range(len(fields))), spws=one_channel,
                  n_antennas=3, integrations=1),
    )  # fmt: skip
    from casatools import imager

    for standard in (name for name in standards.STANDARDS if name not in standards.PLANETARY):
        tool = imager()
        tool.open(str(ms), usescratch=False)
        answers = {
            number: tool.setjy(
                field=str(number), standard=standard, scalebychan=False, reffreq="1GHz", spix=0.0,
                fluxdensity=-1,
            ).get(str(number), {})
            for number in range(len(fields))
        }  # fmt: skip
        tool.close()
        known = {
            number
            for number, answer in answers.items()
            if any(isinstance(v, dict) and v["fluxd"][0] != 1 for v in answer.values())
        }
        expected = {
            number
            for number, (name, ra, dec) in enumerate(places + names)
            if (found := standards.as_setjy(name, ra, dec, standard))
            and standard in found.standards
        }
        assert known == expected, standard
