"""Which files may lie in the folder unannounced.

A store that was lost says nothing of what was announced, and then what lies in the folder counts as announced. It was
not where the flush had come no further than the file, or where the announcements had been failing for an hour. So each
batch leaves a note in the folder before its files are written, and removes it when all of them are announced. A note
is whole or not there, and outlives a power cut as the files do: what loses the store may well be one.
"""

import re
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

import msgspec

from projections.decoding import JsonDecoder
from projections.profile_key import ProfileKey
from snapshot.files.atomic import replace
from snapshot.files.disk import LOCAL, Disk

NOTES = ".signal-profiles-untold"
"""The folder of the notes, in the folder of the files."""

_TOKEN = re.compile(r"[0-9a-f]{16}")
_decode = JsonDecoder(list[ProfileKey]).decode


class UnannouncedJournal:
    """The notes of one folder, each named by the token of its batch: 16 hex digits."""

    def __init__(self, folder: Path, disk: Disk = LOCAL) -> None:
        self._disk = disk
        self._path = folder / NOTES
        self._notes: dict[Path, set[ProfileKey]] = {}
        self.read()

    def read(self) -> None:
        """See what other processes noted, those that crashed included. What is no note of ours is left alone."""
        path = str(self._path)
        try:
            names = list(self._disk.names(path)) if self._disk.is_folder(path) else []
        except OSError:
            return
        places = [self._path / name for name in names if _TOKEN.fullmatch(name)]
        found = {place: self._notes.get(place) or self._read(place) for place in places}
        self._notes = {place: keys for place, keys in found.items() if keys is not None}

    def record(self, token: str, keys: Collection[ProfileKey], *, flush: bool = True) -> None:
        """Files of these profiles are about to be written. `flush`: nobody else will flush the note before they are.

        It says all that older notes said of them, so these shrink: else announcements that fail for days, each attempt
        with a note, would fill the disk. Raises OSError.
        """
        if not keys:
            return
        self._disk.make_folder(str(self._path))
        place = self._path / token
        self._write(place, keys, flush=flush)
        if flush:
            self._disk.flush(str(self._path))
        self._notes.pop(place, None)
        self.announced(keys)
        self._notes[place] = set(keys)

    def announced(self, keys: Collection[ProfileKey]) -> None:
        """Downstream has of these profiles what the folder says."""
        for place, noted in list(self._notes.items()):
            noted.difference_update(keys)
            if not noted:
                del self._notes[place]
                with suppress(OSError):  # then they are announced twice, if the store is lost
                    self._disk.remove(str(place))

    def forget(self, user_id: int) -> int:
        """Write the notes again without this user's profiles; how many notes named any. Raises OSError."""
        self.read()
        named = {place: keys for place, keys in self._notes.items() if any(key.user_id == user_id for key in keys)}
        for place, keys in named.items():
            keys.difference_update([key for key in keys if key.user_id == user_id])
            if keys:
                self._write(place, keys, flush=True)
        self.announced(())
        return len(named)

    def profiles(self) -> list[ProfileKey]:
        """The profiles that any note names, ascending."""
        return sorted(set().union(*self._notes.values()))

    def __contains__(self, key: object) -> bool:
        return any(key in noted for noted in self._notes.values())

    def _write(self, place: Path, keys: Collection[ProfileKey], *, flush: bool) -> None:
        content = msgspec.json.encode(sorted(keys))
        replace(place, content, beside=self._path.parent, flush=flush, disk=self._disk)

    def _read(self, place: Path) -> set[ProfileKey] | None:
        """What a note says; None where its process has just removed it, or it is none."""
        try:
            content = self._disk.read(str(place))
            return set(_decode(content)) if content else set()  # empty: the machine stopped in the middle of it
        except (OSError, msgspec.DecodeError):
            return None
