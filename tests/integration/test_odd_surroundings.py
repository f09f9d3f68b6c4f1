"""Surroundings that are odd on purpose: every command answers with its result, or with one line and exit code 2."""

import os
import subprocess
from pathlib import Path

import pytest

from support.commands import HERE, environment
from support.whiteballoon import WhiteBalloon

WB = ("wb", "signal-profile", "snapshot", "--all")
REBUILD = ("snapshot-rebuild", "--all")
CONSUMER = ("snapshot-consumer", "--until-caught-up")
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    wb = WhiteBalloon.in_folder(tmp_path / "data")
    request, users = wb.add_group("straße", "Straße – 通り", members=2)
    for user in users:
        wb.comment(user, request, "https://example.org/")
    with wb.main.begin() as connection:
        connection.exec_driver_sql("UPDATE request_comments SET created_at = 'gestern – 昨日' WHERE user_id = 2")
    return tmp_path / "data"


def run(*words: str, databases: bytes, storage: bytes, **further: str) -> subprocess.CompletedProcess[bytes]:
    env = {name.encode(): os.fsencode(value) for name, value in environment(**further).items()}
    env |= {
        b"DATABASE_URL": b"sqlite:///" + databases + b"/app.db",
        b"INSIGHTS_DATABASE_URL": b"sqlite:///" + databases + b"/comment_llm_insights.db",
        b"SNAPSHOT_STORAGE_DIR": storage,
        b"COLUMNS": b"200",
    }
    return subprocess.run([HERE / words[0], *words[1:]], env=env, capture_output=True, timeout=240, check=False)


def assert_said(done: subprocess.CompletedProcess[bytes], code: int) -> None:
    said = done.stderr.decode("utf-8", "backslashreplace")
    assert done.returncode == code, said
    assert "Traceback" not in said
    assert "this is a bug" not in said


@pytest.mark.parametrize(("words", "code"), [(WB, 0), (REBUILD, 1), (CONSUMER, 0)])
@pytest.mark.parametrize("surroundings", [{}, ASCII], ids=["UTF-8", "ASCII"])
def test_folders_whose_names_are_no_utf_8(
    words: tuple[str, ...], code: int, surroundings: dict[str, str], databases: Path, tmp_path: Path
) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff\xfe"
    databases.rename(os.fsdecode(odd))
    storage = os.fsencode(tmp_path) + b"/st\xe4nde"
    assert_said(run(*words, databases=odd, storage=storage, **surroundings), code)
    (profile,) = Path(os.fsdecode(storage), "signal_profiles").glob("*.json")
    assert profile.name == "1-stra%C3%9Fe.json"


@pytest.mark.parametrize("words", [(*WB, "--dry-run"), (*REBUILD, "--dry-run"), (*REBUILD, "--json"), CONSUMER])
def test_a_terminal_that_knows_ascii_only(words: tuple[str, ...], databases: Path, tmp_path: Path) -> None:
    done = run(*words, databases=os.fsencode(databases), storage=os.fsencode(tmp_path / "storage"), **ASCII)
    assert_said(done, int(words[0] == "snapshot-rebuild"))
    assert done.stdout.isascii()
    assert done.stderr.isascii()
    assert b"stra\\xdfe" in done.stdout or b"stra\\u00dfe" in done.stdout or words == CONSUMER
    refused = run(
        *words,
        "--group-slug",
        "größe",
        databases=os.fsencode(databases),
        storage=os.fsencode(tmp_path / "other"),
        **ASCII,
    )
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", [WB[:-1], REBUILD[:-1]])
@pytest.mark.parametrize("value", ["99999999999999999999", "0", "-1", "1.5", "", "1e3"])
def test_ids_that_no_user_has(words: tuple[str, ...], value: str, databases: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    done = run(*words, f"--user={value}", databases=os.fsencode(databases), storage=os.fsencode(storage))
    assert_said(done, 2)
    assert b"--user" in done.stderr
    assert not storage.exists()


@pytest.mark.parametrize("flag", ["--debounce", "--lag-timeout"])
@pytest.mark.parametrize("value", ["nan", "inf", "1e999"])
def test_numbers_that_are_none(flag: str, value: str, databases: Path, tmp_path: Path) -> None:
    done = run(*REBUILD, f"{flag}={value}", databases=os.fsencode(databases), storage=os.fsencode(tmp_path / "storage"))
    assert_said(done, 2)
    assert flag.encode() in done.stderr
