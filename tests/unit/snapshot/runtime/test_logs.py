"""Log lines: JSON where nobody looks, words on a terminal, the same for libraries."""

import io
import json
import logging
from pathlib import Path

import pytest
import structlog

from projections.errors import OperatorError
from snapshot.runtime import logs

log = structlog.get_logger()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_json_lines_begin_with_when_how_bad_and_what() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    log.info("files written", files=3, folder=Path("storage/profiles"), a_name="é")
    line = stream.getvalue()
    fields = json.loads(line)
    assert list(fields) == ["timestamp", "level", "event", "a_name", "files", "folder"]
    assert fields["timestamp"].endswith("Z")
    assert (fields["level"], fields["event"], fields["folder"]) == ("info", "files written", "storage/profiles")
    assert "é" in line
    assert line.count("\n") == 1


def test_an_exception_stays_on_one_line() -> None:
    stream = io.StringIO()
    logs.configure(stream)
    try:
        int("a mistake")
    except ValueError:
        log.exception("it failed")
    (line,) = stream.getvalue().splitlines()
    assert "ValueError: invalid literal" in json.loads(line)["exception"]


def test_a_terminal_gets_words() -> None:
    stream = Terminal()
    logs.configure(stream)
    log.warning("no metrics are sent", host="x")
    (line,) = stream.getvalue().splitlines()
    assert "no metrics are sent" in line
    assert not line.startswith("{")


@pytest.mark.parametrize("form", ["json", "console"])
def test_libraries_are_heard_from_warning_on_and_once(form: logs.Form) -> None:
    stream = io.StringIO()
    for _ in range(2):  # configured twice, said once
        logs.configure(stream, form)
    logging.getLogger("sqlalchemy").info("a statement")
    logging.getLogger("sqlalchemy").warning("the pool is %s", "full")
    (line,) = stream.getvalue().splitlines()
    assert "the pool is full" in line
    assert line.startswith("{") == (form == "json")


def test_another_programs_arrangement_is_left_alone() -> None:
    before = logging.getLogger().handlers[:]
    stream = io.StringIO()
    logs.configure(stream, libraries=False)
    assert logging.getLogger().handlers == before
    log.info("ours")
    assert json.loads(stream.getvalue())["event"] == "ours"


def test_the_environment_chooses_form_and_level() -> None:
    stream = Terminal()
    logs.configure_from({"SNAPSHOT_LOG_FORMAT": "JSON", "SNAPSHOT_LOG_LEVEL": "warning"}, stream)
    log.info("not shown")
    log.warning("shown")
    (line,) = stream.getvalue().splitlines()
    assert json.loads(line)["event"] == "shown"


@pytest.mark.parametrize(
    "environment", [{"SNAPSHOT_LOG_FORMAT": "xml"}, {"SNAPSHOT_LOG_LEVEL": "loud"}], ids=["form", "level"]
)
def test_an_unknown_value_is_named(environment: dict[str, str]) -> None:
    ((name, value),) = environment.items()
    with pytest.raises(OperatorError, match=f"{name}={value}"):
        logs.configure_from(environment, io.StringIO())


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_no_line_shows_a_password(stream: io.StringIO) -> None:
    logs.configure(stream)
    log.warning("can't connect to redis://:sesame@host", reason="redis://host/0?password=sesame is unreachable")
    url = "postgresql://ann:sesame@host/wb"
    logging.getLogger("library").warning("trying %s", url)
    try:
        int(url)
    except ValueError:
        log.exception("a mistake")
    assert "sesame" not in stream.getvalue()
    assert stream.getvalue().count("***") >= 4
