"""Which files may lie in the folder without downstream having been told.

A store that was lost says nothing of what was announced, and then what lies in the folder counts as announced. It was
not where the flush had come no further than the file, or where the announcements had been failing for an hour. So each
batch leaves a note in the folder before its files are written, and takes it away when all of them are announced. A
note is whole or not there, and outlives a power cut as the files do: what loses the store may well be one.
"""

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

_decode = JsonDecoder(list[ProfileKey]).decode


class UnannouncedJournal:
    """The notes of one folder. A note never changes."""

    def __init__(self, folder: Path, disk: Disk = LOCAL) -> None:
        self._disk = disk
        self._path = folder / NOTES
        self._notes: dict[Path, set[ProfileKey]] = {}
        self.look()

    def look(self) -> None:
        """See what other processes noted, those that crashed included."""
        try:
            places = [self._path / name for name in self._disk.names(str(self._path))]
        except OSError:
            return
        self._notes = {place: self._notes.get(place) or self._noted(place) for place in places}

    def record(self, token: str, keys: Collection[ProfileKey], *, flush: bool = True) -> None:
        """Files of these profiles are about to be written. `flush`: nobody else will flush the note before they are.

        It says all that older notes said of them, so these shrink: else announcements that fail for days, each trial
        with a note, would fill the disk. Raises OSError.
        """
        if not keys:
            return
        self._disk.make_folder(str(self._path))
        place = self._path / token
        replace(place, msgspec.json.encode(sorted(keys)), beside=self._path.parent, flush=flush, disk=self._disk)
        if flush:
            self._disk.flush(str(self._path))
        self._notes.pop(place, None)
        self.told(keys)
        self._notes[place] = set(keys)

    def told(self, keys: Collection[ProfileKey]) -> None:
        """Downstream knows of these profiles what the folder says."""
        for place, read in list(self._notes.items()):
            read.difference_update(keys)
            if not read:
                del self._notes[place]
                with suppress(OSError):  # then downstream hears of them twice, if the store is lost
                    self._disk.remove(str(place))

    def __contains__(self, key: object) -> bool:
        return any(key in read for read in self._notes.values())

    def _noted(self, place: Path) -> set[ProfileKey]:
        try:
            return set(_decode(self._disk.read(str(place))))
        except (OSError, msgspec.DecodeError):
            return set()  # its process has just taken it away; or the machine stopped in the middle of it
