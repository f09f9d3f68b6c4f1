"""A member of a consumer group with librdkafka."""

import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumer.kafka.cluster import no_topics, split
from consumer.kafka.librdkafka.inquiry import Inquiry
from consumer.kafka.librdkafka.options import member_options
from consumer.kafka.librdkafka.records import LOST, UNREADABLE, Place, Trouble, read
from consumer.kafka.member import Fetched, MemberError, PositionsLostError, refused
from consumer.kafka.options import SourceOptions
from consumer.source import Offsets
from projections.errors import OperatorError
from snapshot.kafka.connection import CONNECT_SECONDS
from snapshot.kafka.librdkafka.client import connect, text_of
from snapshot.kafka.settings import KafkaSettings

log = structlog.get_logger()

_REBALANCED = (KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID)


class LibrdkafkaMember:
    """`consumer.kafka.member.Member` over librdkafka, which is assigned only what was started and is not paused.

    A position is given with each assignment, so librdkafka never looks for one of Kafka's.
    """

    def __init__(self, settings: KafkaSettings, group_id: str, topics: Sequence[str], options: SourceOptions) -> None:
        self.changes = 0
        self._group_id = group_id
        self._options = options
        self._places: frozenset[Place] = frozenset()
        self._kept = False
        self._stable = False
        self._paused = False
        self._positions: dict[Place, int] = {}
        self._troubles: list[Trouble] = []
        self._failed: OperatorError | MemberError | None = None
        nameless = None if group_id else self._refused("INVALID_GROUP_ID", "")
        if nameless is not None:
            raise nameless
        given = {**member_options(group_id, options), "on_commit": self._on_commit}
        self._consumer: Consumer = connect(Consumer, settings, given, said=self._hear)
        try:
            known = self._consumer.list_topics(timeout=CONNECT_SECONDS).topics
            missing = [topic for topic in topics if topic not in known or not known[topic].partitions]
            if missing:
                raise no_topics(settings, missing)
            self._inquiry = Inquiry(settings, topics, options.metadata_age, options.request_timeout)
            self._consumer.subscribe(
                list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        except KafkaException as error:
            raise OperatorError(
                f"Kafka at {settings.bootstrap_servers} does not answer ({text_of(error)}): see the broker's log"
            ) from error

    # ------------------------------------------------------------------------------------------------------ the group

    def _on_assign(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        places = frozenset((one.topic, one.partition) for one in given)
        self._stable = True
        if not (self._kept and places == self._places):  # else they were never another member's in between
            self.changes += 1
            self._positions.clear()
        self._places, self._kept = places, True
        self._assign(consumer)

    def _on_revoke(self, _consumer: Consumer, _taken: list[TopicPartition]) -> None:
        self._stable = False

    def _on_lost(self, _consumer: Consumer, _taken: list[TopicPartition]) -> None:
        """Others may have had them before they are assigned again."""
        self._stable = self._kept = False

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        found = error or next((one.error for one in partitions if one.error is not None), None)
        if found is None or found.code() == KafkaError._NO_OFFSET:  # noqa: SLF001 - a name of librdkafka's
            return
        if found.code() in _REBALANCED:
            log.info("the consumer group rebalanced before a commit; a later one covers it", group=self._group_id)
        elif self._refused(found.name(), "") is not None:
            self._troubles.append(Trouble(("", -1), found))
        else:
            log.warning("a commit to Kafka failed", group=self._group_id, reason=text_of(found))

    def _hear(self, message: Message) -> None:
        """What was said in place of messages before the first poll, which has to say it: librdkafka says it once."""
        if (error := message.error()) is not None:
            self._troubles.append(Trouble(("", -1), error))

    def _assign(self, consumer: Consumer) -> None:
        started = () if self._paused else self._positions.items()
        consumer.assign([TopicPartition(*place, position) for place, position in started])

    # --------------------------------------------------------------------------------------------------- the protocol

    def poll(self, seconds: float) -> Fetched:
        """Wait at most so long for the next messages; what is wrong comes after what came before it."""
        if self._failed is not None:
            raise self._failed
        self._inquiry.step(time.monotonic())
        with self._errors(broken=True):
            messages = [] if self._troubles else self._consume(seconds)
        found = read(messages, self._positions, time.time_ns() // 1_000)
        self._troubles += found.troubles
        positions = {f"{topic}/{number}": at for (topic, number), at in self._positions.items()}
        if self._troubles and not (found.events or found.invalid):
            self._raise()
        return Fetched(found.events, found.invalid, positions, found.size)

    def _consume(self, seconds: float) -> list[Message]:
        """All that is there, else what comes first: librdkafka would wait until the list is full."""
        most = self._options.max_records
        return self._consumer.consume(most, 0) or [
            *self._consumer.consume(1, seconds),
            *self._consumer.consume(max(1, most - 1), 0),
        ]

    def assigned(self) -> frozenset[str]:
        return frozenset(f"{topic}/{number}" for topic, number in self._places)

    def stable(self) -> bool:
        return self._stable

    def answers(self) -> bool:
        return self._inquiry.answers

    def topic_ids(self) -> Mapping[str, str]:
        return self._inquiry.ids

    def stop(self) -> None:
        self._positions.clear()
        self._assign_if_stable()

    def start(self, positions: Mapping[str, int], *, paused: bool) -> None:
        self._positions |= {split(name): position for name, position in positions.items()}
        self._paused = paused
        self._assign_if_stable()

    def pause(self, partitions: Collection[str]) -> None:  # noqa: ARG002 - it is all of them
        self._paused = True
        self._assign_if_stable()

    def resume(self, partitions: Collection[str]) -> None:  # noqa: ARG002 - it is all of them
        self._paused = False
        self._assign_if_stable()

    def offsets(self, partitions: Collection[str]) -> Mapping[str, Offsets]:
        wanted = sorted(partitions)
        with self._errors(asked=True):
            self._inquiry.refresh()
            earliest, ends = self._inquiry.earliest(wanted), self._inquiry.ends(wanted)
            places = [TopicPartition(*split(name)) for name in wanted]
            committed = dict(zip(wanted, self._committed(places), strict=True))
        ids = self._inquiry.ids
        return {name: Offsets(committed[name], earliest[name], ends[name], ids[split(name)[0]]) for name in wanted}

    def ends(self, partitions: Collection[str]) -> Mapping[str, int]:
        with self._errors(asked=True):
            return self._inquiry.ends(partitions)

    def last_ends(self, partitions: Collection[str]) -> Mapping[str, int]:
        ends: dict[str, int] = {}
        for name in partitions:
            with suppress(KafkaException):  # of a topic that is gone
                ends[name] = self._consumer.get_watermark_offsets(TopicPartition(*split(name)), cached=True)[1]
        return {name: end for name, end in ends.items() if end >= 0}

    def commit(self, positions: Mapping[str, int]) -> None:
        """Commit positions; a later poll hears what became of it, and `close` waits for it."""
        wanted = [TopicPartition(*split(name), position) for name, position in positions.items()]
        with self._errors():
            self._consumer.commit(offsets=wanted, asynchronous=True)

    def close(self) -> None:
        """Leave the group. Where Kafka doesn't answer, librdkafka waits longer for that than we do."""
        closing = threading.Thread(target=self._shut, daemon=True)
        closing.start()
        closing.join(self._options.request_timeout)
        if closing.is_alive():
            log.warning("leaving the consumer group failed; its session will time out", group=self._group_id)

    # ----------------------------------------------------------------------------------------------------------- help

    def _shut(self) -> None:
        with suppress(Exception):  # it is given up, whatever becomes of it
            self._consumer.close()
        self._inquiry.close()

    def _assign_if_stable(self) -> None:
        """Between two assignments nothing is ours; the next one takes over what was decided by then."""
        if self._stable:
            try:
                with self._errors(broken=True):
                    self._assign(self._consumer)
            except (OperatorError, MemberError) as error:  # for the next poll to say
                self._failed = error

    def _committed(self, places: list[TopicPartition]) -> list[int | None]:
        found = self._consumer.committed(places, timeout=self._options.request_timeout)
        if (error := next((one.error for one in found if one.error is not None), None)) is not None:
            raise KafkaException(error)
        return [one.offset if one.offset >= 0 else None for one in found]

    def _refused(self, kind: str, text: str) -> OperatorError | None:
        return refused(kind, text, self._group_id, self._options.instance_id)

    def _raise(self) -> None:
        """Raise the gravest of what came in place of messages."""
        troubles, self._troubles = self._troubles, []
        lost = [f"{one.place[0]}/{one.place[1]}" for one in troubles if one.error.code() in LOST]
        if lost:
            self._troubles = [one for one in troubles if one.error.code() not in LOST]
            raise PositionsLostError(lost)
        for one in sorted(troubles, key=lambda one: not one.error.fatal()):
            raise self._meaning(one.error)

    def _meaning(self, error: KafkaError) -> OperatorError | MemberError:
        text = text_of(error)
        fatal = error.fatal() or error.code() in UNREADABLE
        return self._refused(error.name(), text) or MemberError(text, retriable=not fatal)

    @contextmanager
    def _errors(self, *, asked: bool = False, broken: bool = False) -> Iterator[None]:
        """`asked`: a question that may be asked again, so that nothing is fatal.

        `broken`: librdkafka may have handed over what is lost now, so only a new member is sure to miss nothing.
        """
        try:
            yield
        except KafkaException as error:
            meaning = self._meaning(error.args[0])
            if asked or (broken and isinstance(meaning, MemberError)):
                raise MemberError(text_of(error), retriable=asked) from error
            raise meaning from error
        except Exception as error:
            raise MemberError(f"{type(error).__name__}: {error}", retriable=False) from error
