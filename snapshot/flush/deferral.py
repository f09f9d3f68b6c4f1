"""What a flusher must not show yet: what a store that lost something still says of profiles."""

from projections.profile_key import ProfileKey, bucket_of
from projections.store.protocol import BucketState, Store
from projections.store.rollback import RollbackDetector
from snapshot.files.folder import DAMAGED, NO_FILE, ProfileFolder
from snapshot.flush.batch import FlushBatch, Outcome
from snapshot.flush.epochs import FolderEpochs, complete

_MOST_DEFERRALS = 5
"""How many times in a row a profile is deferred because its file seems newer than the store."""


class Deferral:
    """Gives claims back, due again after `pause` seconds, until it is safe to show what was read."""

    def __init__(self, store: Store, folder: ProfileFolder, detector: RollbackDetector | None, pause: float) -> None:
        self._store = store
        self._folder = folder
        self._detector = detector
        self._pause = pause
        self._epochs = FolderEpochs(folder)
        self._deferred: dict[ProfileKey, int] = {}

    def give_back(self, batch: FlushBatch) -> None:
        """Give back of a batch that was read what may be stale. Raises StoreUnavailableError."""
        lost = self._lost_buckets()
        for outcome in batch.open():
            claim = outcome.claim
            if bucket_of(claim.key.user_id) in lost or self._is_deferred(outcome):
                batch.give_back(claim, self._pause)
            elif claim.key in self._deferred:  # the file stayed as it is: another program put it there
                del self._deferred[claim.key]
                batch.outcomes[claim.key] = outcome._replace(claim=claim._replace(forced=True))

    def _lost_buckets(self) -> set[int]:
        """The buckets that rolled back, or began to recover since the claim.

        The states are read after the heads: what they say holds for every head that was read.
        """
        states, rolled_back = (self._store.bucket_states(), {}) if self._detector is None else self._detector.read()
        recovering = {bucket for bucket, state in enumerate(states) if state is not None and state.recovery is not None}
        return recovering | {*rolled_back} | self._incomplete(states)

    def _incomplete(self, states: list[BucketState | None]) -> set[int]:
        """The buckets of a store that was lost while no process ran, until it holds the whole history again."""
        if not self._epochs.of_another_store(states):
            return set()
        self._epochs.reread()
        another = self._epochs.of_another_store(states)
        return set() if complete(self._store, states, another) else {*another}

    def _is_deferred(self, outcome: Outcome) -> bool:
        """Whether to wait, as the file is neither what was settled nor what it is to be.

        The store may have lost its last second with the machine, before any process could see it: soon it knows again
        what the file says.
        """
        key, settled = outcome.claim.key, outcome.reading.settled
        safe = settled is None or outcome.repeated or not outcome.to_write
        if safe or self._folder.hash_on_disk(key) in (NO_FILE, DAMAGED, settled, outcome.hash):
            self._deferred.pop(key, None)
            return False
        self._deferred[key] = self._deferred.get(key, 0) + 1
        return self._deferred[key] <= _MOST_DEFERRALS
