"""The recipe as typed, frozen classes.

One class a table, one attribute a key, spelled as in the TOML. What each key means,
its unit and its default stand in ``schemas/recipe.schema.json``; a test holds the two
equal. Numbers with units stay the strings that the author wrote (CASA takes them so);
`casarun.quantities` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Parameters = Mapping[str, Any]
"""Parameters of a CASA task by CASA's own names, passed through as data."""


@dataclass(frozen=True)
class Project:
    """``[project]``: what the run is called and where it lives."""

    name: str = ""
    title: str = ""
    output: str = ""
    authors: tuple[str, ...] = ()
    license: str = ""


@dataclass(frozen=True)
class Dataset:
    """One ``[[dataset]]``: an MS, UVFITS, ASDM or a tar of one.

    After loading, a glob has become one dataset a match and `vis` is absolute.
    """

    vis: str
    name: str = ""
    calibrated: bool = False
    datacolumn: Literal["auto", "data", "corrected"] = "auto"
    watch: bool = False
    settle: str = "5min"


@dataclass(frozen=True)
class KeptDataset(Dataset):
    """A watched dataset that was reduced before its files went away, or changed again.

    Attributes
    ----------
    form : str
        What it was, as `casarun.stages.draft.kind` has it: nobody can look any more.
    """

    form: str = ""


@dataclass(frozen=True)
class FluxCalibrator:
    """``[calibrators] flux``: the field that sets the flux scale, and by which standard."""

    field: str = ""
    standard: str = "Perley-Butler 2017"
    model: str = "auto"
    fluxdensity: tuple[float, ...] = ()
    spix: float = 0.0
    reffreq: str = "1GHz"


@dataclass(frozen=True)
class Calibrators:
    """``[calibrators]``: roles of fields; what is left out comes from scan intents."""

    flux: FluxCalibrator = FluxCalibrator()
    bandpass: str = ""
    phase: tuple[str, ...] = ()


@dataclass(frozen=True)
class Targets:
    """``[targets]``: the fields to calibrate and image."""

    fields: tuple[str, ...] = ()
    phase: Mapping[str, str] = field(default_factory=dict)
    mosaics: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Flag:
    """``[flag]``: what to flag before and after the calibration."""

    autocorr: bool = True
    shadow: bool = True
    zeros: bool = True
    quack: str = "0s"
    edge: Literal["auto"] | int = "auto"
    manual: tuple[str, ...] = ()
    rfi: Literal["tfcrop", "rflag", "none"] = "none"
    flagdata: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class Solint:
    """``[calibrate] solint``: solution intervals, ``auto`` or in CASA's syntax."""

    delay: str = "inf"
    bandpass: str = "inf"
    phase: str = "auto"
    amp: str = "inf"


@dataclass(frozen=True)
class CalTable:
    """One of ``[calibrate] tables``: a table that is known before the first solution.

    After loading, `table` is absolute, or relative to the run folder where a step makes it.
    """

    table: str
    interp: str = "linear"
    spwmap: tuple[int, ...] = ()
    gainfield: str = ""
    calwt: Literal["auto", "yes", "no"] = "auto"


@dataclass(frozen=True)
class Priors:
    """``[calibrate.priors]``: what is known of antennas and air, as CASA's gencal corrects it.

    `antenna_positions` are offsets in m by antenna.
    """

    gaincurve: Literal["auto", "yes", "no"] = "no"
    opacity: Literal["auto", "no"] | tuple[float, ...] = "no"
    antenna_positions: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    antenna_frame: Literal["ITRF", "VLA"] = "ITRF"
    syspower: Literal["no", "rq", "swpow"] = "no"


@dataclass(frozen=True)
class Calibrate:
    """``[calibrate]``: how the calibration is solved and applied."""

    refant: str = "auto"
    spw: str = "auto"
    solint: Solint = Solint()
    minsnr: float = 3.0
    minblperant: int = 4
    delay: Literal["auto", "yes", "no"] = "auto"
    gaintype: Literal["G", "T"] = "G"
    parang: bool = False
    calwt: Literal["auto", "yes", "no"] = "auto"
    applymode: Literal["calflag", "calflagstrict", "calonly"] = "calflag"
    priors: Priors = Priors()
    tables: tuple[CalTable, ...] = ()
    setjy: Parameters = field(default_factory=dict)
    gaincal: Parameters = field(default_factory=dict)
    bandpass: Parameters = field(default_factory=dict)
    fluxscale: Parameters = field(default_factory=dict)
    applycal: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class Split:
    """``[split]``: which calibrated data get an MS of their own."""

    calibrators: bool = True
    spw: Literal["all", "imaged"] = "all"


@dataclass(frozen=True)
class Contsub:
    """``[contsub]``: continuum subtraction in the visibilities; absent means none."""

    fitspec: str = ""
    fitorder: int = 0
    uvcontsub: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class Average:
    """``[[image]] average``: how much is averaged before imaging, and what that may cost."""

    time: str = "none"
    channels: Literal["auto"] | int = 1
    loss: float = 0.01


@dataclass(frozen=True)
class Image:
    """One ``[[image]]``: an image or cube of each of its targets."""

    name: str
    specmode: Literal["mfs", "cube"] = "mfs"
    source: Literal["calibrated", "contsub"] = "calibrated"  # the key is "from"
    targets: tuple[str, ...] = ("*",)
    spw: str = ""
    stokes: Literal[
        "I", "Q", "U", "V", "IV", "QU", "IQ", "UV", "IQUV",
        "RR", "LL", "XX", "YY", "RRLL", "XXYY", "pseudoI",
    ] = "I"  # fmt: skip
    imsize: Literal["auto"] | int | tuple[int, int] = "auto"
    cell: str = "auto"
    weighting: Literal["natural", "uniform", "briggs", "briggsabs", "superuniform"] = "briggs"
    robust: float = 0.5
    gridder: Literal["auto", "standard", "wproject", "mosaic"] = "auto"
    deconvolver: Literal[
        "auto", "hogbom", "clark", "multiscale", "mtmfs", "clarkstokes", "asp"
    ] = "hogbom"  # fmt: skip
    scales: Literal["auto"] | tuple[int, ...] = "auto"
    nterms: Literal["auto"] | int = 2
    niter: int = 10000
    threshold: str = "3sigma"
    mask: str = "none"
    pbcor: bool = True
    start: int | str = ""
    nchan: int = -1
    width: int | str = ""
    restfreq: str = "auto"
    chunk: Literal["auto", "none"] | int = "auto"
    moments: tuple[int, ...] = ()
    regions: tuple[str, ...] = ()
    average: Average | None = None
    catalogue: bool = True
    catalogue_sigma: float = 5.0
    tclean: Parameters = field(default_factory=dict)
    fallback: tuple[Parameters, ...] = ()
    immoments: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class Stop:
    """``[[selfcal]] stop``: the limits that a round of self-calibration is held to."""

    improvement: float = 1.2
    flux_loss: float = 0.03
    beam_growth: float = 0.05
    flagged: float = 0.5
    consistency: float = 0.85


@dataclass(frozen=True)
class Selfcal:
    """One ``[[selfcal]]``: self-calibration of the targets that a pattern means.

    After loading, `solint` and `calmode` are as long as each other, or both ``auto``; entries of
    `solint` may be ``auto``.
    """

    target: str
    image: str = ""
    solint: Literal["auto"] | tuple[str, ...] = "auto"
    calmode: Literal["auto"] | tuple[Literal["p", "a", "ap"], ...] = "auto"
    rounds: int = 8
    gaintype: Literal["auto", "G", "T"] = "auto"
    combine: Literal["auto", "", "spw", "scan", "spw,scan"] = "auto"
    minsnr: float = 3.0
    min_solution_snr: float = 6.0
    refant: str = "auto"
    apply: Literal["calonly", "calflag"] = "calonly"
    stop: Stop = Stop()
    tclean: Parameters = field(default_factory=dict)


@dataclass(frozen=True)
class CubeContsub:
    """``[[cube]] contsub``: the continuum, subtracted in the image plane."""

    channels: str = ""
    order: int = 0


@dataclass(frozen=True)
class CubeSmooth:
    """``[[cube]] smooth``: to another synthesized beam, and along the channels."""

    beam: str | tuple[str, ...] = ""
    spectral: Literal["none", "hanning", "boxcar"] = "none"
    width: int = 3


@dataclass(frozen=True)
class CubeRebin:
    """``[[cube]] rebin``: averages of pixels and channels."""

    pixels: int = 1
    channels: int = 1


@dataclass(frozen=True)
class CubeRegrid:
    """``[[cube]] regrid``: other channels, another image's grid.

    After loading, `template` is absolute.
    """

    template: str = ""
    start: str = ""
    width: str = ""
    nchan: int = -1
    interpolation: Literal["linear", "nearest"] = "linear"


@dataclass(frozen=True)
class CubeMask:
    """``[[cube]] mask``: what is significant in a smoothed copy of the cube."""

    sigma: float = 3.0
    beam: str | tuple[str, ...] = "auto"
    spectral: Literal["none", "hanning"] = "hanning"
    channels: int = 2


@dataclass(frozen=True)
class Cube:
    """One ``[[cube]]``: what is made of a spectral cube.

    After loading, `image` is the name of an image of the recipe, or an absolute path.
    """

    name: str
    image: str
    targets: tuple[str, ...] = ("*",)
    contsub: CubeContsub = CubeContsub()
    smooth: CubeSmooth = CubeSmooth()
    rebin: CubeRebin = CubeRebin()
    regrid: CubeRegrid = CubeRegrid()
    mask: CubeMask | None = None
    moments: tuple[int, ...] = ()
    stats: bool = True
    fits: bool = True


@dataclass(frozen=True)
class CustomStep:
    """One ``[[step]]``: any CASA task by its name."""

    task: str
    name: str = ""
    after: str = ""
    before: str = ""
    per: Literal["dataset", "target", "image", "run"] = "dataset"
    only: tuple[str, ...] = ("*",)
    params: Parameters = field(default_factory=dict)
    reads: tuple[str, ...] | None = None
    writes: tuple[str, ...] | None = None
    updates: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Qa:
    """``[qa]``: what makes a run fail, and how much there is to look closer at."""

    max_flagged_fraction: float = 0.8
    min_dynamic_range: float = 0.0
    viewer: str = "4MB"


@dataclass(frozen=True)
class Resources:
    """``[resources]``: what a run may take of the machine."""

    cores: Literal["auto"] | int = "auto"
    memory: str = "auto"
    memory_per_core: str = "2GB"
    memory_per_step: str = "auto"
    disk_factor: float = 5.0
    disk_reserve: str = "auto"
    keep: Literal["all", "products"] = "all"
    time_per_step: str = "24h"
    time_total: str = "none"


@dataclass(frozen=True)
class RetryCauses:
    """``[retry] causes``: how often a step is tried by what made it fail; 0 is `attempts`."""

    out_of_memory: int = 0
    table_lock: int = 0
    io: int = 0
    disk_full: int = 0
    signal: int = 0
    unknown: int = 0


@dataclass(frozen=True)
class Retry:
    """``[retry]``: how often a step is tried, how long to wait, and what follows a failure."""

    attempts: int = 3
    wait: str = "5s"
    max_wait: str = "5min"
    causes: RetryCauses = RetryCauses()
    on_failure: Literal["continue", "stop"] = "continue"


KINDS: Final = ("calibrate", "selfcal", "image", "cube", "report")
"""The kinds of batch jobs that ``[cluster]`` may treat differently."""


@dataclass(frozen=True)
class ClusterStage:
    """``[cluster.image]`` and the like: what differs for the jobs of one kind."""

    cores: Literal["auto"] | int = "auto"
    memory: str = "auto"
    time: str = "auto"
    partition: str = ""
    qos: str = ""
    constraint: str = ""


@dataclass(frozen=True)
class Cluster:
    """``[cluster]``: what a run asks of a batch system."""

    cores: Literal["auto"] | int = "auto"
    memory: str = "auto"
    time: str = "auto"
    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""
    max_jobs: int = 50
    escalate: int = 1
    pack: str = "2min"
    calibrate: ClusterStage = ClusterStage()
    selfcal: ClusterStage = ClusterStage()
    image: ClusterStage = ClusterStage()
    cube: ClusterStage = ClusterStage()
    report: ClusterStage = ClusterStage()


@dataclass(frozen=True)
class Notify:
    """``[notify]``: whom to tell that the run has ended; the names are the user's own."""

    to: tuple[str, ...] = ()
    on: tuple[Literal["success", "failure", "stopped"], ...] = ("success", "failure")


@dataclass(frozen=True)
class Recipe:
    """A recipe: the whole TOML document, after overrides, checked."""

    casarun: int
    dataset: tuple[Dataset, ...] = ()
    project: Project = Project()
    calibrators: Calibrators = Calibrators()
    targets: Targets = Targets()
    flag: Flag = Flag()
    calibrate: Calibrate = Calibrate()
    split: Split = Split()
    selfcal: tuple[Selfcal, ...] = ()
    contsub: Contsub | None = None
    image: tuple[Image, ...] = ()
    cube: tuple[Cube, ...] = ()
    step: tuple[CustomStep, ...] = ()
    qa: Qa = Qa()
    resources: Resources = Resources()
    retry: Retry = Retry()
    notify: Notify = Notify()
    cluster: Cluster = Cluster()
