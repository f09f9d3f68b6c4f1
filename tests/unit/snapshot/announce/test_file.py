"""Reading the file of announcements: what it keeps, and what comes, whatever becomes of the file meanwhile."""

from collections.abc import Iterator
from pathlib import Path

from snapshot.announce.announcement import Announcement, parse, value_of
from snapshot.announce.file import FileAnnouncer, follow, kept, latest, remove_user


def announced(sequence: int, user: int = 7) -> Announcement:
    cause = {"event": "comment-created", "comment_id": sequence}
    return Announcement(
        user_id=user,
        group_slug="a:b",
        snapshot={"message_count": sequence},
        snapshot_hash="h",
        previous_hash=None,
        sequence=sequence,
        cause=cause,
    )


def come(coming: Iterator[Announcement | None]) -> list[int]:
    """The sequences of those that have come since."""
    found = []
    while (one := next(coming)) is not None:
        found.append(one.sequence)
    return found


def test_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "announced"
    assert list(kept(path, 7)) == []
    announcer = FileAnnouncer(path)
    announcer.announce([announced(1)])
    with path.open("ab") as file:
        file.write(b'{"torn": \n[[[[\n')
    announcer.announce([announced(2), announced(3, user=8), announced(4, user=77)])
    assert list(kept(path, 7)) == [announced(1), announced(2)]
    assert list(kept(path, 8)) == [announced(1), announced(3, user=8)]


def test_the_last_ones_are_those_that_are_whole_in_the_last_bytes(tmp_path: Path) -> None:
    path = tmp_path / "announced.jsonl"
    assert latest(path) == []
    FileAnnouncer(path).announce([announced(1), announced(2), announced(3)])
    with path.open("ab") as file:
        file.write(b'{"torn')
    assert [one.sequence for one in latest(path)] == [1, 2, 3]
    bytes_of_two = len(value_of(announced(2))) + len(value_of(announced(3))) + 2 + len(b'{"torn')
    assert [one.sequence for one in latest(path, bytes_of_two)] == [3]
    assert [one.sequence for one in latest(path, bytes_of_two + 1)] == [2, 3]


def test_what_comes_through_rotation_and_removal(tmp_path: Path) -> None:
    path = tmp_path / "announced"
    announcer = FileAnnouncer(path)
    coming = follow(path)
    assert come(coming) == []
    announcer.announce([announced(1), announced(2, user=8)])
    assert come(coming) == [1, 2]
    with path.open("ab") as file:
        file.write(value_of(announced(3)))
    assert come(coming) == []
    with path.open("ab") as file:
        file.write(b"\n")
    assert come(coming) == [3]
    path.rename(tmp_path / "rotated")
    announcer.announce([announced(4)])
    assert come(coming) == [4]
    path.write_bytes(b"")
    assert come(coming) == []
    announcer.announce([announced(5), announced(6, user=8)])
    assert come(coming) == [5, 6]
    remove_user(path, 8)
    assert come(coming) == [5]  # the file is another one: whoever follows ignores what it knows, by the sequence
    assert come(follow(path)) == []


def test_an_announcement_of_a_profile_that_is_gone_has_no_value_on_kafka() -> None:
    headers = {"ce_sequence": b"5", "ce_previoushash": b"before", "ce_cause": b'{"event":"comment-created"}'}
    gone = parse(b"7:a:b", None, headers)
    assert gone is not None
    assert (gone.user_id, gone.group_slug, gone.sequence, gone.previous_hash) == (7, "a:b", 5, "before")
    assert (gone.snapshot, gone.snapshot_hash) == (None, None)
    assert parse(b"7:a:b", None, {}) is None
    assert parse(b"x", None, headers) is None
    assert parse(b"7:a:b", None, headers | {"ce_cause": b"["}) is None
    assert parse(None, b"[" * 100_000, {}) is None
