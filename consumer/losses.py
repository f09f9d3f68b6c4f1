"""How a bucket shows that the store or the source lost something, and what its recovery has to reach. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from consumer.source import Offsets
from projections.comments.events import TOPICS
from projections.errors import OperatorError
from projections.projection import RULES_VERSION
from projections.store.protocol import BucketState

OTHER_RULES = "it was counted by rules"
"""How the reason begins where nothing was lost, but the rules of counting are others by now."""


class Loss(NamedTuple):
    """Why a bucket's epoch has to be raised, and the partitions that it reads from another position than the stored."""

    reason: str
    positions: Mapping[str, int]


class Evidence(NamedTuple):
    """What was seen of one bucket while this process' partitions were assigned.

    Others go on meanwhile. `before` was read before the offsets, so its positions can't be above the partitions' ends;
    `state` was read after them, so its positions can't be below what was committed: unless something was lost.
    `saved` is what this process had saved in the epoch of `state`; `rolled_back` what a `RollbackDetector` found.
    """

    before: BucketState | None
    state: BucketState | None
    offsets: Mapping[str, Offsets]
    saved: Mapping[str, int]
    rolled_back: str | None


def find_loss(seen: Evidence) -> Loss | None:
    """Name what was lost of a bucket. Raises OperatorError where a newer program counts in this store."""
    if seen.state is None:
        return _missing_state(seen)
    if seen.state.rules_version != RULES_VERSION:
        _refuse_newer(seen.state.rules_version)
        return Loss(f"{OTHER_RULES} {seen.state.rules_version}, these are {RULES_VERSION}", {})
    gone = {name: reason for name in seen.offsets if (reason := _gone_from_source(name, seen, seen.state)) is not None}
    behind = [
        reason
        for name, known in seen.offsets.items()
        if name not in gone and (reason := _below_commit(name, known, seen.state)) is not None
    ]
    reasons = [*gone.values(), *behind, *([seen.rolled_back] if seen.rolled_back else []), *_below_saved(seen)]
    return Loss(reasons[0], {name: seen.offsets[name].earliest for name in gone}) if reasons else None


def below_saved(state: BucketState, saved: Mapping[str, int]) -> list[str]:
    """Name the positions that are lower than a process had saved in this state's epoch."""
    return [
        f"it holds {name} up to {state.positions.get(name)}, and {position} was saved"
        for name, position in saved.items()
        if state.positions.get(name, -1) < position
    ]


def _below_saved(seen: Evidence) -> list[str]:
    ours = {name: position for name, position in seen.saved.items() if name in seen.offsets}
    return [] if seen.state is None else below_saved(seen.state, ours)


def _missing_state(seen: Evidence) -> Loss | None:
    """A bucket without a state is a loss only where there was one."""
    if seen.rolled_back is None and all(known.committed is None for known in seen.offsets.values()):
        return None
    return Loss("its state is missing", {name: known.earliest for name, known in seen.offsets.items()})


def _gone_from_source(name: str, seen: Evidence, state: BucketState) -> str | None:
    """Why the source no longer has what follows the bucket's position, if so: it is read from the earliest offset."""
    known, stored = seen.offsets[name], state.positions.get(name)
    if state.topic_ids.get(name, known.topic_id) != known.topic_id:
        return f"the topic {topic_of_partition(name)} was recreated"
    if stored is None:
        return None
    if stored < known.earliest:
        return f"{name} holds nothing below {known.earliest} any more, and the bucket had reached {stored}"
    if seen.before is not None and min(stored, seen.before.positions.get(name, -1)) > known.end:
        return f"{name} ends at {known.end}, and the bucket had reached {stored}"
    return None


def _below_commit(name: str, known: Offsets, state: BucketState) -> str | None:
    """Why the bucket lacks what it had of the partition; not while it recovers: then it is being read again already."""
    if known.committed is None or state.recovery is not None:
        return None
    stored = state.positions.get(name)
    if stored is None:
        return f"it does not know {name}, of which {known.committed} was committed"
    if stored < known.committed:
        return f"it holds {name} up to {stored}, and {known.committed} was committed"
    return None


def _refuse_newer(rules: str) -> None:
    """Two programs that count by different rules would undo each other's work for ever: the older one gives way."""
    if rules.isdecimal() and int(rules) > int(RULES_VERSION):
        raise OperatorError(
            f"the profiles in this store are counted by rules {rules}, this program knows rules {RULES_VERSION}: "
            "install the newer version here too"
        )


# ------------------------------------------------------------------------------------------------------- the recovery


def ends_to_reach(state: BucketState | None, offsets: Mapping[str, Offsets]) -> dict[str, int]:
    """What a recovery that begins now has to reach: the present ends of our partitions, and what others have to."""
    return _ends_of_others(state, offsets) | {name: known.end for name, known in offsets.items()}


def ends_to_join(state: BucketState, offsets: Mapping[str, Offsets]) -> dict[str, int]:
    """What a recovery that another process began has to reach, with the ends of our partitions where it lacks them.

    An end above the partition's was lost with what gave it out: the tail's document falls back with the store.
    """
    known = {} if state.recovery is None else state.recovery.ends
    ours = {name: min(known.get(name, one.end), one.end) for name, one in offsets.items()}
    return _ends_of_others(state, offsets) | ours


def _ends_of_others(state: BucketState | None, offsets: Mapping[str, Offsets]) -> dict[str, int]:
    if state is None or state.recovery is None:
        return {}
    return {name: end for name, end in state.recovery.ends.items() if _still_read(name, state, offsets)}


def _still_read(partition: str, state: BucketState, offsets: Mapping[str, Offsets]) -> bool:
    """Whether others may read this partition: not one of another kind of source, nor of a topic that was recreated."""
    ids = {topic_of_partition(name): known.topic_id for name, known in offsets.items()}
    topic = topic_of_partition(partition)
    if topic not in ids:
        return not ids or (topic in TOPICS and bool(TOPICS.keys() & ids.keys()))
    return state.topic_ids.get(partition, ids[topic]) == ids[topic]


def topic_of_partition(name: str) -> str:
    """Name the topic of a partition.

    >>> topic_of_partition("comment-created/3")
    'comment-created'
    """
    return name.rpartition("/")[0]
