"""Stage ``cube``: what is made of spectral cubes, in pieces that know no cube's size.

A step looks at the cube and lays out the result; if the continuum is to be subtracted, steps
fit it, each some rows; steps make pieces of some channels, each with all that is asked for, for
planes are read and written once so; and steps put the pieces together. A piece needs the memory of
a few planes, so their number follows from the work: it is what is lost when a run is
killed, and what cores share. It depends on the recipe and the cube alone, never on the machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Final

from ..cubes import chain as chains
from ..cubes import moment_kinds
from ..cubes.spectral import Axis
from ..errors import KeyPath, did_you_mean
from ..folder import file_safe
from ..plan import Resources
from ..quantities import parse
from ..recipe import model
from ..selection.error import listed
from . import costs_images
from .draft import Draft, check
from .image import final, grid
from .picture import Picture

PIECE_PIXELS: Final = 32_000_000
"""Pixels of a piece, in and out: a second or so of work, against 50 ms that a step costs."""

_MOST_PIECES: Final = 64
_ROWS: Final = 64
"""Fewer rows than a tile has would be read several times."""
_PIXEL_S: Final = 25e-9
_FITTED_S: Final = 12e-9
_JOINED_S: Final = 8e-9
_SUMMED_S: Final = 10e-9


@dataclass(frozen=True)
class Product:
    """One ``[[cube]]`` of one target, or of a file.

    Attributes
    ----------
    cube : model.Cube
        The recipe's settings.
    index : int
        Its place in the recipe.
    source : str
        The path of the cube that it starts from.
    like : chains.Cube
        What that cube is: read from its file, or, of one that is still to be made, as far as the
        image's settings tell.
    memory_bytes : float
        The bound of a step.
    picture : Picture or None
        The image that makes the cube; None for a file.
    """

    cube: model.Cube
    index: int
    source: str
    like: chains.Cube
    memory_bytes: float
    picture: Picture | None = None

    @property
    def target(self) -> str:
        """Whose cube it is; empty for a file."""
        return self.picture.target if self.picture else ""

    @property
    def name(self) -> str:
        """The name that its files share."""
        return f"{file_safe(self.target)}.{self.cube.name}" if self.target else self.cube.name

    @property
    def prefix(self) -> str:
        """The path that its products share."""
        return f"images/{self.name}"

    @property
    def heap(self) -> str:
        """Where its pieces are."""
        return f"images/pieces/{self.name}"

    @property
    def pieces(self) -> list[str]:
        """The folders of its pieces, in order."""
        return [f"{self.heap}/{number}" for number in range(self.n_pieces)]

    @property
    def words(self) -> list[str]:
        """What is done to the cube, in order, for a person."""
        cube, found = self.cube, []
        if cube.contsub.channels:
            found.append(
                f"continuum of channels {cube.contsub.channels} subtracted, order "
                f"{cube.contsub.order}"
            )
        if cube.smooth.beam:
            beam = self.chain.target
            found.append(f"smoothed to {'the common beam' if beam is None else beam.words}")
        if cube.smooth.spectral != "none":
            width = f" of {cube.smooth.width}" if cube.smooth.spectral == "boxcar" else ""
            found.append(f"channels smoothed, {cube.smooth.spectral}{width}")
        if (cube.rebin.pixels, cube.rebin.channels) != (1, 1):
            found.append(
                f"averaged by {cube.rebin.pixels} pixels and {cube.rebin.channels} channels"
            )
        if self.chain.regrids or cube.regrid.template:
            found.append("regridded")
        if cube.mask is not None:
            found.append(
                f"masked where the smoothed cube is above {cube.mask.sigma:g} sigma in "
                f"{cube.mask.channels} channels"
            )
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe's table as plain data, without what says whose it is."""
        plain = asdict(self.cube)
        for key in ("targets", "image", "stats", "fits"):
            del plain[key]
        plain["regrid"] = {**plain["regrid"], "template": bool(self.cube.regrid.template)}
        return plain

    @cached_property
    def chain(self) -> chains.Chain:
        """What is done, as far as it is known; without the template's grid."""
        settings = self.settings
        settings["regrid"] = {**settings["regrid"], "template": ""}
        return chains.Chain(self.like, settings)

    @property
    def changes(self) -> bool:
        """Whether there is a cube to write, and not only what is made of it."""
        return self.chain.changes or bool(self.cube.regrid.template)

    @property
    def copied(self) -> bool:
        """Whether a cube as it is shall become a FITS file."""
        fits_already = self.picture is not None or not _is_image(self.source)
        return self.cube.fits and not self.changes and not fits_already

    @property
    def images(self) -> list[str]:
        """The images that it makes."""
        found = [f"{self.prefix}.image"] if self.changes else []
        found += [f"{self.prefix}.mask"] if self.cube.mask is not None else []
        return found + [f"{self.prefix}.mom{moment}" for moment in self.cube.moments]

    @property
    def table(self) -> str:
        """Where the numbers of the channels are."""
        return f"{self.prefix}.channels.ecsv"

    @cached_property
    def n_pieces(self) -> int:
        """How many pieces there are."""
        n_chan = max(1, self.chain.axis.n_chan)
        wanted = math.ceil(self.like.pixels * self.like.axis.n_chan / PIECE_PIXELS)
        return max(1, min(wanted, _MOST_PIECES, n_chan))

    @cached_property
    def n_fits(self) -> int:
        """How many parts of rows the continuum is fitted in: as many as memory and work ask for."""
        rows = max(1, self.like.n_y)
        most = rows
        while most > 1 and self.chain.fit_memory_bytes(most) > self.memory_bytes:
            most = -(-most // 2)
        return max(math.ceil(rows / most), min(self.n_pieces, math.ceil(rows / _ROWS)))

    def key(self, *more: str | int) -> KeyPath:
        """Return a key path in the recipe."""
        return ("cube", self.index, *more)


def _is_image(path: str) -> bool:
    from pathlib import Path

    return Path(path).is_dir()


def inspections(draft: Draft) -> None:
    """Add the steps that read what the recipe's own cubes are: planning needs that."""
    images = {image.name for image in draft.recipe.image}
    for cube in draft.recipe.cube:
        if cube.image not in images:
            out = header_file(cube)
            draft.add(
                f"{cube.name}.cube.inspect",
                "cube.inspect",
                {"cube": cube.image, "out": out},
                stage="import",
                title=f"read the header of {cube.image.rsplit('/', 1)[-1]}",
                reads=(cube.image,),
                writes=(out,),
                image=cube.name,
            )


def header_file(cube: model.Cube) -> str:
    """Return where is kept what a cube of the user's is."""
    return f"raw/{cube.name}.cube.json"


def products(
    draft: Draft, pictures: Sequence[Picture], headers: Mapping[str, chains.Cube]
) -> list[Product]:
    """Return what the recipe asks for, target by target.

    Parameters
    ----------
    draft : Draft
        Takes the problems.
    pictures : sequence of Picture
        The images that are made.
    headers : mapping
        What cubes that exist are, by name of the ``[[cube]]``.
    """
    memory = parse(draft.recipe.resources.memory_per_core, "size")
    images = {image.name for image in draft.recipe.image}
    found = []
    for index, cube in enumerate(draft.recipe.cube):
        if cube.image not in images:
            if cube.name in headers:
                found.append(Product(cube, index, cube.image, headers[cube.name], memory))
            continue
        having = {one.target: one for one in pictures if one.image.name == cube.image}
        for pattern in cube.targets:
            if having and not any(fnmatchcase(name, pattern) for name in having):
                draft.problem(
                    f"no target of image '{cube.image}' matches '{pattern}'; it is made of "
                    f"{listed(having)}{did_you_mean(pattern, having)}",
                    ("cube", index, "targets"),
                )
        found += [
            Product(cube, index, final(picture), _like(picture), memory, picture)
            for target, picture in having.items()
            if any(fnmatchcase(target, pattern) for pattern in cube.targets)
        ]
    return found


def _like(picture: Picture) -> chains.Cube:
    """Return what a cube will be, as far as the image's settings tell."""
    channels = max(1, max((len(band.channels) for band in picture.bands), default=1))
    n_chan = costs_images.shape_of(grid(picture), channels).channels
    low, high = picture.edges_hz
    axis = Axis(n_chan, low, max((high - low) / n_chan, 1.0), 0.5 * (low + high))
    n_x, n_y = picture.sides
    return chains.Cube(n_x, n_y, axis, (-picture.cell_arcsec, picture.cell_arcsec))


def steps(draft: Draft, product: Product) -> None:
    """Add the steps of a product."""
    setup = f"{product.heap}/setup"
    _begin(draft, product, setup)
    fits = _fits(draft, product, setup) if product.chain.fit_channels else []
    pieces = _pieces(draft, product, setup, fits)
    common: dict[str, Any] = {"setup": setup, "pieces": pieces}
    if product.changes:
        _made(draft, product, "join", "the cube", common, f"{product.prefix}.image")
    if product.cube.mask is not None:
        _made(draft, product, "mask", "the mask", common, f"{product.prefix}.mask")
    if product.cube.moments:
        _moments(draft, product, common)
    if product.cube.stats:
        _add(
            draft, product, "stats", "the numbers of the channels",
            {**common, "table": product.table}, reads=(setup, *pieces), writes=(product.table,),
        )  # fmt: skip
    if product.cube.fits:
        _export(draft, product, common)


def _begin(draft: Draft, product: Product, setup: str) -> None:
    template = product.cube.regrid.template
    _add(
        draft,
        product,
        "begin",
        f"lay out {_what(product)}",
        {
            "cube": product.source,
            "settings": product.settings,
            "template": template,
            "memory_bytes": product.memory_bytes,
            "out": setup,
        },
        reads=(product.source, *([template] if template else [])),
        writes=(setup,),
        intermediates=(setup,),
    )


def _fits(draft: Draft, product: Product, setup: str) -> list[str]:
    of, found = product.n_fits, []
    work = product.like.pixels * len(product.chain.fit_channels) / of
    memory = product.chain.fit_memory_bytes(math.ceil(product.like.n_y / of))
    for number in range(of):
        out = f"{product.heap}/continuum.{number}.npy"
        _add(
            draft,
            product,
            f"fit.{number}",
            f"fit the continuum of {_what(product)}, part {number + 1} of {of} of its rows",
            {
                "cube": product.source,
                "setup": setup,
                "number": number,
                "of": of,
                "out": out,
            },
            reads=(product.source, setup),
            writes=(out,),
            intermediates=(out,),
            resources=Resources(memory_bytes=memory, seconds=0.2 + _FITTED_S * work),
        )
        found.append(out)
    return found


def _pieces(draft: Draft, product: Product, setup: str, fits: Sequence[str]) -> list[str]:
    of = product.n_pieces
    work = product.like.pixels * product.like.axis.n_chan / of
    chain = product.chain
    memory = min(chain.memory_bytes(chain.at_once(product.memory_bytes)), product.memory_bytes)
    for number, out in enumerate(product.pieces):
        _add(
            draft,
            product,
            f"piece.{number}",
            f"process {_what(product)}, part {number + 1} of {of} of its channels",
            {
                "cube": product.source,
                "setup": setup,
                "fits": list(fits),
                "number": number,
                "of": of,
                "memory_bytes": product.memory_bytes,
                "stats": product.cube.stats,
                "planes": product.changes or product.copied,
                "out": out,
            },
            reads=(product.source, setup, *fits),
            writes=(out,),
            intermediates=(out,),
            resources=Resources(
                memory_bytes=round(memory),
                seconds=0.3 + _PIXEL_S * work,
                disk_bytes=round(4 * work) if product.changes else 0,
            ),
        )
    return product.pieces


def _made(
    draft: Draft, product: Product, word: str, what: str, common: Mapping[str, Any], out: str
) -> None:
    """Add a step that makes an image of the pieces."""
    _add(
        draft, product, word, f"put together {what} of {_what(product)}",
        {**common, "image": out}, reads=(common["setup"], *common["pieces"]), writes=(out,),
        resources=_joined(product),
    )  # fmt: skip


def _moments(draft: Draft, product: Product, common: Mapping[str, Any]) -> None:
    images = {str(moment): f"{product.prefix}.mom{moment}" for moment in product.cube.moments}
    _add(
        draft,
        product,
        "moments",
        f"moments {', '.join(images)} of {_what(product)}",
        {**common, "images": images},
        reads=(common["setup"], *common["pieces"]),
        writes=tuple(images.values()),
        checks=tuple(check("image_table", path=path) for path in images.values()),
        resources=_summed(product),
    )


def _export(draft: Draft, product: Product, common: Mapping[str, Any]) -> None:
    """Add the steps that write FITS files."""
    if product.changes or product.copied:
        out = f"{product.prefix}.fits"
        _add(
            draft, product, "fits", f"write {out.removeprefix('images/')}",
            {**common, "fits": out}, reads=(common["setup"], *common["pieces"]), writes=(out,),
            checks=(check("fits", path=out),), resources=_joined(product),
        )  # fmt: skip
    for path in product.images:
        if path.endswith(".image"):
            continue
        out = f"{path}.fits"
        _add(
            draft, product, f"export.{path.rpartition('.')[2]}",
            f"write {out.removeprefix('images/')}", {"imagename": path, "fitsimage": out},
            action="casa:exportfits", reads=(path,), writes=(out,),
            checks=(check("fits", path=out),),
        )  # fmt: skip


def _summed(product: Product) -> Resources:
    """Return what the step needs that adds up the sums of the pieces."""
    n_y, n_x = product.chain.shape
    memory = moment_kinds.memory_bytes(product.cube.moments, n_y * n_x)
    seconds = 0.3 + _SUMMED_S * n_y * n_x * product.n_pieces
    return Resources(memory_bytes=round(chains.BASE_BYTES + memory), seconds=seconds)


def _joined(product: Product) -> Resources:
    work = product.like.pixels * product.like.axis.n_chan
    memory = chains.BASE_BYTES + 5e7
    return Resources(
        memory_bytes=round(memory), seconds=0.2 + _JOINED_S * work, disk_bytes=round(4 * work)
    )


def _add(
    draft: Draft, product: Product, word: str, title: str, params: Mapping[str, Any], **more: Any
) -> None:
    draft.add(
        f"{product.name}.cube.{word}",
        more.pop("action", f"cube.{word.partition('.')[0]}"),
        params,
        stage="cube",
        title=title,
        target=product.target,
        image=product.cube.name,
        **more,
    )


def _what(product: Product) -> str:
    return f"'{product.cube.name}'" + (f" of {product.target}" if product.target else "")
