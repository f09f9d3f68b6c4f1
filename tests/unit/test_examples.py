"""The examples run as they say."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from follow_announcements import Line, Position, follow
from highlight_store import apply, from_file, open_store
from snapshot.announce.announcement import Announcement
from snapshot.announce.compaction import compact
from snapshot.announce.file import FileAnnouncer
from snapshot.fixtures import EXAMPLE

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def announcement(sequence: int, messages: int | None) -> str:
    snapshot = None if messages is None else {"message_count": messages}
    cause = {"event": "comment-created", "comment_id": sequence}
    return json.dumps({"user_id": 1, "group_slug": "elm", "sequence": sequence, "snapshot": snapshot, "cause": cause})


def following(path: Path, *words: str) -> list[str]:
    program = [sys.executable, str(EXAMPLES / "follow_announcements.py"), str(path), "--once", *words]
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.splitlines()


def test_following_announcements_ignores_what_is_older_or_torn_and_restarts_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "snapshot-changed.jsonl"
    state = ["--state", str(tmp_path / "state")]
    assert following(path, *state) == []  # it is not there yet
    parts = [announcement(2, 5), announcement(1, 4), '{"torn by a crash, \u00e9', announcement(3, None), '{"torn']
    path.write_bytes("\n".join(parts).encode().replace("\u00e9".encode(), b"\xc3"))
    assert following(path, *state) == [
        "1:elm: 5 messages, because of {'event': 'comment-created', 'comment_id': 2}",
        "1:elm: gone",
    ]
    path.rename(tmp_path / "snapshot-changed.jsonl.1")
    with (tmp_path / "snapshot-changed.jsonl.1").open("a") as late:
        late.write(f"\n{announcement(4, 6)}\n")
    path.write_text(f"{announcement(3, None)}\n{announcement(5, 7)}\n")
    assert [line.split(",")[0] for line in following(path, *state)] == ["1:elm: 6 messages", "1:elm: 7 messages"]
    assert following(path, *state) == []


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens, one after the other, whenever the follower waits; it ends after the last."""
    todo: list[Callable[[], object]] = []

    def sleep(_seconds: float) -> None:
        if not todo:
            raise TimeoutError
        todo.pop(0)()

    monkeypatch.setattr(time, "sleep", sleep)
    return todo


def texts(lines: Iterator[Line]) -> list[bytes]:
    """All lines up to the last step."""
    found: list[bytes] = []
    with suppress(TimeoutError):
        for line in lines:
            found.append(line.text)  # noqa: PERF401 - what was found before the end counts
    return found


def test_an_unfinished_line_is_read_again(tmp_path: Path, steps: list[Callable[[], object]]) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"one\ntw\xc3")
    # the disk was full, and then no longer
    steps += [lambda: os.truncate(path, 4), lambda: path.write_bytes(b"one\ntwo\n")]
    assert texts(follow(path)) == [b"one", b"two"]


def test_a_missing_a_renamed_a_truncated_and_a_compacted_file_are_followed(
    tmp_path: Path, steps: list[Callable[[], object]]
) -> None:
    path, rotated, other = tmp_path / "f", tmp_path / "f.1", tmp_path / ".f.tmp"

    def append(place: Path, text: bytes) -> None:
        with place.open("ab") as file:
            file.write(text)

    def compacted() -> None:
        other.write_bytes(b"compacted\n")
        other.replace(path)

    steps += [
        lambda: path.write_bytes(b"one\n"),
        lambda: path.rename(rotated),
        lambda: append(rotated, b"two\n"),  # by a writer that had it open
        lambda: append(path, b"three\n"),
        lambda: os.truncate(path, 0),
        lambda: append(path, b"four\n"),
        compacted,
        lambda: append(path, b"five\n"),
        path.unlink,
        lambda: append(path, b"six\n"),
    ]
    found = texts(follow(path))
    assert list(dict.fromkeys(found)) == [b"one", b"two", b"three", b"four", b"compacted", b"five", b"six"]
    assert [line.text for line in follow(path, Position(path.stat().st_ino, 4), once=True)] == []


def changed(sequence: int, messages: int | None, *, slug: str = "elm:street", tags: str = "housing") -> Announcement:
    snapshot, digest = None, None
    if messages is not None:
        snapshot = EXAMPLE.to_dict() | {"message_count": messages, "top_tags": [{"label": tags, "count": 1}]}
        digest = f"{messages:064x}"
    return Announcement(
        user_id=1,
        group_slug=slug,
        snapshot=snapshot,
        snapshot_hash=digest,
        previous_hash=None,
        sequence=sequence,
        cause={"event": "comment-created", "comment_id": 1},
    )


def rows(database: sqlite3.Connection) -> list[tuple[object, ...]]:
    return database.execute("SELECT group_slug, sequence, highlight FROM highlights ORDER BY group_slug").fetchall()


def test_the_highlight_store_follows_the_file_through_rotation_compaction_and_restarts(tmp_path: Path) -> None:
    path, place = tmp_path / "snapshot-changed.jsonl", tmp_path / "highlights.db"
    announcer = FileAnnouncer(path)

    def again() -> list[tuple[object, ...]]:
        database = open_store(place)
        for read in from_file(path, database, once=True):
            apply(database, read)
        found = rows(database)
        database.close()
        return found

    announcer.announce([changed(5, 2), changed(4, 1), changed(1, 3, slug="oak")])
    assert again() == [("elm:street", 5, "2 messages about housing"), ("oak", 1, "3 messages about housing")]
    announcer.announce([changed(6, 2, tags="same hash, so the text stays")])
    path.rename(tmp_path / "snapshot-changed.jsonl.1")
    announcer.announce([changed(2, None, slug="oak")])
    assert again() == [("elm:street", 6, "2 messages about housing"), ("oak", 2, None)]
    announcer.announce([changed(1, 3, slug="oak"), changed(7, 9), changed(8, 10)])  # the first comes late
    assert compact(path)._asdict() == {"kept": 2, "removed": 2}
    assert again() == [("elm:street", 8, "10 messages about housing"), ("oak", 2, None)]
    program = [sys.executable, str(EXAMPLES / "highlight_store.py"), str(place), "--file", str(path), "--once"]
    announcer.announce([changed(9, None)])
    subprocess.run(program, check=True)
    assert again() == [("elm:street", 9, None), ("oak", 2, None)]
