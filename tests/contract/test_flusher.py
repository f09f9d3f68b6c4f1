"""The flusher's seven steps on both stores: what it writes and tells, and what becomes of it where it stops."""

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from projections.buckets import bucket_of
from projections.profile import ProfileKey, pack_head, unpack_head
from projections.store import ABSENT, HEAD, Healing, Origin, Save, StoreUnavailableError, Write
from snapshot.folder import LeftError, ProfileFolder, UnsafeError
from snapshot.schema import parse_file
from support.flushing import Crash, Interrupted, Rig, rig
from support.histories import comment, insight
from support.rollback import keep
from support.stores import Bench

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "tigers")


@pytest.fixture
def one(bench: Bench, tmp_path: Path) -> Iterator[Rig]:
    with rig(bench, tmp_path / "profiles") as found:
        yield found


def content(found: Rig, key: ProfileKey) -> dict[str, Any]:
    held = found.folder.read(key)
    assert held is not None
    return parse_file(held).to_dict()


# ------------------------------------------------------------------------------------------------ what it does at all


def test_a_new_profile_is_written_announced_and_settled(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5, "https://example.org/a"))
    flushed = one.flush()
    assert (flushed.written, flushed.announced, flushed.failed) == (1, 1, 0)
    (told,) = one.told.all
    assert told.snapshot == content(one, ANN)
    assert (told.user_id, told.group_slug, told.previous_hash) == (1, "lions", None)
    assert told.cause == {"event": "comment-created", "comment_id": 11}
    one.right()


def test_a_change_names_the_hash_before_and_what_caused_it(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5))
    one.flush()
    one.apply(insight(ANN, 11, 6, ("soup",)))
    one.flush()
    assert one.told.all[1].previous_hash == one.told.all[0].snapshot_hash
    assert one.told.all[1].cause == {"event": "insight-created", "comment_id": 11}
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
    last = one.told.all[-1]
    assert (last.snapshot, last.snapshot_hash) == (None, None)
    assert last.previous_hash == one.told.of(ANN)[0]
    assert sorted(one.lying()) == ["2-lions.json"]
    one.apply(comment(ANN, 11, 7))
    one.flush()
    assert one.told.all[-1].previous_hash is None
    one.right()


def test_a_profile_that_never_showed_anything_is_not_announced(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5, state=1), insight(BEN, 12, 1, ("soup",)))
    assert one.flush().announced == 0
    assert one.told.all == []
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
        assert found.told.latest().keys() == {CEM}


def test_another_folder_gets_its_files_but_nobody_is_told_again(one: Rig, tmp_path: Path) -> None:
    one.apply(comment(ANN, 11, 5), comment(CEM, 12, 5))
    one.flush()
    told = len(one.told.all)
    with rig(one.bench, tmp_path / "other", store=one.store) as other:
        assert other.flush() == (2, 0, 0, 0, 0)
        assert other.lying() == one.lying()
        assert other.told.all == []
        one.apply(comment(ANN, 13, 5))
        one.flush()
        other.flush()
        assert other.lying() == one.lying()
        assert len(one.told.all) + len(other.told.all) in (told + 1, told + 2)


# ----------------------------------------------------------------------------------------------- before it is shown


def test_a_profile_that_needs_mending_is_mended_before_it_is_shown(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5, "https://example.org/a"), comment(ANN, 12, 5))
    version, fields = one.store.load({ANN: [HEAD]})[ANN]
    head = unpack_head(fields[HEAD])
    head.count, head.mend = 99, True
    bucket = bucket_of(ANN.user_id)
    one.store.save([Save(bucket, [Write(ANN, version, b"damaged", {HEAD: pack_head(head)}, (), dirty=True)])])
    one.flush()
    assert content(one, ANN)["message_count"] == 2
    one.right()


def test_a_head_that_can_not_be_read_holds_back_nobody_else(one: Rig) -> None:
    one.apply(comment(ANN, 11, 5), comment(BEN, 12, 5))
    one.store.save([Save(bucket_of(3), [Write(CEM, ABSENT, b"odd", {HEAD: b"\xc1"}, (), dirty=True)])])
    flusher = one.flusher()
    flushed = flusher.flush()
    assert (flushed.written, flushed.failed) == (2, 1)
    assert "snapshot-rebuild --user 3" in (flusher.trouble or "")
    one.store.remove(CEM, b"odd")


def test_what_heals_is_not_shown_even_where_it_was_claimed_before(one: Rig) -> None:
    one.store.bear(Origin({}, {}, "1"))
    one.apply(comment(ANN, 11, 5), comment(BEN, 12, 5))
    healing = Healing({}, reconcile=True, reason="a test")

    def lose(name: str, when: str) -> None:
        if (name, when) == ("claim", "after"):
            one.store.raise_epoch(bucket_of(ANN.user_id), 0, healing, Origin({}, {}, "1"))

    assert one.flusher(store=Interrupted(one.store, lose)).flush().written == 1
    assert sorted(one.lying()) == ["2-lions.json"]
    one.store.heal(bucket_of(ANN.user_id), 1, None)
    one.bench.wait(1.0)
    one.flush()
    one.right()


def test_a_store_that_fell_back_is_not_shown_until_its_epoch_is_raised(one: Rig) -> None:
    flusher, _ = one.witnessed()
    one.store.bear(Origin({}, {}, "1"))
    one.apply(comment(ANN, 11, 5))
    fall_back = keep(one.store)
    one.apply(comment(ANN, 12, 5))
    one.flush(flusher)
    shown = one.lying()
    fall_back()  # the profile is due again, as it was then
    assert flusher.flush() == (0, 0, 0, 0, 0)
    assert one.lying() == shown
    bucket = bucket_of(ANN.user_id)
    one.store.raise_epoch(bucket, 0, Healing({}, reconcile=True, reason="a test"), Origin({}, {}, "1"))
    one.bench.wait(1.0)
    assert flusher.flush() == (0, 0, 0, 0, 0)
    one.apply(comment(ANN, 12, 5), comment(ANN, 13, 5))
    one.store.heal(bucket, 1, None)
    one.flush(flusher)
    assert content(one, ANN)["message_count"] == 3
    one.right()


# ------------------------------------------------------------------------------------------ a store that was lost


def test_over_a_lost_store_only_what_changed_is_written_and_announced(one: Rig) -> None:
    events = [comment(ProfileKey(user, "lions"), user, 1) for user in range(1, 21)]
    empty = keep(one.store)
    one.apply(*events)
    one.flush()
    told = {key: one.told.of(key) for key in (ANN, BEN)}
    one.told.all.clear()
    stamps = {name: (one.folder.path / name).stat().st_mtime_ns for name in one.folder.names()}
    empty()
    one.flusher().register()
    one.apply(*events, comment(BEN, 99, 1))
    assert one.flush() == (1, 0, 19, 1, 0)
    (last,) = one.told.all
    assert (last.user_id, last.previous_hash) == (BEN.user_id, told[BEN][0])
    assert {name for name, at in stamps.items() if (one.folder.path / name).stat().st_mtime_ns != at} == {
        "2-lions.json"
    }


def test_over_a_lost_store_a_flush_that_had_to_be_given_back_still_trusts_the_files(one: Rig) -> None:
    empty = keep(one.store)
    one.apply(comment(ANN, 1, 1))
    one.flush()
    empty()
    one.told.all.clear()
    flusher = one.flusher(store=Interrupted(one.store, _fail_at("marks", "before")))
    flusher.register()
    one.apply(comment(ANN, 1, 1))
    with pytest.raises(StoreUnavailableError):
        flusher.flush()
    assert one.flush(flusher) == (0, 0, 1, 0, 0)
    assert one.told.all == []


def test_sequences_grow_over_a_lost_store(one: Rig) -> None:
    empty = keep(one.store)
    for number in range(3):
        one.apply(comment(ANN, number, 1, minute=number))
        one.flush()
        empty()
        one.flusher().register()
    sequences = [told.sequence for told in one.told.all]
    assert len(sequences) == 3
    assert sequences == sorted(set(sequences))


def test_a_damaged_file_in_a_folder_that_the_store_does_not_know_is_replaced(one: Rig) -> None:
    one.folder.place(ANN).write_bytes(b"{half a fi")
    one.apply(comment(ANN, 1, 1))
    one.flush()
    one.right()


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_an_announcement_that_failed_is_announced_although_the_profile_is_as_before(one: Rig) -> None:
    """The client may still send what timed out."""
    one.apply(comment(ANN, 11, 1, "https://a.org"))
    one.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))
    one.told.failing = TimeoutError("no acknowledgement")
    flusher = one.flusher()
    assert flusher.flush().failed == 1
    assert "1:lions" in (flusher.trouble or "")
    assert content(one, ANN)["top_links"][0]["url"] == "https://b.org/"
    one.told.failing = None
    one.apply(comment(ANN, 11, 3, "https://a.org"))
    one.bench.wait(one.retry)
    one.flush(flusher)
    assert one.told.of(ANN) == [one.told.of(ANN)[0]] * 2
    assert flusher.trouble is None
    one.right()


def test_a_file_that_can_not_be_written_is_not_announced_and_tried_again(one: Rig) -> None:
    one.folder.place(ANN).mkdir()
    one.apply(comment(ANN, 11, 1), comment(BEN, 12, 1))
    flusher = one.flusher()
    flushed = flusher.flush()
    assert (flushed.written, flushed.announced, flushed.failed) == (1, 1, 1)
    assert str(one.folder.place(ANN)) in (flusher.trouble or "")
    assert "--output-dir" in (flusher.trouble or "")
    assert one.told.latest().keys() == {BEN}
    assert flusher.flush() == (0, 0, 0, 0, 0), "it is due again later"
    one.folder.place(ANN).rmdir()
    one.flush(flusher)
    assert flusher.trouble is None
    one.right()


def test_a_file_that_may_not_outlive_a_power_cut_is_written_again(one: Rig) -> None:
    def unsafe(_contents: Mapping[ProfileKey, bytes | None], *_: object) -> dict[ProfileKey, OSError]:
        return {ANN: UnsafeError(errno.EIO, os.strerror(errno.EIO))}

    folder = Interrupted(one.folder, write=unsafe)
    one.apply(comment(ANN, 11, 1))
    assert one.flusher(folder=folder).flush().failed == 1
    one.apply(comment(ANN, 11, 2, state=1))
    one.bench.wait(one.retry)
    assert one.flush().removed == 1, "whatever it is by then"
    one.right()


def test_a_slow_disk_only_makes_smaller_batches(one: Rig) -> None:
    class Slow(ProfileFolder):
        def _put(self, key: ProfileKey, content: bytes | None) -> OSError | None:
            one.now += one.lease / 40
            return super()._put(key, content)

    slow = Slow(one.folder.path, one.folder.identity)
    slow._writers._max_workers = 1  # noqa: SLF001  so that the time adds up the same way at each run
    one.apply(*[comment(ProfileKey(user, "lions"), user, 1) for user in range(1, 41)])
    flusher = one.flusher(folder=slow)
    first = flusher.flush()
    assert 9 <= first.written <= 12
    assert first.failed == 0
    one.flush(flusher)
    assert len(one.told.all) == 40
    one.right()
    slow.close()


def test_a_claim_that_is_too_old_before_the_file_is_abandoned(one: Rig) -> None:
    one.apply(comment(ANN, 11, 1))

    def suspend(name: str, when: str) -> None:
        if (name, when) == ("read", "after"):
            one.now += one.lease * 0.6

    assert one.flusher(store=Interrupted(one.store, suspend)).flush() == (0, 0, 0, 0, 0)
    assert one.lying() == {}
    assert one.flush().written == 1
    assert len(one.told.all) == 1
    one.right()


def test_a_claim_that_is_too_old_before_the_announcement_is_abandoned_and_its_file_written_again(one: Rig) -> None:
    one.apply(comment(ANN, 11, 1, "https://a.org"))
    one.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))

    def suspend(name: str, when: str) -> None:
        if (name, when) == ("write", "after"):
            one.now += one.lease * 0.6

    assert one.flusher(folder=Interrupted(one.folder, suspend)).flush().written == 0
    assert len(one.told.all) == 1
    one.apply(comment(ANN, 11, 3, "https://a.org"))
    one.flush()
    one.right()


def test_a_flusher_that_stood_still_can_not_leave_an_older_file(one: Rig) -> None:
    """Its own clock stands still too, so it can't know: the claim that was taken over is flushed once more."""
    one.apply(comment(ANN, 11, 1))

    def stand_still(name: str, when: str) -> None:
        if (name, when) == ("write", "before"):
            one.bench.wait(one.lease * 1.1)
            one.apply(comment(ANN, 12, 1))
            assert one.flusher().flush().written == 1, "taken over"

    assert one.flusher(folder=Interrupted(one.folder, stand_still)).flush().written == 1
    assert content(one, ANN)["message_count"] == 1, "the older one lies there"
    wait = one.flusher().wait()
    assert wait is not None
    assert wait <= one.lease
    one.flush()
    assert content(one, ANN)["message_count"] == 2
    one.right()


def test_a_take_over_is_flushed_once_more_after_another_lease(one: Rig) -> None:
    one.apply(comment(ANN, 11, 1))
    _crash_at(one, "write", "after")
    one.bench.wait(one.lease * 1.1)
    flusher = one.flusher()
    assert flusher.flush().written == 1
    assert flusher.flush().claims == 0
    one.bench.wait(one.lease * 1.1)
    assert flusher.flush().written == 1
    assert flusher.wait() is None
    assert len(one.told.all) == 2
    one.right()


# ---------------------------------------------------------------------------------------------- crashes and outages

STEPS = [
    ("claim", "before"),
    ("claim", "after"),
    ("read", "before"),
    ("read", "after"),
    ("marks", "after"),
    ("write", "before"),
    ("write", "after"),
    ("announce", "before"),
    ("announce", "after"),
    ("settle", "before"),
    ("settle", "after"),
]


def _crash_at(found: Rig, name: str, when: str) -> None:
    def act(at: str, then: str) -> None:
        if (at, then) == (name, when):
            raise Crash

    parts = {
        "store": Interrupted(found.store, act),
        "folder": Interrupted(found.folder, act),
        "announcer": Interrupted(found.told, act),
    }
    with pytest.raises(Crash):
        found.flusher(**parts).flush()


@pytest.mark.parametrize("step", STEPS, ids="-".join)
def test_a_crash_anywhere_is_made_good(one: Rig, step: tuple[str, str]) -> None:
    users = [ProfileKey(user, "lions") for user in range(1, 6)]
    one.apply(*[comment(key, key.user_id, 1) for key in users], comment(CEM, 99, 1))
    one.flush()
    one.apply(*[comment(key, 10 + key.user_id, 2) for key in users], comment(CEM, 99, 2, state=1))
    _crash_at(one, *step)
    one.flush()
    one.right()
    assert all(len(set(one.told.of(key))) == 2 for key in (*users, CEM))


@pytest.mark.parametrize("step", STEPS, ids="-".join)
def test_a_crash_anywhere_and_a_profile_that_is_as_before_again(one: Rig, step: tuple[str, str]) -> None:
    one.apply(comment(ANN, 11, 1, "https://a.org"))
    one.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))
    _crash_at(one, *step)
    one.apply(comment(ANN, 11, 3, "https://a.org"))
    one.flush()
    one.right()


def _fail_at(name: str, when: str, times: int = 1) -> Any:  # noqa: ANN401  a function
    left = [times]

    def act(at: str, then: str) -> None:
        if (at, then) == (name, when) and left[0]:
            left[0] -= 1
            raise StoreUnavailableError("it is away for a moment")

    return act


CALLS = [(name, when) for name in ("claim", "read", "marks", "settle") for when in ("before", "after")]


@pytest.mark.parametrize("call", CALLS, ids="-".join)
@pytest.mark.parametrize("times", [1, 3])
def test_a_store_that_is_away_for_a_moment_costs_no_lease(one: Rig, call: tuple[str, str], times: int) -> None:
    one.apply(comment(ANN, 11, 1), comment(BEN, 12, 1))
    flusher = one.flusher(store=Interrupted(one.store, _fail_at(*call, times)))
    for _ in range(times):
        with pytest.raises(StoreUnavailableError):
            flusher.flush()
    flusher.flush()
    assert flusher.wait() is None, "nothing waits for a lease to run out"
    assert len(one.told.all) == 2
    one.right()


def test_what_is_given_back_late_is_given_back_too(one: Rig) -> None:
    one.folder.place(ANN).mkdir()
    one.apply(comment(ANN, 11, 1), comment(BEN, 12, 1))
    flusher = one.flusher(store=Interrupted(one.store, _fail_at("defer", "before")))
    with pytest.raises(StoreUnavailableError):
        flusher.flush()
    one.folder.place(ANN).rmdir()
    flusher.flush()
    wait = flusher.wait()
    assert wait is not None
    assert 0 < wait <= one.retry
    one.bench.wait(one.retry)
    one.flush(flusher)
    one.right()


def test_a_claim_whose_answer_never_came_is_not_asked_for_by_its_token_for_ever(one: Rig) -> None:
    one.apply(comment(ANN, 11, 1))
    flusher = one.flusher(store=Interrupted(one.store, _fail_at("claim", "after")))
    with pytest.raises(StoreUnavailableError):
        flusher.flush()
    one.now += one.lease
    one.bench.wait(one.lease * 1.1)
    assert flusher.flush().written == 1
    one.flush(flusher)
    one.right()


def test_left_files_are_not_failures(one: Rig) -> None:
    left = LeftError(errno.ETIME, "no time")
    folder = Interrupted(one.folder, write=lambda contents, _enough: dict.fromkeys(contents, left))
    one.apply(comment(ANN, 11, 1))
    flusher = one.flusher(folder=folder)
    assert flusher.flush() == (0, 0, 0, 0, 0)
    assert flusher.trouble is None
    assert flusher.wait() == 0


def test_two_flushers_share_the_work(one: Rig) -> None:
    one.apply(*[comment(ProfileKey(user, "lions"), user, 1) for user in range(1, 201)])
    two = [one.flusher(), one.flusher()]
    shares = [0, 0]
    for at in range(12):
        shares[at % 2] += two[at % 2].flush(range(at % 2, 64, 2)).written
    assert sum(shares) == 200
    assert min(shares) > 50
    assert len(one.told.all) == 200
    one.right()
