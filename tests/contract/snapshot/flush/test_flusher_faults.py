"""Where a flusher stops, stands still or fails: what becomes of its claims, on both stores."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from projections.profile_key import ProfileKey
from projections.store.protocol import Claim, StoreUnavailableError
from snapshot.announce.announcement import Announcement
from snapshot.files.folder import NotDurableError, NotStartedError, ProfileFolder
from support.flushing import Crash, Interrupted, Rig, fail_at, rig
from support.histories import comment
from support.rollback import keep
from support.stores import Bench

ANN, BEN, CEM = ProfileKey(1, "lions"), ProfileKey(2, "lions"), ProfileKey(3, "tigers")


@pytest.fixture
def one(bench: Bench, tmp_path: Path) -> Iterator[Rig]:
    with rig(bench, tmp_path / "profiles") as found:
        yield found


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_an_announcement_that_failed_is_announced_although_the_profile_is_as_before(one: Rig) -> None:
    """The client may still send what timed out."""
    one.apply(comment(ANN, 11, 1, "https://a.org"))
    one.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))
    one.announced.failing = TimeoutError("no acknowledgement")
    flusher = one.flusher()
    assert flusher.flush().failed == 1
    assert "1:lions" in (flusher.trouble or "")
    assert dict(flusher.failed) == {ANN: "not announced: no acknowledgement"}
    assert one.content(ANN)["top_links"][0]["url"] == "https://b.org/"
    one.announced.failing = None
    one.apply(comment(ANN, 11, 3, "https://a.org"))
    one.bench.wait(one.retry)
    one.flush(flusher)
    assert one.announced.of(ANN) == [one.announced.of(ANN)[0]] * 2
    assert flusher.trouble is None
    assert not flusher.failed
    one.right()


def test_a_file_that_can_not_be_written_is_not_announced_and_tried_again(one: Rig) -> None:
    one.folder.place(ANN).mkdir()
    one.apply(comment(ANN, 11, 1), comment(BEN, 12, 1))
    flusher = one.flusher()
    flushed = flusher.flush()
    assert (flushed.written, flushed.announced, flushed.failed) == (1, 1, 1)
    assert str(one.folder.place(ANN)) in (flusher.trouble or "")
    assert "--output-dir" in (flusher.trouble or "")
    assert flusher.failed.keys() == {ANN}
    assert flusher.failed[ANN].startswith("file not written: ")
    assert one.announced.latest().keys() == {BEN}
    assert flusher.flush() == (0, 0, 0, 0, 0), "it is due again later"
    one.folder.place(ANN).rmdir()
    one.flush(flusher)
    assert flusher.trouble is None
    one.right()


def test_a_file_that_may_not_outlive_a_power_cut_is_written_again(one: Rig) -> None:
    def unsafe(_contents: Mapping[ProfileKey, bytes | None], *_: object) -> dict[ProfileKey, OSError]:
        return {ANN: NotDurableError(errno.EIO, os.strerror(errno.EIO))}

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

    # One thread, so that the time adds up the same way at each run.
    slow = Slow(one.folder.path, one.folder.identity, writers=ThreadPoolExecutor(1))
    one.apply(*[comment(ProfileKey(user, "lions"), user, 1) for user in range(1, 31)])
    flusher = one.flusher(folder=slow)
    first = flusher.flush()
    assert 9 <= first.written <= 12
    assert first.failed == 0
    one.flush(flusher)
    assert len(one.announced.all) == 30
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
    assert len(one.announced.all) == 1
    one.right()


def test_a_claim_that_is_too_old_before_the_announcement_is_abandoned_and_its_file_written_again(one: Rig) -> None:
    one.apply(comment(ANN, 11, 1, "https://a.org"))
    one.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))

    def suspend(name: str, when: str) -> None:
        if (name, when) == ("write", "after"):
            one.now += one.lease * 0.6

    assert one.flusher(folder=Interrupted(one.folder, suspend)).flush().written == 0
    assert len(one.announced.all) == 1
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
    assert one.content(ANN)["message_count"] == 1, "the older one lies there"
    wait = one.flusher().wait()
    assert wait is not None
    assert wait <= one.lease
    one.flush()
    assert one.content(ANN)["message_count"] == 2
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
    assert len(one.announced.all) == 2
    one.right()


# ---------------------------------------------------------------------------------------------- crashes and outages

STEPS = [
    ("claim", "before"),
    ("claim", "after"),
    ("read", "before"),
    ("read", "after"),
    ("bucket_states", "after"),
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
        "announcer": Interrupted(found.announced, act),
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
    assert all(len(set(one.announced.of(key))) == 2 for key in (*users, CEM))


@pytest.mark.parametrize("step", STEPS, ids="-".join)
def test_a_crash_anywhere_and_a_profile_that_is_as_before_again(one: Rig, step: tuple[str, str]) -> None:
    one.apply(comment(ANN, 11, 1, "https://a.org"))
    one.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))
    _crash_at(one, *step)
    one.apply(comment(ANN, 11, 3, "https://a.org"))
    one.flush()
    one.right()


def test_an_end_that_the_store_lost_is_followed_by_an_announcement_of_the_profile_that_is_as_before(one: Rig) -> None:
    """Only that it was flushed is lost: the bucket counts as many writes as were seen."""
    one.apply(comment(CEM, 99, 1))
    one.flush()
    one.apply(comment(CEM, 99, 2, state=1))
    fall_back = keep(one.store)
    one.flush()
    fall_back()
    one.apply(comment(CEM, 99, 3))
    one.flush()
    assert [hash_ is None for hash_ in one.announced.of(CEM)] == [False, True, False]
    one.right()


CALLS = [(name, when) for name in ("claim", "read", "bucket_states", "settle") for when in ("before", "after")]


@pytest.mark.parametrize("call", CALLS, ids="-".join)
@pytest.mark.parametrize("times", [1, 3])
def test_a_store_that_is_away_for_a_moment_costs_no_lease(one: Rig, call: tuple[str, str], times: int) -> None:
    one.apply(comment(ANN, 11, 1), comment(BEN, 12, 1))
    flusher = one.flusher(store=Interrupted(one.store, fail_at(*call, times)))
    for _ in range(times):
        with pytest.raises(StoreUnavailableError):
            flusher.flush()
    flusher.flush()
    assert flusher.wait() is None, "nothing waits for a lease to run out"
    assert len(one.announced.all) == 2
    one.right()


def test_what_is_given_back_late_is_given_back_too(one: Rig) -> None:
    one.folder.place(ANN).mkdir()
    one.apply(comment(ANN, 11, 1), comment(BEN, 12, 1))
    flusher = one.flusher(store=Interrupted(one.store, fail_at("defer", "before")))
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
    flusher = one.flusher(store=Interrupted(one.store, fail_at("claim", "after")))
    with pytest.raises(StoreUnavailableError):
        flusher.flush()
    one.now += one.lease
    one.bench.wait(one.lease * 1.1)
    assert flusher.flush().written == 1
    one.flush(flusher)
    one.right()


def test_left_files_are_not_failures(one: Rig) -> None:
    left = NotStartedError(errno.ETIME, "no time")
    folder = Interrupted(one.folder, write=lambda contents, *_: dict.fromkeys(contents, left))
    one.apply(comment(ANN, 11, 1))
    flusher = one.flusher(folder=folder)
    assert flusher.flush() == (0, 0, 0, 0, 0)
    assert flusher.trouble is None
    wait = flusher.wait()
    assert wait is not None
    assert wait < 0, "it says for how long: who ends with what is due waits for what was due then"


def test_two_flushers_share_the_work(one: Rig) -> None:
    one.apply(*[comment(ProfileKey(user, "lions"), user, 1) for user in range(1, 201)])
    two = [one.flusher(), one.flusher()]
    shares = [0, 0]
    for at in range(12):
        shares[at % 2] += two[at % 2].flush(range(at % 2, 64, 2)).written
    assert sum(shares) == 200
    assert min(shares) > 50
    assert len(one.announced.all) == 200
    one.right()


# ------------------------------------------------------------------------------------------- the end of a profile


def _ended_in_a_store_that_lost_what_was_announced(one: Rig) -> None:
    empty = keep(one.store)
    one.apply(comment(ANN, 11, 1))
    one.flush()
    empty()
    one.flusher().add_folder()
    one.apply(comment(ANN, 11, 2, state=1))


def test_an_end_is_announced_although_it_was_read_twice(one: Rig) -> None:
    """A reply that was lost: redis-py sends the command again."""

    def read_before(name: str, when: str) -> None:
        if (name, when) == ("read", "before"):
            one.store.read(one.folder.identity.id, [Claim(ANN, forced=False, taken_over=False)])

    _ended_in_a_store_that_lost_what_was_announced(one)
    one.flush(one.flusher(store=Interrupted(one.store, read_before)))
    assert one.announced.compacted() == {ANN: None}
    one.right()


@pytest.mark.parametrize("removed", [True, False])
def test_an_end_is_announced_by_another_process_where_one_came_no_further_than_the_file(
    one: Rig, *, removed: bool
) -> None:
    def fail(contents: Mapping[ProfileKey, bytes | None], *rest: Any) -> dict[ProfileKey, OSError]:  # noqa: ANN401
        if removed:
            one.folder.write(contents, *rest)
        return dict.fromkeys(contents, OSError(errno.EIO, os.strerror(errno.EIO)))

    _ended_in_a_store_that_lost_what_was_announced(one)
    assert one.flusher(folder=Interrupted(one.folder, write=fail)).flush().failed == 1
    one.bench.wait(one.retry)
    one.flush()
    assert one.announced.compacted() == {ANN: None}
    one.right()


def test_a_flusher_that_lost_its_claim_behind_its_file_has_the_profile_flushed_again(one: Rig) -> None:
    """It stood still for longer than a lease and the flush after the take-over; its file is the older one."""
    one.apply(comment(ANN, 11, 1, "https://a.org"))
    one.flush()
    one.apply(comment(ANN, 11, 2, "https://b.org"))

    def stand_still(name: str, when: str) -> None:
        if (name, when) == ("write", "before"):
            one.bench.wait(one.lease * 1.1)
            one.apply(comment(ANN, 11, 3, "https://c.org"))
            one.flush()

    one.flusher(folder=Interrupted(one.folder, stand_still)).flush()
    assert one.content(ANN)["top_links"][0]["url"] == "https://b.org/"
    one.flush()
    one.right()


def test_an_announcement_that_failed_under_a_lost_claim_is_followed_by_the_present_state(one: Rig) -> None:
    """What timed out may still arrive."""
    one.apply(comment(ANN, 11, 1, "https://a.org"))

    def stand_still(announcements: Sequence[Announcement]) -> list[Exception | None]:
        one.bench.wait(one.lease * 1.1)
        one.apply(comment(ANN, 11, 2, "https://b.org"))
        one.flush()
        one.announced.announce(announcements)  # it arrived, last, and its acknowledgement did not
        return [TimeoutError("no acknowledgement")] * len(announcements)

    assert one.flusher(announcer=Interrupted(one.announced, announce=stand_still)).flush().failed == 1
    one.flush()
    one.right()
