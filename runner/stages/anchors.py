"""Where in the plan the recipe's own steps go: after or before a stage or a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import did_you_mean
from ..plan import Step
from ..recipe.model import CustomStep
from .draft import ORDER, Draft


def label(custom: CustomStep) -> str:
    """Return the name by which other steps of the recipe know a step."""
    return custom.name or custom.task


def anchor(custom: CustomStep) -> str:
    """Return the stage or step that a step of the recipe follows or precedes."""
    return custom.after or custom.before


def in_order(draft: Draft, wanted: Sequence[int]) -> Iterator[int]:
    """Yield indices of the recipe's own steps, each after the one that it is anchored to.

    Steps that are anchored to each other in a circle become problems of the draft.

    Parameters
    ----------
    draft : Draft
        Whose recipe it is.
    wanted : sequence of int
        Indices of the steps that are to be placed.
    """
    steps = draft.recipe.step
    waiting = list(wanted)
    while waiting:
        names = {label(steps[index]) for index in waiting} - set(ORDER)
        ready = [index for index in waiting if anchor(steps[index]) not in names]
        if not ready:
            _circle(draft, waiting)
            return
        yield ready[0]
        waiting.remove(ready[0])


def _circle(draft: Draft, waiting: Sequence[int]) -> None:
    steps = draft.recipe.step
    said = ", ".join(
        f"'{label(steps[i])}' {'after' if steps[i].after else 'before'} '{anchor(steps[i])}'"
        for i in waiting
    )
    first = steps[waiting[0]]
    draft.problem(
        f"these steps are placed by each other, and none by a stage: {said}; "
        'place one by a stage, after = "apply" for example',
        ("step", waiting[0], "after" if first.after else "before"),
    )


@dataclass(frozen=True)
class Scope:
    """Whose steps a step of the recipe stands among.

    Attributes
    ----------
    dataset, target, image : str
        Of the instance; steps of another dataset, target or image are not looked at. Empty
        for all.
    prefixes : tuple of str
        What ids of these steps begin with, the narrowest first.
    """

    dataset: str = ""
    target: str = ""
    image: str = ""
    prefixes: tuple[str, ...] = ()

    def has(self, step: Step) -> bool:
        """Tell whether a step is one of these."""
        pairs = ((self.dataset, step.dataset), (self.target, step.target), (self.image, step.image))
        return all(not mine or not its or mine == its for mine, its in pairs)


@dataclass
class Places:
    """Finds places in a draft's list of steps, which grows meanwhile."""

    draft: Draft
    behind: set[str] = field(default_factory=set)

    def find(self, custom: CustomStep, scope: Scope) -> int | None:
        """Return where in the list a step goes, or None where its anchor is unknown."""
        steps, wanted = self.draft.steps, anchor(custom)
        if wanted in ORDER:
            where = self._by_stage(wanted, scope, after=bool(custom.after))
        else:
            own = self._by_name(wanted, scope)
            if not own:
                return None
            where = own[-1] + 1 if custom.after else own[0]
        # Of several steps after one anchor the recipe's order is kept.
        while custom.after and where < len(steps) and steps[where].id in self.behind:
            where += 1
        return where

    def _by_stage(self, stage: str, scope: Scope, *, after: bool) -> int:
        """Return the end or the beginning of a stage, which may have no steps of its own."""
        number = ORDER.index(stage)
        staged = [
            (place, ORDER.index(step.stage))
            for place, step in enumerate(self.draft.steps)
            if step.stage in ORDER and scope.has(step)
        ]
        if after:
            return max((place + 1 for place, order in staged if order <= number), default=0)
        last = len(self.draft.steps)
        return min((place for place, order in staged if order >= number), default=last)

    def _by_name(self, name: str, scope: Scope) -> list[int]:
        """Return the places of the steps that a name or an id means, the nearest ones."""
        ids = [step.id for step in self.draft.steps]
        if name in ids:
            return [ids.index(name)]
        for prefix in scope.prefixes:
            near = [i for i, known in enumerate(ids)
                    if known in (f"{prefix}.{name}", f"{prefix}.step.{name}")]  # fmt: skip
            if near:
                return near
        ending = [i for i, known in enumerate(ids) if f".{known}".endswith(f".{name}")]
        return [i for i in ending if scope.has(self.draft.steps[i])] or ending

    def unknown(self, custom: CustomStep, index: int) -> None:
        """Say that an anchor is unknown, and what there is."""
        wanted = anchor(custom)
        names = {step.id.split(".", 1)[-1] for step in self.draft.steps}
        known = sorted({*ORDER, *names, *(step.id for step in self.draft.steps)})
        self.draft.problem(
            f"'{wanted}' is neither a stage nor a step; stages: {', '.join(ORDER)}"
            f"{did_you_mean(wanted, known)}",
            ("step", index, "after" if custom.after else "before"),
        )
