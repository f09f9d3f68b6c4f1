"""The folder against the store: files that are missing, stale, or nobody's."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from itertools import islice
from typing import NamedTuple
from urllib.parse import unquote

import msgspec

from projections.profile import Head, ProfileKey, unpack_head
from projections.store import ABSENT, HEAD, Store
from snapshot.build import build
from snapshot.folder import ProfileFolder, file_name
from snapshot.schema import SignalProfileSnapshot, parse_file

_PAGE = 500
_OURS = re.compile(r"(\d+)(?:-(.+))?\.json", re.DOTALL)


class Fault(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    STALE = "stale"
    FOREIGN = "foreign"


class WrongFile(NamedTuple):
    """A file that is not what it should be; `key` is whose it is, or seems to be."""

    name: str
    fault: Fault
    key: ProfileKey


class Audited(NamedTuple):
    """What was seen of some profiles' files. `waiting` are those that a flush is still to write."""

    wrong: list[WrongFile]
    waiting: list[ProfileKey]


def right(folder: ProfileFolder, key: ProfileKey, head: Head | None) -> bool:
    """Whether a profile's file is what its head gives; a head that has to be mended first is passed over."""
    if head is not None and head.needs_mend():
        return True
    snapshot = build(key, head)
    return content(folder, key) == (None if snapshot is None else snapshot.file_bytes())


def content(folder: ProfileFolder, key: ProfileKey) -> bytes | None:
    """What lies in a profile's place; None where nothing does, empty where it can't be read."""
    try:
        return folder.read(key)
    except OSError:
        return b""  # somebody else's file, or a folder: not what we wrote; the flush says what is in its way


class _Suspect(NamedTuple):
    key: ProfileKey
    version: bytes
    snapshot: SignalProfileSnapshot | None


def audit(store: Store, folder: ProfileFolder, keys: Iterable[ProfileKey]) -> Audited:
    """Compare the files of these profiles with what their heads give, and say what is wrong with those that differ."""
    found = Audited([], [])
    for page in _pages(list(keys)):
        loaded = store.load(dict.fromkeys(page, (HEAD,)))
        suspects = [
            _Suspect(key, version, build(key, readable(fields.get(HEAD))))
            for key, (version, fields) in loaded.items()
            if not right(folder, key, readable(fields.get(HEAD)))
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


def _pages(keys: list[ProfileKey]) -> Iterator[list[ProfileKey]]:
    return (keys[start : start + _PAGE] for start in range(0, len(keys), _PAGE))


def _judge(store: Store, folder: ProfileFolder, suspects: list[_Suspect], found: Audited) -> None:
    """A file is wrong where it was settled, and is not so although nothing was flushed or changed since."""
    keys = [one.key for one in suspects]
    settled = store.settled(folder.identity.id, keys)
    lies = [content(folder, key) for key in keys]
    again = store.settled(folder.identity.id, keys)
    versions = store.load(dict.fromkeys(keys, ()))
    for one, before, found_there, after in zip(suspects, settled, lies, again, strict=True):
        right = "" if one.snapshot is None else one.snapshot.snapshot_hash
        if before != right or after != right or versions[one.key].version != one.version:
            found.waiting.append(one.key)
        elif _hash(found_there) != right:
            fault = Fault.MISSING if found_there is None else Fault.STALE
            found.wrong.append(WrongFile(file_name(one.key, folder.identity.group_slug), fault, one.key))


def _hash(content: bytes | None) -> str | None:
    """The hash of what lies there; empty where nothing does, None where it is no snapshot."""
    try:
        return "" if content is None else parse_file(content).snapshot_hash
    except ValueError:
        return None


def foreign(folder: ProfileFolder, absent: Iterable[ProfileKey]) -> list[WrongFile]:
    """Name the files that lie there although these profiles don't exist; a folder of such a name is no file of ours."""
    slug = folder.identity.group_slug
    return [WrongFile(file_name(key, slug), Fault.FOREIGN, key) for key in absent if folder.place(key).is_file()]


def foreign_files(
    store: Store, folder: ProfileFolder, known: Collection[str], asked: Callable[[ProfileKey], bool]
) -> list[WrongFile]:
    """Name the files that look like ours and belong to no stored profile, of those that are asked for.

    `known` are names of files that do belong to one.
    """
    owners = (owner(folder, name) for name in folder.names() if name not in known)
    strange = (key for key in owners if key is not None and asked(key))
    found: list[WrongFile] = []
    while page := list(islice(strange, _PAGE)):
        loaded = store.load(dict.fromkeys(page, ()))
        found += foreign(folder, [key for key in page if loaded[key].version == ABSENT])
    return sorted(found)


def owner(folder: ProfileFolder, name: str) -> ProfileKey | None:
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
        snapshot = parse_file((folder.path / name).read_bytes())
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
