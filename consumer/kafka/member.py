"""What a client has to do for `consumer.kafka.source.KafkaSource`: be a member of a consumer group.

Partitions are named `topic/number`, as `consumer.source` has it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from consumer.source import Invalid, Offsets
from projections.comments.events import Event
from projections.errors import OperatorError


class Fetched(NamedTuple):
    """What one poll gave; `positions`: where each assigned partition is read next, if that is known."""

    events: Sequence[Event]
    invalid: Sequence[Invalid]
    positions: Mapping[str, int]


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
