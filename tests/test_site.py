"""The site of the documentation is built without a warning, and all its links lead somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    assert "WARNING" not in built.stderr
    return folder


def shown(site: Path, page: str) -> str:
    text = (site / page / "index.html").read_text(encoding="utf-8")
    return unescape(re.sub(r"<[^>]+>", "", text))


def test_pages_are_made_of_the_program_itself(site: Path) -> None:
    assert "--walltime TIME" in shown(site, "reference/cli")
    assert "rms_noise_jy_per_beam" in shown(site, "reference/metrics")
    assert "did you mean 'threshold'?" in shown(site, "reference/messages")
    assert "casarun.qa.metrics" in shown(site, "api/numbers")
    assert "Starter: VLA continuum" in shown(site, "recipes/vla-continuum")


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r"<(?:script|img|iframe)[^>]+src=.?(?:https?:)?//", text) == []
        assert re.findall(r"<link[^>]+rel=.?stylesheet[^>]+href=.?(?:https?:)?//", text) == []


def test_every_recipe_is_below_the_gallery(site: Path) -> None:
    page = (site / "gallery" / "index.html").read_text(encoding="utf-8")
    for recipe in (ROOT / "recipes").glob("*.toml"):
        assert f"recipes/{recipe.stem}/" in page
