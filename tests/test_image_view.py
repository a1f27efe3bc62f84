"""A step opens images that it reads by views: what CASA writes on the way reaches nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from casarun import image_view
from casarun.casa import image_file
from casarun.engine.workplace import Workplace
from casarun.files import product_state
from casarun.plan import Step
from support import viewed_runs


def image(path: Path) -> Path:
    """Make what has the files of an image with a mask."""
    for folder in (path, path / "mask0"):
        folder.mkdir(parents=True)
        (folder / "table.dat").write_bytes(b"keywords")
        (folder / "table.lock").write_bytes(b"lock")
        (folder / "table.f0_TSM0").write_bytes(b"pixels")
    (path / "table.info").write_bytes(b"Type = Image\nSubType = \n\n")
    (path / "mask0" / "table.info").write_bytes(b"Type = Paged Array\nSubType = \n\n")
    return path


def workplace(root: Path, **products: list[str]) -> Workplace:
    paths = {key: tuple(found) for key, found in products.items()}
    step = Step(id="a", stage="image", title="a", action="a", **paths)
    place = Workplace(root, root / ".casarun" / "work" / "a", step)
    place.make()
    return place


def test_what_is_written_to_the_small_files_of_a_read_image_stays_in_the_work_folder(
    tmp_path: Path,
) -> None:
    made = image(tmp_path / "images" / "x.pb")
    before = product_state(made)
    place = workplace(tmp_path, reads=["images/x.pb"])
    shown = place.work / "images" / "x.pb"
    for name in image_view.OWN:
        (shown / name).write_bytes(b"")
    assert (shown / "table.f0_TSM0").read_bytes() == b"pixels"
    assert (made / "table.info").read_bytes().startswith(b"Type = Image")
    assert product_state(made) == before
    assert place.undeclared() == []
    place.remove()
    assert product_state(made) == before


def test_an_image_that_is_updated_is_the_product_itself(tmp_path: Path) -> None:
    made = image(tmp_path / "images" / "x.mask")
    place = workplace(tmp_path, reads=["images/x.mask"], updates=["images/x.mask"])
    (place.work / "images" / "x.mask" / "table.dat").write_bytes(b"more keywords")
    assert (made / "table.dat").read_bytes() == b"more keywords"


@pytest.mark.parametrize("kind", ["Measurement Set", "Calibration", ""])
def test_other_tables_and_files_are_links(tmp_path: Path, kind: str) -> None:
    made = image(tmp_path / "raw" / "x.ms")
    (made / "table.info").write_text(f"Type = {kind}\n")
    place = workplace(tmp_path, reads=["raw/x.ms"])
    assert (place.work / "raw" / "x.ms").is_symlink()


@pytest.mark.casa
def test_a_task_that_writes_to_the_image_that_it_reads_leaves_the_product_alone(
    tmp_path: Path, casa: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``impbcor`` writes the primary beam's table.dat and table.info anew."""
    viewed_runs.build(tmp_path / "run")
    images = tmp_path / "run" / "images"
    names = ["images/M31.hi.image", "images/M31.hi.pb"]
    times = {path: path.stat().st_mtime_ns for path in images.glob("M31.hi.pb/table.*")}
    place = workplace(tmp_path / "run", reads=names)
    monkeypatch.chdir(place.work)
    casa("impbcor", imagename=names[0], pbimage=names[1], outfile="through", mode="multiply")
    own = place.work / names[1] / "table.info"
    assert own.stat().st_mtime_ns > times[images / "M31.hi.pb" / "table.info"]
    assert {path: path.stat().st_mtime_ns for path in images.glob("M31.hi.pb/table.*")} == times
    monkeypatch.chdir(tmp_path)
    casa("impbcor", imagename=str(images / "M31.hi.image"), pbimage=str(images / "M31.hi.pb"),
         outfile="beside", mode="multiply")  # fmt: skip
    seen, real = (image_file.ImageFile(str(path)) for path in (place.work / "through", "beside"))
    with seen as one, real as other:
        assert np.array_equal(one.plane(1)[0], other.plane(1)[0], equal_nan=True)
