"""Which store a folder was written from: what notices a store that was lost while no process ran.

Without a broker nothing else could: the tail's document was lost with the store. A file in the folder has the instance
id and the epoch of each bucket. A folder without one that has snapshots all the same was written from some store.
"""

import msgspec
import structlog

from projections.decoding import DecodingError, JsonDecoder
from projections.profile_key import BUCKETS
from projections.store.protocol import BucketState, Store
from projections.store.rollback import RollbackDetector
from snapshot.files.atomic import replace
from snapshot.files.folder import ProfileFolder

log = structlog.get_logger()

NOTE = ".signal-profiles-store"


class _Note(msgspec.Struct):
    buckets: list[tuple[str, int]]


_decoder = JsonDecoder(_Note)


class KnownStore:
    """Expects of a store what the folder knows of it, and keeps that up to date. Used by one thread after `expect`."""

    def __init__(self, folder: ProfileFolder, store: Store, detector: RollbackDetector) -> None:
        self._folder = folder
        self._store = store
        self._detector = detector
        self._noted: _Note | None = None

    def expect(self) -> None:
        """Let the detector take for lost what the folder was written from and is not there. Before the loop begins."""
        note = self._noted = self._read()
        if note is not None:
            self._detector.expect({bucket: _state(*known) for bucket, known in enumerate(note.buckets)})
        elif self._has_snapshots():
            missing = [bucket for bucket, state in enumerate(self._store.bucket_states()) if state is None]
            self._detector.expect({bucket: _state("", 0) for bucket in missing})

    def note(self) -> None:
        """Write down which store this is, once the detector has accepted it and where that is another one by now."""
        seen = self._detector.seen()
        if len(seen) < BUCKETS:
            return
        note = _Note([(seen[bucket].instance_id, seen[bucket].epoch) for bucket in range(BUCKETS)])
        if note == self._noted:
            return
        try:
            replace(self._folder.path / NOTE, msgspec.json.encode(note) + b"\n", disk=self._folder.disk)
        except OSError as error:
            log.warning("the folder's note of its store can't be written; retrying", reason=str(error))
        else:
            self._noted = note

    def _read(self) -> _Note | None:
        try:
            note = _decoder.decode(self._folder.disk.read(f"{self._folder.path}/{NOTE}"))
        except FileNotFoundError:
            return None
        except (OSError, DecodingError) as error:
            log.warning("the folder's note of its store can't be read; it is written again", reason=str(error))
            return None
        return note if len(note.buckets) == BUCKETS else None

    def _has_snapshots(self) -> bool:
        return any(self._folder.owned(name) is not None for name in self._folder.names() if name.endswith(".json"))


def _state(instance_id: str, epoch: int) -> BucketState:
    return BucketState(instance_id, epoch, "", 0, {}, {}, None)
