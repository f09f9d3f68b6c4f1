"""How a command ends when something goes wrong."""

import errno
import os
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
from consumer.commands.admin import admin
from consumer.commands.consumer import consumer as consuming
from consumer.commands.relay import relay
from consumer.documents.reference import commands
from projections import __version__
from projections.errors import OperatorError
from snapshot import wb
from snapshot.cli import usage
from snapshot.cli.command import run
from snapshot.rebuild.command import main as rebuild


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
        (KeyboardInterrupt(), 130, "interrupted\n"),
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


def test_a_wrong_truth_value_says_which_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    app = typer.Typer(add_completion=False)

    @app.command()
    def nightly(glaze: Annotated[bool, typer.Option(envvar="GLAZE")] = False) -> None:  # noqa: FBT002 - a flag
        raise AssertionError(glaze)

    monkeypatch.setenv("GLAZE", "ja")
    monkeypatch.setattr(sys, "argv", ["nightly"])
    with pytest.raises(SystemExit):
        run(app)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"GLAZE.*: write 1, true, yes or on, or 0, false, no or off, not 'ja'; see ", line)


PROGRAMS = ["snapshot-admin", "snapshot-consumer", "snapshot-rebuild", "snapshot-relay", "wb"]


def ask(*words: str, **environment: str) -> str:
    on_path = Path(sys.executable).with_name(words[0])
    env = {**os.environ, "COLUMNS": "100", **environment}
    done = subprocess.run([on_path, *words[1:]], env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_program_has_a_version_and_completion(program: str) -> None:
    assert ask(program, "--version") == f"{program} {__version__}\n"
    assert {projections.__version__, snapshot.__version__, consumer.__version__} == {__version__}
    shell = {f"_{program.replace('-', '_').upper()}_COMPLETE": "complete_bash"}
    # What is misspelt is named at the start, and must not be in the middle of what somebody types.
    assert "--version" in ask(program, **shell, COMP_WORDS=f"{program} --ver", COMP_CWORD="1", SNAPSHOT_STORAG="x")


@pytest.mark.parametrize("words", [one.words for one in commands()] + ["wb signal-profile", "snapshot-admin"])
def test_every_command_has_a_short_flag_for_help_and_a_version_and_names_no_types(
    words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    programs = (admin.app, consuming.args[0], rebuild.args[0], relay.args[0], wb.app)
    name, *rest = words.split()
    app = dict(zip(PROGRAMS, programs, strict=True))[name]
    for flag in ("-h", "--version"):
        usage.program(app)(args=[*rest[name == "wb" :], flag], prog_name=name, standalone_mode=False)
    said = capsys.readouterr().out
    assert "Usage: " in said
    assert not re.findall("<[a-z]+", said)
    assert said.endswith(f"{name} {__version__}\n")
