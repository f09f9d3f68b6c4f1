"""What a folder knows of its store: whether that lost something that this process did not see, on both stores."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest

from consumer.daemon.flush_worker import FlushWorker
from projections.profile_key import BUCKETS, ProfileKey, bucket_of
from projections.store.protocol import InitialPositions, RecoveryGoal
from snapshot.files.folder import NO_FILE
from snapshot.flush.epochs import EPOCHS, Announced, FolderEpochs, LatestState, recover_lost
from snapshot.flush.scrub import Scrub
from support.epochs import recovered
from support.flushing import Interrupted, Rig, rig
from support.histories import comment
from support.metrics import RecordedMetrics
from support.rollback import keep
from support.stores import Bench

ANN, BEN = ProfileKey(1, "lions"), ProfileKey(2, "lions")
ORIGIN = InitialPositions({"tail/0": 0}, {}, "1")


@pytest.fixture
def one(bench: Bench, tmp_path: Path) -> Iterator[Rig]:
    with rig(bench, tmp_path / "profiles") as found:
        found.store.initialize(ORIGIN)
        found.apply(comment(ANN, 10, 1))
        FolderEpochs(found.folder).record(found.store.bucket_states())
        found.flush()
        yield found


def _lost(one: Rig, *, by_files: bool = True) -> list[int]:
    """The buckets that a process finds lost at its start."""
    recover_lost(FolderEpochs(one.folder), one.store, by_files=by_files)
    states = one.store.bucket_states()
    return [bucket for bucket, state in enumerate(states) if state is not None and state.recovery is not None]


def test_a_store_that_is_as_it_was_is_left_alone(one: Rig) -> None:
    one.apply(comment(ANN, 11, 1), comment(BEN, 12, 1))
    one.flush()
    assert _lost(one) == []


def test_one_that_fell_back_shows_nothing_of_the_bucket_before_it_is_reconciled(one: Rig) -> None:
    """The files were written a moment before: no other record of what the store held was made."""
    fall_back = keep(one.store)
    one.apply(comment(ANN, 11, 1), comment(ANN, 12, 1))
    one.flush()
    fall_back()
    bucket = bucket_of(ANN.user_id)
    assert _lost(one) == [bucket]
    one.apply(comment(ANN, 11, 1))
    assert one.flusher().flush() == (0, 0, 0, 0, 0)
    assert one.content(ANN)["message_count"] == 3
    one.apply(comment(ANN, 12, 1))
    recovered(one.store, bucket)
    one.bench.wait(one.retry)
    one.flush()
    one.right()


def test_one_that_fell_back_to_before_its_epoch_is_in_step_with_no_file(one: Rig) -> None:
    """The same number of an epoch comes twice, and by then the bucket may count more writes than were seen."""
    fall_back, bucket = keep(one.store), bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RecoveryGoal({}, reconcile=False, reason="a test"), ORIGIN)
    recovered(one.store, bucket)
    FolderEpochs(one.folder).record(one.store.bucket_states())
    fall_back()
    assert _lost(one) == [bucket]
    one.apply(*[comment(ANN, 100 + number, 1) for number in range(5)])
    one.apply(comment(ANN, 11, 1))
    assert FolderEpochs(one.folder).pending(one.store.bucket_states()) == [bucket]


def test_one_that_falls_back_again_before_its_files_were_compared_is_a_loss_again(one: Rig) -> None:
    fall_back, bucket = keep(one.store), bucket_of(ANN.user_id)
    one.apply(comment(ANN, 11, 1), comment(ANN, 12, 1))
    one.flush()
    for _ in range(2):
        fall_back()
        assert _lost(one) == [bucket]


def test_what_was_written_in_a_new_epoch_is_known_before_all_its_files_were_compared(one: Rig) -> None:
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RecoveryGoal({}, reconcile=False, reason="a test"), ORIGIN)
    recovered(one.store, bucket)
    fall_back = keep(one.store)
    one.apply(comment(ANN, 11, 1), comment(ANN, 12, 1))
    one.flush()
    assert FolderEpochs(one.folder).pending(one.store.bucket_states()) == [bucket]
    fall_back()
    assert _lost(one) == [bucket]


def test_where_the_clock_of_the_store_was_set_back_a_loss_is_answered_once(one: Rig) -> None:
    states, bucket = one.store.bucket_states(), bucket_of(ANN.user_id)
    (seen,) = [state for number, state in enumerate(states) if state is not None and number == bucket]
    future = msgspec.structs.replace(seen, epoch=one.store.clock() + 3_600_000_000)
    FolderEpochs(one.folder).record([future if number == bucket else state for number, state in enumerate(states)])
    assert recover_lost(FolderEpochs(one.folder), one.store).raised == 1
    assert recover_lost(FolderEpochs(one.folder), one.store).raised == 0


def test_another_store_or_none_in_its_place_is_reconciled(bench: Bench, one: Rig) -> None:
    one.store = bench.fresh()
    assert _lost(one) == list(range(BUCKETS))
    raised = one.store.bucket_states()
    assert _lost(one) == list(range(BUCKETS))
    assert one.store.bucket_states() == raised, "a restart raises no further epoch"


@pytest.mark.parametrize("by_files", [True, False])
def test_a_folder_that_does_not_say_is_asked_for_its_files(one: Rig, by_files: bool) -> None:
    (one.folder.path / EPOCHS).unlink()
    assert _lost(one, by_files=by_files) == (list(range(BUCKETS)) if by_files else [])


def test_what_another_process_writes_into_a_new_folder_meanwhile_is_no_loss(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It notes the store before it writes the first file; whoever starts beside it may have read the folder between."""
    with rig(bench, tmp_path / "profiles") as found:
        found.store.initialize(ORIGIN)
        found.apply(comment(ANN, 10, 1))
        known = FolderEpochs.known

        def known_before(epochs: FolderEpochs) -> Mapping[int, LatestState]:
            before = known(epochs)
            monkeypatch.setattr(FolderEpochs, "known", known)
            FolderEpochs(found.folder).record(found.store.bucket_states())
            found.flush()
            return before

        monkeypatch.setattr(FolderEpochs, "known", known_before)
        assert _lost(found) == []
        assert found.content(ANN)["message_count"] == 1


def test_a_run_that_is_the_first_to_write_into_a_folder_is_no_loss_to_who_starts_beside_it(
    bench: Bench, tmp_path: Path
) -> None:
    """Chaos, librdkafka, seed 3: a rebuild wrote the first files, and the first consumer called all buckets lost."""
    with rig(bench, tmp_path / "profiles") as found:
        found.store.initialize(ORIGIN)
        found.apply(comment(ANN, 10, 1))
        fall_back = keep(found.store)
        found.apply(comment(ANN, 11, 1))
        found.flush()
        assert _lost(found) == []
        fall_back()
        assert _lost(found) == [bucket_of(ANN.user_id)], "what they were written from is known, too"


def test_a_folder_without_snapshots_is_written_from_whatever_store(bench: Bench, tmp_path: Path) -> None:
    with rig(bench, tmp_path / "profiles") as found:
        found.store.initialize(ORIGIN)
        (found.folder.path / "2024-report.json").write_text("{}")
        assert _lost(found) == []


@pytest.mark.parametrize("spelled", ["{0.instance_id}:{0.epoch}", "{0.instance_id}:{0.epoch}:0:what"])
def test_a_record_of_another_version_is_no_loss(one: Rig, spelled: str) -> None:
    record = {
        bucket: spelled.format(state) for bucket, state in enumerate(one.store.bucket_states()) if state is not None
    }
    (one.folder.path / EPOCHS).write_bytes(msgspec.json.encode(record))
    assert _lost(one) == []


@pytest.mark.parametrize(
    ("announced", "lost"),
    [
        ({ANN: "1" * 64}, True),
        ({ANN: None}, True),
        ({ANN: NO_FILE}, False),
        ({ProfileKey(1, "tigers"): "1" * 64}, False),
        ({}, False),
    ],
    ids=["shown", "uncertain", "ended", "another group's", "nothing"],
)
def test_a_new_store_and_folder_where_profiles_are_announced_are_reconciled(
    bench: Bench, tmp_path: Path, announced: Announced, lost: bool
) -> None:
    """Both were removed, and downstream was not: what ended meanwhile is still shown there."""
    with rig(bench, tmp_path / "lions", group_slug="lions") as found:
        epochs = FolderEpochs(found.folder)
        assert recover_lost(epochs, found.store, by_files=True, announced=lambda: announced).raised == lost * BUCKETS
        found.store.initialize(ORIGIN)
        assert recover_lost(epochs, found.store, by_files=True, announced=lambda: announced).raised == 0


def test_announcements_are_not_read_where_the_store_or_the_folder_tells(bench: Bench, one: Rig) -> None:
    def never() -> Announced:
        raise AssertionError

    recover_lost(FolderEpochs(one.folder), one.store, by_files=True, announced=never)
    one.store = bench.fresh()
    assert recover_lost(FolderEpochs(one.folder), one.store, by_files=True, announced=never).raised == BUCKETS


# ------------------------------------------------------------------------------------- while several processes run


def _lose_unseen(one: Rig) -> int:
    """Another process flushed and the store fell back below that; the bucket, of which a part came again."""
    fall_back = keep(one.store)
    for number in (11, 12):
        one.apply(comment(ANN, number, 1))
        one.flush()
    fall_back()
    one.apply(comment(ANN, 12, 1))
    one.store.force(one.folder.identity.id, [ANN])  # nor does the flusher wait for a file that seems newer
    return bucket_of(ANN.user_id)


@pytest.mark.parametrize("witnessed", [True, False], ids=["daemon", "rebuild"])
def test_what_only_another_process_saw_is_not_shown_as_it_was_before(one: Rig, witnessed: bool) -> None:
    bucket = _lose_unseen(one)
    flusher = one.witnessed()[0] if witnessed else one.flusher()
    assert flusher.flush() == (0, 0, 0, 0, 0)
    assert one.content(ANN)["message_count"] == 3
    assert _lost(one) == [bucket]


def test_a_scrub_that_comes_first_hides_no_loss(one: Rig) -> None:
    bucket = _lose_unseen(one)
    one.store.raise_epoch(bucket_of(BEN.user_id), 0, RecoveryGoal({}, reconcile=False, reason="a test"), ORIGIN)
    Scrub(one.store, one.folder).step()
    assert _lost(one) == sorted([bucket, bucket_of(BEN.user_id)])


def test_the_flush_worker_notices_what_only_another_process_saw(one: Rig) -> None:
    bucket, metrics, (_, detector) = _lose_unseen(one), RecordedMetrics(), one.witnessed()
    flusher = one.flusher(detector=detector, metrics=metrics)
    worker = FlushWorker(flusher, Scrub(one.store, one.folder), detector, lambda: 0.0)
    worker.step()
    state = one.store.bucket_states()[bucket]
    assert state is not None
    assert state.recovery is not None
    assert metrics.counts["signal_glaze.losses"] == 1
    assert one.content(ANN)["message_count"] == 3


def test_what_another_process_notes_meanwhile_is_no_loss(one: Rig) -> None:
    """It saves and flushes between any two calls of ours."""
    ids = iter(range(100, 200))

    def act(name: str, _when: str) -> None:
        if name == "bucket_states":
            one.apply(comment(ANN, next(ids), 1))
            one.flush()

    ours = Interrupted(one.store, act)
    assert recover_lost(FolderEpochs(one.folder), ours).raised == 0
    Scrub(ours, one.folder).step()
    assert _lost(one) == []
    one.right()


def test_a_recovery_that_fell_back_has_still_to_reach_its_ends(one: Rig) -> None:
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RecoveryGoal({"tail/0": 7}, reconcile=False, reason="a test"), ORIGIN)
    fall_back = keep(one.store)
    one.apply(comment(ANN, 11, 1))
    FolderEpochs(one.folder).record(one.store.bucket_states())
    fall_back()
    assert _lost(one) == [bucket]
    state = one.store.bucket_states()[bucket]
    assert state is not None
    assert state.recovery is not None
    assert state.recovery.ends == {"tail/0": 7}
    assert state.recovery.reconcile
