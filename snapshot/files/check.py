"""The folder against the store: files that are missing, stale, or orphaned."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from projections.codec import UNREADABLE, unpack_head
from projections.paging import pages
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.store.protocol import HEAD, Store
from snapshot.build import build
from snapshot.files.folder import NO_FILE, ProfileFolder, differs
from snapshot.schema import SignalProfileSnapshot

_PAGE = 500


class Fault(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    STALE = "stale"
    ORPHANED = "foreign"


class BadFile(NamedTuple):
    """A file that is not what it should be; `key` is whose it is, or seems to be."""

    name: str
    fault: Fault
    key: ProfileKey


class FileCheck(NamedTuple):
    """What was seen of some profiles' files. `waiting` are those that a flush is still to write."""

    wrong: list[BadFile]
    waiting: list[ProfileKey]


def matches_head(folder: ProfileFolder, key: ProfileKey, head: Head | None) -> bool:
    """Whether a profile's file is what its head gives; a head that has to be recomputed first is passed over."""
    if head is not None and head.needs_recompute():
        return True
    snapshot = build(key, head)
    if snapshot is None:
        return folder.owned(folder.name(key)) is None
    try:
        return folder.read(key) == snapshot.file_bytes()
    except OSError:
        return False  # a link, a folder, or what we may not read: the flush says what is in its way


class _Suspect(NamedTuple):
    key: ProfileKey
    version: bytes
    snapshot: SignalProfileSnapshot | None


def check_files(store: Store, folder: ProfileFolder, keys: Iterable[ProfileKey]) -> FileCheck:
    """Compare the files of these profiles with what their heads give, and say what is wrong with those that differ."""
    found = FileCheck([], [])
    for page in pages(keys, _PAGE):
        loaded = store.load(dict.fromkeys(page, (HEAD,)))
        suspects = [
            _Suspect(key, version, build(key, readable(fields.get(HEAD))))
            for key, (version, fields) in loaded.items()
            if not matches_head(folder, key, readable(fields.get(HEAD)))
        ]
        if suspects:
            _judge(store, folder, suspects, found)
    return found


def readable(packed: bytes | None) -> Head | None:
    """A head; None where there is none, or none that can be read."""
    try:
        return None if packed is None else unpack_head(packed)
    except UNREADABLE:
        return None


def _judge(store: Store, folder: ProfileFolder, suspects: list[_Suspect], found: FileCheck) -> None:
    """A file is bad where it was settled, and is not as settled although nothing was flushed or changed since."""
    keys = [one.key for one in suspects]
    settled = store.settled(folder.identity.id, keys)
    on_disk = [folder.hash_on_disk(key) for key in keys]
    again = store.settled(folder.identity.id, keys)
    versions = store.load(dict.fromkeys(keys, ()))
    for one, before, lying, after in zip(suspects, settled, on_disk, again, strict=True):
        expected = NO_FILE if one.snapshot is None else one.snapshot.snapshot_hash
        if before != expected or after != expected or versions[one.key].version != one.version:
            found.waiting.append(one.key)
        elif differs(lying, expected):
            found.wrong.append(bad_file(folder, one.key, lying))


def bad_file(folder: ProfileFolder, key: ProfileKey, on_disk: str) -> BadFile:
    """A profile's file that is missing or stale."""
    return BadFile(folder.name(key), Fault.MISSING if on_disk == NO_FILE else Fault.STALE, key)
