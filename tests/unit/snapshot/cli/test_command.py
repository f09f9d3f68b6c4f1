"""How a command ends when something goes wrong."""

import errno
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import pytest
import typer

import consumer
import projections
import snapshot
from projections import __version__
from projections.errors import OperatorError
from snapshot.cli.command import run


@pytest.fixture(autouse=True)
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where tracebacks go."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OperatorError("fix\nthis"), 2, "fix this\n"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/x/y"),
            2,
            "could not go on: /x/y: No space left on device; ",
        ),
        (OperatorError("redis://h/0?password=sesame is away"), 2, "redis://h/0?password=*** is away\n"),
        (RuntimeError("redis://:sesame@h"), 2, "this is a bug in signal-identity-snapshotter "),
        (OSError(errno.EIO, "Input/output error"), 2, "could not go on: Input/output error; "),
        (KeyboardInterrupt(), 130, ""),
        (RuntimeError("a mistake of ours"), 2, "this is a bug in signal-identity-snapshotter "),
        (SystemExit(1), 1, ""),
    ],
)
def test_only_a_run_that_came_to_its_end_ends_with_1(
    error: BaseException, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(**_: object) -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == code
    said = capsys.readouterr().err
    assert said.startswith(says)
    assert "sesame" not in said


def test_a_mistake_of_ours_is_one_line_and_its_traceback_a_file(
    reports: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = ["--kafka-sasl-password", "sesame", "--kafka-ssl-password=sesame", "--database-url", "password=sesame"]
    monkeypatch.setattr(sys, "argv", ["snapshot-rebuild", *flags, "--all"])

    def app(**_: object) -> None:
        raise RuntimeError("a mistake\nof ours")

    with pytest.raises(SystemExit):
        run(app)
    (file,) = reports.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"this is a bug in signal-identity-snapshotter {__version__}: RuntimeError: a mistake of ours"
    )
    assert line.endswith(f"please report it with the file {file}")
    text = file.read_text("utf-8")
    assert text.startswith(f"signal-identity-snapshotter {__version__}, Python 3.")
    assert "\nsnapshot-rebuild --kafka-sasl-password --kafka-ssl-password --database-url --all\n" in text
    assert "sesame" not in text
    assert "Traceback (most recent call last):" in text
    assert 'in app\n    raise RuntimeError("a mistake' in text


def test_a_services_traceback_outlives_its_private_temporary_folder(
    reports: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (reports / "storage").mkdir()
    monkeypatch.setenv("SNAPSHOT_STORAGE_DIR", str(reports / "storage"))

    def app() -> None:
        raise RuntimeError("a mistake of ours")

    for _ in range(3):  # as a supervisor would: it once was a file each time
        with pytest.raises(SystemExit):
            run(app)
    (file,) = (reports / "storage").iterdir()
    assert capsys.readouterr().err.count(str(file)) == 3


def test_where_no_file_can_be_written_the_traceback_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))

    def app(**_: object) -> None:
        raise RuntimeError("a mistake of ours")

    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("this is a bug in signal-identity-snapshotter ")
    assert "Traceback (most recent call last):" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--count", "many"], r"'--count'.*many.*see .* --help"),
        (["--count", "0"], r"'--count'.*0.*see .* --help"),
        (["--count"], "'--count'"),
        (["--coutn", "1"], "--coutn"),
        (["here"], "here"),
    ],
)
def test_a_wrong_flag_is_one_line_with_its_value(
    words: list[str], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer(add_completion=False)

    @app.command()
    def counted(count: Annotated[int, typer.Option(min=1)] = 1) -> None:
        raise AssertionError(count)

    monkeypatch.setattr(sys, "argv", ["counted", *words])
    with pytest.raises(SystemExit) as ended:
        run(app)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(says, line)


@pytest.mark.parametrize("program", ["snapshot-admin", "snapshot-consumer", "snapshot-rebuild", "snapshot-relay", "wb"])
def test_every_program_has_a_version_and_a_short_flag_for_help(program: str) -> None:
    on_path = Path(sys.executable).with_name(program)
    ask = [subprocess.run([on_path, flag], capture_output=True, text=True, check=True) for flag in ("--version", "-h")]
    assert ask[0].stdout == f"{program} {__version__}\n"
    assert f"Usage: {program}" in ask[1].stdout
    assert {projections.__version__, snapshot.__version__, consumer.__version__} == {__version__}
