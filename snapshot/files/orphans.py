"""Files of profiles that a lost store does not have any more, and that no reconcile brings back.

All comments of a profile were deleted while the store was lost: it knows nothing of the profile, or only that some
unknown comment has no tags, so nothing makes its file due.
What is orphaned is known once the store holds the whole history again, and not before.
"""

from collections.abc import Callable, Collection, Sequence

from projections.paging import pages
from projections.profile_key import ProfileKey
from projections.store.protocol import HEAD, Store
from snapshot.deletion_guard import LEAST, too_many
from snapshot.files.check import BadFile, Fault
from snapshot.files.folder import ProfileFolder
from snapshot.files.ownership import key_of, user_of

_PAGE = 500


def orphan_files(
    store: Store, folder: ProfileFolder, known: Collection[str], asked: Callable[[int], bool]
) -> list[BadFile]:
    """Name the files that are ours and belong to no stored profile, of the users that are asked for.

    `known` are names of files that do belong to one.
    """
    found: list[BadFile] = []
    names = (name for name in folder.names() if name not in known)
    keys = (key for name in names if (key := _named(folder, name)) is not None and asked(key.user_id))
    for page in pages(keys, _PAGE):
        lacking = without_head(store, page)
        found += [BadFile(name, Fault.ORPHANED, key) for key in lacking if folder.owned(name := folder.name(key))]
    return sorted(found)


def without_head(store: Store, keys: Sequence[ProfileKey]) -> list[ProfileKey]:
    """Those that nothing makes due: not stored, or without anything that would change a head."""
    loaded = store.load(dict.fromkeys(keys, (HEAD,)))
    return [key for key in keys if HEAD not in loaded[key].fields]


def _named(folder: ProfileFolder, name: str) -> ProfileKey | None:
    """Whose file that seems to be; where the name was cut, the content tells."""
    if (key := key_of(name, folder.identity.group_slug)) is not None:
        return key
    snapshot = None if user_of(name) is None else folder.owned(name)
    return None if snapshot is None else ProfileKey(snapshot.user_id, snapshot.group_slug)


def reason_to_keep(folder: ProfileFolder, orphans: Sequence[BadFile]) -> str | None:
    """Say how many files would be removed where the deletion guard asks first, else None."""
    files = sum(1 for _ in folder.names()) if len(orphans) >= LEAST else 0
    return f"{len(orphans):,} of {files:,} files" if too_many(len(orphans), files) else None
