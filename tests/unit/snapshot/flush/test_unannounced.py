"""The notes of files that downstream may not have been told of."""

import errno
import os
from pathlib import Path

import pytest

from projections.profile_key import ProfileKey
from snapshot.files.disk import LocalDisk
from snapshot.flush.unannounced import NOTES, UnannouncedJournal

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "a/b")


def test_a_note_lasts_until_all_of_it_was_told(tmp_path: Path) -> None:
    untold = UnannouncedJournal(tmp_path)
    untold.record("one", [ANN, BEN])
    untold.record("two", [BEN, CEM])
    assert all(key in untold for key in (ANN, BEN, CEM))
    untold.told([ANN])
    assert ANN not in untold
    assert BEN in untold
    untold.told([BEN])
    assert BEN not in untold
    assert [path.name for path in (tmp_path / NOTES).iterdir()] == ["two"]
    untold.told([CEM])
    assert list((tmp_path / NOTES).iterdir()) == []


def test_what_a_crashed_process_left_is_known_to_the_next(tmp_path: Path) -> None:
    UnannouncedJournal(tmp_path).record("one", [ANN, CEM])
    (tmp_path / NOTES / "half").write_bytes(b'[[1, "lio')
    (tmp_path / NOTES / "other").write_bytes(b"\xff")
    untold = UnannouncedJournal(tmp_path)
    assert ANN in untold
    assert CEM in untold
    assert BEN not in untold
    untold.told([ANN, CEM])
    assert list((tmp_path / NOTES).iterdir()) == []


def test_nothing_to_tell_leaves_no_note(tmp_path: Path) -> None:
    untold = UnannouncedJournal(tmp_path / "not there")
    untold.record("one", [])
    assert ANN not in untold
    with pytest.raises(FileNotFoundError):
        untold.record("one", [ANN])


def test_a_note_that_another_process_took_away_is_no_error(tmp_path: Path) -> None:
    one = UnannouncedJournal(tmp_path)
    one.record("one", [ANN])
    other = UnannouncedJournal(tmp_path)
    one.told([ANN])
    other.told([ANN])
    assert ANN not in other


def test_trials_that_fail_again_and_again_leave_one_note(tmp_path: Path) -> None:
    untold = UnannouncedJournal(tmp_path)
    untold.record("first", [ANN, BEN, CEM])
    for number in range(20):
        untold.record(f"again {number}", [ANN, BEN])
    assert sorted(path.name for path in (tmp_path / NOTES).iterdir()) == ["again 19", "first"]
    again = UnannouncedJournal(tmp_path)
    assert all(key in again for key in (ANN, BEN, CEM))


def test_a_token_that_is_used_again_keeps_its_note(tmp_path: Path) -> None:
    untold = UnannouncedJournal(tmp_path)
    untold.record("one", [ANN])
    untold.record("one", [ANN, BEN])
    assert ANN in UnannouncedJournal(tmp_path)
    assert BEN in UnannouncedJournal(tmp_path)


def test_a_note_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-written one would be taken for a crashed process', and taken away under its writer's hands."""
    seen: list[list[str]] = []

    def flush(_disk: LocalDisk, _path: str) -> None:
        seen.append([path.name for path in (tmp_path / NOTES).iterdir()])

    monkeypatch.setattr(LocalDisk, "flush", flush)
    UnannouncedJournal(tmp_path).record("one", [ANN])
    assert seen == [[], ["one"]]  # the content is flushed before it has its name, then the name


def test_a_disk_that_is_full_leaves_no_half_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_disk: LocalDisk, _path: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    untold = UnannouncedJournal(tmp_path)
    monkeypatch.setattr(LocalDisk, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        untold.record("one", [ANN])
    assert ANN not in untold
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
