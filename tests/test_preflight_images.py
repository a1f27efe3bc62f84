"""Images and continuum subtraction held against metadata: what is refused, warned of, let pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from casarun.observation import Field, Observation, SpectralWindow
from casarun.preflight import images
from casarun.recipe import regions
from casarun.recipe.model import Contsub, Dataset, Image, Recipe, Targets
from casarun.stages import roles
from casarun.stages.draft import Draft, Subject
from casarun.stages.picture import Picture, pictures
from support.observations import antennas, spw, vla

# 64 channels of 25 kHz about 1.4 GHz, baselines of up to 1 km: lambda/B is 44.1 arcsec; the
# dishes of 25 m have a primary beam of 33.3 arcmin.
REST = 1420.405752e6


def observed(*windows: SpectralWindow, **more: Any) -> Observation:
    made = vla(spws=windows)
    fields = tuple(field for field in made.fields if field.name == "N5921")
    scans = tuple(scan for scan in made.scans if 2 in scan.field_ids)
    return replace(made, fields=fields, scans=scans, **more)


def held(
    image: Image, observation: Observation | None = None, contsub: Contsub | None = None
) -> tuple[Draft, list[Picture]]:
    dataset = Dataset(vis="/data/day1.ms", name="day1", calibrated=True)
    recipe = Recipe(
        casarun=1, dataset=(dataset,), image=(image,), contsub=contsub,
        targets=Targets(fields=("N5921",)),
    )  # fmt: skip
    draft = Draft(recipe)
    observation = observation or observed(spw(0))
    subject = Subject(dataset, 0, observation, roles.resolve(draft, dataset, observation))
    made = pictures(draft, [subject])
    images.check(draft, [subject], made)
    return draft, made


def said(
    image: Image, observation: Observation | None = None, contsub: Contsub | None = None
) -> list[tuple[str, str, str]]:
    """Return severity, key and message of all that is said."""
    draft, _ = held(image, observation, contsub)
    return [
        (problem.severity, ".".join(map(str, problem.key[2:])) or problem.key[-1], problem.message)
        for problem in (*draft.problems, *draft.warnings)
    ]


def cube(**more: Any) -> Image:
    return Image(name="line", **{"specmode": "cube", "restfreq": "1420.405752MHz", **more})


def test_what_is_left_to_casarun_is_never_complained_of() -> None:
    for image in (
        Image(name="c"), Image(name="c", deconvolver="auto", nterms="auto"), cube(moments=(0, 1)),
        Image(name="c", deconvolver="mtmfs", nterms="auto"), Image(name="c", niter=0),
    ):  # fmt: skip
        for observation in (
            observed(spw(0)),
            observed(spw(0), spw(1, centre_hz=1.4016e9)),
            observed(spw(0, n_chan=1)),
        ):
            assert said(image, observation) == []
        millimetre = replace(image, restfreq="230.538GHz") if image.specmode == "cube" else image
        band = spw(0, centre_hz=230e9, width_hz=1e6)
        assert said(millimetre, observed(band, longest_baseline_m=1e4)) == []


# -- pixels and the field of view


@pytest.mark.parametrize("cell", ["6arcsec", "10arcsec", "14arcsec"])
def test_a_pixel_that_samples_the_beam(cell: str) -> None:
    assert said(Image(name="c", cell=cell)) == []


def test_a_pixel_larger_than_the_beam() -> None:
    assert said(Image(name="c", cell="2arcmin")) == [
        (
            "error", "cell",
            "pixels of 120 arcsec cannot sample the synthesized beam of N5921: lambda/B is 44.1 "
            "arcsec (longest baseline 1000 m, 1400.8 MHz), and a beam takes at least 3 pixels; "
            'cell = "auto" takes 10arcsec',
        )
    ]  # fmt: skip


def test_a_pixel_that_undersamples() -> None:
    assert said(Image(name="c", cell="25arcsec")) == [
        (
            "warning", "cell",
            "pixels of 25 arcsec leave fewer than 3 across the synthesized beam of N5921: lambda/B "
            "is 44.1 arcsec (longest baseline 1000 m, 1400.8 MHz); "
            'cell = "auto" takes 10arcsec',
        )
    ]  # fmt: skip
    assert said(Image(name="c", cell="25arcsec", weighting="natural")) == []
    assert said(Image(name="c", cell="25arcsec", tclean={"uvtaper": ["2arcmin"]})) == []


def test_a_pixel_that_wastes() -> None:
    ((severity, key, message),) = said(Image(name="c", cell="1arcsec"))
    assert (severity, key) == ("warning", "cell")
    assert message.startswith("pixels of 1 arcsec are more than 8 across the synthesized beam")


def test_an_image_of_less_than_half_the_primary_beam() -> None:
    assert said(Image(name="c", cell="10arcsec", imsize=96)) == [
        (
            "warning", "imsize",
            "the image of N5921 covers 16 of the 33.3 arcmin of the primary beam (full width at "
            "half maximum, 1399.2 MHz): sources outside are not cleaned, and their sidelobes stay; "
            "imsize = 200 covers it",
        )
    ]  # fmt: skip
    # Half of it is enough, and at high frequencies there is nothing out there.
    assert said(Image(name="c", cell="10arcsec", imsize=108)) == []
    high = observed(spw(0, centre_hz=8e9))
    assert said(Image(name="c", cell="2arcsec", imsize=96), high) == []


def test_a_side_that_is_slow_to_transform() -> None:
    assert said(Image(name="c", cell="10arcsec", imsize=(1018, 1000))) == [
        (
            "warning", "imsize",
            "1018 pixels are slow to transform: the number has the prime factor 509; 1024 is quick",
        )
    ]  # fmt: skip
    assert said(Image(name="c", cell="10arcsec", imsize=490)) == []


# -- Stokes planes, Taylor terms


def test_stokes_planes_that_the_correlations_cannot_give() -> None:
    assert said(Image(name="c", stokes="IQUV")) == [
        (
            "error", "stokes",
            "stokes = 'IQUV' needs the correlations LL, LR, RL, RR; spw 0 of dataset day1 has LL, "
            "RR: tclean would make blank planes",
        )
    ]  # fmt: skip
    linear = observed(replace(spw(0), correlations=("XX", "YY")))
    assert said(Image(name="c", stokes="Q"), linear) == []
    assert [key for _, key, _ in said(Image(name="c", stokes="V"), linear)] == ["stokes"]
    assert [key for _, key, _ in said(Image(name="c", stokes="RR"), linear)] == ["stokes"]


@pytest.mark.parametrize("stokes", ["I", "V", "IV", "RR", "LL", "RRLL", "pseudoI"])
def test_stokes_planes_that_two_hands_give(stokes: Any) -> None:
    assert said(Image(name="c", stokes=stokes)) == []


def test_taylor_terms_in_a_narrow_band() -> None:
    image = Image(name="c", deconvolver="mtmfs", nterms=2)
    assert said(image) == [
        (
            "warning", "nterms",
            "the band of N5921 is 1.6 MHz wide, 0.11 % of its frequency: 2 Taylor terms find noise "
            'in it, not spectra; deconvolver = "auto" or nterms = 1',
        )
    ]  # fmt: skip
    assert said(image, observed(spw(0, width_hz=1e6))) == []


# -- pointings and centres


def mosaic() -> Observation:
    made = observed(spw(0))
    (field,) = made.fields
    second = replace(field, id=3, dec_deg=field.dec_deg + 0.25)
    scans = (*made.scans, replace(made.scans[0], number=9, field_ids=(3,)))
    return replace(made, fields=(field, second), scans=scans)


def test_pointings_of_one_name_become_a_mosaic() -> None:
    draft, (picture,) = held(Image(name="c"), mosaic())
    assert draft.warnings == []
    assert picture.gridder == "mosaic"
    assert picture.image.tclean["phasecenter"] == "J2000 230.5000000deg 5.1917000deg"
    # Two primary beams of 33.3 arcmin and 15 between the pointings, in pixels of 10 arcsec.
    assert picture.sides == (500, 500)


def test_pointings_that_are_gridded_as_one() -> None:
    assert said(Image(name="c", gridder="standard"), mosaic()) == [
        (
            "warning", "gridder",
            "2 pointings of N5921 are up to 15 arcmin apart (primary beam: 33.3 arcmin): gridder = "
            "'standard' takes them for one; gridder = \"auto\" makes a mosaic",
        )
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("centre", "message"),
    [
        (7, "the MS of N5921 has no field 7: its fields are numbered anew, 0 (N5921)"),
        ("J2000 15h22m00s", "'J2000 15h22m00s' is no direction: expected a frame, a right "
         'ascension and a declination, "J2000 19h30m00s -40d00m00s"'),
        ("J2000 15h22m00s north", "'J2000 15h22m00s north' is no direction: 15h22m00s and north "
         'are to be written "19h30m00s -40d00m00s" or "292.5deg -40deg"'),
        ("J2000 15h22m00s +45d00m00s", "the phase centre is 2396 arcmin from N5921: the image, "
         "94.3 arcmin across its corners, is outside of the primary beam (33.3 arcmin)"),
    ],
)  # fmt: skip
def test_a_phase_centre_that_is_no_place(centre: Any, message: str) -> None:
    found = said(Image(name="c", tclean={"phasecenter": centre}))
    assert [(key, text) for _, key, text in found] == [("tclean.phasecenter", message)]


@pytest.mark.parametrize(
    "centre", ["", 0, "0", "J2000 15h22m00s +05d04m00s", "J2000 230.5deg 5.07deg", "MOON",
               "ICRS 15:22:00 005.04.00", "TRACKFIELD"],
)  # fmt: skip
def test_a_phase_centre(centre: Any) -> None:
    assert said(Image(name="c", tclean={"phasecenter": centre})) == []


def test_a_taper() -> None:
    for good in (["10klambda"], ["50arcsec", "30arcsec", "30.0deg"], ["300.0"], "5arcsec", []):
        assert said(Image(name="c", tclean={"uvtaper": good})) == []
    assert [text for *_, text in said(Image(name="c", tclean={"uvtaper": ["10klamda"]}))] == [
        "'10klamda' is no taper: a number with one of lambda, klambda, Mlambda, m, km, marcsec, "
        "mas, arcsec, arcmin, deg, rad; did you mean 'klambda'?"
    ]


# -- cubes


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"start": 5, "nchan": 46}, {"start": 0, "nchan": 64}, {"start": 63, "nchan": 1},
        {"start": 63, "nchan": 64, "width": -1}, {"start": 0, "nchan": 32, "width": 2},
        {"spw": "0:20~30", "start": 20, "nchan": 11}, {"start": "1399.5MHz", "nchan": 10},
        {"start": "1399.5MHz", "width": "50kHz", "nchan": 10}, {"width": "25kHz"},
        {"start": "4250km/s", "nchan": 20}, {"start": "4400km/s", "width": "-10km/s", "nchan": 9},
        {"start": "4300km/s", "restfreq": ""}, {"start": "1399.1MHz", "nchan": 70},
    ],
)  # fmt: skip
def test_a_cube_of_channels_that_are_there(settings: dict[str, Any]) -> None:
    window = replace(spw(0), rest_hz=(REST,))
    assert said(cube(**settings), observed(window)) == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"start": 64}, ("error", "start", "the cube would start at channel 64, which is not "
         "there: spw 0 of dataset day1 has channels 0 to 63 (channels are counted in the whole "
         "spw); CASA would make blank planes")),
        ({"spw": "0:20~30", "start": 0}, ("error", "start", "the cube would start at channel 0, "
         "which is not there: spw 0 of dataset day1 has channels 0 to 63, image.spw selects 20 to "
         "30 of them (channels are counted in the whole spw); CASA would make blank planes")),
        ({"start": 60, "nchan": 10}, ("warning", "nchan", "10 channels of 1 from 60 on end at 69: "
         "spw 0 of dataset day1 has channels 0 to 63, and the planes beyond would be blank; "
         "nchan = 4 fits")),
        ({"width": "20kHz"}, ("error", "width", "a cube's channels of 20kHz are narrower than the "
         "data's own, 25kHz: tclean fails over that (calcChanFreqs); leave width out, or write a "
         "multiple of 25kHz")),
        ({"width": "24.995kHz"}, ("warning", "width", "a cube's channels of 24.995kHz are narrower "
         "than the data's own, 25kHz: tclean fails over that (calcChanFreqs); leave width out, or "
         "write a multiple of 25kHz")),
        ({"width": "-5km/s"}, ("error", "width", "a cube's channels of -5km/s are narrower than "
         "the data's own, 5.276529km/s: tclean fails over that (calcChanFreqs); leave width out, "
         "or write a multiple of 5.276529km/s")),
        ({"start": "1200km/s", "nchan": 20}, ("error", "start", "the cube would start at "
         "1200km/s, outside of the data of N5921: they span 4138 to 4475.7 km/s, with a rest "
         "frequency of "
         "1420.406 MHz; CASA would make blank planes at the band's edge instead")),
        ({"start": "1.5GHz", "nchan": 3}, ("error", "start", "the cube would start at 1.5GHz, "
         "outside of the data of N5921: they span 1399.2 MHz to 1400.8 MHz; CASA would make blank "
         "planes at the band's edge instead")),
        ({"start": "1399.5MHz", "nchan": 200}, ("warning", "nchan", "part of the cube from "
         "1399.5MHz on is outside of the data of N5921: they span 1399.2 MHz to 1400.8 MHz; CASA "
         "would move the cube or leave planes blank; see start, nchan and width")),
    ],
)  # fmt: skip
def test_a_cube_of_channels_that_are_not(settings: dict[str, Any], expected: Any) -> None:
    assert said(cube(**settings)) == [expected]


@pytest.mark.parametrize(
    ("settings", "keys", "words"),
    [
        ({"moments": (0, 1)}, "moments", "moments"),
        ({"start": "100km/s", "width": "9km/s"}, "start", "start, width"),
    ],
)
def test_velocities_without_a_rest_frequency(
    settings: dict[str, Any], keys: str, words: str
) -> None:
    assert said(cube(restfreq="auto", **settings)) == [
        (
            "warning", keys,
            f"velocities ({words}) need a rest frequency, and neither the recipe nor the data of "
            "N5921 give one: CASA takes the band's centre, 1400 MHz, for it; set restfreq",
        )
    ]  # fmt: skip


def test_the_integrated_intensity_alone_needs_no_rest_frequency() -> None:
    assert said(cube(restfreq="auto", moments=(0,))) == []


def test_a_cube_over_a_gap() -> None:
    windows = (spw(0), spw(1, centre_hz=1.5e9))
    assert said(cube(restfreq="1500MHz"), observed(*windows)) == [
        (
            "warning", "spw",
            "the cube takes spws 0, 1 of N5921, between which nothing was observed from 1400.8 MHz "
            "to 1499.2 MHz: its planes there would be blank; choose one with image.spw",
        )
    ]  # fmt: skip
    assert said(cube(spw="1", restfreq="1500MHz"), observed(*windows)) == []


@pytest.mark.parametrize(
    ("restfreq", "said_as", "redshift"),
    [("115.271GHz", "115.271 GHz", "81.3"), ("1.3GHz", "1300 MHz", "-0.0714")],
)
def test_a_rest_frequency_far_from_the_band(restfreq: str, said_as: str, redshift: str) -> None:
    assert said(cube(restfreq="1.401GHz")) == said(cube(restfreq="15.4GHz")) == []
    assert said(cube(restfreq=restfreq)) == [
        (
            "warning", "restfreq",
            f"restfreq is {said_as}, the data of N5921 are at 1400 MHz: a line would have the "
            f"redshift {redshift}, and velocities would mean nothing; correct it",
        )
    ]  # fmt: skip


# -- continuum subtraction


def test_channels_for_a_polynomial() -> None:
    image = cube(source="contsub", start=5, nchan=46)
    assert said(image, contsub=Contsub(fitspec="0:4~6;50~59")) == []
    assert said(image, contsub=Contsub(fitspec="")) == []  # the recipe's rules say that already
    assert said(image, contsub=Contsub(fitspec="0:4~5", fitorder=2)) == [
        (
            "error", "fitorder",
            "fitorder = 2 needs at least 3 channels without lines; fitspec selects 2 of the 64 of "
            "spw 0 of dataset day1",
        )
    ]  # fmt: skip
    assert said(image, contsub=Contsub(fitspec="0")) == [
        (
            "warning", "fitspec",
            "fitspec selects all channels of spw 0 of dataset day1: a line in them is taken for "
            "continuum and subtracted; leave the line's channels out, as in \"0:4~6;50~59\"",
        )
    ]  # fmt: skip


def test_windows_beside_each_other() -> None:
    both = observed(spw(0), spw(1, centre_hz=1.4016e9))
    # A whole window without lines may be fitted, and a cube goes on in the next window.
    image = cube(source="contsub", start=30, nchan=80)
    assert said(image, both, Contsub(fitspec="0,1:0~20;40~63")) == []
    assert [key for _, key, _ in said(image, both, Contsub(fitspec="0,1"))] == ["fitspec"]


def test_a_line_that_is_fitted() -> None:
    image = cube(source="contsub", start=20, nchan=12)
    assert said(image, contsub=Contsub(fitspec="0:18~40")) == [
        (
            "warning", "start",
            "the middle of the cube 'line', channels 23 to 28 of spw 0, is all in contsub.fitspec: "
            "a line there is taken for continuum and subtracted; fitspec is to hold the channels "
            "without the line",
        )
    ]  # fmt: skip
    assert said(image, contsub=Contsub(fitspec="0:0~20;30~63")) == []
    assert said(cube(start=20, nchan=12), contsub=Contsub(fitspec="0:18~40")) == []


# -- masks


def masked(tmp_path: Path, text: str, name: str = "m.crtf", **more: Any) -> list[str]:
    path = tmp_path / name
    path.write_text(text)
    image = Image(name="c", mask=str(path), cell="10arcsec", imsize=400, **more)
    return [message.replace(str(tmp_path), "") for _, _, message in said(image)]


@pytest.mark.parametrize(
    "region",
    [
        "circle[[15h22m00.0s, +05d04m00.0s], 90arcsec] coord=J2000",
        "circle [[230.5deg, 5.1deg], 0.1deg]",
        "box[[15:21:00, +05.00.00], [15:23:00, +05.08.00]], coord=J2000, color=red",
        "poly[[230.4deg, 5deg], [230.6deg, 5deg], [230.5deg, 5.2deg]]",
        "ellipse[[15h22m00s, +05d04m00s], [2arcmin, 1arcmin], 30deg]",
        "centerbox[[200pix, 200pix], [50pix, 50pix]]",
        "rotbox[[15h22m00s, +05d04m00s], [2arcmin, 1arcmin], 30deg]",
        "annulus[[15h22m00s, +05d04m00s], [1arcmin, 2arcmin]]",
        # Its centre is off the image, its edge is not.
        "circle[[15h22m00.0s, +06d00m00.0s], 30arcmin]",
        # In a frame of its own: casarun does not say.
        "circle[[120deg, 45deg], 1deg] coord=GALACTIC",
        "global coord=B1950\ncircle[[120deg, 45deg], 1deg]",
        "circle[[15h22m00s, 05:04:00], 1arcmin]",
        "-circle[[10deg, 45deg], 1deg]\n+circle[[230.5deg, 5.1deg], 0.1deg]\n"
        "ann text[[230.5deg, 5.1deg], 'hello']",
        # One of several targets' regions is enough.
        "circle[[10deg, 45deg], 1deg]\ncircle[[230.5deg, 5.1deg], 0.1deg]",
    ],
)
def test_a_mask_on_the_image(tmp_path: Path, region: str) -> None:
    assert masked(tmp_path, f"#CRTFv0 CASA Region Text Format version 0\n{region}\n") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#CRTFv0\ncircle[[15h22m00.0s, +25d04m00.0s], 90arcsec]\n",
         "no region of m.crtf falls on the image of N5921: the nearest is 1176 arcmin from its "
         "centre, and the image reaches 33.3 arcmin; check the region's coordinates, imsize and "
         "cell"),
        ("#CRTFv0\nsymbol[[15h22m00.0s, +05d04m00.0s], .]\n",
         "m.crtf has no region with an area: tclean would take it for an empty mask, and not "
         "clean"),
        ("circle[[15h22m00.0s, +05d04m00.0s], 90arcsec]\n",
         "/m.crtf is no CRTF region file: its first line does not begin with #CRTFv0; save the "
         "region in CASA's format, or as a DS9 region file whose name ends with .reg"),
        ("# Region file format: DS9 version 4.1\nfk5\ncircle(230.5,5.0,90\")\n",
         "/m.crtf is no CRTF region file: its first line does not begin with #CRTFv0; save the "
         "region in CASA's format, or as a DS9 region file whose name ends with .reg"),
        ("SIMPLE  =                    T", "/m.crtf is a FITS image: tclean takes CASA images; "
         "make one with importfits, or a region file (.crtf)"),
        ("#CRTFv0\ncircle(230.5,5.0,90\")\n",
         "m.crtf: line 2 is no CRTF region: circle(230.5,5.0,90\")"),
    ],
)  # fmt: skip
def test_a_mask_that_is_none(tmp_path: Path, text: str, message: str) -> None:
    assert masked(tmp_path, text) == [message]


@pytest.mark.parametrize(
    "region",
    [
        'fk5\ncircle(15:22:00.0,+5:04:00.0,90")',
        'icrs; box(230.5,5.1,0.1,0.1,20)\n-circle(10,45,1)',
        "image\npolygon(180,180,220,180,220,220)",
        'fk5\ncircle(15:22:00.0,+6:00:00.0,30\')',
        # In a frame of its own: the step will tell.
        "galactic\ncircle(120,45,1)",
        "fk5; point(230.5,5.1)",
    ],
)  # fmt: skip
def test_a_ds9_mask_on_the_image(tmp_path: Path, region: str) -> None:
    assert masked(tmp_path, f"# Region file format: DS9 version 4.1\n{region}\n", "m.reg") == []


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ('fk5\ncircle(15:22:00.0,+25:04:00.0,90")\n',
         ["no region of m.reg falls on the image of N5921: the nearest is 1176 arcmin from its "
          "centre, and the image reaches 33.3 arcmin; check the region's coordinates, imsize and "
          "cell"]),
        ("image\ncircle(700,200,20)\n",
         ["no region of m.reg falls on the image of N5921: the nearest is 83.17 arcmin from its "
          "centre, and the image reaches 33.3 arcmin; check the region's coordinates, imsize and "
          "cell"]),
        ("fk5\n# text(230.5,5.1) text={NGC 5921}\nline(230.5,5.1,230.6,5.1) # line=0 0\n",
         ["m.reg has no region: nothing would be cleaned"]),
        ("image\n-circle(200,200,20)\n",
         ["m.reg only takes away: all the rest of the image is cleaned"]),
        ("fk5\ncircle(230.5,5.1)\n\npanda(230.5,5.1,0,90,1,0,100\",1)\n",
         ["m.reg: line 2: a circle of 0 sizes",
          "m.reg: line 4: 'panda' cannot be used: draw its outline as a polygon"]),
    ],
)  # fmt: skip
def test_a_ds9_mask_that_is_none(tmp_path: Path, text: str, messages: list[str]) -> None:
    assert masked(tmp_path, text, "m.reg") == messages


def test_a_mask_image(tmp_path: Path) -> None:
    folder = tmp_path / "m.image"
    folder.mkdir()
    image = Image(name="c", mask=str(folder))
    assert [text for *_, text in said(image)] == [
        f"{folder} is a folder, and no CASA image: it has no table.dat"
    ]
    (folder / "table.dat").touch()
    assert said(image) == []


def test_regions_are_read() -> None:
    (area,) = regions.regions(
        "#CRTFv0\ncircle[[15h00m00.0s, -00d30m00.0s], 90arcsec] coord=J2000\n"
    )
    assert area.centre == pytest.approx((225.0, -0.5))
    assert area.reach == pytest.approx(90 / 3600)
    (area,) = regions.regions("poly[[359deg, 1deg], [1deg, 1deg], [0deg, 4deg]]")
    assert area.centre[0] % 360 == pytest.approx(0.0, abs=1e-9)
    assert area.centre[1] == pytest.approx(2.0)


# -- what is decided for a picture


def decided(image: Image, observation: Observation) -> tuple[Picture, dict[str, Any]]:
    draft, (picture,) = held(image, observation)
    return picture, {auto.key: auto.value for auto in draft.autos}


def test_a_selection_of_channels_narrows_what_is_chosen() -> None:
    whole, _ = decided(Image(name="c"), observed(spw(0), spw(1, centre_hz=2.8e9)))
    part, _ = decided(Image(name="c", spw="0"), observed(spw(0), spw(1, centre_hz=2.8e9)))
    assert (whole.image.cell, part.image.cell) == ("5arcsec", "10arcsec")


def test_the_data_give_the_rest_frequency() -> None:
    window = replace(spw(0), rest_hz=(REST,))
    picture, autos = decided(cube(restfreq="auto"), observed(window))
    assert picture.image.restfreq == autos["image.restfreq"] == "1420.405752MHz"


def test_a_wide_field_takes_w_projection() -> None:
    far = observed(spw(0), longest_baseline_m=3.6e4)
    picture, autos = decided(Image(name="c"), far)
    assert autos["image.gridder"] == "wproject"
    assert picture.image.tclean["wprojplanes"] == -1
    given, autos = decided(Image(name="c", tclean={"gridder": "standard"}), far)
    assert given.gridder == "standard"
    assert "image.gridder" not in autos
    assert "wprojplanes" not in given.image.tclean
    narrow, _ = decided(Image(name="c", imsize=512, cell="0.3arcsec"), far)
    assert narrow.gridder == "standard"


def test_dishes_of_two_sizes_take_a_mosaic() -> None:
    mixed = (*antennas(10.0, 20.0), *antennas(30.0, 40.0, diameter_m=12.0))
    picture, _ = decided(Image(name="c"), observed(spw(0), antennas=mixed))
    assert picture.gridder == "mosaic"
    assert picture.diameter_m == 12.0


def test_a_wide_band_takes_taylor_terms() -> None:
    wide = observed(spw(0, width_hz=8e6))
    picture, autos = decided(Image(name="c", deconvolver="auto", nterms="auto"), wide)
    assert (autos["image.deconvolver"], autos["image.nterms"]) == ("mtmfs", 2)
    assert picture.first == ".tt0"
    assert picture.image.scales == (0,)
    narrow, autos = decided(Image(name="c", deconvolver="auto", nterms="auto"), observed(spw(0)))
    assert autos["image.deconvolver"] == narrow.image.deconvolver == "hogbom"
    assert "image.nterms" not in autos


def test_epochs_of_one_source_are_no_mosaic() -> None:
    made = observed(spw(0))
    moved = replace(made.fields[0], id=3, ra_deg=made.fields[0].ra_deg + 1 / 3600)
    scans = (*made.scans, replace(made.scans[0], number=9, field_ids=(3,)))
    both: Sequence[Field] = (made.fields[0], moved)
    picture, _ = decided(Image(name="c"), replace(made, fields=tuple(both), scans=scans))
    assert picture.gridder == "standard"
    assert "phasecenter" not in picture.image.tclean
    assert math.isclose(picture.edges_hz[0], 1.3992e9)
