"""The inspection of files: what somebody touched, and what a store that fell back no longer knows of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.buckets import BUCKETS, bucket_of
from projections.errors import OperatorError
from projections.profile import ProfileKey
from projections.store import Healing, Origin
from snapshot.folder import open_folder
from snapshot.inspection import EPOCHS, Inspection
from support.flushing import Rig, rig
from support.histories import comment
from support.rollback import keep
from support.stores import Bench

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "tigers")
FAR = ProfileKey(2**63 - 1, "lions")
RAISED = Healing({}, reconcile=False, reason="a test")


@pytest.fixture
def one(bench: Bench, tmp_path: Path) -> Iterator[Rig]:
    with rig(bench, tmp_path / "profiles") as found:
        found.store.bear(Origin({}, {}, "1"))
        found.apply(*[comment(key, 10 + key.user_id % 7, 1) for key in (ANN, BEN, CEM, FAR)])
        found.flush()
        yield found


class Looking:
    """An inspection and its clock."""

    def __init__(self, found: Rig) -> None:
        self.now = 0.0
        self.inspection = Inspection(found.store, found.folder, lambda: self.now)

    def round(self) -> set[ProfileKey]:
        """Look until everything was seen and confirmed."""
        found: set[ProfileKey] = set()
        for _ in range(100):
            found.update(self.inspection.step())
            self.now += 1.0
        return found


def test_files_as_they_were_written_are_left_alone(one: Rig) -> None:
    assert Looking(one).round() == set()
    one.right()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]"], ids=["missing", "empty", "half", "other"])
def test_a_file_that_somebody_touched_is_written_again_and_nobody_is_told(one: Rig, content: bytes | None) -> None:
    for key in (ANN, FAR):
        one.folder.place(key).unlink()
        if content is not None:
            one.folder.place(key).write_bytes(content)
    told = list(one.told.all)
    assert Looking(one).round() == {ANN, FAR}
    assert one.flush() == (2, 0, 0, 0, 0)
    assert one.told.all == told
    one.right()


def test_another_profiles_content_is_noticed(one: Rig) -> None:
    told = list(one.told.all)
    one.folder.place(ANN).write_bytes(one.folder.place(BEN).read_bytes())
    assert Looking(one).round() == {ANN}
    one.flush()
    assert one.told.all == told
    one.right()


def test_a_file_that_should_not_be_there_is_removed(one: Rig) -> None:
    content = one.folder.place(ANN).read_bytes()
    one.apply(comment(ANN, 11, 2, state=1))
    one.flush()
    one.folder.place(ANN).write_bytes(content)
    assert Looking(one).round() == {ANN}
    assert one.flush().removed == 1
    one.right()


def test_a_file_on_its_way_from_another_process_is_not_touched(one: Rig) -> None:
    looking = Looking(one)
    content = one.folder.place(ANN).read_bytes()
    looking.inspection.step()
    one.folder.place(ANN).write_bytes(one.folder.place(BEN).read_bytes())
    for _ in range(2):
        looking.inspection.step()
    one.folder.place(ANN).write_bytes(content)
    assert looking.round() == set()


def test_what_is_not_in_scope_is_not_looked_at(bench: Bench, tmp_path: Path) -> None:
    with rig(bench, tmp_path / "tigers", group_slug="tigers") as found:
        found.apply(comment(ANN, 1, 1), comment(CEM, 2, 1))
        found.flush()
        assert Looking(found).round() == set()
        found.folder.place(CEM).unlink()
        assert Looking(found).round() == {CEM}


# --------------------------------------------------------------------------------------------------------- epochs


def test_a_new_epoch_has_all_its_files_looked_at_at_once(one: Rig) -> None:
    looking = Looking(one)
    assert looking.inspection.behind() == list(range(BUCKETS))
    looking.inspection.step()
    assert looking.inspection.behind() == []
    one.folder.place(ANN).unlink()
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, Origin({}, {}, "1"))
    assert looking.inspection.behind() == [bucket]
    assert looking.inspection.step() == [ANN]
    one.store.heal(bucket, 1, None)
    one.flush()
    one.right()


def test_a_new_epoch_without_any_loss_writes_and_tells_nothing(one: Rig) -> None:
    looking = Looking(one)
    looking.inspection.step()
    stamps = {name: (one.folder.path / name).stat().st_mtime_ns for name in one.folder.names()}
    for bucket in range(BUCKETS):
        one.store.raise_epoch(bucket, 0, RAISED, Origin({}, {}, "1"))
        one.store.heal(bucket, 1, None)
    assert looking.round() == set()
    assert one.flush() == (0, 0, 0, 0, 0)
    assert {name: (one.folder.path / name).stat().st_mtime_ns for name in one.folder.names()} == stamps


def test_downstream_hears_of_what_it_was_told_before_the_store_fell_back(one: Rig) -> None:
    """The lost events cancelled each other, so after the loss nothing is due; but one of them had been announced."""
    looking = Looking(one)
    looking.inspection.step()
    fall_back = keep(one.store)
    one.apply(comment(ANN, 11, 2, "https://example.org/new"))
    one.flush()
    fall_back()
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, Origin({}, {}, "1"))
    one.apply(comment(ANN, 11, 3))
    looking.inspection.step()
    one.store.heal(bucket, 1, None)
    one.flush()
    assert one.content(ANN)["top_links"] == []
    one.right()


def test_epochs_that_were_looked_at_are_remembered_in_the_folder(one: Rig) -> None:
    Looking(one).inspection.step()
    assert Looking(one).inspection.behind() == []
    (one.folder.path / EPOCHS).write_bytes(b"\xff{")
    assert len(Looking(one).inspection.behind()) == BUCKETS
    assert not EPOCHS.endswith(".json")


# -------------------------------------------------------------------------------------------------- the folder itself


def test_a_folder_that_was_removed_comes_back_with_its_files(one: Rig) -> None:
    looking = Looking(one)
    looking.round()
    shutil.rmtree(one.folder.path)
    assert looking.round() == {ANN, BEN, CEM, FAR}
    told = list(one.told.all)
    one.flush()
    assert one.told.all == told
    one.right()
    again = open_folder(one.folder.path, None)
    assert again.identity == one.folder.identity
    again.close()


def test_a_folder_that_can_not_be_used_is_said_and_used_again_when_it_can(one: Rig) -> None:
    away = one.folder.path.rename(one.folder.path.with_name("away"))
    one.folder.path.touch()
    looking = Looking(one)
    assert looking.round() == set()
    assert str(one.folder.path) in (looking.inspection.trouble or "")
    one.folder.path.unlink()
    away.rename(one.folder.path)
    assert looking.round() == set()
    assert looking.inspection.trouble is None


def test_a_folder_that_became_anothers_stops_the_daemon(one: Rig) -> None:
    shutil.rmtree(one.folder.path)
    open_folder(one.folder.path, "tigers").close()
    with pytest.raises(OperatorError, match=str(one.folder.path)):
        Looking(one).inspection.step()


def test_an_older_file_of_the_same_profile_is_replaced_and_announced_again(one: Rig) -> None:
    """It may be the store that is older: then downstream was told what lies there."""
    older = one.folder.place(ANN).read_bytes()
    one.apply(comment(ANN, 12, 1))
    one.flush()
    told = len(one.told.all)
    one.folder.place(ANN).write_bytes(older)
    assert Looking(one).round() == {ANN}
    one.flush()
    assert len(one.told.all) == told + 1
    one.right()
