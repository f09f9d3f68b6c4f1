"""Events from Kafka, as a member of a consumer group."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import structlog
from kafka import TopicPartition, errors
from kafka.structs import MemberState, OffsetAndMetadata

from consumer.kafka import internals
from consumer.kafka.errors import as_kafka_error, for_operator, out_of_range
from consumer.kafka.group import join, leave
from consumer.kafka.offsets import look_up, look_up_ends, topic_ids
from consumer.kafka.options import SourceOptions
from consumer.kafka.records import Records, name_of, read
from consumer.kafka.watchdog import Watchdog
from consumer.source import EMPTY, Assignment, Batch, OffsetOutOfRangeError, Offsets, SourceUnavailableError
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED
from projections.errors import OperatorError
from snapshot.kafka.client import one_line, probe
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.metrics import NO_METRICS, Metrics
from snapshot.runtime.throttle import ThrottledWarning

_RECREATE_PAUSE = 5.0  # seconds
_OUTAGE_SECONDS = 10.0
_UNASSIGNED = (ValueError, KeyError, errors.IllegalStateError)
"""What kafka-python raises for a partition that its thread lost with the membership; an assignment follows."""
log = structlog.get_logger()


class KafkaSource:
    """`consumer.source.Source` over kafka-python. Partitions are named `topic/number`.

    Each new generation is paused, kept partitions too, until it is started, so no batch mixes generations. A rebalance
    that changes nothing for us is no new generation. While Kafka is unreachable, `poll` gives empty batches and the log
    says so; kafka-python reconnects by itself. The constructor raises OperatorError where Kafka can't be reached or a
    topic is missing.
    """

    def __init__(  # noqa: PLR0913 - seams, with defaults
        self,
        settings: KafkaSettings,
        group_id: str,
        *,
        topics: Sequence[str] = (COMMENT_CREATED, INSIGHT_CREATED),
        options: SourceOptions | None = None,
        metrics: Metrics = NO_METRICS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.recreated = 0
        """How often the consumer was recreated, by the watchdog or after an error that only a new one gets past."""
        self._settings = settings
        self._group_id = group_id
        self._topics = tuple(topics)
        self._options = options or SourceOptions()
        self._metrics = metrics
        self._clock = clock
        self._outage = ThrottledWarning(
            f"Kafka at {settings.bootstrap_servers} is unreachable; retrying", clock, quiet_seconds=_OUTAGE_SECONDS
        )
        self._broken: str | None = None
        self._recreate_at = 0.0
        self._paused = False
        self._generation = 0
        self._consumer, self._listener = join(settings, group_id, self._topics, self._options)
        self._begin()

    def _begin(self) -> None:
        """Forget all partitions: there is a new consumer."""
        self._seen = 0
        self._watchdog = Watchdog(self._options.stall_limit)
        self._partitions: dict[str, TopicPartition] = {}
        self._positions: dict[TopicPartition, int] = {}  # of the partitions that were started
        self._ends: dict[TopicPartition, int] = {}
        self._topic_ids: dict[str, str] = {}

    # ---------------------------------------------------------------------------------------------- the protocol

    def poll(self, seconds: float) -> Batch:
        """Wait at most so long (at least half a second: kafka-python stalls with less) for the next batch.

        Raises OffsetOutOfRangeError, and OperatorError where Kafka refuses us for good.
        """
        if self._broken is not None:
            self._recreate(self._broken)
        wait = max(seconds, self._options.min_poll)
        try:
            with as_kafka_error():
                records: Records = self._consumer.poll(timeout_ms=round(wait * 1000))
                internals.keep_rejoin_alive(self._consumer)
        except errors.KafkaError as error:
            self._failed(error)
            return EMPTY
        if self._new_generation():
            return EMPTY  # whatever came with it is from a position that the caller did not choose
        batch = self._batch(records)
        if batch is EMPTY:
            self._watch()
        else:
            self._note_answer(answered=True)
        return batch

    def assignment(self) -> Assignment:
        """Whose partitions are read; cheap."""
        return Assignment(self._generation, frozenset(self._partitions))

    def offsets(self, partitions: frozenset[str]) -> Mapping[str, Offsets]:
        """Look up the offsets of assigned partitions. Raises SourceUnavailableError where Kafka doesn't answer."""
        assigned = [self._partitions[name] for name in sorted(partitions) if name in self._partitions]
        if not assigned:
            return {}
        try:
            found = look_up(self._consumer, assigned, self._options.request_timeout)
        except errors.KafkaError as error:
            raise SourceUnavailableError(
                f"Kafka at {self._settings.bootstrap_servers} does not answer with the offsets of its partitions "
                f"({one_line(repr(error))}): see whether it runs and has the topics"
            ) from error
        self._topic_ids = {partition.topic: found[name_of(partition)].topic_id for partition in assigned}
        return found

    def start(self, generation: int, positions: Mapping[str, int]) -> None:
        """Deliver from these positions on; nothing happens if the generation is no longer the present one."""
        if generation != self._generation or self._listener.changes != self._seen:
            return
        for name, position in positions.items():
            partition = self._partitions.get(name)
            if partition is None:
                continue
            with suppress(*_UNASSIGNED):
                self._consumer.seek(partition, position)
                self._positions[partition] = position
                if not self._paused:
                    self._consumer.resume(partition)

    def pause(self) -> None:
        """Deliver nothing more; what a poll had already fetched is delivered after `resume`."""
        self._paused = True
        self._pause(self._positions)

    def resume(self) -> None:
        """Deliver again."""
        self._paused = False
        if self._listener.changes == self._seen and self._broken is None:
            for one in self._positions:
                with suppress(*_UNASSIGNED):
                    self._consumer.resume(one)

    def commit(self, positions: Mapping[str, int]) -> None:
        """Make it known that everything below these positions is in the store.

        Waits for Kafka's answer, a few seconds at most. A commit that fails is only logged: the positions are in the
        store, Kafka's are for its tools and for noticing that a store was lost.
        """
        known = {self._partitions[name]: at for name, at in positions.items() if name in self._partitions}
        if not known or not self._stable():
            return
        offsets = {one: OffsetAndMetadata(position, "", -1) for one, position in known.items()}
        try:
            with as_kafka_error():
                self._consumer.commit(offsets, timeout_ms=self._options.request_timeout * 1000)
        except (errors.CommitFailedError, errors.RebalanceInProgressError):
            log.info("the consumer group rebalanced before a commit; a later one covers it", group=self._group_id)
        except errors.KafkaError as error:
            fatal = for_operator(error, self._group_id, self._options.instance_id)
            if fatal is not None:
                raise fatal from error
            log.warning("a commit to Kafka failed", group=self._group_id, reason=one_line(repr(error)))

    @property
    def progress(self) -> object:
        """Changes whenever anything is read."""
        return tuple(self._positions.values())

    @property
    def trouble(self) -> str | None:
        """Why nothing can be read at present."""
        kafka = f"Kafka at {self._settings.bootstrap_servers}"
        if self._broken is not None:
            return f"{kafka}: {self._broken}"
        if not internals.coordinator_known(self._consumer):
            return (
                f"{kafka} does not answer, or has no coordinator for the group {self._group_id}: see the broker's log"
            )
        if not self._generation or not self._stable():
            return f"{kafka} has not assigned partitions to this member of the group {self._group_id}"
        return None

    def exhausted(self) -> bool:
        """Whether everything that was there when this was first asked has been delivered.

        For partitions that came later: when it was first asked after they came. A member to which a stable group gave
        no partition has nothing to wait for: its generations are complete, so others have them all.
        """
        if self._generation == 0 or not self._stable():
            return False
        unknown = [one for one in self._partitions.values() if one not in self._ends]
        try:
            self._ends |= look_up_ends(self._consumer, unknown, self._options.request_timeout)
        except errors.KafkaError:
            return False
        return all(self._positions.get(one, -1) >= self._ends[one] for one in self._partitions.values())

    def close(self) -> None:
        """Leave at once, so that others can take over (a static member's partitions only after its session timeout)."""
        leave(self._consumer, self._options)

    def lag(self) -> Mapping[str, int]:
        """How many offsets lie between what was delivered and the end as last known."""
        lag = {}
        for one, position in self._positions.items():
            with suppress(*_UNASSIGNED):
                if (end := self._consumer.highwater(one)) is not None:
                    lag[name_of(one)] = max(0, end - position)
        return lag

    # --------------------------------------------------------------------------------------------- what a poll gave

    def _new_generation(self) -> bool:
        """Take over what the listener saw, or begin a generation because a topic was recreated."""
        ids = topic_ids(self._consumer, self._topics)
        recreated = sorted(topic for topic, known in self._topic_ids.items() if ids.get(topic, known) != known)
        if self._listener.changes == self._seen and not recreated:
            return False
        if recreated:
            log.warning("topics were recreated; reading them from the beginning", topics=recreated)
        self._seen = self._listener.changes
        self._partitions = {name_of(one): one for one in self._consumer.assignment()}
        self._pause(self._partitions.values())
        self._positions.clear()
        self._topic_ids = {}
        kept = {one for one in self._partitions.values() if one.topic not in recreated}
        self._ends = {one: end for one, end in self._ends.items() if one in kept}
        self._generation += 1
        return True

    def _batch(self, records: Records) -> Batch:
        # The position, not the last offset + 1: transaction markers and compacted gaps are covered with it.
        now = internals.positions(self._consumer)
        moved = {one: now[one] for one, before in self._positions.items() if now.get(one, before) != before}
        if not moved:
            return EMPTY
        intervals = {name_of(one): (self._positions[one], after) for one, after in moved.items()}
        self._positions |= moved
        events, invalid = read(records, time.time_ns() // 1_000)
        return Batch(events, intervals, invalid)

    def _pause(self, partitions: Iterable[TopicPartition]) -> None:
        for one in partitions:
            with suppress(*_UNASSIGNED):
                self._consumer.pause(one)

    def _stable(self) -> bool:
        return bool(self._consumer.group_metadata().state is MemberState.STABLE)

    # ------------------------------------------------------------------------------------------------ when it fails

    def _failed(self, error: errors.KafkaError) -> None:
        """Handle a poll's error: raise it for the caller or the operator, wait, or replace the consumer."""
        fatal = for_operator(error, self._group_id, self._options.instance_id)
        if fatal is not None:
            raise fatal from error
        lost = out_of_range(error)
        if lost:
            self._pause(lost)
            raise OffsetOutOfRangeError({name_of(one): self._positions.pop(one, 0) for one in lost}) from error
        if error.retriable:
            self._watch()
        else:
            self._broken = f"{type(error).__name__}: {one_line(error)}"
            self._pause(self._positions)  # kafka-python can't go on after a record that it can't read

    def _watch(self) -> None:
        """After a poll that gave nothing: see whether Kafka is unreachable or kafka-python has stalled."""
        now = self._clock()
        self._note_answer(answered=internals.coordinator_known(self._consumer))
        reason = self._watchdog.assigned(now, joined=self._generation > 0 and self._stable())
        reading = {} if self._paused else {name_of(one): position for one, position in self._positions.items()}
        if reason is None and self._watchdog.moved(now, reading):
            try:
                ends = look_up_ends(self._consumer, list(self._positions), self._options.request_timeout)
            except errors.KafkaError:
                return
            reason = self._watchdog.ends(now, {name_of(one): end for one, end in ends.items()})
        if reason is not None:
            self._recreate(reason)

    def _note_answer(self, *, answered: bool) -> None:
        if answered:
            self._outage.resolved()
        else:
            self._outage.warn("the group's coordinator does not answer")

    def _recreate(self, reason: str) -> None:
        """Replace the consumer; where that is not possible yet, keep it and retry later."""
        if self._clock() < self._recreate_at:
            return
        self._recreate_at = self._clock() + _RECREATE_PAUSE
        try:
            probe(self._settings)
            new, listener = join(self._settings, self._group_id, self._topics, self._options)
        except OperatorError as error:
            log.warning("the Kafka consumer can't be recreated yet; retrying", reason=reason, error=str(error))
            return
        log.warning("recreating the Kafka consumer", reason=reason)
        leave(self._consumer, self._options)
        self._consumer, self._listener = new, listener
        self._broken = None
        self.recreated += 1
        self._metrics.count("signal_glaze.source_remade")
        self._generation += 1
        self._begin()
