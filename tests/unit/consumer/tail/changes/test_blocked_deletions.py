"""What would be deleted is counted as the rebuild counts it; it is blocked, and said."""

import pytest
from structlog.testing import capture_logs

from consumer.tail.changes.blocked_deletions import DeletionGuard, Deletions
from consumer.tail.rows.fingerprints import Entry, Fingerprint, RowFingerprints
from projections.comments.groups import Groups
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import Cause, PendingDeletions, Totals

GROUPS = Groups({user: {"elm": "Elm"} for user in range(1, 101)}, {"Elm": frozenset([1])})
ELSEWHERE = 9
"""A request of no group."""
COUNTS, TAGGED = 1, 3


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def guard(seconds: Seconds | None = None, *, prune_all: bool = False) -> DeletionGuard:
    return DeletionGuard(prune_all=prune_all, now=seconds or Seconds())


def much(ended: int = 500, total: int = 500) -> tuple[PendingDeletions, Totals]:
    pending = PendingDeletions()
    pending.add_profile(total, total - ended, {None: ended})
    return pending, Totals(profiles=1_000, comments=total)


NO_CONTRIBUTION = PendingDeletions(), Totals()


def fingerprints(users: int, comments: int, contribution: int = COUNTS, request: int = 1) -> RowFingerprints:
    """So many comments of each of so many users."""
    made = RowFingerprints()
    for number in range(users * comments):
        made.put({number + 1: Entry(Fingerprint(number // comments + 1, request, 0, 0), contribution)})
    return made


def key(user: int) -> ProfileKey:
    return ProfileKey(user, "elm")


@pytest.mark.parametrize(
    ("ended", "total", "blocked"),
    [(19, 19, False), (20, 200, False), (21, 200, True), (1_000, 1_000, True), (0, 0, False)],
)
def test_blocks_over_a_tenth_and_at_least_twenty(ended: int, total: int, *, blocked: bool) -> None:
    asked = guard()
    assert asked.blocks("sweep", *much(ended, total)) is blocked
    assert asked.is_blocked is blocked


def test_what_is_confirmed_passes() -> None:
    assert not guard(prune_all=True).blocks("sweep", *much())


def test_says_it_once_a_minute_until_it_is_over() -> None:
    seconds = Seconds()
    asked = guard(seconds)
    with capture_logs() as said:
        for _ in range(130):
            asked.blocks("sweep", *much())
            seconds.now += 1
    assert len(said) == 3
    assert "blocked by the deletion guard" in said[0]["event"]
    assert "500 of 500 comments" in said[0]["event"]
    assert "--prune-all" in said[0]["event"]
    with capture_logs() as said:
        assert not asked.blocks("sweep", *NO_CONTRIBUTION)
        seconds.now += 100
        asked.remind()
    assert not said


def test_one_place_does_not_release_what_another_blocks() -> None:
    asked = guard()
    asked.blocks("store", *much())
    asked.blocks("sweep", *NO_CONTRIBUTION)
    assert asked.is_blocked


# --------------------------------------------------------------------------------------------------- what is counted


def blocked(deletions: Deletions, published: RowFingerprints) -> bool:
    return deletions.are_blocked(guard(), "sweep", published, GROUPS)


def test_a_tenth_is_a_tenth_of_the_comments_that_count() -> None:
    published = fingerprints(20, 10)
    for number in range(10_000):  # of no group, or deleted
        published.put({1_000 + number: Entry(Fingerprint(1, ELSEWHERE if number % 2 else 1, 0, 0), 0)})
    deletions = Deletions()
    for _ in range(30):
        deletions.delete(key(1), tagged=False)
    assert blocked(deletions, published)


def test_profiles_are_counted_too() -> None:
    """90 of 100 have one comment each, the others very many."""
    published = fingerprints(90, 1)
    for number in range(3_000):
        published.put({1_000 + number: Entry(Fingerprint(91, 1, 0, 0), COUNTS)})
    deletions = Deletions()
    for user in range(1, 91):
        deletions.delete(key(user), tagged=False)
    assert blocked(deletions, published)


def test_a_profile_that_gains_as_much_as_it_loses_does_not_end() -> None:
    published = fingerprints(30, 1)
    for number in range(3_000):
        published.put({1_000 + number: Entry(Fingerprint(91, 1, 0, 0), COUNTS)})
    deletions = Deletions()
    for user in range(1, 31):
        deletions.delete(key(user), tagged=False)
        deletions.add(key(user))
    assert not blocked(deletions, published)


def test_all_tags_are_too_many() -> None:
    deletions = Deletions()
    for _ in range(6):
        deletions.untag(key(1))
    assert blocked(deletions, fingerprints(1, 6, TAGGED))
    assert not blocked(deletions, fingerprints(2, 6, TAGGED))


def test_tags_of_comments_that_go_do_not_make_the_last_ones_fewer() -> None:
    deletions = Deletions()
    for _ in range(6):
        deletions.untag(key(1))
    for _ in range(6):
        deletions.delete(key(2), tagged=True)
    assert blocked(deletions, fingerprints(2, 6, TAGGED))


@pytest.mark.parametrize(("memberships", "is_blocked"), [(1, False), (2, True)])
def test_one_membership_that_ended_passes(memberships: int, *, is_blocked: bool) -> None:
    deletions = Deletions()
    for user in range(1, memberships + 1):
        for _ in range(40):
            deletions.delete(key(user), Cause("membership", key(user)), tagged=False)
    assert blocked(deletions, fingerprints(3, 40)) is is_blocked


# ------------------------------------------------------------------------------------------------- what passes at once


def ended(comments: int) -> Deletions:
    deletions = Deletions()
    for _ in range(comments):
        deletions.delete(key(1), tagged=False)
    return deletions


def test_what_passes_at_once_adds_up_until_a_sweep_asks_for_all() -> None:
    published, asked = fingerprints(2, 20), guard()
    assert asked.lets_pass(ended(12), published, GROUPS)
    assert not asked.lets_pass(ended(12), published, GROUPS)
    assert asked.lets_pass(ended(7), published, GROUPS)
    assert asked.blocks("sweep", *ended(1).measured(published, GROUPS, asked.passed))
    assert not asked.lets_pass(ended(1), published, GROUPS)  # while anything is blocked
    assert guard(prune_all=True).lets_pass(ended(30), published, GROUPS)
