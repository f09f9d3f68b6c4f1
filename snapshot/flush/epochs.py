"""With which epoch of each bucket a folder is in step; it is kept in the folder, so that a crash leaves none out."""

from collections.abc import Collection, Sequence

import msgspec

from projections.decoding import JsonDecoder
from projections.store.protocol import BucketState, Store
from projections.watermark import TAIL, holds, observe
from snapshot.files.atomic import replace
from snapshot.files.folder import ProfileFolder

EPOCHS = ".signal-profiles-epochs"
"""The file in the folder that says for each bucket in which epoch its files were compared with the store."""

States = Sequence[BucketState | None]
_decode = JsonDecoder(dict[int, str]).decode


class FolderEpochs:
    """Which epochs one folder is in step with, as last read from there or noted."""

    def __init__(self, folder: ProfileFolder) -> None:
        self._folder = folder
        self._known: dict[int, str] | None = None

    def known(self) -> dict[int, str]:
        """For each bucket the instance and the epoch. Nothing where the file is missing or damaged."""
        if self._known is None:
            try:
                self._known = _decode(self._folder.disk.read(f"{self._folder.path}/{EPOCHS}"))
            except (OSError, msgspec.DecodeError):
                self._known = {}  # then all are compared
        return self._known

    def pending(self, states: States) -> list[int]:
        """The buckets that are in another epoch than the folder is in step with."""
        known = self.known()
        return [
            bucket
            for bucket, state in enumerate(states)
            if state is not None and known.get(bucket) != spell_epoch(state)
        ]

    def of_another_store(self, states: States) -> list[int]:
        """The buckets of which the folder shows what another store held: this one may have begun only now."""
        known = self.known()
        return [
            bucket
            for bucket, state in enumerate(states)
            if state is not None and bucket in known and known[bucket].partition(":")[0] != state.instance_id
        ]

    def record(self, states: States) -> None:
        """The folder is in step with the present epochs. Raises OSError."""
        known = {bucket: spell_epoch(state) for bucket, state in enumerate(states) if state is not None}
        replace(self._folder.path / EPOCHS, msgspec.json.encode(known) + b"\n", disk=self._folder.disk)
        self._known = known

    def reread(self) -> None:
        """Another process, or another thread, may have noted something."""
        self._known = None


def spell_epoch(state: BucketState | None) -> str:
    """The instance and the epoch, as the file has them."""
    return "" if state is None else f"{state.instance_id}:{state.epoch}"


def follows_the_tail(state: BucketState) -> bool:
    """Whether the bucket is filled by the tail in process; else it is by Kafka's topics."""
    return any(name.startswith(f"{TAIL}/") for name in state.positions)


def complete(store: Store, states: States, buckets: Collection[int]) -> bool:
    """Whether these buckets hold the whole history.

    One whose epoch was raised was reconciled with the database once it recovers no more. For one that was initialized,
    the tail in process says so. Of Kafka's topics nothing does: what they held before may have been dropped.
    """
    mine = [state for bucket in buckets if (state := states[bucket]) is not None]
    if any(state.recovery is not None for state in mine):
        return False
    initialized = [state for state in mine if not state.epoch]
    if not all(map(follows_the_tail, initialized)):
        return False
    if not initialized:
        return True
    seen = observe(store)
    return seen.passed(0) and all(holds(seen.positions[bucket], seen.tail.positions) for bucket in buckets if seen.tail)
