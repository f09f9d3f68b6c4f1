"""Files of profiles that a lost store does not have any more, and that no reconcile brings back.

Somebody's comments went while the store was lost: nothing in it tells of the profile, so nothing makes its file due.
What is nobody's is known once the store holds the whole history again, and not before.
"""

from collections.abc import Collection, Sequence

import structlog

from projections.buckets import bucket_of
from projections.profile import ProfileKey
from projections.store import Mark, Store
from projections.watermark import TAIL
from snapshot.audit import content, foreign_files
from snapshot.brake import LEAST, too_many
from snapshot.drift import holds, observe
from snapshot.folder import ProfileFolder
from snapshot.schema import parse_file

log = structlog.get_logger()


def strays(store: Store, folder: ProfileFolder, buckets: Collection[int]) -> list[ProfileKey]:
    """Name the profiles of these buckets that the store does not have, and whose files lie there.

    A file of such a name that is no snapshot of that profile is somebody's own, and nothing that a daemon removes.
    """
    found = foreign_files(store, folder, frozenset(), lambda key: bucket_of(key.user_id) in buckets)
    return [one.key for one in found if _shows(folder, one.key)]


def _shows(folder: ProfileFolder, key: ProfileKey) -> bool:
    try:
        snapshot = parse_file(content(folder, key) or b"")
    except ValueError:
        return False
    return (snapshot.user_id, snapshot.group_slug) == key


def complete(store: Store, marks: Sequence[Mark | None], buckets: Collection[int]) -> bool:
    """Whether these buckets hold the whole history.

    One whose epoch was raised was reconciled with the database once it heals no more. For one that was born, the tail
    in process says so. Of Kafka's topics nobody does: what they held before may have been dropped.
    """
    mine = [mark for bucket in buckets if (mark := marks[bucket]) is not None]
    if any(mark.healing is not None for mark in mine):
        return False
    born = [mark for mark in mine if not mark.epoch]
    if not all(any(name.startswith(f"{TAIL}/") for name in mark.positions) for mark in born):
        return False
    if not born:
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
