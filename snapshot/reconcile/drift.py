"""Lag or drift? A difference that the tail is still about to bring is lag; one that it had its chance to is drift.

Repairs don't wait for the answer. A difference is drift
- at once, where nobody tails the database, or where aggregates contradict their own registers;
- where it was seen before, the same, and the tail and the consumers had passed that first reading before the second;
- where the tail has passed the reading since, and had handed on nothing that was not in the store at the reading,
  unless nothing of what was repaired still stands in the rows.
It is lag where a newer reading than the repair's came by the ordinary way. What stays open is undecided.
"""

from enum import StrEnum
from typing import NamedTuple

from projections.codec import register_field
from projections.comments.register import unpack
from projections.profile_key import bucket_of
from projections.store.protocol import Store
from projections.watermark import Observation, covered, holds
from snapshot.reconcile.findings import Finding


class Verdict(StrEnum):
    """What became of a finding."""

    DRIFT = "drift"
    LAG = "lag"
    UNDECIDED = "undecided"


class Look(NamedTuple):
    """One look at a profile: `time` and `digests` of what was found, see `Finding`."""

    time: int
    digests: tuple[int, int, int]


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
