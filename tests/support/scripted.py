"""A broker in a few lines, for tests of the loop: partitions as lists, members that are rebalanced, commits.

As with Kafka, a member learns of a rebalance when it next polls; until then it goes on with what it has, but its
commits are refused.
"""

from collections.abc import Mapping, Sequence

from consumer.source import EMPTY, Assignment, Batch, Invalid, OffsetOutOfRangeError, Offsets, SourceUnavailableError
from projections.comments.events import Event, topic_of

Message = Event | Invalid


class Broker:
    """So many partitions of each topic. `batch` is the most messages that a poll gives of one partition."""

    def __init__(self, partitions: int = 2, batch: int = 3) -> None:
        self.batch = batch
        self.logs: dict[str, list[Message]] = {}
        self.earliest: dict[str, int] = {}
        self.committed: dict[str, int] = {}
        self.topic_ids: dict[str, str] = {}
        self.members: list[Member] = []
        self.away = False
        self.add_partitions(partitions)

    def add_partitions(self, number: int) -> None:
        for topic in ("comment-created", "insight-created"):
            self.topic_ids.setdefault(topic, f"{topic}, the first")
            for index in range(number):
                name = f"{topic}/{index}"
                self.logs.setdefault(name, [])
                self.earliest.setdefault(name, 0)

    def remake(self, topic: str) -> None:
        """Delete a topic and make it again: its messages are gone, and so are the group's offsets."""
        self.topic_ids[topic] += ", and again"
        for name in self.of(topic):
            self.logs[name] = []
            self.earliest[name] = 0
            self.committed.pop(name, None)

    def of(self, topic: str) -> list[str]:
        return [name for name in self.logs if name.rpartition("/")[0] == topic]

    def publish(self, *messages: Message) -> None:
        for message in messages:
            if isinstance(message, Invalid):
                self.logs[f"{message.topic}/{message.partition}"].append(message)
            else:
                names = self.of(topic_of(message))
                self.logs[names[message.user_id % len(names)]].append(message)

    def join(self) -> "Member":
        member = Member(self)
        self.members.append(member)
        self.rebalance()
        return member

    def leave(self, member: "Member") -> None:
        self.members.remove(member)
        self.rebalance()

    def rebalance(self) -> None:
        """Deal the partitions again, another way each time."""
        names = sorted(self.logs)
        self.members = self.members[1:] + self.members[:1]
        for index, member in enumerate(self.members):
            member.coming = frozenset(names[index :: len(self.members)])

    def end(self, name: str) -> int:
        return self.earliest[name] + len(self.logs[name])


class Member:
    """`consumer.source.Source` over a broker."""

    def __init__(self, broker: Broker) -> None:
        self.coming: frozenset[str] | None = None
        self._broker = broker
        self._assignment = Assignment(0, frozenset())
        self._positions: dict[str, int] = {}
        self._paused = False
        self._ends: dict[str, int] = {}
        self.closed = False

    def poll(self, seconds: float) -> Batch:  # noqa: ARG002  nothing to wait for
        if self.coming is not None:
            self._assignment = Assignment(self._assignment.generation + 1, self.coming)
            self.coming = None
            self._positions.clear()
            return EMPTY
        if self._paused or self._broker.away:
            return EMPTY
        self._refuse_lost()
        events: list[Event] = []
        invalid: list[Invalid] = []
        intervals = {}
        for name, position in self._positions.items():
            found = self._messages(name, position)
            if found:
                intervals[name] = (position, position + len(found))
                events += [one for one in found if not isinstance(one, Invalid)]
                invalid += [one for one in found if isinstance(one, Invalid)]
        self._positions |= {name: end for name, (_, end) in intervals.items()}
        return Batch(events, intervals, invalid) if intervals else EMPTY

    def _messages(self, name: str, position: int) -> Sequence[Message]:
        first = position - self._broker.earliest[name]
        return self._broker.logs[name][first : first + self._broker.batch]

    def _refuse_lost(self) -> None:
        lost = {
            name: at
            for name, at in self._positions.items()
            if not self._broker.earliest[name] <= at <= self._broker.end(name)
        }
        for name in lost:
            del self._positions[name]
        if lost:
            raise OffsetOutOfRangeError(lost)

    def assignment(self) -> Assignment:
        return self._assignment

    def offsets(self, partitions: frozenset[str]) -> Mapping[str, Offsets]:
        broker = self._broker
        if broker.away:
            raise SourceUnavailableError("the broker is away")
        return {
            name: Offsets(
                broker.committed.get(name),
                broker.earliest[name],
                broker.end(name),
                broker.topic_ids[name.rpartition("/")[0]],
            )
            for name in sorted(partitions)
        }

    def start(self, generation: int, positions: Mapping[str, int]) -> None:
        if generation == self._assignment.generation:
            self._positions.update(positions)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def commit(self, positions: Mapping[str, int]) -> None:
        if self.coming is None and not self._broker.away:
            self._broker.committed.update(positions)

    def lag(self) -> Mapping[str, int]:
        return {name: self._broker.end(name) - at for name, at in self._positions.items()}

    @property
    def progress(self) -> object:
        return dict(self._positions)

    @property
    def trouble(self) -> str | None:
        return "the broker is away" if self._broker.away else None

    def exhausted(self) -> bool:
        if self.coming is not None or self._broker.away or not self._assignment.generation:
            return False
        for name in self._assignment.partitions:
            self._ends.setdefault(name, self._broker.end(name))
        return all(self._positions.get(name, -1) >= self._ends[name] for name in self._assignment.partitions)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._broker.leave(self)
