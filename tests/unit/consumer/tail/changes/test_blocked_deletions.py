"""Disappearances are held back and said."""

import pytest
from structlog.testing import capture_logs

from consumer.tail.changes.blocked_deletions import DeletionCount, DeletionGuard


class Seconds:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("ended", "total", "held"),
    [(19, 19, False), (20, 200, False), (21, 200, True), (1_000, 1_000, True), (0, 0, False)],
)
def test_holds_over_a_tenth_and_at_least_twenty(ended: int, total: int, *, held: bool) -> None:
    guard = DeletionGuard(prune_all=False, now=Seconds())
    assert guard.blocks("sweep", DeletionCount("comments", ended, total)) is held
    assert guard.is_blocked is held


def test_what_is_confirmed_passes() -> None:
    assert not DeletionGuard(prune_all=True, now=Seconds()).blocks("sweep", DeletionCount("comments", 500, 500))


def test_says_it_once_a_minute_until_it_is_over() -> None:
    seconds = Seconds()
    guard = DeletionGuard(prune_all=False, now=seconds)
    with capture_logs() as said:
        for _ in range(130):
            guard.blocks("sweep", DeletionCount("comments", 500, 500))
            seconds.now += 1
    assert [line["what"] for line in said] == ["500 of 500 comments"] * 3
    assert "--prune-all" in said[0]["event"]
    with capture_logs() as said:
        assert not guard.blocks("sweep")
        seconds.now += 100
        guard.remind()
    assert not said


def test_one_place_does_not_release_what_another_holds() -> None:
    guard = DeletionGuard(prune_all=False, now=Seconds())
    guard.block("start", "much")
    guard.blocks("sweep")
    assert guard.is_blocked
