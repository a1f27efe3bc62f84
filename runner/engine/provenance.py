"""What a FITS file says of where it comes from: software, recipe and step, in its header.

``CREATOR`` is what HEASARC's dictionary of keywords has for the software that wrote a file;
CASA writes its own version into ``ORIGIN``. The hashes have keywords of their own. They are as of
the time when the file was written: a recipe that is edited afterwards, in what does not touch
this file, does not write it again. Recipes that were run stay in ``docs/recipes/`` by their hash.
"""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

from .. import __version__
from ..casa import fits_cards
from ..plan import Step
from .scene import Scene


def sign(step: Step, scene: Scene) -> None:
    """Add to the FITS files that a step has just made who made them, and from what recipe.

    Parameters
    ----------
    step : Step
        Whose products in the work folder are looked at.
    scene : Scene
        Has the recipe and the step's fingerprint; without a recipe nothing is done.
    """
    files = [path for path in map(Path, step.writes) if path.suffix == ".fits" and path.is_file()]
    if not files or scene.recipe is None or not scene.recipe.is_file():
        return
    recipe = hashlib.sha256(scene.recipe.read_bytes()).hexdigest()
    software = [f"casarun {__version__}", *(_version(n) for n in ("casatools", "casatasks"))]
    values = {
        "CREATOR": (software[0], "software that made this file"),
        "CASATOOL": (software[1].rpartition(" ")[2], "version of casatools"),
        "RECIPSHA": (recipe, ""),
        "FINGERPR": (scene.fingerprint, "of all that determines this file"),
    }
    history = [
        f"{', '.join(software)}: step {step.id}: {step.title}",
        f"recipe as run, SHA-256 (RECIPSHA): {recipe}",
    ]
    for path in files:
        fits_cards.add(path, values, history)


def _version(name: str) -> str:
    try:
        return f"{name} {metadata.version(name)}"
    except metadata.PackageNotFoundError:
        return f"{name} unknown"
