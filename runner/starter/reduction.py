"""The sections of a starter recipe on flagging, calibration, limits and resources."""

from __future__ import annotations

from typing import Final

from .. import heuristics
from .page import Page
from .toml import comment, string

_RFI_BELOW_HZ: Final = 12e9


def flag(page: Page) -> list[str]:
    """Return the lines of ``[flag]``."""
    shortest = min(
        (scan.end_mjd_s - scan.start_mjd_s for o in page.observations for scan in o.scans),
        default=0.0,
    )
    longest = max((s.integration_s for o in page.observations for s in o.scans), default=0.0)
    quack = max(10.0, longest) <= 0.3 * shortest
    return [
        "[flag]",
        "autocorr = true",
        "shadow   = true",
        "zeros    = true",
        *comment(
            "the start of each scan, while the antennas settle"
            if quack
            else f"the shortest scan lasts {shortest:.0f} s: too little to flag its start"
        ),
        f"quack    = {string('10s' if quack else '0s')}",
        *page.chosen("flag.edge"),
        'edge     = "auto"',
        *_rfi(page),
        "# manual = [\"antenna='NAME' timerange='09:30:00~09:40:00'\"]",
    ]


def _rfi(page: Page) -> list[str]:
    channels = max((s.n_chan for one in page.setups for s in one.spws), default=1)
    low = min((one.lowest_hz for one in page.setups), default=0.0)
    if any(one.cubes for one in page.setups):
        why, rfi = '"tfcrop" would take a narrow bright line for interference', "none"
    elif low > _RFI_BELOW_HZ:
        why, rfi = f"there is little interference above {_RFI_BELOW_HZ / 1e9:g} GHz", "none"
    elif channels < 16:
        why, rfi = (
            f"with {channels} channels there is no spectrum to find interference in",
            "none",
        )
    else:
        why, rfi = 'interference: "tfcrop", "rflag" or "none"', "tfcrop"
    return [*comment(why), f"rfi      = {string(rfi)}"]


def calibrate(page: Page) -> list[str]:
    """Return the lines of ``[calibrate]``."""
    return [
        "[calibrate]",
        *page.chosen("calibrate.refant"),
        'refant = "auto"',
        *page.chosen("calibrate.spw"),
        'spw    = "auto"',
        *page.chosen("calibrate.delay"),
        'delay  = "auto"',
        *page.chosen("calibrate.calwt"),
        'calwt  = "auto"',
        *page.chosen("calibrate.solint.phase"),
        'solint = { phase = "auto", amp = "inf" }',
        "minsnr = 3",
        *_priors(page),
    ]


def _priors(page: Page) -> list[str]:
    """Return the lines on gain curves and opacities, where the VLA needs them."""
    if not any(
        heuristics.is_vla(one.telescope)
        and max((spw.highest_hz for spw in one.spws), default=0.0) >= heuristics.CURVED_FROM_HZ
        for one in page.observations
    ):
        return []
    return [
        *comment("gain that changes with elevation, and what the air absorbs"),
        'priors = { gaincurve = "auto", opacity = "auto" }',
    ]


def rest() -> list[str]:
    """Return the lines of ``[qa]`` and ``[resources]``."""
    return [
        *comment("What makes a run fail."),
        "[qa]",
        "max_flagged_fraction = 0.8",
        "# min_dynamic_range  = 10",
        "",
        "[resources]",
        'cores       = "auto"',
        'memory      = "auto"',
        *comment("refuse to start with less free disk than this times the size of the data"),
        "disk_factor = 5",
    ]
