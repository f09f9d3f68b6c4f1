"""Kafka's event topics: partitions, retention, topics that are made again or grow, and one consumer group."""

from collections.abc import Callable
from random import Random
from zlib import crc32

from simulation.processes import Process

from projections.comments.events import TOPICS, Event, topic_of

SESSION_SECONDS = 4.0


class Topic:
    """Events by partition; `earliest` are the first offsets that can still be read."""

    def __init__(self, name: str, number: int, partitions: int) -> None:
        self.name = name
        self.id = f"{name} {number}"
        self.events: list[list[Event]] = [[] for _ in range(partitions)]
        self.earliest = [0] * partitions

    def end(self, partition: int) -> int:
        return self.earliest[partition] + len(self.events[partition])

    def append(self, event: Event) -> tuple[str, int]:
        """Where the event is, and the offset after it."""
        partition = crc32(str(event.user_id).encode()) % len(self.events)
        self.events[partition].append(event)
        return f"{self.name}/{partition}", self.end(partition)

    def drop_until(self, partition: int, offset: int) -> None:
        """As retention does."""
        del self.events[partition][: offset - self.earliest[partition]]
        self.earliest[partition] = offset


class Broker:
    """The server. `now` is the true time in microseconds."""

    def __init__(self, now: Callable[[], int], random: Random, partitions: int) -> None:
        self._now = now
        self._random = random
        self._made = 0
        self.topics: dict[str, Topic] = {}
        for name in TOPICS:
            self._make(name, partitions)
        self.group = Group(now)
        self.away_until = 0

    def _make(self, name: str, partitions: int) -> None:
        self._made += 1
        self.topics[name] = Topic(name, self._made, partitions)

    @property
    def away(self) -> bool:
        return self._now() < self.away_until

    def append(self, event: Event) -> tuple[str, int]:
        return self.topics[topic_of(event)].append(event)

    def partitions(self) -> frozenset[str]:
        return frozenset(
            f"{topic.name}/{number}" for topic in self.topics.values() for number in range(len(topic.events))
        )

    def ids(self) -> dict[str, str]:
        return {topic.name: topic.id for topic in self.topics.values()}

    def ends(self) -> dict[str, int]:
        return {
            f"{topic.name}/{number}": topic.end(number)
            for topic in self.topics.values()
            for number in range(len(topic.events))
        }

    def find(self, name: str) -> tuple[Topic, int]:
        topic, _, number = name.rpartition("/")
        return self.topics[topic], int(number)

    # --------------------------------------------------------------------------------------------------- what befalls

    def retain(self) -> None:
        """Retention takes the first events of some partition, read or not."""
        topic, number = self.find(self._random.choice(sorted(self.partitions())))
        topic.drop_until(number, self._random.randint(topic.earliest[number], topic.end(number)))

    def make_again(self) -> None:
        """Somebody deletes a topic and creates it: what the group had committed of it is gone too."""
        topic = self.topics[self._random.choice(sorted(self.topics))]
        self._make(topic.name, len(topic.events))
        self.group.forget(topic.name)

    def grow(self) -> None:
        """Each topic gets one partition more: users move between partitions."""
        for topic in self.topics.values():
            topic.events.append([])
            topic.earliest.append(0)


class Member:
    """One consumer in the group. `generation` is that of the assignment that it knows."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.generation = 0


class Group:
    """The coordinator: who reads what, and what was committed. A member that is not heard of for a session is left out.

    The others read its partitions from then on; it learns that when it polls again, as does any that lost some.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._members: list[Member] = []
        self._partitions: frozenset[str] = frozenset()
        self.generation = 0
        self.committed: dict[str, int] = {}

    def poll(self, member: Member, partitions: frozenset[str]) -> frozenset[str] | None:
        """A heartbeat, with the partitions that the member's metadata has. What it is to read, where that is new."""
        heard = [one for one in self._members if not one.process.silent_for(SESSION_SECONDS) or one is member]
        known = [*heard, member] if member not in heard else heard
        if known != self._members or not partitions <= self._partitions:
            self._members, self._partitions = known, self._partitions | partitions
            self.generation += 1
        if member.generation == self.generation:
            return None
        member.generation = self.generation
        return self._of(member)

    def is_lost(self, member: Member) -> bool:
        """Whether others may have had its partitions."""
        return member not in self._members

    def shuffle(self) -> None:
        """All partitions move to another member."""
        self._members.reverse()
        self.generation += 1

    def leave(self, member: Member) -> None:
        if member in self._members:
            self._members.remove(member)
            self.generation += 1

    def is_stable(self, member: Member) -> bool:
        return member in self._members and member.generation == self.generation

    def commit(self, member: Member, positions: dict[str, int]) -> None:
        """A commit of an older generation is refused."""
        if self.is_stable(member):
            self.committed |= positions

    def forget(self, topic: str) -> None:
        self.committed = {name: at for name, at in self.committed.items() if name.rpartition("/")[0] != topic}

    def _of(self, member: Member) -> frozenset[str]:
        place, members = self._members.index(member), len(self._members)
        return frozenset(name for name in self._partitions if int(name.rpartition("/")[2]) % members == place)
