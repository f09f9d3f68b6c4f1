"""Files of profiles that a lost store does not have any more, and that no reconcile brings back.

Somebody's comments went while the store was lost: nothing in it tells of the profile, so nothing makes its file due.
What is nobody's is known once the store holds the whole history again, and not before.
"""

from collections.abc import Collection, Sequence

import structlog

from projections.buckets import bucket_of
from projections.profile import ProfileKey
from projections.store import Mark, Store
from snapshot.audit import foreign_files
from snapshot.brake import LEAST, too_many
from snapshot.drift import holds, observe
from snapshot.folder import ProfileFolder

log = structlog.get_logger()


def strays(store: Store, folder: ProfileFolder, buckets: Collection[int]) -> list[ProfileKey]:
    """Name the profiles of these buckets that the store does not have, and whose files lie there."""
    found = foreign_files(store, folder, frozenset(), lambda key: bucket_of(key.user_id) in buckets)
    return [one.key for one in found]


def complete(store: Store, marks: Sequence[Mark | None], buckets: Collection[int]) -> bool:
    """Whether these buckets hold the whole history.

    One whose epoch was raised was reconciled with the database once it heals no more. For one that was born, the tail
    says so; without a tail nobody does.
    """
    mine = [mark for bucket in buckets if (mark := marks[bucket]) is not None]
    if any(mark.healing is not None for mark in mine):
        return False
    if all(mark.epoch for mark in mine):
        return True
    seen = observe(store)
    return seen.passed(0) and all(holds(seen.positions[bucket], seen.tail.positions) for bucket in buckets if seen.tail)


def removable(folder: ProfileFolder, keys: Sequence[ProfileKey]) -> bool:
    """Whether so few files are nobody's that they may go unasked; the log says it where they may not."""
    files = sum(1 for _ in folder.names()) if len(keys) >= LEAST else 0
    if too_many(len(keys), files):
        log.error(
            "held back: so many files belong to no profile any more that the database may be restored by half; "
            "restore it, or confirm with snapshot-rebuild --all --prune-all",
            files=f"{len(keys):,} of {files:,}",
            first=str(folder.place(keys[0])),
        )
        return False
    return True
