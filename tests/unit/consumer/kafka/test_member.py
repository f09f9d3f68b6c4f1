"""One batch out of several polls, whichever client they come from."""

from typing import Any

import pytest

from consumer.kafka.member import Fetched, Gatherer, MemberError, PositionsLostError
from consumer.kafka.options import SourceOptions
from consumer.source import Invalid
from support.histories import KEYS, comment

PLACE = "comment-created/0"
BAD = Invalid("comment-created", 0, 0, None, b"", (), "it is no JSON")


class Polled:
    """A member with so many messages waiting; each poll gives at most `most`, and takes `seconds`."""

    def __init__(self, waiting: int, most: int = 100, seconds: float = 0.0) -> None:
        self.waiting = waiting
        self.polls = 0
        self.at = 0
        self.now = 0.0
        self.changes = 0
        self.acts: dict[int, Any] = {}
        self.invalid: dict[int, Invalid] = {}
        self._most = most
        self._seconds = seconds

    def poll(self, _seconds: float) -> Fetched:
        self.polls += 1
        self.now += self._seconds
        self.acts.get(self.polls, lambda: None)()
        given = min(self._most, self.waiting - self.at)
        events = [comment(KEYS[0], self.at + number, 1) for number in range(1, given + 1)]
        self.at += given
        invalid = [self.invalid[self.polls]] if self.polls in self.invalid else []
        return Fetched(events, invalid, {PLACE: self.at}, 10 * given)

    def last_ends(self, _partitions: object) -> dict[str, int]:
        return {PLACE: self.waiting}


def gather(member: Any, **options: Any) -> Gatherer:  # noqa: ANN401  a scripted member, any of the options
    return Gatherer(member, SourceOptions(**{"behind": 50, "max_batch": 1000, **options}), lambda: member.now)


def test_one_that_is_behind_makes_one_batch_of_several_polls() -> None:
    member = Polled(640)
    fetched = gather(member).poll(1)
    assert [one.comment_id for one in fetched.events] == list(range(1, 601))
    assert (fetched.positions, fetched.size, member.polls) == ({PLACE: 600}, 6000, 6)


@pytest.mark.parametrize("waiting", [0, 30, 140])
def test_at_rest_nothing_waits_for_more(waiting: int) -> None:
    member = Polled(waiting)
    gather(member).poll(1)
    assert member.polls == 1


@pytest.mark.parametrize(
    ("options", "polls"), [({"max_batch": 250}, 3), ({"max_batch_bytes": 3_500}, 4), ({"gather": 0.5}, 6)]
)
def test_a_batch_is_bounded(options: dict[str, Any], polls: int) -> None:
    member = Polled(100_000, seconds=0.1)
    gather(member, **{"gather": 60.0, **options}).poll(1)
    assert member.polls == polls


def test_a_message_that_is_no_event_ends_the_batch() -> None:
    member = Polled(1000)
    member.invalid = {2: BAD}
    fetched = gather(member).poll(1)
    assert (len(fetched.events), fetched.invalid) == (200, [BAD])


@pytest.mark.parametrize("error", [MemberError("gone", retriable=True), PositionsLostError([PLACE])])
def test_what_is_wrong_comes_after_what_came_before_it(error: Exception) -> None:
    def fail() -> None:
        raise error

    member = Polled(1000)
    member.acts = {3: fail}
    gatherer = gather(member)
    assert len(gatherer.poll(1).events) == 200
    with pytest.raises(type(error)):
        gatherer.poll(1)
    assert gatherer.poll(1).events[0].comment_id == 201


def test_a_rebalance_between_two_polls_ends_the_batch() -> None:
    member = Polled(1000)

    def change() -> None:
        member.changes += 1

    member.acts = {2: change}
    assert len(gather(member).poll(1).events) == 100
    assert member.polls == 2
