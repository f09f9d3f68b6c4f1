"""The flusher's seven steps on both stores: what it writes and tells, and what becomes of it where it stops."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from projections.codec import pack_head, unpack_head
from projections.profile_key import ProfileKey, bucket_of
from projections.store.protocol import ABSENT, HEAD, InitialPositions, RecoveryGoal, Save, StoreUnavailableError, Write
from snapshot.flush.unannounced import NOTES
from support.epochs import recovered
from support.flushing import Interrupted, Rig, fail_at, rig
from support.histories import comment, insight
from support.rollback import keep
from support.stores import Bench

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "tigers")


@pytest.fixture
def one(bench: Bench, tmp_path: Path) -> Iterator[Rig]:
    with rig(bench, tmp_path / "profiles") as found:
        yield found


# ------------------------------------------------------------------------------------------------ what it does at all


def test_a_new_profile_is_written_announced_and_settled(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5, "https://example.org/a"))
    flushed = one.flush()
    assert (flushed.written, flushed.announced, flushed.failed) == (1, 1, 0)
    (announced,) = one.announced.all
    assert announced.snapshot == one.content(ANN)
    assert (announced.user_id, announced.group_slug, announced.previous_hash) == (1, "lions", None)
    assert announced.cause == {"event": "comment-created", "comment_id": 11}
    one.right()


def test_a_change_names_the_hash_before_and_what_caused_it(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5))
    one.flush()
    one.apply(insight(ANN, 11, 6, ("soup",)))
    one.flush()
    assert one.announced.all[1].previous_hash == one.announced.all[0].snapshot_hash
    assert one.announced.all[1].cause == {"event": "insight-created", "comment_id": 11}
    one.right()


def test_what_changes_nothing_that_is_shown_is_neither_written_nor_announced(one: Rig) -> None:
    shown = [comment(ANN, number, 1, " ".join(f"https://example.org/{at}" for at in range(5))) for number in (1, 2)]
    one.apply(*shown)
    one.flush()
    before = one.folder.place(ANN).stat()
    one.apply(comment(ANN, 2, 2, " ".join(f"https://example.org/{at}" for at in range(6))))
    assert one.flush() == (0, 0, 1, 0, 0)
    assert one.folder.place(ANN).stat() == before
    one.right()


def test_a_profile_that_ends_loses_its_file_and_is_announced_as_gone(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5), comment(BEN, 12, 5))
    one.flush()
    one.apply(comment(ANN, 11, 6, state=1))
    flushed = one.flush()
    assert (flushed.written, flushed.removed, flushed.announced) == (0, 1, 1)
    last = one.announced.all[-1]
    assert (last.snapshot, last.snapshot_hash) == (None, None)
    assert last.previous_hash == one.announced.of(ANN)[0]
    assert sorted(one.lying()) == ["2-lions.json"]
    one.apply(comment(ANN, 11, 7))
    one.flush()
    assert one.announced.all[-1].previous_hash is None
    one.right()


def test_a_profile_that_never_showed_anything_is_not_announced(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5, state=1), insight(BEN, 12, 1, ("soup",)))
    assert one.flush().announced == 0
    assert one.announced.all == []
    one.right()


def test_many_profiles_take_few_rounds_and_end_right(one: Rig) -> None:
    one.apply(*[comment(ProfileKey(user, "lions"), user, 1) for user in range(1, 301)])
    flusher = one.flusher()
    rounds = [flusher.flush() for _ in range(4)]
    assert sum(flushed.written for flushed in rounds) == 300
    assert len([flushed for flushed in rounds if flushed.claims]) <= 2
    one.right()


def test_only_the_folders_group_lies_there(bench: Bench, tmp_path: Path) -> None:
    with rig(bench, tmp_path / "tigers", group_slug="tigers") as found:
        found.apply(comment(ANN, 11, 5), comment(CEM, 12, 5))
        assert found.flush().written == 1
        assert sorted(found.lying()) == ["3.json"]
        assert found.announced.latest().keys() == {CEM}


def test_another_folder_gets_its_files_but_no_announcement(one: Rig, tmp_path: Path) -> None:
    one.apply(comment(ANN, 11, 5), comment(CEM, 12, 5))
    one.flush()
    announced = len(one.announced.all)
    with rig(one.bench, tmp_path / "other", store=one.store) as other:
        assert other.flush() == (2, 0, 0, 0, 0)
        assert other.lying() == one.lying()
        assert other.announced.all == []
        one.apply(comment(ANN, 13, 5))
        one.flush()
        other.flush()
        assert other.lying() == one.lying()
        assert len(one.announced.all) + len(other.announced.all) in (announced + 1, announced + 2)


# ----------------------------------------------------------------------------------------------- before it is shown


def test_a_profile_that_needs_recomputing_is_recomputed_before_it_is_shown(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5, "https://example.org/a"), comment(ANN, 12, 5))
    version, fields = one.store.load({ANN: [HEAD]})[ANN]
    head = unpack_head(fields[HEAD])
    head.count, head.recompute = 99, True
    bucket = bucket_of(ANN.user_id)
    one.store.save([Save(bucket, [Write(ANN, version, b"damaged", {HEAD: pack_head(head)}, (), dirty=True)])])
    one.flush()
    assert one.content(ANN)["message_count"] == 2
    one.right()


def test_a_head_that_can_not_be_read_delays_no_other_profile(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5), comment(BEN, 12, 5))
    one.store.save([Save(bucket_of(3), [Write(CEM, ABSENT, b"odd", {HEAD: b"\xc1"}, (), dirty=True)])])
    flusher = one.flusher()
    flushed = flusher.flush()
    assert (flushed.written, flushed.failed) == (2, 1)
    assert "snapshot-rebuild --user 3" in (flusher.trouble or "")
    one.store.remove(CEM, b"odd")


def test_what_recovers_is_not_shown_even_where_it_was_claimed_before(one: Rig) -> None:
    one.store.initialize(InitialPositions({}, {}, "1"))
    one.apply(comment(ANN, 11, 5), comment(BEN, 12, 5))
    recovery = RecoveryGoal({}, reconcile=True, reason="a test")

    def lose(name: str, when: str) -> None:
        if (name, when) == ("claim", "after"):
            one.store.raise_epoch(bucket_of(ANN.user_id), 0, recovery, InitialPositions({}, {}, "1"))

    assert one.flusher(store=Interrupted(one.store, lose)).flush().written == 1
    assert sorted(one.lying()) == ["2-lions.json"]
    recovered(one.store, bucket_of(ANN.user_id))
    one.bench.wait(one.retry)
    one.flush()
    one.right()


def test_a_store_that_rolled_back_is_not_shown_until_its_epoch_is_raised(one: Rig) -> None:
    flusher, _ = one.witnessed()
    one.store.initialize(InitialPositions({}, {}, "1"))
    one.apply(comment(ANN, 11, 5))
    fall_back = keep(one.store)
    one.apply(comment(ANN, 12, 5))
    one.flush(flusher)
    shown = one.lying()
    fall_back()  # the profile is due again, as it was then
    assert flusher.flush() == (0, 0, 0, 0, 0)
    assert one.lying() == shown
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, RecoveryGoal({}, reconcile=True, reason="a test"), InitialPositions({}, {}, "1"))
    one.bench.wait(one.retry)
    assert flusher.flush() == (0, 0, 0, 0, 0)
    one.apply(comment(ANN, 12, 5), comment(ANN, 13, 5))
    recovered(one.store, bucket)
    one.flush(flusher)
    assert one.content(ANN)["message_count"] == 3
    one.right()


# ------------------------------------------------------------------------------------------ a store that was lost


def test_over_a_lost_store_only_what_changed_is_written_and_announced(one: Rig) -> None:
    events = [comment(ProfileKey(user, "lions"), user, 1) for user in range(1, 21)]
    empty = keep(one.store)
    one.apply(*events)
    one.flush()
    announced = {key: one.announced.of(key) for key in (ANN, BEN)}
    one.announced.all.clear()
    stamps = {name: (one.folder.path / name).stat().st_mtime_ns for name in one.folder.names()}
    empty()
    one.flusher().add_folder()
    one.apply(*events, comment(BEN, 99, 1))
    assert one.flush() == (1, 0, 19, 1, 0)
    (last,) = one.announced.all
    assert (last.user_id, last.previous_hash) == (BEN.user_id, announced[BEN][0])
    assert {name for name, at in stamps.items() if (one.folder.path / name).stat().st_mtime_ns != at} == {
        "2-lions.json"
    }


def test_over_a_lost_store_a_flush_that_had_to_be_given_back_still_trusts_the_files(one: Rig) -> None:
    empty = keep(one.store)
    one.apply(comment(ANN, 1, 1))
    one.flush()
    empty()
    one.announced.all.clear()
    flusher = one.flusher(store=Interrupted(one.store, fail_at("bucket_states", "before")))
    flusher.add_folder()
    one.apply(comment(ANN, 1, 1))
    with pytest.raises(StoreUnavailableError):
        flusher.flush()
    assert one.flush(flusher) == (0, 0, 1, 0, 0)
    assert one.announced.all == []


def test_sequences_grow_over_a_lost_store(one: Rig) -> None:
    empty = keep(one.store)
    for number in range(3):
        one.apply(comment(ANN, number, 1, minute=number))
        one.flush()
        empty()
        one.flusher().add_folder()
    sequences = [announced.sequence for announced in one.announced.all]
    assert len(sequences) == 3
    assert sequences == sorted(set(sequences))


def test_a_damaged_file_in_a_folder_that_the_store_does_not_know_is_replaced(one: Rig) -> None:
    one.folder.place(ANN).write_bytes(b"{half a fi")
    one.apply(comment(ANN, 1, 1))
    one.flush()
    one.right()


def test_a_file_that_is_newer_than_the_store_says_is_waited_for(one: Rig) -> None:
    """The machine stopped; the store lost its last second with it, and no process saw it before."""
    one.apply(comment(ANN, 11, 5))
    one.flush()
    one.apply(comment(ANN, 12, 5))
    fall_back = keep(one.store)
    one.apply(comment(ANN, 13, 5))
    one.flush()
    fall_back()
    flusher = one.flusher()
    assert flusher.flush() == (0, 0, 0, 0, 0)
    assert one.content(ANN)["message_count"] == 3
    one.apply(comment(ANN, 13, 5), comment(ANN, 14, 5))
    one.bench.wait(one.retry)
    one.flush(flusher)
    assert one.content(ANN)["message_count"] == 4
    one.right()


def test_a_file_that_another_program_put_there_is_replaced_after_a_while(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5))
    one.flush()
    older = one.folder.place(ANN).read_bytes()
    one.apply(comment(ANN, 12, 5))
    one.flush()
    one.folder.place(ANN).write_bytes(older)
    one.apply(comment(ANN, 13, 5))
    one.flush()
    assert one.content(ANN)["message_count"] == 3
    one.right()


def test_over_a_lost_store_what_was_never_announced_is_announced(one: Rig) -> None:
    """The files lay there, and announcing failed all the while."""
    empty, other = keep(one.store), one.flusher()
    one.announced.failing = TimeoutError("not acknowledged")
    events = [comment(ANN, 1, 1), comment(BEN, 2, 1)]
    one.apply(*events)
    assert one.flusher().flush().failed == 2
    assert sorted(one.lying()) == ["1-lions.json", "2-lions.json"]
    empty()
    one.announced.failing = None
    other.add_folder()
    one.apply(*events)
    assert one.flush(other) == (0, 0, 2, 2, 0), "another process, that knew nothing of it"
    one.right()
    assert list((one.folder.path / NOTES).iterdir()) == []
