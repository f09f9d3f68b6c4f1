"""A member of a consumer group with kafka-python."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import structlog
from kafka import TopicPartition, errors
from kafka.structs import MemberState, OffsetAndMetadata

from consumer.kafka.cluster import split
from consumer.kafka.kafka_python import internals
from consumer.kafka.kafka_python.errors import as_kafka_error, for_operator, out_of_range
from consumer.kafka.kafka_python.group import join, leave
from consumer.kafka.kafka_python.offsets import look_up, look_up_ends, topic_ids
from consumer.kafka.kafka_python.records import name_of, read, size_of
from consumer.kafka.member import Fetched, MemberError, PositionsLostError
from consumer.kafka.options import SourceOptions
from consumer.source import Offsets
from snapshot.kafka.connection import one_line
from snapshot.kafka.settings import KafkaSettings

_UNASSIGNED = (ValueError, KeyError, errors.IllegalStateError)
"""What kafka-python raises for a partition that its thread lost with the membership; an assignment follows."""
log = structlog.get_logger()


class KafkaPythonMember:
    """`consumer.kafka.member.Member` over kafka-python, which pauses what is assigned until it is started."""

    def __init__(self, settings: KafkaSettings, group_id: str, topics: Sequence[str], options: SourceOptions) -> None:
        self._group_id = group_id
        self._topics = tuple(topics)
        self._options = options
        self._consumer, self._listener = join(settings, group_id, topics, options)

    @property
    def changes(self) -> int:
        return self._listener.changes

    def poll(self, seconds: float) -> Fetched:
        """Wait at most so long (at least half a second: kafka-python stalls with less) for the next messages."""
        wait = max(seconds, self._options.min_poll)
        with self._errors():
            records = self._consumer.poll(timeout_ms=round(wait * 1000))
            internals.keep_rejoin_alive(self._consumer)
        # The position, not the last offset + 1: transaction markers and compacted gaps are covered with it.
        positions = {name_of(one): position for one, position in internals.positions(self._consumer).items()}
        return Fetched(*read(records), positions, size_of(records))

    def assigned(self) -> frozenset[str]:
        return frozenset(name_of(one) for one in self._consumer.assignment())

    def stable(self) -> bool:
        return bool(self._consumer.group_metadata().state is MemberState.STABLE)

    def answers(self) -> bool:
        return internals.coordinator_known(self._consumer)

    def topic_ids(self) -> Mapping[str, str]:
        return topic_ids(self._consumer, self._topics)

    def stop(self) -> None:
        self.pause(self.assigned())

    def start(self, positions: Mapping[str, int], *, paused: bool) -> None:
        for name, position in positions.items():
            with suppress(*_UNASSIGNED):
                self._consumer.seek(_partition(name), position)
                if not paused:
                    self._consumer.resume(_partition(name))

    def pause(self, partitions: Collection[str]) -> None:
        for name in partitions:
            with suppress(*_UNASSIGNED):
                self._consumer.pause(_partition(name))

    def resume(self, partitions: Collection[str]) -> None:
        for name in partitions:
            with suppress(*_UNASSIGNED):
                self._consumer.resume(_partition(name))

    def offsets(self, partitions: Collection[str]) -> Mapping[str, Offsets]:
        with self._errors(asked=True):
            return look_up(self._consumer, [_partition(one) for one in partitions], self._options.request_timeout)

    def ends(self, partitions: Collection[str]) -> Mapping[str, int]:
        wanted = [_partition(one) for one in partitions]
        with self._errors(asked=True):
            found = look_up_ends(self._consumer, wanted, self._options.request_timeout)
        return {name_of(one): end for one, end in found.items()}

    def last_ends(self, partitions: Collection[str]) -> Mapping[str, int]:
        ends: dict[str, int] = {}
        for name in partitions:
            with suppress(*_UNASSIGNED):
                if (end := self._consumer.highwater(_partition(name))) is not None:
                    ends[name] = end
        return ends

    def commit(self, positions: Mapping[str, int]) -> None:
        offsets = {_partition(name): OffsetAndMetadata(position, "", -1) for name, position in positions.items()}
        try:
            with self._errors():
                self._consumer.commit(offsets, timeout_ms=self._options.request_timeout * 1000)
        except MemberError as error:
            if not isinstance(error.__cause__, errors.CommitFailedError | errors.RebalanceInProgressError):
                raise
            log.info("the consumer group rebalanced before a commit; a later one covers it", group=self._group_id)

    def close(self) -> None:
        leave(self._consumer, self._options)

    @contextmanager
    def _errors(self, *, asked: bool = False) -> Iterator[None]:
        """`asked`: a question that may be asked again, so that nothing is fatal."""
        try:
            with as_kafka_error():
                yield
        except errors.KafkaError as error:
            fatal = None if asked else for_operator(error, self._group_id, self._options.instance_id)
            if fatal is not None:
                raise fatal from error
            lost = [name_of(one) for one in out_of_range(error)]
            if lost:
                self.pause(lost)
                raise PositionsLostError(lost) from error
            text = f"{type(error).__name__}: {one_line(error)}" if not error.retriable else one_line(repr(error))
            raise MemberError(text, retriable=error.retriable) from error


def _partition(name: str) -> TopicPartition:
    return TopicPartition(*split(name))
