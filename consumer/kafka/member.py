"""What a client has to do for `consumer.kafka.source.KafkaSource`: be a member of a consumer group.

Partitions are named `topic/number`, as `consumer.source` has it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from consumer.kafka.options import SourceOptions
from consumer.source import Invalid, Offsets
from projections.comments.events import Event
from projections.errors import OperatorError


class Fetched(NamedTuple):
    """What one poll gave; `positions`: where each assigned partition is read next, if that is known.

    `size`: bytes of the messages' values.
    """

    events: Sequence[Event]
    invalid: Sequence[Invalid]
    positions: Mapping[str, int]
    size: int = 0


class MemberError(Exception):
    """Kafka did not do what was asked; the text says what it or the client said.

    `retriable`: the client goes on by itself. Otherwise only a new member gets past it.
    """

    def __init__(self, text: str, *, retriable: bool) -> None:
        super().__init__(text)
        self.retriable = retriable


class PositionsLostError(Exception):
    """Kafka no longer has the positions of these partitions; nothing of them is delivered until they are started."""

    def __init__(self, partitions: Collection[str]) -> None:
        super().__init__(", ".join(sorted(partitions)))
        self.partitions = frozenset(partitions)


class Member(Protocol):
    """One member of a group, used by one thread. It joins with its first poll.

    Every call ends within `SourceOptions.request_timeout` or so, whatever Kafka does. What may be asked of Kafka raises
    MemberError, and OperatorError where Kafka refuses us for good.
    """

    @property
    def changes(self) -> int:
        """Grows with each change of what is assigned; partitions that come or stay are stopped then."""
        ...

    def poll(self, seconds: float) -> Fetched:
        """Wait at most so long for the next messages. Raises PositionsLostError as well."""
        ...

    def assigned(self) -> frozenset[str]:
        """Name the partitions that are ours at present."""
        ...

    def stable(self) -> bool:
        """Whether the group has given us what it has for us, even nothing."""
        ...

    def answers(self) -> bool:
        """Whether Kafka is known to answer, as far as the group is concerned."""
        ...

    def topic_ids(self) -> Mapping[str, str]:
        """Give the topics' ids, as last known; without those that are not known."""
        ...

    def stop(self) -> None:
        """Stop all assigned partitions until they are started."""
        ...

    def start(self, positions: Mapping[str, int], *, paused: bool) -> None:
        """Read assigned partitions from these positions on, at once or after `resume`."""
        ...

    def pause(self, partitions: Collection[str]) -> None:
        """Deliver nothing of these; positions are kept. Those that are no longer assigned are left out."""
        ...

    def resume(self, partitions: Collection[str]) -> None:
        """Deliver these again."""
        ...

    def offsets(self, partitions: Collection[str]) -> Mapping[str, Offsets]:
        """Look up all that Kafka knows of assigned partitions."""
        ...

    def ends(self, partitions: Collection[str]) -> Mapping[str, int]:
        """Look up where partitions end."""
        ...

    def last_ends(self, partitions: Collection[str]) -> Mapping[str, int]:
        """Give the ends as the last poll happened to tell them; cheap, and without those that are not known."""
        ...

    def commit(self, positions: Mapping[str, int]) -> None:
        """Commit positions of assigned partitions for the group."""
        ...

    def close(self) -> None:
        """Leave the group; raises nothing, and takes a few seconds at most."""
        ...


class Gatherer:
    """Polls a member, several times for one batch while it is behind: a profile is then loaded and saved less often.

    At rest nothing waits for more. A batch is bounded in messages, in bytes and in time, and ends with the first
    message that is no event, so that the breaker looks at it. `clock` is a monotonic one, in seconds.
    """

    def __init__(self, member: Member, options: SourceOptions, clock: Callable[[], float]) -> None:
        self._member = member
        self._options = options
        self._clock = clock
        self._error: Exception | None = None

    def poll(self, seconds: float) -> Fetched:
        """As `Member.poll`. What is wrong comes after what came before it."""
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        fetched = more = self._member.poll(seconds)
        changes, until = self._member.changes, self._clock() + self._options.gather
        events = list(fetched.events)
        while more.events and self._goes_on(fetched) and self._clock() < until:
            try:
                more = self._member.poll(0)
            except (MemberError, PositionsLostError, OperatorError) as error:
                self._error = error
                break
            if self._member.changes != changes:
                break  # nothing of it is delivered
            events += more.events
            fetched = Fetched(events, more.invalid, more.positions, fetched.size + more.size)
        return fetched

    def _goes_on(self, fetched: Fetched) -> bool:
        options = self._options
        if fetched.invalid or len(fetched.events) >= options.max_batch or fetched.size >= options.max_batch_bytes:
            return False
        ends = self._member.last_ends(fetched.positions)
        return sum(end - fetched.positions[name] for name, end in ends.items()) >= options.behind


def refused(kind: str, text: str, group_id: str, instance_id: str | None) -> OperatorError | None:
    """What the operator has to fix where neither waiting nor a new member helps; `kind`: the error in Kafka's words."""
    if kind == "FENCED_INSTANCE_ID":
        return OperatorError(
            f"KAFKA_GROUP_INSTANCE_ID={instance_id}: another consumer of the group {group_id} uses it: "
            "give each process its own"
        )
    if kind == "INVALID_GROUP_ID":
        return OperatorError(
            f"KAFKA_GROUP_ID={group_id!r}: Kafka does not accept this as the name of a group: choose another"
        )
    if kind.endswith("AUTHORIZATION_FAILED") or kind == "SASL_AUTHENTICATION_FAILED":
        return OperatorError(
            f"Kafka refuses the group {group_id} ({text}): grant its user READ on the topics and on the group"
        )
    return None
