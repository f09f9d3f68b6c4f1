"""The examples run as they say."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def announcement(sequence: int, messages: int | None) -> str:
    snapshot = None if messages is None else {"message_count": messages}
    cause = {"event": "comment-created", "comment_id": sequence}
    return json.dumps({"user_id": 1, "group_slug": "elm", "sequence": sequence, "snapshot": snapshot, "cause": cause})


def test_following_announcements_ignores_what_is_older_or_torn(tmp_path: Path) -> None:
    path = tmp_path / "snapshot-changed.jsonl"
    parts = [announcement(2, 5), announcement(1, 4), '{"torn by a crash, \u00e9', announcement(3, None), '{"torn']
    path.write_bytes("\n".join(parts).encode().replace("\u00e9".encode(), b"\xc3"))
    program = [sys.executable, str(EXAMPLES / "follow_announcements.py"), str(path), "--once"]
    output = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == [
        "(1, 'elm'): 5 messages, because of {'event': 'comment-created', 'comment_id': 2}",
        "(1, 'elm'): gone",
    ]


def test_following_announcements_reads_an_unfinished_line_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "snapshot-changed.jsonl"
    path.write_bytes(b"one\ntw\xc3")
    steps = [b"one\ntwo\n", b"one\n"]  # the disk was full, and then no longer

    def sleep(_seconds: float) -> None:
        path.write_bytes(steps.pop())

    monkeypatch.setattr("time.sleep", sleep)
    found = runpy.run_path(str(EXAMPLES / "follow_announcements.py"))["lines"](path, once=False)
    assert [next(found), next(found)] == [b"one", b"two"]
