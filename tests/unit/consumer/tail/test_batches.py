"""How a turn's events are divided into batches."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.tail.source import batches
from projections.comments.events import InsightCreated


def event(user: int, number: int) -> InsightCreated:
    return InsightCreated(comment_id=number + 1, user_id=user, group_slug="elm", revision=1)


@given(st.lists(st.integers(1, 5)).map(sorted), st.integers(1, 10))
def test_no_user_is_divided_and_nothing_is_lost(users: list[int], size: int) -> None:
    events = [event(user, number) for number, user in enumerate(users)]
    found = list(batches(events, size))
    assert [one for batch in found for one in batch] == events
    assert sum(len({one.user_id for one in batch}) for batch in found) == len(set(users))
    assert all(len(batch) >= size for batch in found[:-1])
