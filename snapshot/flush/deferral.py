"""What a flusher must not show yet: what a store that lost something still says of profiles."""

from projections.profile_key import ProfileKey, bucket_of
from projections.store.protocol import Store
from projections.store.rollback import RollbackDetector, StatesRead
from snapshot.files.folder import DAMAGED, NO_FILE, ProfileFolder
from snapshot.flush.batch import FlushBatch, Outcome
from snapshot.flush.epochs import FolderEpochs, States

_MOST_DEFERRALS = 5
"""How many times in a row a profile is deferred because its file seems newer than the store."""


class Deferral:
    """Gives claims back, due again after `pause` seconds, until it is safe to show what was read."""

    def __init__(
        self,
        store: Store,
        folder: ProfileFolder,
        epochs: FolderEpochs,
        detector: RollbackDetector | None,
        pause: float,
    ) -> None:
        self._read = (lambda: StatesRead(store.bucket_states(), {})) if detector is None else detector.read
        self._folder = folder
        self._epochs = epochs
        self._pause = pause
        self._deferred: dict[ProfileKey, int] = {}

    def give_back(self, batch: FlushBatch) -> States:
        """Give back of a batch that was read what may be stale; the states of the buckets, read after the heads.

        What they say holds for every head that was read. Raises StoreUnavailableError.
        """
        states, rolled_back = self._epochs.compare(self._read)
        recovering = {bucket for bucket, state in enumerate(states) if state is not None and state.recovery is not None}
        lost = recovering | {*rolled_back}
        for outcome in batch.open():
            claim = outcome.claim
            if bucket_of(claim.key.user_id) in lost or self._is_deferred(outcome):
                batch.give_back(claim, self._pause)
            elif claim.key in self._deferred:  # the file stayed as it is: another program put it there
                del self._deferred[claim.key]
                batch.outcomes[claim.key] = outcome._replace(claim=claim._replace(forced=True))
        return states

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
