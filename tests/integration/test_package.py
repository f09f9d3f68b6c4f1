"""The sdist and the wheel that is made from it, installed somewhere else."""

import json
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
from email import message_from_string
from email.message import Message
from pathlib import Path

import pytest

from projections import __version__
from support.commands import on
from support.whiteballoon import WhiteBalloon

ROOT = Path(__file__).parents[2]
NAME = "signal-identity-snapshotter"


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what was built; it goes through the sdist, so that one holds all that the wheel needs."""
    built = tmp_path_factory.mktemp("built")
    words = ["-m", "build", "--no-isolation", "--outdir", str(built), str(ROOT)]
    subprocess.run([sys.executable, *words], check=True, capture_output=True, cwd=built)
    return built


@pytest.fixture(scope="module")
def installed(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel; what it needs of others comes from this one."""
    place = tmp_path_factory.mktemp("installed") / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    (wheel,) = sdist.glob("*.whl")
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--disable-pip-version-check", str(wheel)], check=True)
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return place


def about(installed: Path) -> Message:
    """The package's metadata, and its page on an index."""
    (file,) = installed.glob(f"lib/python*/site-packages/{NAME.replace('-', '_')}-*.dist-info/METADATA")
    return message_from_string(file.read_text(encoding="utf-8"))


def test_the_sdist_has_what_a_reader_and_a_packager_need(sdist: Path) -> None:
    (archive,) = sdist.glob("*.tar.gz")
    with tarfile.open(archive) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert {"LICENSE", "README.md", "Makefile", "mkdocs.yml", "docs/architecture.md", "tests/conftest.py"} <= names


def test_the_commands_run_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    for program in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]:
        assert (installed / "bin" / program).exists()
    balloon = WhiteBalloon.in_folder(tmp_path / "data")
    request, (user,) = balloon.add_group("elm", "Elm Street")
    balloon.comment(user, request, "hello")
    words = [str(installed / "bin" / "wb"), "signal-profile", "snapshot", "--all"]
    subprocess.run(words, env=on(tmp_path / "data", tmp_path / "storage"), cwd=tmp_path, check=True)
    assert json.loads((tmp_path / "storage/signal_profiles/1-elm.json").read_bytes())["message_count"] == 1
    code = "import consumer, snapshot.wb, projections; print(projections.__file__, consumer.__version__)"
    python = [str(installed / "bin" / "python"), "-c", code]
    place, version = subprocess.run(python, cwd=tmp_path, check=True, capture_output=True, text=True).stdout.split()
    assert Path(place).is_relative_to(installed)
    assert version == __version__


def test_units_documents_and_types_come_with_it(installed: Path) -> None:
    share = installed / "share"
    for here, there in [("deploy", NAME), ("docs", f"doc/{NAME}"), ("examples", f"{NAME}/examples")]:
        files = [path.relative_to(ROOT / here) for path in (ROOT / here).rglob("*") if path.suffix not in {"", ".pyc"}]
        assert files
        assert [path for path in files if not (share / there / path).exists()] == []
    for package in ("consumer", "projections", "snapshot"):
        assert list(installed.glob(f"lib/python*/site-packages/{package}/py.typed"))


def test_the_page_comes_with_its_templates_and_static_files(installed: Path) -> None:
    (packages,) = installed.glob("lib/python*/site-packages")
    for folder in ("templates", "static"):
        files = [path.relative_to(ROOT) for path in (ROOT / "consumer" / "web" / folder).iterdir()]
        assert files
        assert [path for path in files if not (packages / path).is_file()] == []


def test_the_metadata_are_complete_and_the_indexs_page_has_no_dead_link(installed: Path) -> None:
    found = about(installed)
    assert found["Version"] == __version__
    assert found["License-Expression"] == "MIT"
    for name in ("Summary", "Keywords", "Author", "Classifier", "Project-URL", "License-File"):
        assert found[name], name
    page = str(found.get_payload())
    assert "signal_profiles/" in page
    assert re.findall(r"\]\((?!https:)[^)]*\)", page) == []
    assert re.findall(r"\(`docs/architecture.md`\)", page)
