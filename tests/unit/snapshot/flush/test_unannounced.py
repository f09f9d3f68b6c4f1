"""The notes of files that may not have been announced."""

import errno
import os
from pathlib import Path

import pytest

from projections.profile_key import ProfileKey
from snapshot.files.disk import LocalDisk
from snapshot.flush.unannounced import NOTES, UnannouncedJournal

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "a/b")

ONE, TWO = "1" * 16, "2" * 16


def test_a_note_lasts_until_all_of_it_was_announced(tmp_path: Path) -> None:
    journal = UnannouncedJournal(tmp_path)
    journal.record(ONE, [ANN, BEN])
    journal.record(TWO, [BEN, CEM])
    assert all(key in journal for key in (ANN, BEN, CEM))
    journal.announced([ANN])
    assert ANN not in journal
    assert BEN in journal
    journal.announced([BEN])
    assert BEN not in journal
    assert [path.name for path in (tmp_path / NOTES).iterdir()] == [TWO]
    journal.announced([CEM])
    assert list((tmp_path / NOTES).iterdir()) == []


def test_what_a_crashed_process_left_is_known_to_the_next(tmp_path: Path) -> None:
    UnannouncedJournal(tmp_path).record(ONE, [ANN, CEM])
    (tmp_path / NOTES / TWO).touch()  # the machine stopped before the note had reached the disk
    journal = UnannouncedJournal(tmp_path)
    assert ANN in journal
    assert CEM in journal
    assert BEN not in journal
    journal.announced([ANN, CEM])
    assert list((tmp_path / NOTES).iterdir()) == []


def test_nothing_to_tell_leaves_no_note(tmp_path: Path) -> None:
    journal = UnannouncedJournal(tmp_path / "not there")
    journal.record(ONE, [])
    assert ANN not in journal
    with pytest.raises(FileNotFoundError):
        journal.record(ONE, [ANN])


def test_a_note_that_another_process_took_away_is_no_error(tmp_path: Path) -> None:
    one = UnannouncedJournal(tmp_path)
    one.record(ONE, [ANN])
    other = UnannouncedJournal(tmp_path)
    one.announced([ANN])
    other.announced([ANN])
    assert ANN not in other


def test_trials_that_fail_again_and_again_leave_one_note(tmp_path: Path) -> None:
    journal = UnannouncedJournal(tmp_path)
    journal.record(ONE, [ANN, BEN, CEM])
    for number in range(20):
        journal.record(f"{number:016x}", [ANN, BEN])
    assert sorted(path.name for path in (tmp_path / NOTES).iterdir()) == [f"{19:016x}", ONE]
    again = UnannouncedJournal(tmp_path)
    assert all(key in again for key in (ANN, BEN, CEM))


def test_a_token_that_is_used_again_keeps_its_note(tmp_path: Path) -> None:
    journal = UnannouncedJournal(tmp_path)
    journal.record(ONE, [ANN])
    journal.record(ONE, [ANN, BEN])
    assert ANN in UnannouncedJournal(tmp_path)
    assert BEN in UnannouncedJournal(tmp_path)


def test_a_note_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-written one would be taken for a crashed process', and taken away under its writer's hands."""
    seen: list[list[str]] = []

    def flush(_disk: LocalDisk, _path: str) -> None:
        seen.append([path.name for path in (tmp_path / NOTES).iterdir()])

    monkeypatch.setattr(LocalDisk, "flush", flush)
    UnannouncedJournal(tmp_path).record(ONE, [ANN])
    assert seen == [[], [ONE]]  # the content is flushed before it has its name, then the name


def test_a_disk_that_is_full_leaves_no_half_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_disk: LocalDisk, _path: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = UnannouncedJournal(tmp_path)
    monkeypatch.setattr(LocalDisk, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        journal.record(ONE, [ANN])
    assert ANN not in journal
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_is_no_note_is_neither_read_nor_removed(tmp_path: Path) -> None:
    journal = UnannouncedJournal(tmp_path)
    journal.record(ONE, [ANN])
    names = [TWO, "notes.txt", "3" * 16, "4" * 16]
    folder = tmp_path / NOTES
    (folder / names[0]).write_bytes(b"{}")
    (folder / names[1]).write_bytes(b"")
    (folder / names[2]).mkdir()
    os.mkfifo(folder / names[3])
    journal = UnannouncedJournal(tmp_path)
    assert ANN in journal
    journal.announced([ANN, BEN, CEM])
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)


def test_a_link_to_another_folder_loses_no_file_there(tmp_path: Path) -> None:
    """Anyone who may write to the folder could plant it."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "profiles"
    for path in (elsewhere, folder):
        path.mkdir()
    names = {"letter.txt", ONE, TWO}
    for name in names:
        (elsewhere / name).touch()
    (folder / NOTES).symlink_to(elsewhere)
    journal = UnannouncedJournal(folder)
    journal.announced([ANN, BEN, CEM])
    with pytest.raises(OSError, match=f"{NOTES} is a link or a file, not a folder: remove it"):
        journal.record("3" * 16, [ANN])
    assert {path.name for path in elsewhere.iterdir()} == names


def test_a_person_can_be_taken_out_of_the_notes(tmp_path: Path) -> None:
    journal = UnannouncedJournal(tmp_path)
    journal.record(ONE, [ANN, BEN])
    journal.record(TWO, [ProfileKey(1, "tigers")])
    assert UnannouncedJournal(tmp_path).forget(1) == 2
    assert [path.read_bytes() for path in (tmp_path / NOTES).iterdir()] == [b'[[2,"lions"]]']
    again = UnannouncedJournal(tmp_path)
    assert BEN in again
    assert ANN not in again
    assert again.forget(1) == 0
