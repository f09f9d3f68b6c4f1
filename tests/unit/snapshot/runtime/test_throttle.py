"""Conditions that last: how often the log names them."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from snapshot.runtime.throttle import Throttle, ThrottledWarning

AT = [0.0]


@pytest.fixture
def logged() -> Iterator[list[EventDict]]:
    with capture_logs() as found:
        yield found


def warning(quiet_seconds: float = 0.0) -> ThrottledWarning:
    AT[0] = 0.0
    return ThrottledWarning("Kafka is unreachable", lambda: AT[0], level="error", quiet_seconds=quiet_seconds)


def warn_each_second(one: ThrottledWarning, seconds: int) -> None:
    for _ in range(seconds):
        one.warn("refused", port=9092)
        AT[0] += 1.0


def test_a_condition_is_logged_at_once_then_once_a_minute_and_its_end_once(logged: list[EventDict]) -> None:
    one = warning()
    warn_each_second(one, 130)
    one.resolved()
    one.resolved()
    first, *_, last = logged
    assert first == {"event": "Kafka is unreachable", "log_level": "error", "reason": "refused", "port": 9092}
    assert last == {
        "event": "recovered: Kafka is unreachable",
        "log_level": "info",
        "reason": "refused",
        "seconds": 130.0,
    }
    assert len(logged) == 4


def test_a_new_reason_is_logged_at_once_and_two_that_alternate_do_not_fill_the_log(logged: list[EventDict]) -> None:
    one = warning()
    for _ in range(20):
        one.warn("refused")
        one.warn("timed out")
    assert [line["reason"] for line in logged] == ["refused", "timed out"]


def test_what_recovers_and_happens_again_is_logged_again(logged: list[EventDict]) -> None:
    one = warning()
    for _ in range(2):
        one.warn("refused")
        one.resolved()
    assert [line["log_level"] for line in logged] == ["error", "info"] * 2


def test_what_ends_within_the_quiet_seconds_is_not_logged(logged: list[EventDict]) -> None:
    one = warning(quiet_seconds=10.0)
    for _ in range(3):
        warn_each_second(one, 10)
        one.resolved()
    assert logged == []
    warn_each_second(one, 11)
    one.resolved()
    assert [line["log_level"] for line in logged] == ["error", "info"]


def test_kinds_are_throttled_each_for_itself_and_forgotten_where_they_are_too_many() -> None:
    AT[0] = 0.0
    throttle = Throttle(lambda: AT[0])
    assert [throttle.passes(kind) for kind in ("a", "b", "a")] == [True, True, False]
    assert all(throttle.passes(str(number)) for number in range(1_000))
    assert len(throttle._last) < 1_000  # noqa: SLF001  memory stays bounded
    AT[0] = 60.0
    assert throttle.passes("999")
