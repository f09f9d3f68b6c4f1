"""Lag or drift? A difference that the tail is still about to bring is lag; one that it had its chance to is drift.

Repairs don't wait for the answer. A difference is drift
- at once, where nobody tails the database, or where aggregates contradict their own registers;
- where it was seen before, the same, and the tail and the consumers had passed that first reading before the second;
- where the tail has passed the reading since, and had handed on nothing that was not in the store at the reading,
  unless nothing of what was repaired still stands in the rows.
It is lag where a newer reading than the repair's came by the ordinary way. What stays open is undecided.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import msgspec

from projections.buckets import bucket_of
from projections.fields import register_field
from projections.profile import ProfileKey
from projections.register import unpack
from projections.store import Store
from projections.watermark import TAIL, Watermark
from snapshot.findings import Finding

_decode = msgspec.json.Decoder(Watermark).decode


class Verdict(StrEnum):
    """What became of a finding."""

    DRIFT = "drift"
    LAG = "lag"
    UNDECIDED = "undecided"


class Look(NamedTuple):
    """One look at a profile: `time` and `digests` of what was found, see `Finding`."""

    time: int
    digests: tuple[int, int, int]


class Observation(NamedTuple):
    """How far the tail had come, and up to which positions each bucket held what it had handed on."""

    tail: Watermark | None
    positions: tuple[Mapping[str, int], ...]

    def passed(self, time: int) -> bool:
        """Whether the tail has seen everything that was committed before that time."""
        return self.tail is not None and min(self.tail.polled_until, self.tail.swept_until) > time


def tailed(store: Store) -> bool:
    """Whether anybody tails the database at present."""
    return store.leased(TAIL)


def observe(store: Store) -> Observation:
    """Look at the tail's document, then at the buckets' positions."""
    document = store.document(TAIL)
    marks = store.marks()
    positions = tuple({} if mark is None else mark.positions for mark in marks)
    return Observation(None if document is None else _decode(document), positions)


def holds(positions: Mapping[str, int], reached: Mapping[str, int]) -> bool:
    """Whether a bucket at these positions holds everything below those."""
    return all(positions.get(partition, -1) >= position for partition, position in reached.items())


def covered(seen: Observation, key: ProfileKey, time: int) -> bool:
    """Whether the profile held everything that was committed before that time."""
    reached = {} if seen.tail is None else seen.tail.positions
    return seen.passed(time) and holds(seen.positions[bucket_of(key.user_id)], reached)


def at_once(finding: Finding, before: Observation | None, looked: Look | None) -> Verdict | None:
    """Judge a finding whose registers were read after `before`; None for the observation: nobody tails. None: wait."""
    if before is None or finding.certain:
        return Verdict.DRIFT
    same = looked is not None and looked.digests == finding.digests
    return Verdict.DRIFT if same and looked is not None and covered(before, finding.key, looked.time) else None


def later(store: Store, finding: Finding, before: Observation, now: Observation) -> Verdict | None:
    """Judge a repaired finding by what happened since; None: wait."""
    if now.tail is None or not now.passed(finding.time):
        return None
    bucket = bucket_of(finding.key.user_id)
    if holds(before.positions[bucket], now.tail.positions):
        return Verdict.DRIFT
    if not holds(now.positions[bucket], now.tail.positions):
        return None
    return Verdict.LAG if _overtaken(store, finding) else Verdict.UNDECIDED


def _overtaken(store: Store, finding: Finding) -> bool:
    """Whether newer readings than ours have come for all the comments that we know of."""
    fields = [register_field(repair.comment_id) for repair in finding.repairs]
    loaded = store.load({finding.key: fields})[finding.key].fields
    for repair in finding.repairs:
        packed = loaded.get(register_field(repair.comment_id))
        if packed is None:
            return False
        register = unpack(packed)
        present = register.comment_revision if repair.comment else register.insight_revision
        if present <= repair.revision:
            return False
    return bool(finding.repairs)
