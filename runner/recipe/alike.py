"""Problems that say the same of many datasets, targets or windows, told as one.

Of a survey's thousand datasets, what is wrong with one is wrong with most. Problems are found one
by one, and stay so in what programs read; only where they are shown to a person are those put
together that have one place and one wording, and differ in whom they are about (`Problem.about`)
and in numbers. The names come into the sentence, the first few of many; numbers become a range.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

from ..errors import Problem, dotted, listing

NAMED: Final = 3
"""Of more names than `ALL_NAMED` so many are shown."""
ALL_NAMED: Final = 8
APART: Final = 5
"""Up to so many tables of datasets, sentences, and lines (`once`) are told each by itself."""

_TO_S: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}
_SCALE: Final = _TO_S | {
    "Hz": 1.0, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9,
    "B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
}  # fmt: skip
_BEFORE: Final = r"(?<![^\s(=\[])(?=[-+\d])"
_BEHIND: Final = r"(?=[\s)%\]]|[,;:.](?:\s|$)|$)"
_NUMBER: Final = re.compile(
    rf"{_BEFORE}(?:(?P<spws>(?<=spw )\d+)|(?P<date>\d{{4}}-\d\d-\d\d)"
    r"|(?P<first>\d+) (?P<large>h|min) (?P<second>\d\d) (?P<small>min|s)"
    r"|(?P<number>[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?)"
    rf"(?: (?P<unit>[kMGT]?(?:Hz|B)|s)(?!\w))?){_BEHIND}",
    re.ASCII,
)
_WORD: Final = re.compile(r"\b[a-z]{2,}\b")


@dataclass(frozen=True)
class _Shape:
    """A message without what may differ: the texts between `gaps`, and what stood in these.

    A gap is a name, by its kind, or a number (empty).
    """

    texts: tuple[str, ...]
    gaps: tuple[str, ...]
    values: tuple[re.Match[str] | str, ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The plain words: not those of a guess, which some have and others have not."""
        return tuple(_WORD.findall(" ".join(self.texts).partition("; did you mean")[0]))


Group = list[tuple[Problem, _Shape]]
"""Problems that are alike, as they were found, with what was found in their messages."""


def together(
    problems: Iterable[Problem],
    place: Callable[[Problem], Hashable] = lambda problem: problem.key,
    least: int = 2,
) -> list[Problem]:
    """Return problems, those that are alike as one, each where the first of them stood.

    Parameters
    ----------
    problems : iterable of Problem
        All of them.
    place : callable
        Returns where a problem stands in the document; by default its key.
    least : int
        So many at least are told as one.

    Returns
    -------
    list of Problem
        Those that nothing else is like are as they were.
    """
    groups = alike(dict.fromkeys(problems), place)
    return [told for group in groups for told in _told(group, least)]


Line = tuple[str, str, tuple[tuple[str, str], ...]]
"""What is said, what goes with it, and kind and name of whom it is about."""


def once(lines: Iterable[Line]) -> Iterator[tuple[str, str]]:
    """Yield lines with what goes with each; more than `APART` that are alike as one.

    With that goes what goes with the first of them.
    """
    found = [Problem(line, (goes,), about=about) for line, goes, about in lines]
    for one in together(found, lambda _: "", APART + 1):
        yield one.message, str(one.key[0])


def alike(problems: Iterable[Problem], place: Callable[[Problem], Hashable]) -> Iterator[Group]:
    """Yield problems with those that are alike, to be told by `sentence`; see `together`."""
    groups: dict[Hashable, Group] = {}
    shapes: dict[tuple[str, tuple[tuple[str, str], ...]], _Shape] = {}
    for number, problem in enumerate(_named(one) for one in problems):
        if not problem.about:
            groups[number] = [(problem, _Shape((), (), ()))]
            continue
        named = tuple(pair for pair in problem.about if pair[1] in problem.message)
        said = (problem.message, named)
        shape = shapes.get(said) or shapes.setdefault(said, _shape(*said))
        of_table = problem.key[:1] == ("dataset",) and len(problem.key) > 1
        where = (problem.key[2:],) if of_table else (place(problem), "")
        kind = (where, problem.severity, problem.at_key, shape.words)
        groups.setdefault(kind, []).append((problem, shape))
    for group in groups.values():
        yield from _by_place(group, place)


def _named(problem: Problem) -> Problem:
    """Return a problem that is about something; one of a dataset's table is about the dataset."""
    if problem.about or problem.key[:1] != ("dataset",) or len(problem.key) < 2:
        return problem
    return replace(problem, about=(("dataset", dotted(problem.key[:2])),))


def _by_place(group: Group, place: Callable[[Problem], Hashable]) -> Iterable[Group]:
    """Return what stands at one place together; what stands at many places, in one go."""
    places: dict[Hashable, Group] = {}
    for one in group:
        places.setdefault(place(one[0]), []).append(one)
    return [group] if len(places) > APART else places.values()


def _shape(message: str, about: Iterable[tuple[str, str]]) -> _Shape:
    """Take a message apart into its words, the names that it is about, and numbers."""
    found: list[tuple[int, int, str, re.Match[str] | str]] = []
    for kind, name in about:
        for start, stop in _where(message, kind, name):
            found.append((start, stop, kind, message[start:stop]))
    found += [(one.start(), one.end(), "", one) for one in _NUMBER.finditer(message)]
    texts, gaps, values, end = [], [], [], 0
    for start, stop, gap, value in sorted(found, key=itemgetter(0)):
        if start >= end:
            texts.append(message[end:start])
            gaps.append(gap)
            values.append(value)
            end = stop
    return _Shape((*texts, message[end:]), tuple(gaps), tuple(values))


def _where(message: str, kind: str, name: str) -> Iterator[tuple[int, int]]:
    """Yield where a name stands in a message, by itself, quoted, or as ``dataset NAME``."""
    if not name or name.isdecimal():  # it may as well be a number
        return
    start = message.find(name)
    while start >= 0:
        stop = start + len(name)
        before, behind = message[start - 1 : start], message[stop : stop + 2]
        if not _continues(before) and not _continues(behind.lstrip(".")[:1]):
            quoted = before == behind[:1] == "'"
            begin = start - quoted
            called = begin - len(kind) - 1
            yield called if message[called:begin] == f"{kind} " else begin, stop + quoted
        start = message.find(name, stop)


def _continues(character: str) -> bool:
    """Tell whether a name would go on with a character."""
    return bool(character) and (character.isalnum() or character in "_+-/")


def _told(group: Group, least: int) -> Iterator[Problem]:
    """Yield as few problems as tell a group: one a sentence; of many sentences those of one."""
    sentences: dict[Hashable, Group] = {}
    for one in group:
        sentences.setdefault((one[1].texts, one[1].gaps), []).append(one)
    told, likewise = list(sentences.values()), ""
    if len(sentences) > APART and len(group) >= least:
        told, likewise = _of_first(group, told)
    for same in told:
        if len(same) >= least and (_several(same) or _lists_spws(same)):
            found = [_as_one(same)]
        else:
            found = [alone for alone, _ in same]
        for problem in found:
            yield replace(problem, message=problem.message + likewise) if likewise else problem
            likewise = ""


def _of_first(group: Group, sentences: list[Group]) -> tuple[list[Group], str]:
    """Return the sentences of the first that a group is about, and of whom it has others."""
    names = _names(problem for problem, _ in group)
    several = [kind for kind, those in names.items() if len(those) > 1]
    if not several:
        return sentences, ""
    kind = max(reversed(several), key=lambda one: len(names[one]))  # a target before its dataset
    first = (kind, names[kind][0])
    mine = [same for same in sentences if any(first in problem.about for problem, _ in same)]
    told = set(_names(problem for same in mine for problem, _ in same).get(kind, ()))
    others = [name for name in names[kind] if name not in told]
    if not others:
        return sentences, ""
    plural = "s" * (len(others) != 1)
    return mine, f" (likewise {len(others):,} more {kind}{plural}: {few(others)})"


def _several(group: Group) -> list[str]:
    """Return the kinds of which a group is about more than one."""
    names = _names(problem for problem, _ in group)
    return [kind for kind, those in names.items() if len(those) > 1]


def _lists_spws(same: Group) -> bool:
    """Tell whether all that differs in a sentence are spws, which are listed and not a range."""
    values = zip(*(shape.values for _, shape in same), strict=True)
    differing = [found for found in values if len({_text(value) for value in found}) > 1]
    return all(isinstance(one, re.Match) and one["spws"] for found in differing for one in found)


def _text(value: re.Match[str] | str) -> str:
    return value if isinstance(value, str) else value[0]


def _as_one(same: Group) -> Problem:
    """Return one problem for several of one sentence."""
    first, shape = same[0]
    message, several = sentence(same), _several(same)
    if several and not set(several) & set(shape.gaps):
        names = _names(problem for problem, _ in same)
        kind = several[-1]
        message += f" ({len(names[kind]):,} {kind}s: {few(names[kind])})"
    return replace(first, message=message, about=())


def sentence(group: Group) -> str:
    """Return the sentence of several that are alike: with all names and numbers, if it is one."""
    first, shape = group[0]
    if not all(one.texts == shape.texts and one.gaps == shape.gaps for _, one in group):
        return first.message
    return _woven(shape, [one for _, one in group], _names(problem for problem, _ in group))


def _names(problems: Iterable[Problem]) -> dict[str, list[str]]:
    """Return whom problems are about, by kind, each once."""
    found: dict[str, dict[str, None]] = {}
    for problem in problems:
        for kind, name in problem.about:
            found.setdefault(kind, {})[name] = None
    return {kind: list(names) for kind, names in found.items()}


def few(names: Sequence[str]) -> str:
    """Write names with commas, the first few of many: ``a, b, c and 4 more``."""
    return listing(names, len(names) if len(names) <= ALL_NAMED else NAMED)


def _woven(shape: _Shape, shapes: Sequence[_Shape], names: dict[str, list[str]]) -> str:
    """Put names and ranges of numbers into the sentence that they share."""
    most = max((len(names[gap]) for gap in shape.gaps if gap), default=1)
    said: set[str] = set()
    parts = []
    for place, (text, gap) in enumerate(zip(shape.texts, shape.gaps, strict=False)):
        values = [one.values[place] for one in shapes]
        if not gap:
            what = _range([one for one in values if isinstance(one, re.Match)])
        elif len(names[gap]) == 1:
            what = str(values[0])
        elif gap in said:
            what = "each"
        else:
            each = "each of " if len(names[gap]) == most and not said else ""
            what = f"{each}{len(names[gap]):,} {gap}s ({few(names[gap])})"
            said.add(gap)
        parts += [text, what]
    return "".join((*parts, shape.texts[-1]))


def _range(found: Sequence[re.Match[str]]) -> str:
    """Write numbers at one place of a sentence: one, two, or from the least to the largest."""
    texts = {match[0]: match for match in found}
    if len(texts) == 1:
        return found[0][0]
    if all(match["spws"] for match in found):
        from ..selection.error import numbers  # loads what reads selections

        return numbers(int(text) for text in texts)
    ranked = sorted(texts.values(), key=_value)
    low, high = ranked[0][0], ranked[-1][0]
    unit = f" {ranked[0]['unit']}" if ranked[0]["unit"] else ""
    if unit and high.endswith(unit):
        low = low.removesuffix(unit)
    return f"{low} {'or' if len(texts) == 2 else 'to'} {high}"


def _value(match: re.Match[str]) -> tuple[float, str]:
    """Return what to sort a number by; dates sort as they are written."""
    if match["date"]:
        return 0.0, match["date"]
    if match["first"]:
        seconds = int(match["first"]) * _TO_S[match["large"]]
        return seconds + int(match["second"]) * _TO_S[match["small"]], ""
    return float(match["number"] or match[0]) * _SCALE.get(match["unit"] or "", 1.0), ""


__all__ = ["ALL_NAMED", "NAMED", "Group", "Line", "alike", "few", "once", "sentence", "together"]
