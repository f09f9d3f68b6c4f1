"""The scrub: files that were touched, and what a store that rolled back no longer knows of them."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from consumer.daemon.flush_worker import FlushWorker
from projections.errors import OperatorError
from projections.profile_key import BUCKETS, ProfileKey, bucket_of
from projections.store.protocol import InitialPositions, RecoveryGoal
from projections.store.rollback import RollbackDetector
from snapshot.files.folder import open_folder
from snapshot.flush.epochs import EPOCHS, Announced, FolderEpochs, recover_lost
from snapshot.flush.scrub import Scrub
from snapshot.flush.unannounced import UnannouncedJournal
from snapshot.schema import parse_file
from support.epochs import recovered
from support.flushing import Rig, rig
from support.histories import comment, insight
from support.rollback import keep
from support.stores import Bench

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "tigers")
FAR = ProfileKey(2**63 - 1, "lions")
RAISED = RecoveryGoal({}, reconcile=False, reason="a test")


@pytest.fixture
def one(bench: Bench, tmp_path: Path) -> Iterator[Rig]:
    with rig(bench, tmp_path / "profiles") as found:
        found.store.initialize(InitialPositions({"tail/0": 0}, {}, "1"))
        found.apply(*[comment(key, 10 + key.user_id % 7, 1) for key in (ANN, BEN, CEM, FAR)])
        found.flush()
        yield found


class Scrubbing:
    """A scrub and its clock."""

    def __init__(self, found: Rig, announced: Callable[[], Announced] = dict, **options: bool) -> None:
        self.now = 0.0
        self.scrub = Scrub(found.store, found.folder, lambda: self.now, announced=announced, **options)

    def round(self) -> set[ProfileKey]:
        """Look until everything was seen and confirmed."""
        found: set[ProfileKey] = set()
        for _ in range(100):
            found.update(self.scrub.step())
            self.now += 1.0
        return found


def test_files_as_they_were_written_are_left_alone(one: Rig) -> None:
    assert Scrubbing(one).round() == set()
    one.right()


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]"], ids=["missing", "empty", "half", "other"])
def test_a_file_that_was_touched_is_written_again_and_not_announced(one: Rig, content: bytes | None) -> None:
    for key in (ANN, FAR):
        one.folder.place(key).unlink()
        if content is not None:
            one.folder.place(key).write_bytes(content)
    announced = list(one.announced.all)
    assert Scrubbing(one).round() == {ANN, FAR}
    assert one.flush() == (2, 0, 0, 0, 0)
    assert one.announced.all == announced
    one.right()


def test_another_profiles_content_is_noticed(one: Rig) -> None:
    announced = list(one.announced.all)
    one.folder.place(ANN).write_bytes(one.folder.place(BEN).read_bytes())
    assert Scrubbing(one).round() == {ANN}
    one.flush()
    assert one.announced.all == announced
    one.right()


def test_a_file_that_should_not_be_there_is_removed(one: Rig) -> None:
    content = one.folder.place(ANN).read_bytes()
    one.apply(comment(ANN, 11, 2, state=1))
    one.flush()
    one.folder.place(ANN).write_bytes(content)
    assert Scrubbing(one).round() == {ANN}
    assert one.flush().removed == 1
    one.right()


def test_a_file_on_its_way_from_another_process_is_not_touched(one: Rig) -> None:
    scrubbing = Scrubbing(one)
    content = one.folder.place(ANN).read_bytes()
    scrubbing.scrub.step()
    one.folder.place(ANN).write_bytes(one.folder.place(BEN).read_bytes())
    for _ in range(2):
        scrubbing.scrub.step()
    one.folder.place(ANN).write_bytes(content)
    assert scrubbing.round() == set()


def test_what_is_not_in_scope_is_not_looked_at(bench: Bench, tmp_path: Path) -> None:
    with rig(bench, tmp_path / "tigers", group_slug="tigers") as found:
        found.apply(comment(ANN, 1, 1), comment(CEM, 2, 1))
        found.flush()
        assert Scrubbing(found).round() == set()
        found.folder.place(CEM).unlink()
        assert Scrubbing(found).round() == {CEM}


# --------------------------------------------------------------------------------------------------------- epochs


def test_a_new_epoch_has_all_its_files_looked_at_at_once(one: Rig) -> None:
    scrubbing = Scrubbing(one)
    assert scrubbing.scrub.pending_buckets() == list(range(BUCKETS))
    scrubbing.scrub.step()
    assert scrubbing.scrub.pending_buckets() == []
    one.folder.place(ANN).unlink()
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
    assert scrubbing.scrub.pending_buckets() == [bucket]
    assert scrubbing.scrub.step() == [ANN]
    recovered(one.store, bucket)
    one.flush()
    one.right()


def test_a_new_epoch_without_any_loss_writes_and_tells_nothing(one: Rig) -> None:
    scrubbing = Scrubbing(one)
    scrubbing.scrub.step()
    stamps = {name: (one.folder.path / name).stat().st_mtime_ns for name in one.folder.names()}
    for bucket in range(BUCKETS):
        one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
        recovered(one.store, bucket)
    assert scrubbing.round() == set()
    assert one.flush() == (0, 0, 0, 0, 0)
    assert {name: (one.folder.path / name).stat().st_mtime_ns for name in one.folder.names()} == stamps


def test_what_was_announced_before_the_store_rolled_back_is_announced_again(one: Rig) -> None:
    """The lost events cancelled each other, so after the loss nothing is due; but one of them had been announced."""
    scrubbing = Scrubbing(one)
    scrubbing.scrub.step()
    fall_back = keep(one.store)
    one.apply(comment(ANN, 11, 2, "https://example.org/new"))
    one.flush()
    fall_back()
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
    one.apply(comment(ANN, 11, 3))
    scrubbing.scrub.step()
    recovered(one.store, bucket)
    one.flush()
    assert one.content(ANN)["top_links"] == []
    one.right()


@pytest.mark.parametrize("restarted", [False, True])
def test_it_is_announced_again_too_while_orphan_files_wait_for_the_recovery(one: Rig, restarted: bool) -> None:
    lose(one, DAN)
    scrubbing = Scrubbing(one)
    scrubbing.scrub.step()
    fall_back = keep(one.store)
    one.apply(comment(ANN, 11, 2, state=1))
    one.flush()
    assert one.announced.of(ANN)[-1] is None
    fall_back()
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
    (Scrubbing(one) if restarted else scrubbing).scrub.step()
    recovered(one.store, bucket)
    one.flush()
    assert one.content(ANN)["message_count"] == 1
    assert one.announced.of(ANN)[-1] is not None


def test_of_what_recovers_files_wait_and_are_not_complained_of_again_and_again(one: Rig) -> None:
    scrubbing = Scrubbing(one)
    scrubbing.round()
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
    one.folder.place(ANN).unlink()
    with capture_logs() as said:
        assert scrubbing.round() == {ANN}
    assert [line["event"] for line in said] == ["files are not as the store says; writing and announcing them again"]
    one.folder.place(FAR).unlink()
    assert scrubbing.round() == {FAR}, "the rest is looked at all the while"
    recovered(one.store, bucket)
    one.flush()
    assert scrubbing.round() == set()
    one.right()


def test_epochs_that_were_looked_at_are_remembered_in_the_folder(one: Rig) -> None:
    Scrubbing(one).scrub.step()
    assert Scrubbing(one).scrub.pending_buckets() == []
    (one.folder.path / EPOCHS).write_bytes(b"\xff{")
    assert len(Scrubbing(one).scrub.pending_buckets()) == BUCKETS
    assert not EPOCHS.endswith(".json")


# ------------------------------------------------------------------------------------- orphan files

DAN, EVE = ProfileKey(4, "lions"), ProfileKey(5, "tigers")


def lose(one: Rig, *keys: ProfileKey) -> None:
    """Files that lie there as after a loss: the store has never heard of these profiles."""
    for key in keys:
        snapshot = parse_file(one.folder.place(ANN).read_bytes())
        theirs = msgspec.structs.replace(snapshot, user_id=key.user_id, group_slug=key.group_slug)
        one.folder.place(key).write_bytes(theirs.file_bytes())


def recover_all(one: Rig) -> None:
    """What was lost is reconciled."""
    for bucket in range(BUCKETS):
        recovered(one.store, bucket)


def removed(one: Rig, *keys: ProfileKey) -> None:
    """They are, and downstream knows."""
    assert [one.folder.read(key) for key in keys] == [None] * len(keys)
    assert [one.announced.of(key) for key in keys] == [[None]] * len(keys)
    one.right()


@pytest.fixture(params=[False, True], ids=["unknown", "untagged"])
def untagged(request: pytest.FixtureRequest) -> bool:
    """Whether it was said since of an unknown comment that it has no tags."""
    found: bool = request.param
    return found


def test_after_a_recovery_an_orphan_file_is_removed_and_that_is_announced(one: Rig, untagged: bool) -> None:
    scrubbing = Scrubbing(one)
    scrubbing.scrub.step()
    lose(one, DAN, EVE)
    if untagged:
        one.apply(insight(DAN, 40, 1))
    bucket = bucket_of(DAN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
    assert scrubbing.scrub.step() == []  # the recovery may bring the profile back
    assert scrubbing.scrub.pending_buckets() == []  # not waited for: a bucket that recovers is waited for anyway
    recovered(one.store, bucket)
    assert scrubbing.scrub.pending_buckets() == [bucket]
    assert scrubbing.scrub.step() == [DAN]
    assert scrubbing.scrub.pending_buckets() == []
    assert one.flush().removed == 1
    assert one.folder.read(EVE) is not None  # of another bucket
    one.folder.place(EVE).unlink()
    removed(one, DAN)


def test_after_a_recovery_the_end_of_a_profile_is_announced_whose_file_was_removed_and_nothing_more(
    one: Rig, untagged: bool
) -> None:
    scrubbing = Scrubbing(one)
    scrubbing.scrub.step()
    if untagged:
        one.apply(insight(DAN, 40, 1))
    UnannouncedJournal(one.folder.path).record("0123456789abcdef", [DAN])
    bucket = bucket_of(DAN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
    assert scrubbing.scrub.step() == []  # the recovery may bring the profile back
    recovered(one.store, bucket)
    assert scrubbing.scrub.step() == [DAN]
    one.flush()
    removed(one, DAN)
    assert DAN not in UnannouncedJournal(one.folder.path)


def test_a_profile_that_recovery_brings_back_keeps_its_file(one: Rig) -> None:
    scrubbing = Scrubbing(one)
    scrubbing.scrub.step()
    lose(one, DAN)
    bucket = bucket_of(DAN.user_id)
    one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
    assert scrubbing.scrub.step() == []
    one.apply(comment(DAN, 40, 1, "https://example.org/back"))
    recovered(one.store, bucket)
    assert scrubbing.scrub.step() == []
    one.flush()
    assert one.content(DAN)["message_count"] == 1
    one.right()


def test_in_a_store_that_was_recreated_it_waits_for_the_recovery(one: Rig) -> None:
    lose(one, DAN)
    (one.folder.path / EPOCHS).unlink()
    assert recover_lost(FolderEpochs(one.folder), one.store, by_files=True).raised == BUCKETS
    scrubbing = Scrubbing(one)
    assert scrubbing.round() == set()
    assert Scrubbing(one).round() == set()  # another process would wait as well
    assert scrubbing.scrub.pending_buckets() == []
    recover_all(one)
    assert scrubbing.scrub.pending_buckets() == list(range(BUCKETS))
    assert scrubbing.scrub.step() == [DAN]
    one.flush()
    removed(one, DAN)
    assert Scrubbing(one).scrub.pending_buckets() == []


def test_a_file_that_is_no_snapshot_of_that_name_s_profile_is_left_alone(one: Rig) -> None:
    mine = one.folder.path / "2024-report.json"
    mine.write_text("{}")
    one.folder.place(DAN).write_bytes(one.folder.place(ANN).read_bytes())  # of another
    lose(one, EVE)
    assert Scrubbing(one).round() == {EVE}
    one.flush()
    assert mine.read_text() == "{}"
    assert one.folder.read(DAN) == one.folder.read(ANN)


@pytest.mark.skipif(sys.platform == "darwin", reason="there all names are UTF-8")
def test_a_name_that_is_not_utf_8_is_not_ours_and_stops_nothing(one: Rig) -> None:
    (one.folder.path / os.fsdecode(b"7-\xff.json")).write_bytes(one.folder.place(ANN).read_bytes())
    scrubbing = Scrubbing(one)
    assert scrubbing.round() == set()
    assert scrubbing.scrub.pending_buckets() == []


def announced_elsewhere(one: Rig, *keys: ProfileKey) -> None:
    """Of a store that was lost since; by a run with a folder of its own, so no file lies here."""
    for key in keys:
        bucket = bucket_of(key.user_id)
        one.store.raise_epoch(bucket, 0, RAISED, InitialPositions({}, {}, "1"))
        recovered(one.store, bucket)


def test_after_a_recovery_the_end_is_announced_of_what_only_the_announcements_know(one: Rig) -> None:
    on_disk = one.folder.hash_on_disk(ANN)
    scrubbing = Scrubbing(one, lambda: {ANN: on_disk, DAN: "0" * 64, EVE: "0" * 64})
    assert scrubbing.scrub.step() == []  # nothing was lost
    announced_elsewhere(one, DAN)
    assert scrubbing.scrub.step() == [DAN]
    assert scrubbing.scrub.pending_buckets() == []
    one.flush()
    removed(one, DAN)


@pytest.mark.parametrize("known", ["", None, "1" * 64], ids=["ended", "uncertain", "another"])
def test_after_a_recovery_what_was_announced_otherwise_is_announced_again(one: Rig, known: str | None) -> None:
    """A file that lies there does not tell that a run with another folder announced something else since."""
    scrubbing = Scrubbing(one, lambda: {ANN: known, BEN: known})
    scrubbing.scrub.step()
    before = len(one.announced.of(ANN))
    announced_elsewhere(one, ANN)
    assert ANN in scrubbing.scrub.step()
    one.flush()
    assert len(one.announced.of(ANN)) == before + 1
    one.right()


def test_announcements_that_cannot_be_read_are_read_later(one: Rig) -> None:
    away: list[OperatorError] = [OperatorError("Kafka is away")]

    def announced() -> Announced:
        for error in away:
            raise error
        return {DAN: "0" * 64}

    scrubbing = Scrubbing(one, announced)
    scrubbing.scrub.step()
    announced_elsewhere(one, DAN)
    assert scrubbing.scrub.step() == []
    assert "Kafka is away" in str(scrubbing.scrub.unread)
    assert scrubbing.scrub.pending_buckets() == [bucket_of(DAN.user_id)]
    away.clear()
    assert scrubbing.round() == {DAN}
    assert not scrubbing.scrub.unread
    one.flush()
    removed(one, DAN)


def test_a_run_that_is_to_end_does_not_fail_for_announcements_that_cannot_be_read_at_once(one: Rig) -> None:
    def away() -> Announced:
        raise OperatorError("Kafka is away")

    FolderEpochs(one.folder).record(one.store.bucket_states())
    announced_elsewhere(one, ANN)
    detector = RollbackDetector(one.store)
    detector.accept()
    scrubbing = Scrubbing(one, away)
    worker = FlushWorker(one.flusher(detector=detector), scrubbing.scrub, detector, lambda: scrubbing.now)
    for _ in range(6):
        worker.step()
        worker.refuse_failures(3)
        scrubbing.now += 1.0
    assert "Kafka is away" in str(worker.trouble)
    assert not worker.idle()


def test_announcements_are_not_read_each_second_while_the_folder_cannot_note_it(
    one: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = list[float]()

    def announced() -> Announced:
        reads.append(scrubbing.now)
        return {}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    scrubbing = Scrubbing(one, announced)
    scrubbing.scrub.step()
    announced_elsewhere(one, ANN)
    monkeypatch.setattr(FolderEpochs, "record", full)
    for _ in range(20):
        scrubbing.scrub.step()
        scrubbing.now += 1.0
    assert reads == [0.0, 10.0]


def test_a_new_folder_in_a_store_that_was_lost_once_announces_nothing_again(one: Rig, tmp_path: Path) -> None:
    known = one.folder.hash_on_disk(ANN)
    announced_elsewhere(one, ANN)
    Scrubbing(one, lambda: {ANN: known}).round()
    one.flush()
    before = one.announced.of(ANN)
    second = open_folder(tmp_path / "second", None)
    flusher = one.flusher(folder=second)
    assert flusher.add_folder()
    Scrub(one.store, second, compare_all=True, announced=lambda: {ANN: known}).step()
    one.flush(flusher)
    assert second.hash_on_disk(ANN) == known
    assert one.announced.of(ANN) == before
    second.close()


def test_so_many_ends_are_not_announced_unless_confirmed(one: Rig) -> None:
    """A store that was lost, and half a database."""
    lost = [ProfileKey(user, "lions") for user in range(100, 120)]
    announced_elsewhere(one, *lost)
    with capture_logs() as said:
        assert Scrubbing(one, lambda: dict.fromkeys(lost, "0" * 64)).round() == set()
    [line] = [line["event"] for line in said if "blocked by the deletion guard" in line["event"]]
    assert "20 of 20 announced profiles" in line
    assert Scrubbing(one, lambda: dict.fromkeys(lost, "0" * 64), prune_all=True).round() == set(lost)
    one.flush()
    removed(one, *lost)


def test_so_many_orphan_files_are_left_and_logged(one: Rig) -> None:
    """An empty store and a part of the database would else remove all files."""
    lost = [ProfileKey(user, "lions") for user in range(100, 120)]
    lose(one, *lost)
    with capture_logs() as said:
        scrubbing = Scrubbing(one)
        assert scrubbing.round() == set()
    [line] = [line["event"] for line in said if "blocked by the deletion guard" in line["event"]]
    assert "20 of 24 files" in line
    assert "starting this program once with --prune-all" in line
    assert scrubbing.scrub.pending_buckets() == []
    assert all(one.folder.read(key) for key in lost)
    confirmed = Scrubbing(one, prune_all=True)
    assert confirmed.scrub.pending_buckets() == list(range(BUCKETS))
    assert confirmed.round() == set(lost)
    assert confirmed.scrub.pending_buckets() == []
    one.flush()
    removed(one, *lost)


def test_a_folder_that_is_new_to_the_store_is_compared_whatever_it_noted(one: Rig) -> None:
    Scrubbing(one).round()
    lose(one, DAN)
    assert Scrubbing(one).round() == set()
    assert Scrubbing(one, compare_all=True).round() == {DAN}


# -------------------------------------------------------------------------------------------------- the folder itself


def test_a_folder_that_was_removed_comes_back_with_its_files(one: Rig) -> None:
    scrubbing = Scrubbing(one)
    scrubbing.round()
    shutil.rmtree(one.folder.path)
    assert scrubbing.round() == {ANN, BEN, CEM, FAR}
    announced = list(one.announced.all)
    one.flush()
    assert one.announced.all == announced
    one.right()
    again = open_folder(one.folder.path, None)
    assert again.identity == one.folder.identity
    again.close()


def test_a_folder_that_can_not_be_used_is_said_and_used_again_when_it_can(one: Rig) -> None:
    away = one.folder.path.rename(one.folder.path.with_name("away"))
    one.folder.path.touch()
    scrubbing = Scrubbing(one)
    assert scrubbing.round() == set()
    assert str(one.folder.path) in (scrubbing.scrub.trouble or "")
    one.folder.path.unlink()
    away.rename(one.folder.path)
    assert scrubbing.round() == set()
    assert scrubbing.scrub.trouble is None


def test_a_folder_that_became_anothers_stops_the_daemon(one: Rig) -> None:
    shutil.rmtree(one.folder.path)
    open_folder(one.folder.path, "tigers").close()
    with pytest.raises(OperatorError, match=str(one.folder.path)):
        Scrubbing(one).scrub.step()


def test_an_older_file_of_the_same_profile_is_replaced_and_announced_again(one: Rig) -> None:
    """It may be the store that is older: then what lies there was announced."""
    older = one.folder.place(ANN).read_bytes()
    one.apply(comment(ANN, 12, 1))
    one.flush()
    announced = len(one.announced.all)
    one.folder.place(ANN).write_bytes(older)
    assert Scrubbing(one).round() == {ANN}
    one.flush()
    assert len(one.announced.all) == announced + 1
    one.right()
