"""Sources under test: something that publishes events, and opens consumers of them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from consumer.kafka.options import SourceOptions
from consumer.kafka.source import KafkaSource
from consumer.kafka.topics import ensure_topics
from consumer.relay.event_producer import EventProducer
from consumer.source import Batch, Source
from projections.comments.events import CommentCreated, Event
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings
from support.metrics import RecordedMetrics
from support.process import wait_until

QUICK = SourceOptions(session_timeout=6.0, heartbeat=0.2, metadata_age=1.0)


class Feed(Protocol):
    """A place for events, and its consumers, all members of one group. Each consumer is used by one thread."""

    def publish(self, events: Sequence[Event]) -> None: ...
    def open(self) -> Source: ...
    def close(self) -> None: ...


class KafkaFeed:
    """Two partitions a topic on a real broker."""

    def __init__(self, bootstrap: str, options: SourceOptions = QUICK, client: str | None = None) -> None:
        self.settings = KafkaSettings(bootstrap_servers=bootstrap, client=client)
        self.options = options
        ensure_topics(self.settings, partitions=2)
        self._producer = EventProducer(Producer(self.settings, delivery_timeout=10))
        self._opened: list[KafkaSource] = []
        self.metrics = RecordedMetrics()

    def publish(self, events: Sequence[Event]) -> None:
        self._producer.send(events)

    def open(self, group_id: str = "test") -> KafkaSource:
        self._opened.append(KafkaSource(self.settings, group_id, options=self.options, metrics=self.metrics))
        return self._opened[-1]

    def close(self) -> None:
        self._producer.close()
        for source in self._opened:
            source.close()


def comments(numbers: range) -> list[Event]:
    """Comments with these ids, of as many users."""
    return [
        CommentCreated(
            comment_id=number,
            user_id=number,
            group_slug="harvard",
            help_request_id=1,
            body=f"comment {number}",
            created_at=datetime(2024, 1, 1),  # noqa: DTZ001  UTC without a zone, as the events have it
            revision=number,
        )
        for number in numbers
    ]


def ids(batches: Sequence[Batch]) -> list[int]:
    """The comments' ids, in order."""
    return sorted(event.comment_id for batch in batches for event in batch.events)


def wait_for_generation(source: Source, after: int = 0) -> int:
    """Poll until there is a later generation."""

    def there() -> bool:
        assert not source.poll(0.1).events, "nobody chose where to start"
        return source.assignment().generation > after

    wait_until(there, "an assignment", 30)
    return source.assignment().generation


def begin(source: Source, positions: Mapping[str, int] | None = None) -> dict[str, int]:
    """Start all assigned partitions: where `positions` say, else where they were committed, else at the beginning."""
    assignment = source.assignment()
    chosen = {
        name: (positions or {}).get(name, offsets.earliest if offsets.committed is None else offsets.committed)
        for name, offsets in source.offsets(assignment.partitions).items()
    }
    source.start(assignment.generation, chosen)
    return chosen


def drain(source: Source) -> list[Batch]:
    """Poll until everything that is there has been delivered."""
    return poll_until(source, lambda _: source.exhausted())


def poll_until(source: Source, enough: Callable[[list[Batch]], bool]) -> list[Batch]:
    """Poll until the batches so far are enough."""
    batches: list[Batch] = []

    def done() -> bool:
        batches.append(source.poll(0.1))
        return enough(batches)

    wait_until(done, "all events", 30)
    return batches


def after(batches: Sequence[Batch], start: Mapping[str, int]) -> dict[str, int]:
    """The positions after these batches; an interval that doesn't begin where the last one ended fails."""
    positions = dict(start)
    for batch in batches:
        for name, (first, end) in batch.intervals.items():
            assert first == positions[name], f"{name}: a gap or an overlap before {first}"
            assert end > first
            positions[name] = end
    return positions
