"""The marker of a folder: a file that gives the folder an id and names its scope."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from projections.decoding import DecodingError, JsonDecoder
from projections.errors import OperatorError
from projections.store.protocol import Folder, block_at
from snapshot.files.atomic import replace
from snapshot.files.disk import LOCAL, Disk

MARKER = ".signal-profiles"
_TRIALS = 20
_PAUSE = 0.1


class _Marker(msgspec.Struct, omit_defaults=True):
    id: str
    group_slug: str | None
    analyses: bool = False
    blocked: dict[int, int] | list[int] = {}
    """The revision floor of each user who is blocked; a list of them, from before floors said when."""


class _InMarker:
    """Something that a folder's marker remembers, once the folder has one."""

    def __init__(self, folder: Path, disk: Disk = LOCAL) -> None:
        self._folder = folder
        self._disk = disk

    def _marker(self) -> _Marker | None:
        try:
            return _decode(self._disk.read(f"{self._folder}/{MARKER}"))
        except (OSError, DecodingError):
            return None

    def _write(self, marker: _Marker) -> None:
        replace(self._folder / MARKER, msgspec.json.encode(marker) + b"\n", disk=self._disk)


class SeenInMarker(_InMarker):
    """Whether there ever were analyses, as a folder's marker remembers: see `projections.database.protocol`."""

    def get(self) -> bool:
        """Whether analyses were seen; a folder without a marker knows of none."""
        marker = self._marker()
        return marker is not None and marker.analyses

    def put(self, *, seen: bool) -> None:
        """Remember it, once the folder has a marker and can be written: whoever opens the database next tries again."""
        marker = self._marker()
        if marker is not None and marker.analyses != seen:
            with suppress(OSError):  # what writes files there says so
                self._write(msgspec.structs.replace(marker, analyses=seen))


class BlockedInMarker(_InMarker):
    """Who was forgotten although there are rows of them, as a folder's marker remembers: a lost store does not."""

    def get(self) -> frozenset[int]:
        """Their ids; a folder without a marker knows of nobody."""
        return frozenset(self.blocks())

    def blocks(self) -> dict[int, int]:
        """Their revision floors, by user id."""
        marker = self._marker()
        blocked = {} if marker is None else marker.blocked
        return blocked if isinstance(blocked, dict) else dict.fromkeys(blocked, block_at(0))

    def put(self, blocks: Mapping[int, int]) -> None:
        """Remember them, once the folder has a marker. Raises OSError."""
        marker = self._marker()
        if marker is not None and marker.blocked != blocks:
            self._write(msgspec.structs.replace(marker, blocked=dict(sorted(blocks.items()))))


_decode = JsonDecoder(_Marker).decode


def read_marker(folder: Path, disk: Disk = LOCAL) -> Folder:
    """Which folder this is. Raises OSError, and OperatorError where the marker is damaged."""
    return _parsed(folder, disk.read(f"{folder}/{MARKER}"))


def find_marker(folder: Path, disk: Disk = LOCAL) -> Folder | None:
    """Which folder this is; None where it has no marker yet: an empty one is just being made.

    Raises OperatorError where one lies there that can't be read: it may say who is blocked.
    """
    try:
        content = disk.read(f"{folder}/{MARKER}")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise OperatorError(f"the marker {folder / MARKER} can't be read ({error.strerror}): allow it") from error
    return _parsed(folder, content) if content else None


def make_marker(
    folder: Path, mine: Folder, disk: Disk = LOCAL, sleep: Callable[[float], object] = time.sleep
) -> Folder:
    """Which folder this is: `mine`, if it has no marker yet. Raises as `read_marker` does.

    The file is made exclusively, so that of two processes that make it at once one wins. It is empty for the moment
    between making and writing; one that stays empty was left by a process that ended in this moment.
    """
    content = msgspec.json.encode(_Marker(*mine)) + b"\n"
    for _ in range(_TRIALS):
        _make(folder, content, disk)
        if found := disk.read(f"{folder}/{MARKER}"):
            return _parsed(folder, found)
        sleep(_PAUSE)
    replace(folder / MARKER, content, disk=disk)
    return read_marker(folder, disk)


def _make(folder: Path, content: bytes, disk: Disk) -> None:
    place = f"{folder}/{MARKER}"
    if disk.exists(place):
        return
    try:
        disk.write_new(place, content)
    except FileExistsError:
        return
    try:
        disk.flush(place)
        disk.flush(str(folder))
    except OSError:
        disk.remove(place)
        raise


def _parsed(folder: Path, content: bytes) -> Folder:
    try:
        marker = _decode(content)
    except DecodingError as error:
        raise OperatorError(
            f"the marker {folder / MARKER} is damaged ({error}): remove it, and start a consumer, "
            "which makes it again and notes in it who is blocked"
        ) from error
    return Folder(marker.id, marker.group_slug)
