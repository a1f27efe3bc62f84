"""What can be known before the first step: the recipe held against the data.

Each module looks at one side and adds to the draft's problems (which refuse the recipe) and
warnings (which are shown), each at its key. All of it is pure: recipe and metadata in, words
out; nothing here opens a file of data or imports CASA.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..stages.cube import Product
from ..stages.draft import Draft, Subject
from ..stages.image import Picture
from ..stages.selfcal import Loop
from . import (
    calibrators,
    cube_products,
    datasets,
    images,
    parameters,
    priors,
    selections,
    selfcal,
    solutions,
)


def check(
    draft: Draft,
    subjects: Sequence[Subject],
    pictures: Sequence[Picture],
    loops: Sequence[Loop] = (),
    products: Sequence[Product] = (),
) -> None:
    """Hold a recipe against its data, once all stages have added their steps.

    Parameters
    ----------
    draft : Draft
        With all steps; takes the problems and warnings.
    subjects : sequence of Subject
        The datasets with their metadata and roles.
    pictures : sequence of Picture
        The images that are to be made.
    loops : sequence of Loop
        The self-calibrations.
    products : sequence of Product
        What is made of cubes.
    """
    datasets.check(draft, subjects)
    parameters.check(draft)
    calibrators.check(draft, subjects)
    solutions.check(draft, subjects)
    priors.check(draft, subjects)
    selections.check(draft, subjects, pictures)
    images.check(draft, subjects, pictures)
    selfcal.check(draft, subjects, loops)
    cube_products.check(draft, products)
