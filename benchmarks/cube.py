"""Time a cube by channel ranges beside one tclean and beside casa-pclean, with the same cores.

Two cubes: NGC 5921 in 512 x 512 x 46 pixels, and a simulated one of 1024 x 1024 x 256. Each is
cleaned down to the same flux density, in turns, each from the start of its process to the end:
casarun with its split, checks and journal. casa-pclean takes part where a Python that has it is
named, as long as it ends. The cubes are compared: they may differ by where cycles end, not by the
sky.

    python benchmarks/cube.py --scratch DISK --pclean PEER/bin/python
    python benchmarks/cube.py --only simulated --channels 64
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import measuring
from measuring import CASARUN, HERE, RECIPE, Figure, Part, Sample

LEAST_FASTER = 1.8
CORES = 2
CASA, OURS, PEER = "one tclean", "casarun", "casa-pclean"
THRESHOLD = "150mJy"
"""Of the simulated cube: two cycles, so that one tclean of 256 channels takes minutes."""

PATIENCE = 1.2
"""How often one tclean's wall time casa-pclean is waited for."""

SIGMAS_APART = 1.0
"""Largest difference of two cubes' pixels in units of the noise; their rms is a tenth of that."""


@dataclass(frozen=True)
class Case:
    """A cube to be made.

    Attributes
    ----------
    name : str
        Its name.
    vis : Path
        The MS, of which one field is imaged.
    target : str
        The field.
    settings : dict
        Keys of the recipe's image.
    times : int
        How often each is run.
    memory_gb : float
        What casarun may use, all its processes together.
    """

    name: str
    vis: Path
    target: str
    settings: dict[str, Any]
    times: int
    memory_gb: float = 4.0

    @property
    def title(self) -> str:
        """Its size in words."""
        side, channels = self.settings["imsize"], self.settings["nchan"]
        return f"{self.name}, {side} x {side} x {channels}"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 where a bar is missed."""
    parser = measuring.parser(__doc__, times=3)
    parser.add_argument("--pclean", type=Path, help="a Python that has casa-pclean")
    parser.add_argument("--only", choices=("ngc5921", "simulated"))
    parser.add_argument("--channels", type=int, default=256, help="of the simulated cube (256)")
    parser.add_argument(
        "--times-simulated", type=int, default=1, help="how often each makes that one (1)"
    )
    options = parser.parse_args(argv)
    if options.quick:
        options.times = options.times_simulated = 1
    if options.pclean:
        options.pclean = options.pclean.absolute()  # a link that makes it a venv's is kept
    with measuring.scratch_folder(options) as scratch:
        makers = {"ngc5921": ngc5921, "simulated": simulated}
        cases = [
            make(scratch, options) for name, make in makers.items() if options.only in (None, name)
        ]
        parts = [_measured(case, scratch, options) for case in cases]
    return measuring.finish(parts, options)


def ngc5921(scratch: Path, options: Namespace) -> Case:
    """Calibrate NGC 5921 and subtract its continuum."""
    folder = scratch / "ngc5921"
    command = [*CASARUN, RECIPE, "--output", folder, "--until", "contsub"]
    measuring.timed("preparation", command)
    size = 64 if options.quick else 512
    settings = {
        "imsize": size, "cell": "8arcsec", "start": 5, "nchan": 8 if options.quick else 46,
        "restfreq": "1420.405752MHz", "threshold": "8mJy", "niter": 100000,
    }  # fmt: skip
    vis = folder / "calibrated" / "apr13.N5921_2.contsub.ms"
    return Case("NGC 5921", vis, "N5921_2", settings, options.times)


def simulated(scratch: Path, options: Namespace) -> Case:
    """Simulate an observation of a few sources, 27 antennas, 12 integrations."""
    sys.path.insert(0, str(HERE.parent / "tests"))
    from support import skies

    channels = 8 if options.quick else options.channels
    sources = tuple(
        skies.Source(flux, east, north)
        for flux, east, north in ((0.5, 0, 0), (0.2, 300, -400), (0.1, -700, 200), (0.05, 500, 800))
    )
    field = replace(skies.TARGET, sources=sources)
    sky = skies.Sky(
        fields=(field,), scans=(0, 0, 0), spws=(skies.Spw(1.4e9, 1e5, channels),), n_antennas=27,
        noise_jy=0.5,
    )  # fmt: skip
    vis = scratch / "simulated.ms"
    skies.build(vis, sky)
    settings = {
        "imsize": 64 if options.quick else 1024, "cell": "4arcsec", "start": 0, "nchan": channels,
        "restfreq": "1.42GHz", "threshold": THRESHOLD, "niter": 1000000,
    }  # fmt: skip
    return Case("simulated", vis, "target", settings, options.times_simulated)


def _measured(case: Case, scratch: Path, options: Namespace) -> Part:
    part = Part("c", f"{case.title}: one tclean, casarun and casa-pclean on {CORES} cores")
    if options.pclean is None:
        part.skipped[PEER] = "no Python that has it was named with --pclean"
    elif not measuring.installed([options.pclean, "-c", "import pclean"]):
        part.skipped[PEER] = f"{options.pclean} cannot import pclean"
    places = _made(case, scratch, options, part)
    part.figures = _figures(case, part, options.quick)
    part.wrong += _differences(case, places[CASA], places[OURS])
    return part


def _made(case: Case, scratch: Path, options: Namespace, part: Part) -> dict[str, Path]:
    """Make the cube by everybody in turns; return where the last of each is.

    Who is in `part.skipped` takes no part; casa-pclean comes into it where it fails.
    """
    parameters = _parameters(case, scratch)
    environment = measuring.bare_environment() | {"HOME": str(_home(scratch))}
    places: dict[str, Path] = {}

    def run(who: str, turn: int) -> Sample | None:
        if who in part.skipped:
            return None
        place = scratch / f"{case.target}-{who.replace(' ', '-')}-{turn}"
        place.mkdir()
        places[who] = place
        command = _command(who, case, place, parameters, options)
        slow = [sample.wall_s for sample in part.samples if sample.who == CASA]
        limit_s = round(PATIENCE * max(slow)) if who == PEER and not options.quick else None
        try:
            return measuring.timed(
                who, command, cwd=place, env=environment, memory=True, limit_s=limit_s
            )
        except SystemExit as error:
            if who != PEER:
                raise
            part.skipped[PEER] = str(error).splitlines()[0].removeprefix(f"{PEER} ").rstrip(":")
            return None

    for sample in measuring.in_turns(case.times, (CASA, OURS, PEER), run):
        part.samples.append(sample)  # one by one, for `run` looks at those before
    return places


def _figures(case: Case, part: Part, quick: bool) -> list[Figure]:
    """Return the ratios of the times that were taken; small cases have no bars for them."""
    found = [
        Figure(f"{case.title}: one tclean's wall time over casarun's", part.ratio(CASA, OURS),
               least=None if quick else LEAST_FASTER)
    ]  # fmt: skip
    if PEER not in part.skipped:
        found.append(
            Figure(f"{case.title}: casa-pclean's over casarun's", part.ratio(PEER, OURS),
                   least=None if quick else 1.0)
        )  # fmt: skip
    found.append(
        Figure(f"{case.title}: casarun's peak memory over its bound",
               part.median(OURS, "peak_memory_bytes") / (case.memory_gb * 1e9), most=1.0)
    )  # fmt: skip
    return found


def _parameters(case: Case, scratch: Path) -> Path:
    """Write tclean's parameters, those of casarun's plan, for the scripts."""
    settings = case.settings
    given = {
        **settings, "vis": [str(case.vis)], "imagename": "cube", "specmode": "cube",
        "datacolumn": "data", "imsize": [settings["imsize"]] * 2, "weighting": "briggs",
        "robust": 0.5, "gridder": "standard", "deconvolver": "hogbom", "interactive": False,
        "parallel": False, "restoringbeam": "common", "width": "",
    }  # fmt: skip
    path = scratch / f"{case.target}.json"
    path.write_text(json.dumps(given), encoding="utf-8")
    return path


def _home(scratch: Path) -> Path:
    """Return a home folder that tells CASA, also in a peer's workers, where its data are."""
    import casadata

    home = scratch / "home"
    (home / ".casa").mkdir(parents=True, exist_ok=True)
    (home / ".casa" / "config.py").write_text(
        f"measurespath = {casadata.datapath!r}\ndatapath = [{casadata.datapath!r}]\n"
        "measures_auto_update = False\ndata_auto_update = False\n",
        encoding="utf-8",
    )
    return home


def _command(
    who: str, case: Case, place: Path, parameters: Path, options: Namespace
) -> list[str | Path]:
    script = HERE / "cube_script.py"
    if who == CASA:
        return [sys.executable, script, "tclean", parameters]
    if who == PEER:
        return [options.pclean, script, "pclean", parameters, "--workers", str(CORES)]
    recipe = place / "recipe.toml"
    lines = [f"{key} = {json.dumps(value)}" for key, value in case.settings.items()]
    recipe.write_text(
        f'casarun = 1\n[[dataset]]\nname = "day"\nvis = "{case.vis}"\ncalibrated = true\n'
        f'[targets]\nfields = ["{case.target}"]\n[resources]\ncores = {CORES}\n'
        f'memory = "{case.memory_gb:g}GB"\n'
        '[[image]]\nname = "cube"\nspecmode = "cube"\npbcor = false\ngridder = "standard"\n'
        + "\n".join(lines) + "\n",
        encoding="utf-8",
    )  # fmt: skip
    return [*CASARUN, recipe, "--output", place / "run", "--until", "image"]


def _differences(case: Case, theirs: Path, ours: Path) -> list[str]:
    """Say how two cubes differ by more than where their cycles end."""
    import numpy as np
    from casarun.casa.image_file import ImageFile

    largest = _largest_beam(theirs / "cube.psf")
    prefix = ours / "run" / "images" / f"{case.target}.cube"
    noise = json.loads(Path(f"{prefix}.noise.json").read_text(encoding="utf-8"))["rms_jy_per_beam"]
    most, squares = 0.0, []
    with ImageFile(theirs / "cube.image") as one, ImageFile(f"{prefix}.image") as other:
        if not np.array_equal(one.header.frequencies_hz, other.header.frequencies_hz):
            return ["the cubes' channels are at other frequencies"]
        for channel in set(range(one.header.n_chan)) - {largest}:
            apart = one.plane(channel)[0] - other.plane(channel)[0]
            most = max(most, float(np.abs(apart).max()))
            squares.append(float(np.mean(apart**2)))
    rms = float(np.sqrt(np.mean(squares)))
    if most > SIGMAS_APART * noise or rms > 0.1 * SIGMAS_APART * noise:
        return [f"the cubes differ by up to {most / noise:.2f} and rms {rms / noise:.2f} sigma"]
    return []


def _largest_beam(psf: Path) -> int:
    """Return the channel whose beam tclean may have enlarged to the common one.

    With ``restoringbeam = "common"`` it enlarges the beam of the largest area until it holds all
    others, in its memory of the channels' own beams, too. So it takes the residual of this channel
    to have the common beam already, and does not smooth it like those of the others. Given that
    beam in numbers, as by casarun, it does (casatasks 6.7.0: 18 mJy/beam at a noise of 16 in one
    channel of 256, while models and residuals are the same).
    """
    from casarun.casa.config import configure
    from casarun.casa.range_images import beams

    configure()

    def area(channel: dict[str, Any]) -> float:
        beam = channel["*0"]
        return float(beam["major"]["value"] * beam["minor"]["value"])

    areas = [area(channel) for channel in beams(psf)]
    return areas.index(max(areas))


if __name__ == "__main__":
    sys.exit(main())
