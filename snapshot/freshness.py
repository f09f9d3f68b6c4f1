"""Which of WhiteBalloon's highlights are older than their users' snapshots, which are built from the database. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from projections.database.highlights import Highlight
from snapshot.schema import SignalProfileSnapshot

Reason = Literal["changed", "last seen differs", "no hash", "no snapshot"]


class StaleHighlight(msgspec.Struct, frozen=True):
    """A highlight that was not made from what the snapshot is now.

    Without a source group, and without one of that hash, it is compared with the user's snapshot that was seen last.
    `highlight_last_seen_at` is a text where what is stored is no time.
    """

    user_id: int
    group_slug: str | None
    reason: Reason
    highlight_hash: str | None
    highlight_last_seen_at: datetime | str | None
    snapshot_hash: str | None
    snapshot_last_seen_at: datetime | None


class Freshness(msgspec.Struct, frozen=True):
    """All highlights that were compared."""

    highlights: int
    fresh: int
    stale: list[StaleHighlight]


def compare(highlights: Sequence[Highlight], snapshots: Iterable[SignalProfileSnapshot]) -> Freshness:
    """Compare highlights with the snapshots of their users; those of others are passed over."""
    wanted: dict[int, dict[str, SignalProfileSnapshot]] = {one.user_id: {} for one in highlights}
    for snapshot in snapshots:
        if snapshot.user_id in wanted:
            wanted[snapshot.user_id][snapshot.group_slug] = snapshot
    stale = [found for one in highlights if (found := _stale(one, wanted[one.user_id])) is not None]
    return Freshness(len(highlights), len(highlights) - len(stale), stale)


def _stale(one: Highlight, mine: Mapping[str, SignalProfileSnapshot]) -> StaleHighlight | None:
    snapshot = _meant(one, mine)
    reason = _reason(one, snapshot)
    if reason is None:
        return None
    return StaleHighlight(
        one.user_id,
        one.source_group if snapshot is None else snapshot.group_slug,
        reason,
        one.snapshot_hash,
        one.last_seen_at,
        None if snapshot is None else snapshot.snapshot_hash,
        None if snapshot is None else snapshot.last_seen_at,
    )


def _meant(one: Highlight, mine: Mapping[str, SignalProfileSnapshot]) -> SignalProfileSnapshot | None:
    if one.source_group is not None:
        return mine.get(one.source_group)
    found = [snapshot for snapshot in mine.values() if snapshot.snapshot_hash == one.snapshot_hash]
    return max(found or mine.values(), key=lambda snapshot: snapshot.last_seen_at, default=None)


def _reason(one: Highlight, snapshot: SignalProfileSnapshot | None) -> Reason | None:
    if snapshot is None:
        return "no snapshot"
    if one.snapshot_hash is None:
        return "no hash"
    if one.snapshot_hash != snapshot.snapshot_hash:
        return "changed"
    return None if one.last_seen_at in {None, snapshot.last_seen_at} else "last seen differs"
