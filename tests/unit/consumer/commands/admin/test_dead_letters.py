"""`snapshot-admin dead-letters` on what other programs may have put there."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from consumer.commands.admin.dead_letters import list_command
from consumer.dead_letters.file import FILE_NAME, FileDeadLetters
from consumer.source import Invalid
from snapshot.cli.options import FileOptions, KafkaOptions


def test_a_letter_is_one_line_whatever_its_reason_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letter = Invalid("comment-created", 0, 7, None, b"x", [], "one\ntwo\r\x1b[2Jthree\x9b \u2028é")
    FileDeadLetters(tmp_path / FILE_NAME, lambda: datetime(2026, 1, 2, tzinfo=UTC)).send([letter])
    list_command(FileOptions(storage_dir=tmp_path), KafkaOptions())
    shown = capsys.readouterr().out
    assert shown == "comment-created/0/7  2026-01-02T00:00:00+00:00  one two  [2Jthree   é\n"
