"""Whether a cube's channels exist, and whether the continuum subtraction leaves a line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .. import selection
from ..heuristics import SPEED_OF_LIGHT
from ..quantities import human_frequency, parse, split
from ..stages.draft import Draft, Subject
from ..stages.picture import Band, Picture

FRAMES_DIFFER: Final = 4e-4
"""What a change of frame may do to a frequency: 120 km/s, the Earth's and the Sun's motion."""

_ROUNDING: Final = 1e-6

_NEAREST_SHIFT: Final = 0.98
_FARTHEST_SHIFT: Final = 13.0
"""Rest over observed frequency of what may be seen: nothing comes at us at 6000 km/s, and no
line is known from beyond redshift 12 or so."""


def check(draft: Draft, picture: Picture) -> None:
    """Hold a cube's channels against the data.

    CASA makes blank planes of channels that do not exist, and where it finds none of them it
    starts the cube at an edge of the band instead, without a word.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    picture : Picture
        A cube, with every ``auto`` decided.
    """
    _apart(draft, picture)
    _width(draft, picture)
    rest = _rest_hz(draft, picture)
    if isinstance(picture.image.start, int):
        _channels(draft, picture)
    elif picture.image.start:
        _placed(draft, picture, rest)


def _rest_hz(draft: Draft, picture: Picture) -> float:
    """Return the rest frequency; 0 where nothing gives one, with a warning if it matters."""
    image = picture.image
    if image.restfreq:
        rest = parse(image.restfreq, "frequency")
        _believable(draft, picture, rest)
        return rest
    known = sorted({hertz for band in picture.bands for hertz in band.spw.rest_hz if hertz > 0})
    if known:
        return known[0]
    low, high = picture.edges_hz
    needs = [
        what
        for what, here in (
            ("start", _is_velocity(image.start)),
            ("width", _is_velocity(image.width)),
            ("moments", bool({1, 2} & set(image.moments))),
        )
        if here
    ]
    if needs:
        draft.warn(
            f"velocities ({', '.join(needs)}) need a rest frequency, and neither the recipe nor "
            f"the data of {picture.target} give one: CASA takes the band's centre, "
            f"{human_frequency(0.5 * (low + high))}, for it; set restfreq",
            picture.key(needs[0]),
        )
    return 0.0


def _believable(draft: Draft, picture: Picture, rest_hz: float) -> None:
    """Warn of a rest frequency that no line in the band can have."""
    low, high = picture.edges_hz
    if _NEAREST_SHIFT * low <= rest_hz <= _FARTHEST_SHIFT * high:
        return
    draft.warn(
        f"restfreq is {human_frequency(rest_hz)}, the data of {picture.target} are at "
        f"{human_frequency(0.5 * (low + high))}: a line would have the redshift "
        f"{rest_hz / (0.5 * (low + high)) - 1:.3g}, and velocities would mean nothing; correct it",
        picture.key("restfreq"),
    )


def _is_velocity(value: object) -> bool:
    return isinstance(value, str) and value.strip().endswith("m/s")


def _channels(draft: Draft, picture: Picture) -> None:
    """Hold a first channel and a number of them against the channels of the data."""
    image, band = picture.image, picture.bands[0]
    if len({other.spw.id for other in picture.bands}) > 1:
        return  # the channels go on in the next window
    start, last = int(image.start), band.spw.n_chan - 1
    step = int(image.width) if isinstance(image.width, int) and image.width else 1
    where = f"spw {band.spw.id} of dataset {band.subject.name} has channels 0 to {last}"
    if image.spw:
        where += f", image.spw selects {band.channels[0]} to {band.channels[-1]} of them"
    if not 0 <= start <= last or not band.channels[0] <= start <= band.channels[-1]:
        draft.problem(
            f"the cube would start at channel {start}, which is not there: {where} (channels are "
            "counted in the whole spw); CASA would make blank planes",
            picture.key("start"),
            dataset=band.subject.name,
        )
        return
    if image.nchan > 0 and isinstance(image.width, int | str) and not _unit(image.width):
        end = start + image.nchan * step - (1 if step > 0 else -1)
        room = (band.channels[-1] - start + 1) if step > 0 else start - band.channels[0] + 1
        if not band.channels[0] <= end <= band.channels[-1]:
            draft.warn(
                f"{image.nchan} channels of {abs(step)} from {start} on end at {end}: {where}, and "
                f"the planes beyond would be blank; nchan = {max(1, room // abs(step))} fits",
                picture.key("nchan"),
                dataset=band.subject.name,
            )


def _unit(value: object) -> str:
    return split(value)[1] if isinstance(value, str) and value else ""


def _native_hz(picture: Picture) -> float:
    return min(abs(band.spw.chan_width_hz) for band in picture.bands)


def _width(draft: Draft, picture: Picture) -> None:
    """Refuse a channel narrower than the data's own: CASA fails over it (calcChanFreqs)."""
    width, native = picture.image.width, _native_hz(picture)
    if not isinstance(width, str) or not width:
        return
    rest = _velocity_scale(picture)
    if _is_velocity(width):
        if not rest:
            return
        hertz = abs(parse(width, "velocity")) / SPEED_OF_LIGHT * rest
        own = f"{native / rest * SPEED_OF_LIGHT / 1e3:.7g}km/s"
    else:
        hertz, own = abs(parse(width, "frequency")), f"{native / 1e3:.7g}kHz"
    ratio = hertz / native
    if ratio >= 1 - _ROUNDING:
        return
    message = (
        f"a cube's channels of {width} are narrower than the data's own, {own}: tclean fails over "
        f"that (calcChanFreqs); leave width out, or write a multiple of {own}"
    )
    if ratio < 1 - FRAMES_DIFFER:
        draft.problem(message, picture.key("width"))
    else:
        draft.warn(message, picture.key("width"))


def _velocity_scale(picture: Picture) -> float:
    if picture.image.restfreq:
        return parse(picture.image.restfreq, "frequency")
    known = sorted({hertz for band in picture.bands for hertz in band.spw.rest_hz if hertz > 0})
    return known[0] if known else 0.0


def _placed(draft: Draft, picture: Picture, rest_hz: float) -> None:
    """Hold a start in frequency or velocity against the band, whatever the frames."""
    image, (low, high) = picture.image, picture.edges_hz
    start = str(image.start)
    if _is_velocity(start):
        if not rest_hz:
            return
        hertz = _of_velocity(picture, parse(start, "velocity"), rest_hz)
        inside = (
            f"{_velocity(picture, high, rest_hz):.5g} to {_velocity(picture, low, rest_hz):.5g} "
            f"km/s, with a rest frequency of {human_frequency(rest_hz)}"
        )
    else:
        hertz = parse(start, "frequency")
        inside = f"{human_frequency(low)} to {human_frequency(high)}"
    margin = FRAMES_DIFFER * high
    step = _step_hz(picture, rest_hz)
    end = hertz + step * (image.nchan if image.nchan > 0 else 0)
    if image.nchan <= 0 and step:
        end = high if step > 0 else low
    first, last = min(hertz, end), max(hertz, end)
    if last < low - margin or first > high + margin:
        draft.problem(
            f"the cube would start at {start}, outside of the data of {picture.target}: they span "
            f"{inside}; CASA would make blank planes at the band's edge instead",
            picture.key("start"),
        )
        return
    happens = (
        "CASA would move the cube or leave planes blank"
        if image.nchan > 0
        else "CASA would start it at the band's edge"
    )
    if first < low - margin - abs(step) or last > high + margin + abs(step):
        draft.warn(
            f"part of the cube from {start} on is outside of the data of {picture.target}: they "
            f"span {inside}; {happens}; see start, nchan and width",
            picture.key("nchan" if image.nchan > 0 else "start"),
        )


def step_hz(picture: Picture) -> float:
    """Return the step from channel to channel of a cube in Hz, with its sign."""
    return _step_hz(picture, _velocity_scale(picture))


def _step_hz(picture: Picture, rest_hz: float) -> float:
    """Return the step from channel to channel in Hz, with its sign.

    Velocities fall with rising frequency: where the start is one, so does CASA's frequency.
    """
    width, native = picture.image.width, _native_hz(picture)
    falling = -1.0 if _is_velocity(picture.image.start) else 1.0
    if isinstance(width, int):
        return native * (width or 1) * falling
    if _is_velocity(width):
        return -parse(width, "velocity") / SPEED_OF_LIGHT * rest_hz
    if width:
        return parse(width, "frequency")
    return native * falling


def _optical(picture: Picture) -> bool:
    return str(picture.image.tclean.get("veltype", "radio")) == "optical"


def _velocity(picture: Picture, hertz: float, rest_hz: float) -> float:
    """Return a velocity in km/s, radio or optical convention."""
    shift = rest_hz / hertz - 1 if _optical(picture) else 1 - hertz / rest_hz
    return SPEED_OF_LIGHT * shift / 1e3


def _of_velocity(picture: Picture, velocity_m_s: float, rest_hz: float) -> float:
    shift = velocity_m_s / SPEED_OF_LIGHT
    return rest_hz / (1 + shift) if _optical(picture) else rest_hz * (1 - shift)


def _apart(draft: Draft, picture: Picture) -> None:
    """Warn of windows with a gap between them: the cube's planes there would be blank."""
    edges = sorted(band.edges_hz for band in picture.bands)
    reached, gap, where = edges[0][1], 0.0, (0.0, 0.0)
    for low, high in edges[1:]:
        if low - reached > gap:
            gap, where = low - reached, (reached, low)
        reached = max(reached, high)
    width = max(abs(band.spw.chan_width_hz) for band in picture.bands)
    if gap > 2 * width + FRAMES_DIFFER * reached and not picture.image.start:
        ids = ", ".join(str(i) for i in sorted({band.spw.id for band in picture.bands}))
        draft.warn(
            f"the cube takes spws {ids} of {picture.target}, between which nothing was observed "
            f"from {human_frequency(where[0])} to {human_frequency(where[1])}: its planes there "
            f"would be blank; choose one with image.spw",
            picture.key("spw"),
        )


def contsub(draft: Draft, subjects: Sequence[Subject], pictures: Sequence[Picture]) -> None:
    """Hold the continuum subtraction's channels against the data and the cubes.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    subjects : sequence of Subject
        The datasets.
    pictures : sequence of Picture
        The images; those that are made of continuum-subtracted data are held against it.
    """
    settings = draft.recipe.contsub
    if settings is None or not settings.fitspec:
        return
    for subject in draft.each("dataset", subjects):
        for name, field_ids in subject.targets.items():
            observation = subject.observation.part(field_ids)
            try:
                found = selection.spws(settings.fitspec, observation)
            except selection.SelectionError:
                continue  # the preflight of selections says so
            fitted = {one.spw_id: set(one.channels) for one in found}
            _enough(draft, subject, fitted)
            for picture in pictures:
                if picture.image.source == "contsub" and picture.cube and picture.target == name:
                    _line_fitted(draft, picture, subject, fitted)


def _enough(draft: Draft, subject: Subject, fitted: dict[int, set[int]]) -> None:
    """Hold the fitted channels against the polynomial, and against all that there are.

    A window may be free of lines as a whole, but hardly every one of them.
    """
    order = draft.recipe.contsub.fitorder if draft.recipe.contsub else 0
    totals = {spw_id: subject.observation.spw(spw_id).n_chan for spw_id in fitted}
    for spw_id, channels in fitted.items():
        if len(channels) <= order:
            draft.problem(
                f"fitorder = {order} needs at least {order + 1} channels without lines; fitspec "
                f"selects {len(channels)} of the {totals[spw_id]} of spw {spw_id} of dataset "
                f"{subject.name}",
                ("contsub", "fitorder"),
            )
            return
    if fitted and all(len(fitted[spw_id]) == total for spw_id, total in totals.items()):
        listed = ", ".join(str(spw_id) for spw_id in fitted)
        draft.warn(
            f"fitspec selects all channels of spw {listed} of dataset {subject.name}: a line in "
            "them is taken for continuum and subtracted; leave the line's channels out, as in "
            '"0:4~6;50~59"',
            ("contsub", "fitspec"),
        )


def _line_fitted(
    draft: Draft, picture: Picture, subject: Subject, fitted: dict[int, set[int]]
) -> None:
    """Warn where the middle half of a cube, in which the line is looked for, was fitted."""
    image = picture.image
    if not isinstance(image.start, int) or image.nchan <= 0 or _unit(image.width):
        return
    bands = [band for band in picture.bands if band.subject is subject]
    if len(bands) != 1:
        return
    middle = _middle(bands[0], int(image.start), image.nchan, image.width)
    channels = fitted.get(bands[0].spw.id, set())
    if len(channels) == bands[0].spw.n_chan or not middle or not middle <= channels:
        return
    draft.warn(
        f"the middle of the cube '{image.name}', channels {min(middle)} to {max(middle)} of spw "
        f"{bands[0].spw.id}, is all in contsub.fitspec: a line there is taken for continuum and "
        "subtracted; fitspec is to hold the channels without the line",
        picture.key("start"),
    )


def _middle(band: Band, start: int, nchan: int, width: int | str) -> set[int]:
    step = abs(width) if isinstance(width, int) and width else 1
    quarter = nchan // 4
    first, last = start + quarter * step, start + (nchan - quarter) * step
    return set(range(max(first, 0), min(last, band.spw.n_chan)))
