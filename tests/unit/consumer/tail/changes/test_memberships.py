"""What a change of memberships and titles means for comments."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.tail.changes.memberships import affected_users, merged
from projections.comments.groups import Groups
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import cause_of

NAMES = ("Elm", "Oak", "Ash")
ATTRIBUTES = st.dictionaries(
    st.tuples(st.integers(1, 4), st.sampled_from(["elm", "oak"])), st.sampled_from(NAMES), max_size=8
)
TITLES = st.dictionaries(st.integers(1, 4), st.sampled_from(NAMES), max_size=4)


def groups(members: dict[tuple[int, str], str], titles: dict[int, str]) -> Groups:
    return Groups.from_rows(
        [(user, f"signal_import_group:{slug}", name) for (user, slug), name in members.items()],
        [(request, f"[Signal] {name}") for request, name in titles.items()],
    )


GROUPS = st.builds(groups, ATTRIBUTES, TITLES)
PLACES = [(user, request) for user in range(1, 5) for request in range(1, 5)]


@given(GROUPS, GROUPS)
def test_whoever_has_a_comment_that_counts_elsewhere_is_affected(old: Groups, new: Groups) -> None:
    moved = {user for user, request in PLACES if old.slugs(user, request) != new.slugs(user, request)}
    assert moved <= affected_users(old, new)


@given(GROUPS)
def test_without_a_change_nobody_is_affected(same: Groups) -> None:
    assert affected_users(same, Groups(dict(same.members), dict(same.requests))) == set()


@given(GROUPS, GROUPS)
def test_whatever_leaves_has_a_cause(old: Groups, new: Groups) -> None:
    for user, request in PLACES:
        for slug in set(old.slugs(user, request)) - set(new.slugs(user, request)):
            assert cause_of(ProfileKey(user, slug), request, new) is not None


@given(GROUPS, GROUPS)
def test_keeping_takes_nothing_away(old: Groups, new: Groups) -> None:
    kept = merged(old, new)
    assert all(set(old.slugs(*place)) <= set(kept.slugs(*place)) for place in PLACES)


@given(GROUPS, GROUPS)
def test_whoever_is_kept_is_affected(old: Groups, new: Groups) -> None:
    kept = merged(old, new)
    users = {user for user, request in PLACES if kept.slugs(user, request) != new.slugs(user, request)}
    assert users <= affected_users(kept, new)
