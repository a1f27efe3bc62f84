"""What is asked of cubes held against them: of those that exist all, of others what is certain."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from ..cubes import chain as chains
from ..cubes.chain import Wrong
from ..quantities import human_bytes
from ..stages.cube import Product
from ..stages.draft import Draft


def check(draft: Draft, products: Sequence[Product]) -> None:
    """Hold each ``[[cube]]`` against its cube.

    A cube that the run makes is held against it again, by the step that begins with it
    (`casarun.engine.cube_setup`): its synthesized beam and its channels are only known then.

    Parameters
    ----------
    draft : Draft
        Takes the problems and warnings.
    products : sequence of Product
        What is to be made.
    """
    for product in draft.each("target", products, attrgetter("target")):
        if product.memory_bytes < chains.BASE_BYTES:
            draft.problem(
                f"a step of [[cube]] needs {human_bytes(round(chains.BASE_BYTES))} before its "
                "first plane",
                ("resources", "memory_per_core"),
            )
        elif product.picture is None:
            for wrong in product.chain.problems(product.memory_bytes):
                _say(draft, product, wrong)
        else:
            _of_picture(draft, product)


def _say(draft: Draft, product: Product, wrong: Wrong) -> None:
    key = product.key(*wrong.key) if wrong.key else ("resources", "memory_per_core")
    draft.problem(wrong.message, key)


def _of_picture(draft: Draft, product: Product) -> None:
    """Look at what does not depend on how the cube turns out."""
    picture, chain = product.picture, product.chain
    if picture is None:
        return
    need = chain.memory_bytes()
    if need > product.memory_bytes:
        message = chains.too_large(need, product.memory_bytes, product.like)
        draft.problem(message, ("resources", "memory_per_core"))
    last = picture.image.nchan - 1
    beyond = [channel for channel in chain.fit_channels if channel > last >= 0]
    if beyond:
        draft.problem(
            f"channel {beyond[0]} is not there: the cube has channels 0 to {last}",
            product.key("contsub", "channels"),
        )
    target = chain.target
    if target is not None and target.minor_arcsec < picture.resolution_arcsec:
        draft.warn(
            f"{target.words} is smaller than lambda/B, {picture.resolution_arcsec:.3g} arcsec: if "
            "the cube's synthesized beam is larger, the step that begins with it will refuse",
            product.key("smooth", "beam"),
        )
