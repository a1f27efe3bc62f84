"""Pages on casarun's modules, from their docstrings (mkdocstrings reads them)."""

from __future__ import annotations

from collections.abc import Iterator

PAGES = {
    "functions": (
        "From Python",
        "What the commands do, as functions; the command line only puts words around them.",
        ("api.opening", "api.observing", "api.planning", "api.running", "api.comparing",
         "api.surveying"),
    ),
    "recipe": (
        "Recipe, observation, plan",
        "What is passed between the layers: frozen classes, all of it data.",
        ("recipe.load", "recipe.model", "observation", "plan"),
    ),
    "choices": (
        "Choices",
        "The `auto` values. Each function returns a value and the reason for it.",
        ("heuristics.choice", "heuristics.calibration", "heuristics.imaging",
         "heuristics.smearing", "heuristics.selfcal", "heuristics.cubes"),
    ),
    "numbers": (
        "Numbers of QA",
        "Arrays in, numbers out. They need neither CASA nor a run.",
        ("qa.metrics", "qa.selfcal", "qa.verdict"),
    ),
    "cubes": (
        "Cubes",
        "Spectral cubes plane by plane: arrays in, arrays out.",
        ("cubes.beams", "cubes.convolve", "cubes.continuum", "cubes.spectral", "cubes.masks",
         "cubes.moments", "cubes.statistics", "cubes.stream", "cubes.chain"),
    ),
    "selections": (
        "Selections and standards",
        "CASA's selection syntax and its flux standards, read without CASA.",
        ("selection.field", "selection.channels", "selection.antenna", "selection.scan",
         "selection.time_range", "selection.uv_range", "selection.correlation",
         "selection.intent", "standards.catalogue", "standards.matching"),
    ),
    "errors": (
        "Errors, units, files",
        "What everything else stands on.",
        ("errors", "quantities", "files", "folder"),
    ),
}  # fmt: skip
"""By the page's name: its title, a sentence, and its modules."""


def pages() -> Iterator[tuple[str, str]]:
    """Yield the path below docs/ and the Markdown of each page."""
    for name, (title, sentence, modules) in PAGES.items():
        asked = "\n\n".join(f"::: casarun.{module}" for module in modules)
        yield f"api/{name}.md", f"# {title}\n\n{sentence}\n\n{asked}\n"
