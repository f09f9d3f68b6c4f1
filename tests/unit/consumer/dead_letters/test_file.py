import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.dead_letters.dead_letters import DeadLetterError
from consumer.dead_letters.file import FileDeadLetters
from consumer.source import Invalid
from projections.errors import OperatorError

HEADERS = [("ce_type", b"signal.comment-created"), ("raw", b"\xff")]


def test_a_dead_letter_is_a_line_with_everything_that_is_known(tmp_path: Path) -> None:
    [line] = sent(tmp_path / "dead.jsonl", [invalid(b'{"comment_id":1}')])
    assert line == {
        "error": "no user_id",
        "topic": "comment-created",
        "partition": 2,
        "offset": 7,
        "time": "2026-01-02T03:04:05+00:00",
        "key": "1",
        "value": '{"comment_id":1}',
        "headers": [{"name": "ce_type", "value": "signal.comment-created"}, {"name": "raw", "value_base64": "/w=="}],
    }


def test_bytes_that_are_no_text_are_kept_as_base64(tmp_path: Path) -> None:
    [line] = sent(tmp_path / "dead.jsonl", [invalid(b"\xff\xfe")])
    assert line["value_base64"] == "//4="
    assert "value" not in line


def test_an_absent_value_stays_absent(tmp_path: Path) -> None:
    [line] = sent(tmp_path / "dead.jsonl", [invalid(None)])
    assert line["value"] is None


def test_later_ones_are_appended(tmp_path: Path) -> None:
    sent(tmp_path / "dead.jsonl", [invalid(b"1"), invalid(b"2")])
    assert [line["value"] for line in sent(tmp_path / "dead.jsonl", [invalid(b"3")])] == ["1", "2", "3"]


def test_nothing_sent_makes_no_file(tmp_path: Path) -> None:
    FileDeadLetters(tmp_path / "dead.jsonl", noon).send([])
    assert not list(tmp_path.iterdir())


def test_a_file_that_cannot_be_written_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    (tmp_path / "dead.jsonl").mkdir()
    with pytest.raises(DeadLetterError, match=r"dead\.jsonl did not accept a dead letter"):
        FileDeadLetters(tmp_path / "dead.jsonl", noon).send([invalid(b"1")])


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_only_a_regular_file_is_read(tmp_path: Path, kind: str) -> None:
    """A FIFO of that name once held `snapshot-admin dead-letters list` for ever."""
    path, other = tmp_path / "dead.jsonl", tmp_path / "other"
    sent(other, [invalid(b"1")])
    if kind == "link":
        path.symlink_to(other)
    else:
        os.mkfifo(path)
    with pytest.raises(OperatorError, match=r"can't be read \(is (a symbolic link|not a regular file)"):
        next(FileDeadLetters(path, noon).letters())


def test_the_file_has_the_mode_that_was_chosen(tmp_path: Path) -> None:
    FileDeadLetters(tmp_path / "storage" / "dead.jsonl", noon, 0o600).send([invalid(b"1")])
    assert (tmp_path / "storage" / "dead.jsonl").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "storage").stat().st_mode & 0o777 == 0o700


def invalid(value: bytes | None) -> Invalid:
    return Invalid("comment-created", 2, 7, b"1", value, HEADERS, "no user_id")


def noon() -> datetime:
    return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def sent(path: Path, letters: Sequence[Invalid]) -> list[dict[str, Any]]:
    FileDeadLetters(path, noon).send(letters)
    return [json.loads(line) for line in path.read_text().splitlines()]
