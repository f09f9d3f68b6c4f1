"""The pages as a site: every link leads somewhere, all pages are in the menu, and nothing is loaded from outside."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.services import missing

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site."""
    if importlib.util.find_spec("material") is None:
        missing("no mkdocs-material: pip install '.[dev]'")
    place = tmp_path_factory.mktemp("site")
    ended = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", place],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")
    return place


def test_every_page_is_built(site: Path) -> None:
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path.relative_to(site) for path in site.rglob("*.html")} == {*pages, Path("404.html")}


def test_nothing_is_loaded_from_outside(site: Path) -> None:
    loading = re.compile(r"<(?:script|img|iframe|source|video)[^>]+src=\"?([^\" >]+)|<link[^>]+href=\"?([^\" >]+)")
    for page in site.rglob("*.html"):
        named = [one or other for one, other in loading.findall(page.read_text(encoding="utf-8"))]
        assert len(named) > 3
        assert [name for name in named if "//" in name] == [], page.name
    styles = "".join(path.read_text(encoding="utf-8") for path in site.rglob("*.css"))
    assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", styles) == []
