"""The guard's arithmetic: what is counted, what a single act excuses, and where too much begins."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.comments.groups import Groups
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import Cause, PendingDeletions, Totals, blocked_message, cause_of, reason_to_block

ANN, BEN = ProfileKey(1, "elm"), ProfileKey(2, "elm")
ANN_LEFT, BEN_LEFT = Cause("membership", ANN), Cause("membership", BEN)
ANN_BLOCKED, BEN_BLOCKED = Cause("block", 1), Cause("block", 2)
FIRST, SECOND = Cause("request", 1), Cause("request", 2)
MUCH = Totals(profiles=10_000, comments=10_000, tagged=10_000)
GROUPS = Groups({1: {"elm": "Elm", "oak": "Oak"}}, {"Elm": frozenset([1, 2])})


@pytest.mark.parametrize(
    ("key", "request_id", "cause"),
    [
        (ANN, 1, None),
        (ANN, 3, Cause("request", 3)),
        (ProfileKey(1, "oak"), 1, Cause("request", 1)),  # a group without a request
        (ProfileKey(1, "ash"), 1, Cause("membership", ProfileKey(1, "ash"))),
        (BEN, 3, Cause("membership", BEN)),  # nothing else can be known of who is no member
    ],
)
def test_the_cause_of_a_departure(key: ProfileKey, request_id: int, cause: Cause | None) -> None:
    assert cause_of(key, request_id, GROUPS) == cause


def test_a_blocked_user_is_the_cause_in_every_group() -> None:
    blocked = GROUPS.without(frozenset([1]))
    causes = {cause_of(key, request, blocked) for key in (ANN, ProfileKey(1, "oak")) for request in (1, 3)}
    assert causes == {Cause("block", 1)}
    assert cause_of(BEN, 1, blocked) == Cause("membership", BEN)


def profiles_of(*causes: Cause | None) -> PendingDeletions:
    """One profile of three comments ends for each of these causes."""
    pending = PendingDeletions()
    for cause in causes:
        pending.add_profile(3, 0, {cause: 3})
    return pending


@pytest.mark.parametrize(
    ("causes", "counted"),
    [
        ([], (0, 0)),
        ([None], (1, 3)),
        ([ANN_LEFT], (0, 0)),
        ([ANN_LEFT, ANN_LEFT], (0, 0)),
        ([ANN_LEFT, BEN_LEFT], (2, 6)),
        ([FIRST], (0, 0)),
        ([FIRST, SECOND], (2, 6)),
        ([ANN_LEFT, FIRST], (0, 0)),  # one of each
        ([ANN_LEFT, FIRST, SECOND], (2, 6)),
        ([ANN_LEFT, BEN_LEFT, FIRST], (2, 6)),
        ([ANN_LEFT, None], (1, 3)),
        ([ANN_BLOCKED, BEN_BLOCKED], (0, 0)),  # each was confirmed by itself
        ([ANN_BLOCKED, BEN_BLOCKED, FIRST, SECOND], (2, 6)),
        ([FIRST, SECOND, None], (3, 9)),
    ],
)
def test_a_single_act_excuses_what_follows_from_it(causes: list[Cause | None], counted: tuple[int, int]) -> None:
    pending = profiles_of(*causes)
    assert pending.without_cause() == counted
    assert pending.comments() == 3 * len(causes), "an excuse makes them no fewer"


def test_a_profile_that_goes_for_two_causes_goes_for_none() -> None:
    pending = PendingDeletions()
    pending.add_profile(5, 0, {ANN_LEFT: 3, FIRST: 2})
    assert pending.causes == {ANN_LEFT: [0, 3], FIRST: [0, 2], None: [1, 0]}
    assert pending.without_cause() == (1, 0)


@pytest.mark.parametrize(
    ("before", "after", "deleted", "profiles"),
    [(3, 0, 3, 1), (3, 1, 3, 0), (3, 2, 1, 0), (0, 0, 0, 0), (0, 4, 0, 0), (1, 0, 1, 1)],
)
def test_a_profile_ends_with_its_last_comment(before: int, after: int, deleted: int, profiles: int) -> None:
    pending = PendingDeletions()
    pending.add_profile(before, after, {None: deleted} if deleted else {})
    assert pending.without_cause() == (profiles, deleted)


def test_parts_add_up() -> None:
    whole = PendingDeletions()
    for part in (profiles_of(ANN_LEFT, None), profiles_of(BEN_LEFT, None)):
        part.add_profile(9, 8, {FIRST: 1}, tagged=4, untagged=3)
        whole.merge(part)
    assert whole == PendingDeletions({ANN_LEFT: [1, 3], None: [2, 6], FIRST: [0, 2], BEN_LEFT: [1, 3]}, 8, 6)
    totals = Totals()
    for comments, tagged in ((3, 1), (0, 0), (4, 2)):
        totals.add_profile(comments, tagged)
    totals.merge(Totals(10, 20, 30))
    assert totals == Totals(12, 27, 33)


CAUSES = st.sampled_from([None, ANN_BLOCKED, ANN_LEFT, BEN_LEFT, FIRST, SECOND])
PROFILES = st.tuples(  # comments that stay; those that go, by cause; tagged ones; untagged ones
    st.integers(0, 3), st.dictionaries(CAUSES, st.integers(1, 9)), st.integers(0, 9), st.integers(0, 9)
)


@given(st.lists(st.lists(PROFILES, max_size=4), max_size=4))
def test_whatever_the_parts_nothing_is_lost_or_counted_twice(
    parts: list[list[tuple[int, dict[Cause | None, int], int, int]]],
) -> None:
    pending, totals = PendingDeletions(), Totals()
    for part in parts:
        other, others = PendingDeletions(), Totals()
        for after, deleted, tagged, untagged in part:
            before = after + sum(deleted.values())
            other.add_profile(before, after, deleted, tagged=tagged, untagged=untagged)
            others.add_profile(before, tagged)
        pending.merge(other)
        totals.merge(others)

    profiles = list(itertools.chain(*parts))
    tags = sum(tagged for _, _, tagged, _ in profiles)
    assert (pending.tagged, pending.untagged) == (tags, sum(untagged for *_, untagged in profiles))
    assert sum(ended for ended, _ in pending.causes.values()) == len(
        [1 for after, gone, *_ in profiles if gone and not after]
    )
    for cause, (_, comments) in pending.causes.items():
        assert comments == sum(deleted.get(cause, 0) for _, deleted, *_ in profiles)
    present = [after + sum(deleted.values()) for after, deleted, *_ in profiles]
    assert totals == Totals(len(list(filter(None, present))), sum(present), tags)


def gone(comments: int = 0, *, profiles: int = 0, untagged: int = 0) -> PendingDeletions:
    return PendingDeletions({None: [profiles, comments]}, untagged=untagged)


@pytest.mark.parametrize(
    ("pending", "totals", "reason"),
    [
        (gone(19), Totals(1, 19, 0), None),
        (gone(20), Totals(1, 200, 0), None),
        (gone(20), Totals(1, 199, 0), "20 of 199 comments"),
        (gone(0, profiles=19), Totals(19, 1, 0), None),
        (gone(0, profiles=20), Totals(199, 1, 0), "20 of 199 profiles"),
        (gone(1_999, profiles=1_000), Totals(9_999, 20_000, 0), "1,000 of 9,999 profiles"),
        (gone(0, untagged=20), Totals(1, 1, 199), "20 of 199 tagged comments' tags"),
        (gone(0, untagged=4), Totals(1, 1, 4), None),
        (gone(0, untagged=5), Totals(1, 1, 5), "all tags, those of 5 comments"),
        (gone(0, untagged=5), Totals(1, 1, 6), None),
        (gone(0, untagged=6), Totals(1, 1, 0), "all tags, those of 6 comments"),  # more than was known of
        (gone(20, untagged=5), Totals(1, 20, 5), "20 of 20 comments"),
        (gone(20, profiles=20), Totals(20, 20, 0), "20 of 20 profiles and 20 of 20 comments"),
        (
            gone(20, profiles=20, untagged=20),
            Totals(20, 20, 20),
            "20 of 20 profiles, 20 of 20 comments and 20 of 20 tagged comments' tags",
        ),
    ],
)
def test_what_is_too_much(pending: PendingDeletions, totals: Totals, reason: str | None) -> None:
    assert reason_to_block(pending, totals) == reason


def test_what_tags_were_counted_by_is_said() -> None:
    assert reason_to_block(gone(0, untagged=20), Totals(1, 1, 20), "profiles") == "20 of 20 tagged profiles' tags"
    assert reason_to_block(gone(0, untagged=5), Totals(1, 1, 5), "profiles") == "all tags, those of 5 profiles"


@pytest.mark.parametrize(
    ("pending", "something"),
    [
        (gone(), False),
        (gone(1), True),
        (gone(untagged=1), True),
        (PendingDeletions({FIRST: [0, 1]}), True),  # excused, and yet it goes
        (PendingDeletions(tagged=9), False),
    ],
)
def test_whether_a_comment_goes_or_loses_its_tags(pending: PendingDeletions, something: bool) -> None:
    assert pending.remove_anything() is something


@pytest.mark.parametrize(
    ("pending", "worth"),
    [(gone(4, profiles=4, untagged=4), False), (gone(5), True), (gone(profiles=5), True), (gone(untagged=5), True)],
)
def test_the_totals_are_asked_for_where_they_may_matter(pending: PendingDeletions, worth: bool) -> None:
    assert pending.worth_asking() is worth
    assert worth or reason_to_block(pending, Totals()) is None


def test_a_single_act_passes_however_much_it_is() -> None:
    pending = PendingDeletions()
    for _ in range(1_000):
        pending.add_profile(9, 0, {FIRST: 9})
    assert reason_to_block(pending, Totals(1_000, 9_000, 0)) is None
    assert not pending.worth_asking()
    pending.add_profile(1, 0, {SECOND: 1})
    assert reason_to_block(pending, MUCH) == "1,001 of 10,000 profiles and 9,001 of 10,000 comments"


def test_the_message_names_the_fix() -> None:
    message = blocked_message("20 of 20 comments", "snapshot-rebuild --prune-all")
    assert "would remove 20 of 20 comments" in message
    assert "or correct DATABASE_URL and INSIGHTS_DATABASE_URL" in message
    assert message.endswith("or confirm with snapshot-rebuild --prune-all")
