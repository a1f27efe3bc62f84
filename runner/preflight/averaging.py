"""Whether the averaging that an image asks for leaves what it is to show.

What it costs by smearing is held against its bound where it is decided (`stages.average`).
"""

from __future__ import annotations

from ..quantities import human_frequency, parse
from ..stages.draft import Draft
from ..stages.picture import Picture
from . import cubes


def check(draft: Draft, picture: Picture) -> None:
    """Refuse averages of channels that an image needs one by one.

    Parameters
    ----------
    draft : Draft
        Takes the problems.
    picture : Picture
        An image, with every ``auto`` decided.
    """
    wanted = picture.image.average
    if wanted is not None:
        _shorter(draft, picture, wanted.time)
    if wanted is None or not isinstance(wanted.channels, int) or wanted.channels < 2:
        return
    if picture.cube:
        _cube(draft, picture, wanted.channels)
    for band in picture.bands:
        if len(band.channels) < band.channels[-1] - band.channels[0] + 1:
            draft.problem(
                f"image.spw leaves out channels in the middle of spw {band.spw.id}, and "
                f"{wanted.channels} channels across the gap would become one: leave "
                "average.channels out, or select one range of channels in each spw",
                picture.key("average"),
            )
            return
        if len(band.channels) % wanted.channels:
            fits = max(n for n in range(1, wanted.channels) if len(band.channels) % n == 0)
            draft.warn(
                f"{wanted.channels} is no divisor of the {len(band.channels)} channels that are "
                f"imaged of spw {band.spw.id} of dataset {band.subject.name}: CASA leaves out the "
                f"last {len(band.channels) % wanted.channels}; {fits} divides them",
                picture.key("average"),
                dataset=band.subject.name,
            )
            return


def _shorter(draft: Draft, picture: Picture, time: str) -> None:
    """Warn of averages that are no longer than an integration."""
    if time in ("auto", "none"):
        return
    for subject, part in picture.parts:
        integration_s = max((scan.integration_s for scan in part.scans), default=0.0)
        if parse(time, "duration") <= integration_s:
            draft.warn(
                f"average.time = {time} is no longer than the integrations of dataset "
                f"{subject.name}, {integration_s:g} s: nothing is averaged in time",
                picture.key("average"),
                dataset=subject.name,
            )
            return


def _cube(draft: Draft, picture: Picture, channels: int) -> None:
    """Refuse averages wider than a cube's channels, and channels counted before averaging."""
    image = picture.image
    counted = [name for name in ("start", "width") if isinstance(getattr(image, name), int)]
    if counted:
        draft.problem(
            f"{' and '.join(counted)} of the cube {'are' if len(counted) > 1 else 'is'} counted in "
            f"channels of the data, of which {channels} become one: give a frequency or a "
            "velocity, or average in time only",
            picture.key("average"),
        )
        return
    native = max(abs(band.spw.chan_width_hz) for band in picture.bands)
    step = abs(cubes.step_hz(picture))
    if channels * native > step * (1 + cubes.FRAMES_DIFFER):
        draft.problem(
            f"{channels} channels of {human_frequency(native)} are wider than the cube's own, "
            f"{human_frequency(step)}: a cube is not averaged beyond its channels; at most "
            f"average.channels = {max(1, int(step * (1 + cubes.FRAMES_DIFFER) / native))}",
            picture.key("average"),
        )
