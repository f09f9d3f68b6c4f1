"""Disappearances are held back and said."""

import pytest
from structlog.testing import capture_logs

from consumer.tail.changes.blocked_deletions import Brake, Ended


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
    brake = Brake(prune_all=False, now=Seconds())
    assert brake.holds("sweep", Ended("comments", ended, total)) is held
    assert brake.holding is held


def test_what_is_confirmed_passes() -> None:
    assert not Brake(prune_all=True, now=Seconds()).holds("sweep", Ended("comments", 500, 500))


def test_says_it_once_a_minute_until_it_is_over() -> None:
    seconds = Seconds()
    brake = Brake(prune_all=False, now=seconds)
    with capture_logs() as said:
        for _ in range(130):
            brake.holds("sweep", Ended("comments", 500, 500))
            seconds.now += 1
    assert [line["what"] for line in said] == ["500 of 500 comments"] * 3
    assert "--prune-all" in said[0]["event"]
    with capture_logs() as said:
        assert not brake.holds("sweep")
        seconds.now += 100
        brake.remind()
    assert not said


def test_one_place_does_not_release_what_another_holds() -> None:
    brake = Brake(prune_all=False, now=Seconds())
    brake.hold("start", "much")
    brake.holds("sweep")
    assert brake.holding
