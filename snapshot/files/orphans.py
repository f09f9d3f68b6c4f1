"""Files of profiles that a lost store does not have any more, and that no reconcile brings back.

Somebody's comments went while the store was lost: nothing in it tells of the profile, so nothing makes its file due.
What is nobody's is known once the store holds the whole history again, and not before.
"""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from urllib.parse import unquote

import structlog

from projections.profile_key import ProfileKey, bucket_of
from projections.store.protocol import ABSENT, Store
from snapshot.deletion_guard import LEAST, too_many
from snapshot.files.check import _PAGE, BadFile, Fault, read_or_empty
from snapshot.files.folder import ProfileFolder, file_name
from snapshot.schema import parse_file

log = structlog.get_logger()


def orphan_files(store: Store, folder: ProfileFolder, buckets: Collection[int]) -> list[ProfileKey]:
    """Name the profiles of these buckets that the store does not have, and whose files lie there.

    A file of such a name that is no snapshot of that profile is somebody's own, and nothing that a daemon removes.
    """
    found = orphan_files_of(store, folder, frozenset(), lambda key: bucket_of(key.user_id) in buckets)
    return [one.key for one in found if _shows(folder, one.key)]


def _shows(folder: ProfileFolder, key: ProfileKey) -> bool:
    try:
        snapshot = parse_file(read_or_empty(folder, key) or b"")
    except ValueError:
        return False
    return (snapshot.user_id, snapshot.group_slug) == key


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


_OURS = re.compile(r"(\d+)(?:-(.+))?\.json", re.DOTALL)


def orphans(folder: ProfileFolder, absent: Iterable[ProfileKey]) -> list[BadFile]:
    """Name the files that lie there although these profiles don't exist; a folder of such a name is no file of ours."""
    slug = folder.identity.group_slug
    return [
        BadFile(file_name(key, slug), Fault.FOREIGN, key)
        for key in absent
        if folder.disk.is_file(str(folder.place(key)))
    ]


def orphan_files_of(
    store: Store, folder: ProfileFolder, known: Collection[str], asked: Callable[[ProfileKey], bool]
) -> list[BadFile]:
    """Name the files that look like ours and belong to no stored profile, of those that are asked for.

    `known` are names of files that do belong to one.
    """
    owners = (owner_of(folder, name) for name in folder.names() if name not in known)
    strange = (key for key in owners if key is not None and asked(key))
    found: list[BadFile] = []
    while page := list(islice(strange, _PAGE)):
        loaded = store.load(dict.fromkeys(page, ()))
        found += orphans(folder, [key for key in page if loaded[key].version == ABSENT])
    return sorted(found)


def owner_of(folder: ProfileFolder, name: str) -> ProfileKey | None:
    """Whose file that name would be; None where it can't be one of ours.

    A name that was cut can't be read back; then the file itself says whose it is.
    """
    matched = _OURS.fullmatch(name)
    if matched is None or not _is_text(name):
        return None
    slug = folder.identity.group_slug
    key = ProfileKey(int(matched[1]), unquote(matched[2] or "") if slug is None else slug)
    if key.group_slug and file_name(key, slug) == name:
        return key
    try:
        snapshot = parse_file(folder.disk.read(f"{folder.path}/{name}"))
    except (OSError, ValueError):
        return None
    key = ProfileKey(snapshot.user_id, snapshot.group_slug)
    return key if file_name(key, slug) == name else None


def _is_text(name: str) -> bool:
    """Whether the bytes of a name are UTF-8, as those of all our names are."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
