"""Runs packed for others, and bundles from others: what was changed is named, nothing escapes."""

from __future__ import annotations

import json
import os
import stat
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tomli
from casarun import api
from casarun.errors import DataError
from casarun.folder import RunFolder
from casarun.report.conclude import plan_json
from casarun.share import manifest
from casarun.share.contents import Part, digest
from support.caltables import caltable
from support.cli import casarun
from support.crates import invalid, needs_validator, small_run


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    folder, _ = small_run(tmp_path)
    return api.bundle(folder.root, tmp_path / "b.crate.zip", everything=False, data=True)


def names(path: Path) -> set[str]:
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


def test_what_is_packed(tmp_path: Path) -> None:
    folder, _ = small_run(tmp_path)
    light = api.bundle(folder.root, tmp_path / "l.zip", everything=False, data=False)
    assert names(light) == {
        "recipe.toml", "README.txt", "ro-crate-metadata.json", "SHA256SUMS",
        "caltables/day.B/table.dat", "docs/run.json", "images/n.fits", "images/n.noise.json",
        "logs/a/x.log", "qa/index.html", "qa/metrics.json", "qa/plots/n.png", "scripts/plan.json",
        "scripts/recipe.json", "scripts/recipe.toml", ".casarun/journal.jsonl",
    }  # fmt: skip
    whole = api.bundle(folder.root, tmp_path / "w.zip", everything=True, data=True)
    assert names(whole) - names(light) == {
        "calibrated/day.ms/table.dat", "inputs/day_one.ms/table.dat",
        "inputs/day_one.ms/FIELD/table.dat",
    }  # fmt: skip
    assert api.verify(light).problems == api.verify(whole).problems == ()
    with pytest.raises(DataError, match="is there already; remove it, or name another"):
        api.bundle(folder.root, light, everything=False, data=False)


def test_its_recipe_is_for_the_folder_it_is_unpacked_to(packed: Path, tmp_path: Path) -> None:
    assert api.verify(packed, tmp_path / "out").problems == ()
    text = (tmp_path / "out" / "recipe.toml").read_text()
    recipe = tomli.loads(text)
    assert recipe["dataset"][0]["vis"] == "inputs/day_one.ms"
    assert recipe["project"]["output"] == "runs/small"
    assert "# where it lay" in text
    assert str(tmp_path) not in text
    assert (tmp_path / "out" / "inputs" / "day_one.ms" / "FIELD" / "table.dat").is_file()


def packed_recipe(folder: RunFolder, to: Path, *, data: bool) -> dict[str, Any]:
    api.bundle(folder.root, to, everything=False, data=data)
    with zipfile.ZipFile(to) as archive:
        return tomli.loads(archive.read("recipe.toml").decode())


def with_inputs(place: Path, said: str, *paths: Path) -> RunFolder:
    """Make a run whose recipe names its data in some way."""
    folder, plan = small_run(place)
    found = replace(plan, inputs={str(path): "1" for path in paths})
    folder.plan.write_text(json.dumps(plan_json(found)))
    folder.recipe_text.write_text(f"casarun = 1\ndataset = [{{ vis = {json.dumps(said)} }}]\n")
    return folder


def test_packaged_data_are_named_where_they_were_packed(tmp_path: Path) -> None:
    data = tmp_path / "casadata" / "__data__" / "demo" / "x.fits"
    data.parent.mkdir(parents=True)
    data.write_bytes(bytes(2_000_000))
    folder = with_inputs(tmp_path, "casadata:demo/x.fits", data)
    without = packed_recipe(folder, tmp_path / "a.zip", data=False)
    assert without["dataset"][0]["vis"] == "casadata:demo/x.fits"
    whole = packed_recipe(folder, tmp_path / "b.zip", data=True)
    assert whole["dataset"][0]["vis"] == "inputs/x.fits"


def test_patterns_mean_the_same_data_or_are_refused(tmp_path: Path) -> None:
    for name in ("a/one.ms", "a/two.ms", "b/one.ms"):
        (tmp_path / name).mkdir(parents=True)
    both = (tmp_path / "a" / "one.ms", tmp_path / "a" / "two.ms")
    folder = with_inputs(tmp_path, f"{tmp_path}/a/*.ms", *both)
    found = packed_recipe(folder, tmp_path / "a.zip", data=True)
    assert found["dataset"][0]["vis"] == "inputs/*.ms"
    folder = with_inputs(tmp_path / "other", f"{tmp_path}/a/*.ms", *both, tmp_path / "b" / "one.ms")
    with pytest.raises(DataError, match="would mean other data in a bundle: pack without --data"):
        packed_recipe(folder, tmp_path / "b.zip", data=True)


def test_small_files_such_as_masks_go_along(tmp_path: Path) -> None:
    mask = tmp_path / "mask.crtf"
    mask.write_text("#CRTFv0")
    folder = with_inputs(tmp_path, str(mask), mask)
    found = packed_recipe(folder, tmp_path / "a.zip", data=False)
    assert found["dataset"][0]["vis"] == "inputs/mask.crtf"


def test_calibration_tables_go_along_and_are_found(tmp_path: Path) -> None:
    paths = [caltable(tmp_path / "mine" / name) for name in ("a.cal", "day.gc", "day.tsys")]
    folder, plan = small_run(tmp_path)
    found = replace(plan, inputs={str(path): "1" for path in paths})
    folder.plan.write_text(json.dumps(plan_json(found)))
    here = f"{tmp_path}/mine"
    text = f'"{paths[0]}", "{here}/{{dataset}}.gc", {{ table = "{here}/{{dataset}}.tsys" }}'
    folder.recipe_text.write_text(f"casarun = 1\n[calibrate]\ntables = [{text}]\n")
    assert packed_recipe(folder, tmp_path / "a.zip", data=False)["calibrate"]["tables"] == [
        "{recipe}/inputs/a.cal",
        "{recipe}/inputs/{dataset}.gc",
        {"table": "{recipe}/inputs/{dataset}.tsys"},
    ]


def test_what_is_larger_than_the_disk_is_not_unpacked(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(DataError, match=r"the bundle takes .* GB, and 1e-08 GB are free"):
        api.verify(packed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_packed_twice_it_is_the_same(packed: Path, tmp_path: Path) -> None:
    again = api.bundle(tmp_path / "run", tmp_path / "c.zip", everything=False, data=True)
    assert again.read_bytes() == packed.read_bytes()


def test_a_crate_passes_the_validator_and_says_what_came_from_what(
    packed: Path, tmp_path: Path
) -> None:
    api.verify(packed, tmp_path / "out")
    graph = json.loads((tmp_path / "out" / "ro-crate-metadata.json").read_text())["@graph"]
    by_id = {one["@id"]: one for one in graph}
    run = by_id["#run"]
    assert run["startTime"] == "2026-03-01T10:00:00.000Z"
    assert run["instrument"] == {"@id": "recipe.toml"}
    assert {"@id": "inputs/day_one.ms/"} in run["object"]
    assert {"@id": "#choice-0"} in run["object"]
    assert by_id["#choice-0"]["description"] == "it is in the middle"
    assert {"@id": "images/n.fits"} in run["result"]
    step = by_id["#step-day.split"]
    assert step["object"] == [{"@id": "inputs/day_one.ms/"}]
    assert step["instrument"] == {"@id": "#casatasks-split"}
    assert by_id["#casatasks-split"]["softwareVersion"] == "6.7"
    assert (step["startTime"], step["endTime"]) == (
        "2026-03-01T10:00:01.500000+00:00", "2026-03-01T10:00:02+00:00"
    )  # fmt: skip
    sums = manifest.read((tmp_path / "out" / "SHA256SUMS").read_text())
    assert by_id["images/n.fits"]["sha256"] == sums["images/n.fits"]


@needs_validator
@pytest.mark.parametrize("in_place", [True, False])
def test_crates_pass_the_validator(tmp_path: Path, in_place: bool) -> None:
    authors = ["Jane Doe <0000-0002-1825-0097>", "John Roe"]
    folder, _ = small_run(tmp_path, {"authors": authors, "license": "CC-BY-4.0"})
    where = folder.root
    if in_place:
        assert api.describe(where) == folder.crate
    else:
        where = tmp_path / "out"
        archive = api.bundle(folder.root, tmp_path / "b.zip", everything=True, data=False)
        api.verify(archive, where)
    assert invalid(where) == ""
    graph = json.loads((where / "ro-crate-metadata.json").read_text())["@graph"]
    by_id = {one["@id"]: one for one in graph}
    assert by_id["https://orcid.org/0000-0002-1825-0097"]["name"] == "Jane Doe"
    assert by_id["./"]["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"}
    path = where / "ro-crate-metadata.json"
    path.write_text(path.read_text().replace('"CreateAction"', '"Thing"'))
    assert "CreateAction" in invalid(where)


def changed(packed: Path, change: Callable[[zipfile.ZipFile], None]) -> list[str]:
    """Add entries to a bundle; return what is said of it."""
    with zipfile.ZipFile(packed, "a") as archive:
        change(archive)
    return list(api.verify(packed).problems)


def entry(name: str, mode: int) -> zipfile.ZipInfo:
    found = zipfile.ZipInfo(name)
    found.external_attr = mode << 16
    return found


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("../escaped", 0o644, "'../escaped' leads out of the bundle"),
        ("qa/../../escaped", 0o644, "'qa/../../escaped' leads out of the bundle"),
        ("/escaped", 0o644, "'/escaped' is no path from the bundle's own folder"),
        ("c:/escaped", 0o644, "'c:/escaped' is no path from the bundle's own folder"),
        ("a\x1b[2Jb", 0o644, "'a\\x1b[2Jb' has characters that cannot be seen"),
        (".git/config", 0o644, "'.git/config' is hidden: casarun packs nothing of the kind"),
        (
            ".casarun/batch.json",
            0o644,
            "'.casarun/batch.json' is hidden: casarun packs nothing of the kind",
        ),
        ("link", stat.S_IFLNK | 0o777, "link is a symbolic link"),
        ("disk", stat.S_IFBLK | 0o600, "disk is a device or a pipe"),
        ("pipe", stat.S_IFIFO | 0o600, "pipe is a device or a pipe"),
        ("new", stat.S_IFREG | 0o644, "new was not packed"),
    ],
)
def test_what_was_put_into_a_bundle_is_named(
    packed: Path, tmp_path: Path, name: str, mode: int, said: str
) -> None:
    assert changed(packed, lambda archive: archive.writestr(entry(name, mode), "/etc")) == [said]
    assert api.verify(packed, tmp_path / "deep" / "out").problems == (said,)
    assert not (tmp_path / "deep").exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_file_that_is_there_twice_is_named(packed: Path) -> None:
    said = changed(packed, lambda archive: archive.writestr("images/n.fits", "other"))
    assert said == ["images/n.fits is there twice"]


def test_what_was_changed_or_removed_in_a_folder_is_named(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    api.verify(packed, out)
    (out / "images" / "n.fits").write_text("other")
    (out / "qa" / "plots" / "n.png").unlink()
    os.mkfifo(out / "qa" / "pipe")
    (out / "qa" / "link").symlink_to("/etc/passwd")
    (out / "runs").mkdir()
    (out / "runs" / "own").write_text("a run made here")
    assert sorted(api.verify(out).problems) == [
        "images/n.fits is not as it was packed", "qa/link is a symbolic link",
        "qa/pipe is a device or a pipe", "qa/plots/n.png is missing",
    ]  # fmt: skip


def test_a_description_of_other_files_is_named(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    api.verify(packed, out)
    sums = manifest.read((out / "SHA256SUMS").read_text())
    path = out / "ro-crate-metadata.json"
    path.write_text(path.read_text().replace(sums["images/n.fits"], "0" * 64))
    sums["ro-crate-metadata.json"] = digest(Part("x", path))
    (out / "SHA256SUMS").write_text(manifest.written(sums))
    said = "ro-crate-metadata.json has another checksum of images/n.fits"
    assert api.verify(out).problems == (said,)


def test_records_that_are_not_as_their_schemas_have_them_are_named(tmp_path: Path) -> None:
    folder, _ = small_run(tmp_path)
    folder.metrics.write_text('{"verdict": "splendid"}')
    packed = api.bundle(folder.root, tmp_path / "b.zip", everything=False, data=False)
    (said,) = api.verify(packed).problems
    assert said.startswith("qa/metrics.json: ")
    assert "metrics.schema.json" in said


def test_a_corrupt_archive_is_named_by_its_file(packed: Path) -> None:
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        header = archive.getinfo("logs/a/x.log").header_offset
    lengths = content[header + 26 : header + 30]  # of name and extra field, after which data come
    begin = header + 30 + int.from_bytes(lengths[:2], "little") + lengths[2] + 256 * lengths[3]
    content[begin + 2] ^= 0xFF
    packed.write_bytes(content)
    assert api.verify(packed).problems == ("logs/a/x.log is not as it was packed",)


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(content)
    with pytest.raises(DataError, match="is no bundle that can be read"):
        api.verify(path)


def test_a_pipe_does_not_hold_the_check_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "b.zip")
    for path in (tmp_path / "b.zip", Path("/dev/zero")):
        with pytest.raises(DataError, match=f"{path} is no regular file"):
            api.verify(path)


def test_an_archive_that_was_packed_again_by_another_program(packed: Path, tmp_path: Path) -> None:
    """Such as ``zip -r``: there are entries of folders in it."""
    with zipfile.ZipFile(packed, "a") as archive:
        for folder in (".casarun/", "qa/"):
            archive.writestr(entry(folder, stat.S_IFDIR | 0o755), "")
    assert api.verify(packed, tmp_path / "out").problems == ()


def test_an_archive_of_something_else_is_told(tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "y")
    said = "it has no SHA256SUMS: it is no bundle of casarun"
    assert api.verify(path).problems == (said,)


@pytest.mark.parametrize("edited", ["[]", "{}", '{"steps": 3}', '{"steps": {"a": -1}}'])
def test_a_record_of_the_run_that_was_edited(tmp_path: Path, edited: str) -> None:
    folder, _ = small_run(tmp_path)
    (folder.root / "docs" / "run.json").write_text(edited)
    with pytest.raises(DataError, match=r"run\.json is damaged; run the recipe again"):
        api.describe(folder.root)


def test_links_in_a_run_are_not_packed(tmp_path: Path) -> None:
    folder, _ = small_run(tmp_path)
    (folder.root / "caltables" / "day.B" / "link").symlink_to("/etc/passwd")
    with pytest.raises(DataError, match="link is a symbolic link, which cannot leave a run"):
        api.bundle(folder.root, tmp_path / "b.zip", everything=False, data=False)
    assert not list(tmp_path.glob("*.zip")) + list(tmp_path.glob(".*.new"))


def test_the_command_line(tmp_path: Path) -> None:
    small_run(tmp_path)
    done = casarun("bundle", "run", "--data", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"bundle: {tmp_path}/run.crate.zip (")
    done = casarun("verify", "run.crate.zip", "--unpack", "out", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout == (
        f"run.crate.zip: 18 files, all as they were packed\nunpacked: {tmp_path}/out\n"
    )
    (tmp_path / "out" / "recipe.toml").write_text("casarun = 1")
    done = casarun("verify", "out", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stdout == (
        "out: recipe.toml is not as it was packed\n1 problem; files looked at: 18\n"
    )
    done = casarun("crate", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "there is no such folder" in done.stderr


def test_without_the_library_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = small_run(tmp_path)
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    with pytest.raises(DataError) as refused:
        api.describe(folder.root)
    assert str(refused.value) == "rocrate is not installed: pip install 'casarun[share]'"
