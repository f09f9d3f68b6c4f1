"""What downstream has, by a file of announcements."""

from pathlib import Path

import pytest

from consumer.daemon.downstream import announced_hashes
from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from snapshot.announce.announcement import Announcement
from snapshot.announce.file import FileAnnouncer


def one(user_id: int, sequence: int, *, there: bool = True) -> Announcement:
    return Announcement(
        user_id=user_id,
        group_slug="elm",
        snapshot={} if there else None,
        snapshot_hash="0" * 64 if there else None,
        previous_hash=None,
        sequence=sequence,
        cause={"event": "", "comment_id": 0},
    )


def test_what_was_announced_last_by_order_and_by_sequence(tmp_path: Path) -> None:
    path = tmp_path / "snapshot-changed.jsonl"
    FileAnnouncer(path).announce(
        [
            one(1, 1),
            *(one(2, 1), one(2, 2, there=False)),
            *(one(3, 1), one(3, 2, there=False), one(3, 3)),
            *(one(4, 2, there=False), one(4, 1)),
            *(one(5, 2), one(5, 1, there=False)),
            *(one(0, 1), one(2**63, 1)),
        ]
    )
    with path.open("ab") as file:
        file.write(b'{"user_id":6,')
    there, ended = "0" * 64, ""
    wanted: dict[int, str | None] = {1: there, 2: ended, 3: there, 4: None, 5: None}
    assert announced_hashes(None, path) == {ProfileKey(user, "elm"): found for user, found in wanted.items()}


def test_where_nothing_was_announced_there_is_nothing(tmp_path: Path) -> None:
    assert announced_hashes(None, tmp_path / "none.jsonl") == {}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(OperatorError, match=r"folder\.jsonl can't be read"):
        announced_hashes(None, tmp_path / "folder.jsonl")
