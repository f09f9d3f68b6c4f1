"""Lag or drift? A difference whose event the tail has yet to bring is lag; one that it has missed is drift.

Repairs don't wait for the answer. A difference is drift
- at once, where no tail is running, or where aggregates contradict their own registers;
- where it was seen before, the same, and the tail and the consumers had passed that first reading before the second;
- where the tail has passed the reading since, and had sent nothing that was not in the store at the reading, unless
  nothing of what was repaired is in the rows any more.
It is lag where the tail brought a newer reading than the repair's, and where none had read everything before: a first
one brings what the store lacks, and that is repaired by then. What stays open is undecided; so is what the tail may
have brought in vain, because the database's clock was set back since the register was written.
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


class Sighting(NamedTuple):
    """An earlier reading of a profile that differed: `time` and `digests` of what was found, see `Finding`."""

    time: int
    digests: tuple[int, int, int]


def judge_at_once(finding: Finding, before: Observation | None, earlier: Sighting | None) -> Verdict | None:
    """Judge a finding whose registers were read after `before` (None: no tail was running). None: wait."""
    if before is None or finding.certain:
        return Verdict.DRIFT
    if earlier is None or earlier.digests != finding.digests:
        return None
    return missed(finding) if covered(before, finding.key, earlier.time) else None


def missed(finding: Finding) -> Verdict:
    """Judge what the tail has passed, and not brought. A register that is ahead of the clock refuses what it brings."""
    ahead = bool(finding.repairs) and all(repair.revision > finding.time for repair in finding.repairs)
    return Verdict.UNDECIDED if ahead else Verdict.DRIFT


def judge_later(store: Store, finding: Finding, before: Observation, now: Observation) -> Verdict | None:
    """Judge a repaired finding by what happened since; None: wait."""
    if now.tail is None or not now.passed(finding.time):
        return None
    if not before.passed(0):  # the first one was still about to read everything for the first time
        return Verdict.LAG
    bucket = bucket_of(finding.key.user_id)
    if holds(before.positions[bucket], now.tail.positions):
        return missed(finding)
    if not holds(now.positions[bucket], now.tail.positions):
        return None
    return Verdict.LAG if _overtaken(store, finding) else Verdict.UNDECIDED


def _overtaken(store: Store, finding: Finding) -> bool:
    """Whether newer readings than the repairs' have come for all the comments whose repairs were kept."""
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
