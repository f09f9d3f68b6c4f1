"""Events from Kafka, as a member of a consumer group."""

import time
from collections.abc import Callable, Mapping, Sequence

import structlog

from consumer.kafka.clients import join
from consumer.kafka.member import Fetched, Gatherer, MemberError, PositionsLostError
from consumer.kafka.options import SourceOptions
from consumer.kafka.watchdog import Watchdog
from consumer.source import EMPTY, Assignment, Batch, OffsetOutOfRangeError, Offsets, SourceUnavailableError
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED
from projections.errors import OperatorError
from snapshot.kafka.connection import probe
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.metrics import NO_METRICS, Metrics
from snapshot.runtime.throttle import ThrottledWarning

_RECREATE_PAUSE = 5.0  # seconds
_OUTAGE_SECONDS = 10.0
log = structlog.get_logger()


class KafkaSource:
    """`consumer.source.Source` over a member of a consumer group. Partitions are named `topic/number`.

    Each new generation is paused, kept partitions too, until it is started, so no batch mixes generations. A rebalance
    that changes nothing for us is no new generation. While Kafka is unreachable, `poll` gives empty batches and the log
    says so; the client reconnects by itself. The constructor raises OperatorError where Kafka can't be reached or a
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
        self._member = join(settings, group_id, self._topics, self._options)
        self._begin()

    def _begin(self) -> None:
        """Forget all partitions: there is a new consumer."""
        self._gatherer = Gatherer(self._member, self._options, self._clock)
        self._seen = 0
        self._watchdog = Watchdog(self._options.stall_limit)
        self._partitions: frozenset[str] = frozenset()
        self._positions: dict[str, int] = {}  # of the partitions that were started
        self._ends: dict[str, int] = {}
        self._topic_ids: dict[str, str] = {}

    # ---------------------------------------------------------------------------------------------- the protocol

    def poll(self, seconds: float) -> Batch:
        """Wait at most so long for the next batch.

        Raises OffsetOutOfRangeError, and OperatorError where Kafka refuses us for good.
        """
        if self._broken is not None:
            self._recreate(self._broken)
        try:
            fetched = self._gatherer.poll(seconds)
        except PositionsLostError as error:
            lost = {name: self._positions.pop(name, 0) for name in error.partitions}
            raise OffsetOutOfRangeError(lost) from error
        except MemberError as error:
            self._failed(error)
            return EMPTY
        if self._new_generation():
            return EMPTY  # whatever came with it is from a position that the caller did not choose
        batch = self._batch(fetched)
        if batch is EMPTY:
            self._watch()
        else:
            self._note_answer(answered=True)
        return batch

    def assignment(self) -> Assignment:
        """Whose partitions are read; cheap."""
        return Assignment(self._generation, self._partitions)

    def offsets(self, partitions: frozenset[str]) -> Mapping[str, Offsets]:
        """Look up the offsets of assigned partitions. Raises SourceUnavailableError where Kafka doesn't answer."""
        assigned = sorted(partitions & self._partitions)
        if not assigned:
            return {}
        try:
            found = self._member.offsets(assigned)
        except MemberError as error:
            self._broken = self._broken or self._watchdog.answered(self._clock(), answered=False)
            raise SourceUnavailableError(
                f"Kafka at {self._settings.bootstrap_servers} does not answer with the offsets of its partitions "
                f"({error}): see whether it runs and has the topics"
            ) from error
        self._watchdog.answered(self._clock(), answered=True)
        self._topic_ids = {topic_of(name): known.topic_id for name, known in found.items()}
        return found

    def start(self, generation: int, positions: Mapping[str, int]) -> None:
        """Deliver from these positions on; nothing happens if the generation is no longer the present one."""
        if generation != self._generation or self._member.changes != self._seen:
            return
        chosen = {name: position for name, position in positions.items() if name in self._partitions}
        self._positions |= chosen
        self._member.start(chosen, paused=self._paused)

    def pause(self) -> None:
        """Deliver nothing more; what a poll had already fetched is delivered after `resume`."""
        self._paused = True
        self._member.pause(self._positions)

    def resume(self) -> None:
        """Deliver again."""
        self._paused = False
        if self._member.changes == self._seen and self._broken is None:
            self._member.resume(self._positions)

    def commit(self, positions: Mapping[str, int]) -> None:
        """Make it known that everything below these positions is in the store.

        Waits for Kafka's answer, a few seconds at most. A commit that fails is only logged: the positions are in the
        store, Kafka's are for its tools and for noticing that a store was lost.
        """
        known = {name: position for name, position in positions.items() if name in self._partitions}
        if not known or not self._member.stable():
            return
        try:
            self._member.commit(known)
        except MemberError as error:
            log.warning("a commit to Kafka failed", group=self._group_id, reason=str(error))

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
        if not self._member.answers():
            return (
                f"{kafka} does not answer, or has no coordinator for the group {self._group_id}: see the broker's log"
            )
        if not self._generation or not self._member.stable():
            return (
                f"{kafka} has not assigned partitions to this member, or has no coordinator for the group "
                f"{self._group_id}: see the broker's log"
            )
        return None

    def exhausted(self) -> bool:
        """Whether everything that was there when this was first asked has been delivered.

        For partitions that came later: when it was first asked after they came. A member to which a stable group gave
        no partition has nothing to wait for: its generations are complete, so others have them all.
        """
        if self._generation == 0 or not self._member.stable():
            return False
        try:
            self._ends |= self._member.ends(self._partitions - self._ends.keys())
        except MemberError:
            return False
        return all(self._positions.get(one, -1) >= self._ends[one] for one in self._partitions)

    def close(self) -> None:
        """Leave at once, so that others can take over (a static member's partitions only after its session timeout)."""
        self._member.close()

    def lag(self) -> Mapping[str, int]:
        """How many offsets lie between what was delivered and the end as last known."""
        ends = self._member.last_ends(self._positions)
        return {name: max(0, end - self._positions[name]) for name, end in ends.items()}

    # --------------------------------------------------------------------------------------------- what a poll gave

    def _new_generation(self) -> bool:
        """Take over what the listener saw, or begin a generation because a topic was recreated."""
        ids = self._member.topic_ids()
        recreated = sorted(topic for topic, known in self._topic_ids.items() if ids.get(topic, known) != known)
        if self._member.changes == self._seen and not recreated:
            return False
        if recreated:
            log.warning("topics were recreated; reading them from the beginning", topics=recreated)
        self._seen = self._member.changes
        self._partitions = self._member.assigned()
        self._member.stop()
        self._positions.clear()
        self._topic_ids = {}
        kept = {one for one in self._partitions if topic_of(one) not in recreated}
        self._ends = {one: end for one, end in self._ends.items() if one in kept}
        self._generation += 1
        return True

    def _batch(self, fetched: Fetched) -> Batch:
        now = fetched.positions
        moved = {one: now[one] for one, before in self._positions.items() if now.get(one, before) != before}
        if not moved:
            return EMPTY
        intervals = {one: (self._positions[one], after) for one, after in moved.items()}
        self._positions |= moved
        return Batch(fetched.events, intervals, fetched.invalid)

    # ------------------------------------------------------------------------------------------------ when it fails

    def _failed(self, error: MemberError) -> None:
        """Handle a poll's error: wait, or replace the member."""
        if error.retriable:
            self._watch()
        else:
            self._broken = str(error)
            self._member.pause(self._positions)  # kafka-python can't go on after a record that it can't read

    def _watch(self) -> None:
        """After a poll that gave nothing: see whether Kafka is unreachable or the client has stalled."""
        now, answered = self._clock(), self._member.answers()
        self._note_answer(answered=answered)
        reason = self._watchdog.assigned(now, joined=self._generation > 0 and self._member.stable())
        if not answered or self._positions:  # before that, what `offsets` is answered counts
            reason = self._watchdog.answered(now, answered=answered) or reason
        reading = {} if self._paused else self._positions
        if reason is None and self._watchdog.moved(now, reading):
            try:
                ends = self._member.ends(self._positions)
            except MemberError:
                return
            reason = self._watchdog.ends(now, ends)
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
            new = join(self._settings, self._group_id, self._topics, self._options)
        except OperatorError as error:
            log.warning("the Kafka consumer can't be recreated yet; retrying", reason=reason, error=str(error))
            return
        log.warning("recreating the Kafka consumer", reason=reason)
        self._member.close()
        self._member = new
        self._broken = None
        self.recreated += 1
        self._metrics.count("signal_glaze.source_remade")
        self._generation += 1
        self._begin()


def topic_of(partition: str) -> str:
    """Give the topic in a partition's name."""
    return partition.rpartition("/")[0]
