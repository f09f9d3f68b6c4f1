"""The folder of profile files: one scope, a marker that names it, and files that are whole or not there.

A file is written beside its place under a temporary name, flushed to the disk and moved over the old one, so that a
reader, or a crash, never meets half a file.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import msgspec

from projections.errors import OperatorError
from projections.profile import ProfileKey
from projections.store import Folder

MARKER = ".signal-profiles"
_TEMPORARY = ".tmp"
_LONGEST_NAME = 200
_STALE_SECONDS = 3600.0
_WRITERS = 8


class _Marker(msgspec.Struct):
    id: str
    group_slug: str | None


def file_name(key: ProfileKey, group_slug: str | None) -> str:
    """A profile's file name in a folder of that scope.

    >>> file_name(ProfileKey(7, "harvard"), "harvard")
    '7.json'
    >>> file_name(ProfileKey(7, "../../etc"), None)
    '7-%2E.%2F..%2Fetc.json'
    """
    if group_slug is not None:
        return f"{key.user_id}.json"
    slug = quote(key.group_slug, safe="")
    slug = slug.replace("~", "%7E")
    if slug.startswith("."):
        slug = f"%2E{slug[1:]}"
    name = f"{key.user_id}-{slug}"
    if len(name) + len(".json") > _LONGEST_NAME:
        digest = hashlib.sha256(key.group_slug.encode()).hexdigest()[:32]
        name = f"{name[: _LONGEST_NAME - len(digest) - len('-.json')]}-{digest}"
    return f"{name}.json"


class ProfileFolder:
    """One folder and its scope: `group_slug`, or None for all groups."""

    def __init__(self, path: Path, identity: Folder) -> None:
        self.path = path
        self.identity = identity
        self._writers = ThreadPoolExecutor(_WRITERS, thread_name_prefix="files")

    def place(self, key: ProfileKey) -> Path:
        """Where a profile's file lies."""
        return self.path / file_name(key, self.identity.group_slug)

    def read(self, key: ProfileKey) -> bytes | None:
        """A profile's file; None where there is none."""
        try:
            return self.place(key).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, contents: Mapping[ProfileKey, bytes | None]) -> dict[ProfileKey, OSError]:
        """Write files (None: remove one) so that they outlive a power cut; the errors of those that failed.

        Several at once: the disk's flush is what takes the time.
        """
        errors = dict(zip(contents, self._writers.map(self._put, contents.items()), strict=True))
        failed = {key: error for key, error in errors.items() if error is not None}
        if len(failed) < len(contents):
            _flush_folder(self.path)
        return failed

    def _put(self, item: tuple[ProfileKey, bytes | None]) -> OSError | None:
        key, content = item
        try:
            if content is None:
                self.place(key).unlink(missing_ok=True)
            else:
                replace(self.place(key), content)
        except OSError as error:
            return error
        return None

    def names(self) -> Iterable[str]:
        """The names of all profile files that lie there."""
        with os.scandir(self.path) as entries:
            return sorted(entry.name for entry in entries if entry.name.endswith(".json"))

    def close(self) -> None:
        """End the writing threads."""
        self._writers.shutdown()


def replace(place: Path, content: bytes) -> None:
    """Write a file whole or not at all, and flush it to the disk."""
    temporary = place.with_name(f".{secrets.token_hex(8)}{_TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(place)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def open_folder(path: Path, group_slug: str | None, clock: Callable[[], float] = time.time) -> ProfileFolder:
    """Open a folder for one scope, and make it if it is not there.

    Raises OperatorError where it can't be written, or holds another scope.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        marker = _mark(path, group_slug)
        _sweep(path, clock())
    except OSError as error:
        raise OperatorError(
            f"the folder {path} can't be written ({error.strerror}); give it to this user, or choose another "
            "with --output-dir or SNAPSHOT_STORAGE_DIR"
        ) from error
    if marker.group_slug != group_slug:
        raise OperatorError(
            f"the folder {path} holds {_scope(marker.group_slug)}, this run is for {_scope(group_slug)}; "
            "give each scope a folder of its own with --output-dir"
        )
    return ProfileFolder(path, Folder(marker.id, group_slug))


def _scope(group_slug: str | None) -> str:
    return "all groups" if group_slug is None else f"the group {group_slug}"


def _mark(path: Path, group_slug: str | None) -> _Marker:
    """Read the marker, or make it: linked into its place whole, so that of two who make it at once one wins."""
    place = path / MARKER
    if not place.exists():
        temporary = path / f".{secrets.token_hex(8)}{_TEMPORARY}"
        temporary.write_bytes(msgspec.json.encode(_Marker(secrets.token_hex(8), group_slug)) + b"\n")
        try:
            os.link(temporary, place)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    try:
        return msgspec.json.decode(place.read_bytes(), type=_Marker)
    except msgspec.DecodeError as error:
        raise OperatorError(
            f"the marker {place} is damaged ({error}); remove it, and the next run makes it anew"
        ) from error


def _sweep(path: Path, now: float) -> None:
    """Remove temporary files that a crash left behind."""
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(_TEMPORARY) and now - entry.stat().st_mtime > _STALE_SECONDS:
                Path(entry.path).unlink(missing_ok=True)


def _flush_folder(path: Path) -> None:
    """Make renames in a folder outlive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
