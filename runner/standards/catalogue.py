"""The flux standards of ``setjy`` and the sources that each of them knows.

Names, positions and who knows whom are CASA's own, measured by calling ``setjy`` and reading
casadata's ``nrao/VLA/standards``; a test holds this module equal to the installed CASA.

The frequencies over which a standard holds are those of its paper. CASA itself writes down
only those of Perley-Butler 2017; beyond them, as with every other standard, it returns the
value of the polynomial wherever that leads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Range = tuple[float, float]

PERLEY_BUTLER_2017: Final = "Perley-Butler 2017"
STEVENS_REYNOLDS_2016: Final = "Stevens-Reynolds 2016"
SCAIFE_HEALD_2012: Final = "Scaife-Heald 2012"
PERLEY_BUTLER_2013: Final = "Perley-Butler 2013"
PERLEY_BUTLER_2010: Final = "Perley-Butler 2010"
PERLEY_TAYLOR_99: Final = "Perley-Taylor 99"
PERLEY_TAYLOR_95: Final = "Perley-Taylor 95"
PERLEY_90: Final = "Perley 90"
BAARS: Final = "Baars"
BUTLER_2012: Final = "Butler-JPL-Horizons 2012"
BUTLER_2010: Final = "Butler-JPL-Horizons 2010"

STANDARDS: Final = (
    PERLEY_BUTLER_2017,
    STEVENS_REYNOLDS_2016,
    SCAIFE_HEALD_2012,
    PERLEY_BUTLER_2013,
    PERLEY_BUTLER_2010,
    PERLEY_TAYLOR_99,
    PERLEY_TAYLOR_95,
    PERLEY_90,
    BAARS,
    BUTLER_2012,
    BUTLER_2010,
)
"""CASA's names of the standards, those to be preferred first.

``manual`` and ``fluxscale`` are no standards: a flux density of one's own is
``calibrators.flux.fluxdensity``.
"""

PLANETARY: Final = frozenset({BUTLER_2012, BUTLER_2010})
"""The standards of the solar system: their sources move, and their models need MODEL_DATA."""


@dataclass(frozen=True)
class Calibrator:
    """A source whose flux density is known.

    Attributes
    ----------
    name : str
        Its usual name.
    aliases : tuple of str
        What ``setjy`` looks for within a field's name, which it puts into capitals first;
        an alias in small letters is therefore never found.
    ra_deg, dec_deg : float
        J2000 position in degrees; not a number for what moves.
    standards : mapping of str to (float, float)
        By CASA's name of a standard: from which to which frequency (Hz) it holds.
    images : tuple of str
        CASA's model images of it.
    size_arcsec : float
        Its largest extent, roughly, in arcseconds; 0 where that does not matter.
    """

    name: str
    aliases: tuple[str, ...]
    ra_deg: float
    dec_deg: float
    standards: Mapping[str, Range]
    images: tuple[str, ...] = ()
    size_arcsec: float = 0.0

    @property
    def moves(self) -> bool:
        """Tell whether it is a body of the solar system."""
        return math.isnan(self.ra_deg)


_ONE_TO_FIFTY: Final = (1e9, 50e9)
_OLD: Final[dict[str, Range]] = {
    # Perley & Butler 2013, ApJS 204, 19; its forerunner of 2010 for the same bands.
    PERLEY_BUTLER_2013: _ONE_TO_FIFTY,
    PERLEY_BUTLER_2010: _ONE_TO_FIFTY,
    # From VLA observations between 0.3 GHz and its highest bands.
    PERLEY_TAYLOR_99: (0.3e9, 50e9),
    PERLEY_TAYLOR_95: (0.3e9, 50e9),
    PERLEY_90: (0.3e9, 50e9),
    # Baars et al. 1977, A&A 61, 99, table 5: the secondary standards.
    BAARS: (0.4e9, 15e9),
    # Scaife & Heald 2012, MNRAS 423, L30: 30 to 300 MHz; found to hold up to 480 MHz at the VLA.
    SCAIFE_HEALD_2012: (30e6, 480e6),
}
_TAYLOR: Final = (PERLEY_TAYLOR_99, PERLEY_TAYLOR_95, PERLEY_90, BAARS)
_BANDS: Final = "PLSCXUKAQ"


def _quasar(
    name: str, ra_rad: float, dec_rad: float, ghz: Range, *aliases: str,
    old: tuple[str, ...] = (), bands: str = "", size: float = 0.0,
) -> Calibrator:  # fmt: skip
    """Return a source of Perley-Butler 2017, valid over `ghz`, that `old` standards know, too.

    Its `size` in arcseconds is that of Perley & Butler 2017 (ApJS 230, 7, table 1), rounded.
    """
    standards = {PERLEY_BUTLER_2017: (ghz[0] * 1e9, ghz[1] * 1e9)}
    standards |= {standard: _OLD[standard] for standard in old}
    return Calibrator(
        name,
        aliases,
        math.degrees(ra_rad) % 360,
        math.degrees(dec_rad),
        standards,
        tuple(f"{name}_{band}.im" for band in bands),
        size,
    )


def _third(number: int) -> tuple[str, str, str]:
    """Return how a source of the third Cambridge catalogue is written."""
    return f"3C{number}", f"3C {number}", f"3C_{number}"


def _body(name: str, low_ghz: float = 0.0, high_ghz: float = 0.0) -> Calibrator:
    """Return a body of the solar system; the range is that of its table in casadata.

    Without one it is known to the standard of 2010 alone, whose models warn or stop at the
    ends of theirs, each in its own way: there is no limit to hold anyone to.
    """
    standards: dict[str, Range] = {BUTLER_2010: (0.0, math.inf)}
    if high_ghz:
        standards = {BUTLER_2012: (low_ghz * 1e9, high_ghz * 1e9)} | standards
    return Calibrator(name, (name.upper(),), math.nan, math.nan, standards)


CALIBRATORS: Final[tuple[Calibrator, ...]] = (
    _quasar(
        "3C286", 3.539257626070549, 0.5324850225220917, (0.05, 50),
        *_third(286), "1328+307", "1331+305", "J1331+3030",
        old=(PERLEY_BUTLER_2013, PERLEY_BUTLER_2010, SCAIFE_HEALD_2012, *_TAYLOR), bands=_BANDS,
        size=3,
    ),
    _quasar(
        "3C48", 0.4262457643630985, 0.5787463318245085, (0.05, 50),
        *_third(48), "0134+329", "0137+331", "J0137+3309",
        old=(PERLEY_BUTLER_2013, PERLEY_BUTLER_2010, SCAIFE_HEALD_2012, *_TAYLOR), bands=_BANDS,
        size=1.2,
    ),
    _quasar(
        "3C147", 1.4948817765383597, 0.8700805690768509, (0.05, 50),
        *_third(147), "0538+498", "0542+498", "J0542+4951",
        old=(PERLEY_BUTLER_2013, PERLEY_BUTLER_2010, SCAIFE_HEALD_2012, *_TAYLOR), bands=_BANDS,
        size=0.9,
    ),
    _quasar(
        "3C138", 1.401346673041897, 0.2904130912582342, (0.2, 50),
        *_third(138), "0518+165", "0521+166", "J0521+1638",
        old=(PERLEY_BUTLER_2013, PERLEY_BUTLER_2010, *_TAYLOR), bands=_BANDS, size=0.7,
    ),
    Calibrator(
        "1934-638",
        ("1934-638", "J1939-6342"),
        math.degrees(5.146176021557448),
        math.degrees(-1.1119977478136984),
        {
            # Reynolds 1994 (ATNF memo 39.3/040) up to 10 GHz; above, Partridge et al. 2016
            # (ApJ 821, 61) in the first, the ATCA's models of 12 mm in the next two.
            STEVENS_REYNOLDS_2016: (0.4e9, 100e9),
            PERLEY_BUTLER_2010: (0.4e9, 25e9),
            PERLEY_TAYLOR_99: (0.4e9, 25e9),
            PERLEY_TAYLOR_95: (0.4e9, 10e9),
            PERLEY_90: (0.4e9, 10e9),
            BAARS: (0.4e9, 10e9),
        },
    ),
    _quasar(
        "3C295", 3.7146787856873478, 0.9111103509091509, (0.05, 50),
        *_third(295), "1409+524", "1411+522", "J1411+5212",
        old=(PERLEY_BUTLER_2013, PERLEY_BUTLER_2010, SCAIFE_HEALD_2012, *_TAYLOR), bands="P",
        size=5,
    ),
    _quasar(
        "3C196", 2.1537362969610023, 0.8415541320803659, (0.05, 50),
        *_third(196), "0809+483", "0813+482", "J0813+4813",
        old=(PERLEY_BUTLER_2013, PERLEY_BUTLER_2010, SCAIFE_HEALD_2012), bands="P", size=7,
    ),
    _quasar(
        "3C123", 1.2089586878736391, 0.51784800786636209, (0.05, 50),
        *_third(123), "0433+295", "0437+296", "J0437+2940",
        old=(PERLEY_BUTLER_2013,), bands="P", size=44,
    ),
    _quasar(
        "3C380", 4.84123669, 0.85078092, (0.05, 4),
        *_third(380), "1828+487", "1829+487", "J1829+4845",
        old=(SCAIFE_HEALD_2012,), bands="P", size=20,
    ),
    _quasar(
        "J0133-3629", 0.40998511349868466, -0.636928821694464, (0.2, 4), "J0133-3629", size=870,
    ),
    _quasar(
        "Fornax A", 0.8844302540951193, -0.649405598740554, (0.2, 0.5),
        "FORNAX_A", "FORNAX A", "FOR-A", "FOR A", "ForA", "J0322-3712", size=3100,
    ),
    _quasar(
        "J0444-2809", 1.2419253902826484, -0.49157683196101404, (0.2, 2), "J0444-2809", size=120,
    ),
    _quasar(
        "Pictor A", 1.3955160370653494, -0.7989916117952379, (0.2, 4),
        "PICTOR_A", "PICTOR A", "PIC-A", "PIC A", "PicA", "J0519-4546", size=500,
    ),
    _quasar(
        "Taurus A", 1.4596748494230258, 0.3842250233666105, (0.05, 4),
        "TAURUS_A", "TAURUS A", "TAU-A", "TAU A", "TauA", "J0534+2200", *_third(144), "CRAB",
        size=420,
    ),
    _quasar(
        "Hydra A", 2.4351465533014114, -0.21110704143990625, (0.05, 12),
        "HYDRA_A", "HYDRA A", "HYA-A", "HYA A", "HyaA", "J0918-1205", *_third(218), size=480,
    ),
    _quasar(
        "Virgo A", -3.0070987886171765, 0.2162659001873615, (0.05, 3),
        "VIRGO_A", "VIRGO A", "VIR-A", "VIR A", "VirA", "J1230+1223", *_third(274), "M87", size=840,
    ),
    _quasar(
        "Hercules A", -1.871273156204919, 0.08713711430959646, (0.2, 12),
        "HERCULES_A", "HERCULES A", "HER-A", "HER A", "HerA", "J1651+0459", *_third(348), size=190,
    ),
    _quasar(
        "3C353", -1.7432823443920011, -0.017099960309150668, (0.2, 4),
        *_third(353), "J1720-0059", size=320,
    ),
    _quasar(
        "Cygnus A", -1.0494987241821205, 0.7109409485219165, (0.05, 12),
        "CYGNUS_A", "CYGNUS A", "CYG-A", "CYG A", "CygA", "J1959+4044", *_third(405), size=120,
    ),
    _quasar(
        "3C444", -0.46063951349110815, -0.2971727999325764, (0.2, 12),
        *_third(444), "J2214-1701", size=120,
    ),
    _quasar(
        "Cassiopeia A", -0.15969762655748126, 1.0265153995604648, (0.2, 4),
        "CASSIOPEIA_A", "CASSIOPEIA A", "CAS-A", "CAS A", "CasA", "J2323+5848", *_third(461),
        size=300,
    ),
    _body("Venus", 30, 1000),
    _body("Mars", 30, 1000),
    _body("Jupiter", 29.98, 1019.29),
    _body("Uranus", 60, 1798.8),
    _body("Neptune", 2, 2001),
    _body("Io", 4, 31963.03),
    _body("Europa", 4, 31963.03),
    _body("Ganymede", 4, 31963.03),
    _body("Callisto", 4, 31963.03),
    _body("Titan", 53.2869651, 1024.09751),
    _body("Ceres", 30, 1000),
    _body("Juno", 4, 2000),
    _body("Pallas", 30, 1000),
    _body("Vesta", 30, 1000),
    _body("Pluto"),
    _body("Triton"),
    _body("Victoria"),
    _body("Davida"),
)  # fmt: skip
"""All sources that some standard knows: those of the sky, then those of the solar system."""
