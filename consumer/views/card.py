"""A card of one profile: what it says, when its user was active, whether its file says the same."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from projections.comments.register import LIVE, Register, counts
from projections.profile_key import ProfileKey
from projections.store.protocol import Store
from snapshot.build import build
from snapshot.cli.read_only import read_profile
from snapshot.files.folder import NO_FILE, ProfileFolder, differs

_MONTHS = 12


class Card(msgspec.Struct, frozen=True):
    """One profile: its snapshot, comments by month, those that are deleted, and whether its file is the snapshot's."""

    user_id: int
    group_slug: str
    snapshot_hash: str | None
    file: str
    snapshot: dict[str, Any] | None
    months: dict[str, int]
    deleted: int


def read_card(store: Store, folder: ProfileFolder, key: ProfileKey) -> Card:
    """Read a profile as the store has it. Raises OperatorError where it is damaged."""
    head, registers = read_profile(store, key)
    snapshot = build(key, head)
    digest = None if snapshot is None else snapshot.snapshot_hash
    due = folder.identity.group_slug in {None, key.group_slug} and store.pending(folder.identity.id, [key])[0]
    wrong = differs(folder.hash_on_disk(key), digest or NO_FILE)
    return Card(
        *key,
        digest,
        "in step" if not wrong else "due" if due else "differs",
        None if snapshot is None else snapshot.to_dict(),
        _months(registers),
        sum(not counts(one) for one in registers.values() if one.comment is not None),
    )


def _months(registers: Mapping[int, Register]) -> dict[str, int]:
    """Count the comments of each month from the first to the last."""
    times = [one.comment.created_at for one in registers.values() if one.comment and one.comment.state == LIVE]
    if not times:
        return {}
    found = Counter((when.year, when.month) for when in (datetime.fromtimestamp(one / 1e6, UTC) for one in times))
    (year, month), last = min(found), max(found)
    months = {}
    while (year, month) <= last:
        months[f"{year}-{month:02}"] = found[year, month]
        year, month = (year + 1, 1) if month == _MONTHS else (year, month + 1)
    return months
