"""kafka-python, where it fails in its own ways."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from consumer.kafka.source import KafkaSource
from snapshot.kafka.settings import KAFKA_PYTHON
from support.feeds import KafkaFeed, begin, comments, drain, ids, poll_until, wait_for_generation
from support.process import wait_until


@pytest.fixture
def feed(fresh_kafka: str) -> Iterator[KafkaFeed]:
    found = KafkaFeed(fresh_kafka, client=KAFKA_PYTHON)
    yield found
    found.close()


def test_a_membership_that_is_lost_between_two_calls_stops_nothing(feed: KafkaFeed) -> None:
    """kafka-python's thread drops the partitions then, whatever the caller is about to do with them."""
    feed.publish(comments(range(1, 4)))
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    member: Any = source._member  # noqa: SLF001 - what it is about to lose
    member._listener.on_partitions_lost(set())  # noqa: SLF001 - both as kafka-python does it
    member._consumer._subscription.assign_from_subscribed([])  # noqa: SLF001
    source.start(source.assignment().generation, start)
    source.pause()
    source.resume()
    assert source.lag() == {}
    member._consumer._coordinator.request_rejoin()  # noqa: SLF001
    generation = source.assignment().generation
    poll_until(source, lambda _: source.assignment().generation > generation)
    begin(source)
    assert ids(drain(source)) == [1, 2, 3]


class UnforeseenError(Exception):
    """Something that kafka-python's documentation does not name."""


def test_a_poll_that_rebalances_and_then_fails_does_no_harm(feed: KafkaFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was started before is no longer assigned then; the rest of the poll must not rely on it."""
    feed.publish(comments(range(1, 21)))
    source = feed.open()
    generation = wait_for_generation(source)
    begin(source)
    drain(source)
    consumer = consumer_of(source)

    def lose_and_fail(**_: object) -> None:
        consumer._coordinator._subscription.assign_from_subscribed([])  # noqa: SLF001  see above
        raise UnforeseenError

    monkeypatch.setattr(consumer, "poll", lose_and_fail)
    source.poll(0.1)
    source.pause()
    source.resume()
    wait_for_generation(source, generation)
    begin(source, dict.fromkeys(source.assignment().partitions, 0))
    assert ids(drain(source)) == list(range(1, 21))


def test_a_close_that_fails_leaves_no_thread(feed: KafkaFeed, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = threading.active_count()
    source = KafkaSource(feed.settings, "test")
    wait_for_generation(source)

    def fail(**_: object) -> None:
        raise UnforeseenError

    monkeypatch.setattr(consumer_of(source)._coordinator, "close", fail)  # noqa: SLF001  see below
    source.close()
    wait_until(lambda: threading.active_count() <= threads, "the consumer's thread to end", 10)


def consumer_of(source: KafkaSource) -> Any:  # noqa: ANN401  kafka-python has no types
    """What these tests let fail."""
    member: Any = source._member  # noqa: SLF001  see above
    return member._consumer  # noqa: SLF001  see above
