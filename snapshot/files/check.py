"""The folder against the store: files that are missing, stale, or nobody's."""

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

import msgspec

from projections.codec import unpack_head
from projections.paging import pages
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.store.protocol import HEAD, Store
from snapshot.build import build
from snapshot.files.folder import ProfileFolder, file_name
from snapshot.schema import SignalProfileSnapshot, parse_file

_PAGE = 500


class Fault(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    STALE = "stale"
    FOREIGN = "foreign"


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
    """Whether a profile's file is what its head gives; a head that has to be mended first is passed over."""
    if head is not None and head.needs_recompute():
        return True
    snapshot = build(key, head)
    return read_or_empty(folder, key) == (None if snapshot is None else snapshot.file_bytes())


def read_or_empty(folder: ProfileFolder, key: ProfileKey) -> bytes | None:
    """What lies in a profile's place; None where nothing does, empty where it can't be read."""
    try:
        return folder.read(key)
    except OSError:
        return b""  # somebody else's file, or a folder: not what we wrote; the flush says what is in its way


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
    except msgspec.DecodeError:
        return None


def _judge(store: Store, folder: ProfileFolder, suspects: list[_Suspect], found: FileCheck) -> None:
    """A file is wrong where it was settled, and is not so although nothing was flushed or changed since."""
    keys = [one.key for one in suspects]
    settled = store.settled(folder.identity.id, keys)
    on_disk = [read_or_empty(folder, key) for key in keys]
    again = store.settled(folder.identity.id, keys)
    versions = store.load(dict.fromkeys(keys, ()))
    for one, before, found_there, after in zip(suspects, settled, on_disk, again, strict=True):
        right = "" if one.snapshot is None else one.snapshot.snapshot_hash
        if before != right or after != right or versions[one.key].version != one.version:
            found.waiting.append(one.key)
        elif _hash(found_there) != right:
            fault = Fault.MISSING if found_there is None else Fault.STALE
            found.wrong.append(BadFile(file_name(one.key, folder.identity.group_slug), fault, one.key))


def _hash(content: bytes | None) -> str | None:
    """The hash of what lies there; empty where nothing does, None where it is no snapshot."""
    try:
        return "" if content is None else parse_file(content).snapshot_hash
    except ValueError:
        return None
