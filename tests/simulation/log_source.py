"""One process' consumer and producer of the simulated broker: a `consumer.source.Source` as `KafkaSource` is one."""

from collections.abc import Callable, Mapping, Sequence

from simulation.broker import Broker, Member
from simulation.database import EPOCH
from simulation.processes import Process
from simulation.store import Trouble

from consumer.relay.event_producer import EventDeliveryError
from consumer.source import EMPTY, Assignment, Batch, OffsetOutOfRangeError, Offsets, SourceUnavailableError
from projections.comments.events import CommentCreated, Event
from projections.errors import OperatorError

_METADATA_SECONDS = 3.0
_LATE_SECONDS = 4.0


class LogSource:
    """Partitions that were assigned deliver nothing before they are started; each change is a new generation."""

    def __init__(self, broker: Broker, process: Process, most: int) -> None:
        self._broker = broker
        self._process = process
        self._most = most
        self._member = Member(process)
        self._generation = 0
        self._partitions: frozenset[str] = frozenset()
        self._positions: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._ids: dict[str, str] = {}
        """Of the topics as they were when offsets were looked up."""
        self._metadata: tuple[dict[str, str], frozenset[str]] = ({}, frozenset())
        self._metadata_until = 0.0
        self._paused = False

    # --------------------------------------------------------------------------------------------------- the protocol

    def poll(self, seconds: float) -> Batch:
        self._process.call("polls")
        if self._broker.away:
            self._process.sleep(seconds)
            return EMPTY
        if self._process.now() >= self._metadata_until:
            self._refresh()
        if self._new_generation():
            return EMPTY
        batch = self._fetch()
        if batch is EMPTY:
            self._process.sleep(seconds * (0.1 + self._process.draw()))
            batch = EMPTY if self._broker.away else self._fetch()
        return batch

    def assignment(self) -> Assignment:
        return Assignment(self._generation, self._partitions)

    def offsets(self, partitions: frozenset[str]) -> Mapping[str, Offsets]:
        """As `consumer.kafka.member.Member.offsets`: each kind by itself, so that much may change between."""
        names = sorted(partitions & self._partitions)
        if not names:
            return {}
        self._ask("metadata")
        self._refresh()
        ids = self._broker.ids()
        self._ask("earliest")
        earliest = {name: topic.earliest[number] for name in names for topic, number in [self._broker.find(name)]}
        self._ask("ends")
        ends = self._broker.ends()
        self._ask("committed")
        committed = self._broker.group.committed
        topic_ids = {name: ids[name.rpartition("/")[0]] for name in names}
        self._ids = {name.rpartition("/")[0]: topic_ids[name] for name in names}
        return {name: Offsets(committed.get(name), earliest[name], ends[name], topic_ids[name]) for name in names}

    def start(self, generation: int, positions: Mapping[str, int]) -> None:
        if generation == self._generation:
            self._positions |= {name: at for name, at in positions.items() if name in self._partitions}

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def commit(self, positions: Mapping[str, int]) -> None:
        self._process.call("commits")
        if not self._broker.away:
            self._broker.group.commit(self._member, {n: at for n, at in positions.items() if n in self._partitions})

    def lag(self) -> Mapping[str, int]:
        return {}

    @property
    def progress(self) -> object:
        return tuple(self._positions.values())

    @property
    def trouble(self) -> str | None:
        return "the broker is away" if self._broker.away else None

    def exhausted(self) -> bool:
        self._process.call("asks for ends")
        if self._broker.away or not self._generation or not self._broker.group.is_stable(self._member):
            return False
        ends = self._broker.ends()
        self._ends |= {name: ends[name] for name in self._partitions - self._ends.keys()}
        return all(self._positions.get(name, -1) >= self._ends[name] for name in self._partitions)

    def close(self) -> None:
        self._broker.group.leave(self._member)

    # ---------------------------------------------------------------------------------------------- what it is made of

    def _ask(self, what: str) -> None:
        self._process.call(f"asks for {what}")
        if self._broker.away:
            raise SourceUnavailableError("the broker is away")

    def _refresh(self) -> None:
        self._metadata = self._broker.ids(), self._broker.partitions()
        self._metadata_until = self._process.now() + _METADATA_SECONDS * self._process.draw()

    def _new_generation(self) -> bool:
        group, (ids, partitions) = self._broker.group, self._metadata
        lost = group.is_lost(self._member)
        assigned = group.poll(self._member, partitions)
        recreated = {name for name, known in self._ids.items() if ids.get(name, known) != known}
        same = assigned is None or (assigned == self._partitions and not lost)
        if same and not recreated:
            return False
        self._partitions = self._partitions if assigned is None else assigned
        self._positions, self._ids = {}, {}
        kept = {name for name in self._partitions if name.rpartition("/")[0] not in recreated}
        self._ends = {name: end for name, end in self._ends.items() if name in kept}
        self._generation += 1
        return True

    def _fetch(self) -> Batch:
        if self._paused:
            return EMPTY
        events: list[Event] = []
        intervals = {}
        for name, at in self._positions.items():
            topic, number = self._broker.find(name)
            first, end = topic.earliest[number], topic.end(number)
            if not first <= at <= end:
                del self._positions[name]
                raise OffsetOutOfRangeError({name: at})
            until = min(end, at + self._most - len(events))
            if until > at:
                events += topic.events[number][at - first : until - first]
                intervals[name] = at, until
        self._positions |= {name: until for name, (_, until) in intervals.items()}
        return Batch(events, intervals, ()) if intervals else EMPTY


class LogSender:
    """As `EventProducer`. `trouble` draws what befalls an event; `later` has something done after so many seconds."""

    def __init__(
        self,
        broker: Broker,
        process: Process,
        trouble: Callable[[str], Trouble | None],
        later: Callable[[float, Callable[[], object]], None],
    ) -> None:
        self.ends: dict[str, int] = {}
        self._broker = broker
        self._process = process
        self._trouble = trouble
        self._later = later

    def begin(self) -> None:
        self.ends.clear()

    def send(self, events: Sequence[Event]) -> None:
        failed = 0
        for number, event in enumerate(events):
            if number % 8 == 0:
                self._process.call(f"publishes {len(events) - number} events")
            sent = self._sent(event)
            self._process.say(f"{'published' if sent else 'not acknowledged'}: {brief(event)}")
            failed += not sent
        if failed:
            raise EventDeliveryError(f"{failed} of {len(events)} events were not acknowledged") from OSError("lost")

    def _sent(self, event: Event) -> bool:
        trouble = self._trouble("send")
        if self._broker.away or trouble is Trouble.UNSENT:
            if trouble is not None and not self._broker.away:  # given up here, and on its way all the same
                self._later(self._process.draw() * _LATE_SECONDS, lambda: self._broker.append(event))
            return False
        place = self._broker.append(event)
        if trouble is Trouble.UNANSWERED:
            return False
        self._note(*(self._broker.append(event) if trouble is Trouble.TWICE else place))
        return True

    def _note(self, name: str, end: int) -> None:
        """As `snapshot.kafka.producer` does."""
        if end < self.ends.get(name, 0):
            topic = name.rpartition("/")[0]
            for known in [known for known in self.ends if known.rpartition("/")[0] == topic]:
                del self.ends[known]
        self.ends[name] = end

    def topic_ends(self) -> Mapping[str, int]:
        """As `consumer.kafka.topics.event_ends`."""
        self._process.call("asks where the topics end")
        if self._broker.away:
            raise OperatorError("the broker is away")
        return self._broker.ends()


def brief(event: Event) -> str:
    """An event in a few words."""
    said = f"{event.comment_id} of {event.user_id}:{event.group_slug} {event.revision - EPOCH}"
    if isinstance(event, CommentCreated):
        return f"{said} {'gone' if event.gone else 'deleted' if event.deleted_at else f'in {event.help_request_id}'}"
    return f"{said} tags {event.tags}"
