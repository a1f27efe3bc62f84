"""The sections of a starter recipe that say which field is what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..observation import Observation
from ..selection import matching_fields
from .page import Page
from .roles import Guess, Seen
from .toml import comment, pattern, string, strings


def calibrators(page: Page) -> list[str]:
    """Return the lines of ``[calibrators]``; none for data that are calibrated."""
    wanting = [one for one in page.guesses if not one.calibrated]
    if not wanting:
        return []
    first = wanting[0]
    lines = ["[calibrators]"]
    lines += _one(page, "flux", [one.flux for one in wanting], first)
    lines += _one(page, "bandpass", [one.bandpass for one in wanting], first)
    return [*lines, *_phase(page, wanting)]


def _phase(page: Page, wanting: Sequence[Guess]) -> list[str]:
    """Return the lines of the phase calibrators: those that every dataset has."""
    first = wanting[0]
    chosen = [one for one in first.phase if all(one.name in _named(g.phase) for g in wanting)]
    alike = all(_named(found.phase) == _named(first.phase) for found in wanting)
    by_intent = all("intent" in found.reasons["phase"] for found in wanting)
    if not chosen or (by_intent and not alike):
        return _differ(page, "phase", wanting)
    lines = comment(f"phase: {page.reasons('phase')}; each target takes the nearest")
    lines += page.doubts("phase")
    if not alike:
        lines += page.doubt("the phase calibrators that only some datasets have are left out")
    patterns = [_pattern(page, one, first) for one in chosen]
    return [
        *lines,
        f"phase    = {string(patterns[0]) if len(patterns) == 1 else strings(patterns)}",
    ]


def _one(page: Page, role: str, chosen: Sequence[Seen | None], first: Guess) -> list[str]:
    """Return the lines of a calibrator of which a recipe has one."""
    wanting = [one for one in page.guesses if not one.calibrated]
    if len({one.name for one in chosen if one is not None}) > 1:
        return _differ(page, role, wanting)
    one = chosen[0]
    if one is None:
        return []
    lines = [*comment(f"{role}: {page.reasons(role)}"), *page.doubts(role)]
    field_ = string(_pattern(page, one, first))
    if role == "bandpass":
        return [*lines, f"bandpass = {field_}"]
    if first.standard:
        return [
            *lines,
            f"flux     = {{ field = {field_}, standard = {string(first.standard)} }}",
        ]
    low = _lowest(page.observations[page.guesses.index(first)], one)
    return [
        *lines,
        f"flux     = {{ field = {field_}, fluxdensity = 1.0, spix = 0.0, "
        f'reffreq = "{low / 1e9:.6g}GHz" }}',
    ]


def _differ(page: Page, role: str, wanting: Sequence[Guess]) -> list[str]:
    """Say that datasets have calibrators of their own, which a recipe cannot name."""
    names = {
        name: _named(one.phase if role == "phase" else [getattr(one, role)])
        for name, one in zip(page.names, page.guesses, strict=True)
        if not one.calibrated
    }
    said = "; ".join(f"{name}: {', '.join(fields)}" for name, fields in names.items())
    if all("intent" in one.reasons[role] for one in wanting):
        return comment(f"{role}: from the scan intents, as each dataset has its own ({said})")
    return page.doubt(
        f"each dataset has its own {role} calibrator ({said}), of which a recipe names one: "
        "write a recipe for each"
    )


def targets(page: Page) -> list[str]:
    """Return the lines of ``[targets]``."""
    names: dict[str, str] = {}
    for found in page.guesses:
        for one in found.targets:
            names.setdefault(one.name, _pattern(page, one, found))
    lines = [*comment(f"targets: {page.reasons('targets')}")] if page.reasons("targets") else []
    return [
        "[targets]",
        *lines,
        *page.doubts("targets"),
        f"fields = {strings(names.values())}",
    ]


def _pattern(page: Page, one: Seen, found: Guess) -> str:
    """Return what means a field in a recipe: its name, escaped where needed, or its id."""
    observation = page.observations[page.guesses.index(found)]
    for text in (one.name, pattern(one.name)):
        if {match.id for match in matching_fields(text, observation)} == {
            field.id for field in observation.fields if field.name == one.name
        }:
            return text
    return str(one.field.id)


def _named(seen: Iterable[Seen | None]) -> list[str]:
    return [one.name for one in seen if one is not None]


def _lowest(observation: Observation, one: Seen) -> float:
    spws = [observation.spw(i) for i in observation.spws_of_fields(set(one.ids))]
    return min((min(spw.first_hz, spw.last_hz) for spw in spws), default=1e9)
