"""The steps of self-calibration that correct the data: apply a round's tables, and the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..casa import first_flags, gain_solutions, invoke, read
from ..files import read_json, write_product
from ..heuristics import spwmap as nearest_windows
from ..observation import SpectralWindow
from .results import SAID, SKIPPED
from .selfcal_idle import known_dead, why_not
from .selfcal_script import apply_script

Params = Mapping[str, Any]
Outcome = dict[str, Any]
Call = tuple[str, dict[str, Any]]

_FIRST_FLAGS: Final = "first_flags"
"""The one thing called that is no task: `first_flags.keep_or_restore`."""


def applied(
    vis: str, entries: Sequence[Mapping[str, Any]], tables: Mapping[str, str]
) -> dict[str, Any]:
    """Return CASA's parameters for applying tables to an MS, each window with its solutions.

    Parameters
    ----------
    vis : str
        The MS.
    entries : sequence of mapping
        The tables in their order: ``round``, ``interp``, ``combine``.
    tables : mapping of str to str
        Paths by round.
    """
    paths = [tables[str(entry["round"])] for entry in entries]
    return {
        "gaintable": paths,
        "interp": [str(entry["interp"]) for entry in entries],
        "spwmap": [
            _windows(vis, path, "spw" in entry["combine"])
            for entry, path in zip(entries, paths, strict=True)
        ],
    }


def _windows(vis: str, caltable: str, common: bool) -> list[int]:
    """Map each window of an MS to one with solutions; empty where all have their own."""
    solved = gain_solutions.solutions(read.caltable(caltable)).spws
    about = read.layout(vis)
    if common:
        return [solved[0]] * len(about.frequencies_hz)
    windows = {
        number: SpectralWindow(number, "", len(hertz), float(hertz[0]), float(hertz[-1]), 0.0)
        for number, hertz in enumerate(about.frequencies_hz)
    }
    return nearest_windows(set(about.spw_of), solved, windows)


def apply(params: Params) -> Outcome:
    """Correct the original data with the accepted tables and this round's.

    Parameters
    ----------
    params : mapping
        `state` of the round before and `solve`, paths of JSON; `vis` by dataset; `tables` by
        round and dataset; `mode`, applycal's applymode.

    Returns
    -------
    dict
        The tables, and what was `called`, in order; ``_skipped`` where the round does not take
        place.
    """
    if why := why_not(params):
        return {SKIPPED: why, "_absent": []}
    solve = read_json(Path(params["solve"]))
    called = list[Call]()
    for name, vis in params["vis"].items():
        dead = known_dead({"solve": solve})
        called += _correcting(vis, name, params, solve["apply"], dead)
    _do(called)
    return {
        "applied": solve["apply"], "flagged_antennas": solve["dead_antennas"], "called": called
    }  # fmt: skip


def _correcting(
    vis: str,
    name: str,
    params: Params,
    entries: Sequence[Mapping[str, Any]],
    dead: Mapping[str, Sequence[str]],
) -> list[Call]:
    """Return what makes CORRECTED_DATA of DATA, with the flags that the MS first had."""
    flagging = [("flagdata", _flagging(vis, one)) for one in _selectable(vis, dead.get(name, ()))]
    settings = {
        "vis": vis,
        **applied(vis, entries, {key: one[name] for key, one in params["tables"].items()}),
        "calwt": False,
        "flagbackup": False,
        "applymode": params["mode"],
    }
    return [(_FIRST_FLAGS, {"vis": vis}), *flagging, ("applycal", settings)]


def _uncorrecting(vis: str) -> list[Call]:
    """Return what leaves an MS as it first was."""
    return [(_FIRST_FLAGS, {"vis": vis}), ("clearcal", {"vis": vis, "addmodel": False})]


def _do(calls: Sequence[Call]) -> None:
    for name, given in calls:
        if name == _FIRST_FLAGS:
            first_flags.keep_or_restore(given["vis"])
        else:
            invoke.task(name, given)


def _flagging(vis: str, antenna: str) -> dict[str, Any]:
    """Return CASA's parameters for flagging an antenna."""
    return {"vis": vis, "mode": "manual", "antenna": antenna, "flagbackup": False}


def _selectable(vis: str, names: Sequence[str]) -> list[str]:
    """Return antennas as CASA selects them: by name, or by id where the name says more.

    A name of letters and digits means itself, even where it is the id of another antenna.
    """
    antennas = read.layout(vis).antennas
    return [name if name.isalnum() else str(antennas.index(name)) for name in names]


def finish(params: Params) -> Outcome:
    """Leave the data as the best round made them, a script that does so, and the summary.

    Parameters
    ----------
    params : mapping
        `target`; `states`, paths of the rounds' JSON; `vis`, `tables` and `mode` as of `apply`;
        `script` and `out`, what is written.

    Returns
    -------
    dict
        The best round, whether the data stay as they were, and what was `called`, in order.
    """
    states = [read_json(Path(path)) for path in params["states"]]
    last = states[-1]
    best = int(last["best_round"])
    before, after = states[0]["image"], states[best]["image"]
    worse = _worse(before, after) if best else []
    entries = [] if worse else last["apply"]
    if worse:
        best, after = 0, before
    dead = known_dead(states[best]) if best else {}
    stands = bool(entries) and entries == _last_applied(states)
    called = _leave(params, entries, dead, stands=stands)
    summary = {
        "target": params["target"],
        "datasets": list(params["vis"]),
        "rounds": states,
        "best_round": best,
        "kept_first": not entries,
        "reason": _why(states, worse, before, after),
        "before": before,
        "after": after,
        "apply": entries,
        "tables": {
            name: [params["tables"][str(entry["round"])][name] for entry in entries]
            for name in params["vis"]
        },
        "dead_antennas": sorted({name for names in dead.values() for name in names}),
        "script": params["script"],
        "mask": f"{after['prefix']}.mask" if after and not after.get("empty") else None,
    }
    write_product(params["out"], summary)
    return {
        "best_round": best, "kept_first": not entries, "called": called, SAID: summary["reason"]
    }  # fmt: skip


def _last_applied(states: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the tables that the data are corrected by now: those of the last round solved."""
    solved = [state["solve"] for state in states if state["solve"]]
    return next((solve["apply"] for solve in reversed(solved) if not solve["skipped"]), [])


def _leave(
    params: Params,
    entries: Sequence[Mapping[str, Any]],
    dead: Mapping[str, Sequence[str]],
    *,
    stands: bool,
) -> list[Call]:
    """Leave the data corrected by these tables, or as they were, and the script for it.

    Parameters
    ----------
    params : mapping
        Those of the step.
    entries : sequence of mapping
        The tables.
    dead : mapping
        Antennas without signal, by dataset.
    stands : bool
        Whether the last round left the data so.
    """
    called = list[Call]()
    for name, vis in params["vis"].items():
        given = (vis, name, params, entries, dead)
        called += _correcting(*given) if entries else _uncorrecting(vis)
    if not stands:
        _do(called)
    applying = [call for call in called if entries and call[0] != _FIRST_FLAGS]
    script = Path(params["script"])
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(apply_script(params["target"], applying), "utf-8")
    return called


_JUDGED: Final = (
    ("snr", "S/N", "fell", 0.98),
    ("near_snr", "near-field S/N", "fell", 0.98),
    ("rms_noise_jy_per_beam", "rms noise", "rose", 1.02),
    ("near_rms_noise_jy_per_beam", "near-field rms noise", "rose", 1.02),
)
"""What the last image must not have worse than the first; a rms scatters by a hundredth or two."""


def _worse(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Say which of the judged numbers are worse after than before."""
    found = []
    for key, name, word, limit in _JUDGED:
        old, new = before.get(key), after.get(key)
        if old is None or new is None or not old:
            continue
        if (new < limit * old) if limit < 1 else (new > limit * old):
            found.append(f"{name} {word} from {old:.3g} to {new:.3g}")
    return found


def _why(
    states: Sequence[Mapping[str, Any]],
    worse: Sequence[str],
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> str:
    """Return the reason for what was kept, as a sentence."""
    if worse:
        return f"the first image is kept: {'; '.join(worse)}"
    last = states[-1]
    if not last["apply"]:
        first = next((one for one in states if not one["accepted"]), last)
        return f"the data stay as they were: {first['reason'] or last['ended']}"
    old, new = ((one or {}).get("near_snr") for one in (before, after))
    numbers = f": near-field S/N {old:.4g} -> {new:.4g}" if old and new else ""
    return f"round {last['best_round']} is the best{numbers}; {last['ended']}".rstrip("; ")
