"""What a flusher must not show yet: what a store that lost something still says of profiles."""

from projections.profile_key import ProfileKey, bucket_of
from projections.store.protocol import Store
from projections.store.rollback import RollbackDetector
from snapshot.files.folder import DAMAGED, NO_FILE, ProfileFolder
from snapshot.flush.batch import FlushBatch, forced

_DOUBTS = 5


class Deferral:
    """Gives claims back, due again after `pause` seconds, until it is safe to show what was read."""

    def __init__(self, store: Store, folder: ProfileFolder, detector: RollbackDetector | None, pause: float) -> None:
        self._store = store
        self._folder = folder
        self._detector = detector
        self._pause = pause
        self._doubts: dict[ProfileKey, int] = {}

    def give_back(self, one: FlushBatch) -> None:
        """Look at a batch that was read. Raises StoreUnavailableError."""
        self._leave_lost(one)
        self._leave_doubtful(one)

    def _leave_lost(self, one: FlushBatch) -> None:
        """Show nothing of buckets that fell back, or began to heal since the claim.

        The marks are read after the heads: what they say holds for every head that was read.
        """
        states, rolled_back = (self._store.bucket_states(), {}) if self._detector is None else self._detector.read()
        lost = {bucket for bucket, state in enumerate(states) if state is not None and state.recovery is not None} | {
            *rolled_back
        }
        for outcome in one.open():
            if bucket_of(outcome.claim.key.user_id) in lost:
                one.give_back(outcome.claim, self._pause)

    def _leave_doubtful(self, one: FlushBatch) -> None:
        """Wait with a file that is neither what was settled nor what it is to be.

        The store may have lost its last second with the machine, before any process could see it: soon it knows again
        what the file says. If it doesn't, somebody put the file there.
        """
        for outcome in one.open():
            key, settled, claim = outcome.claim.key, outcome.reading.settled, outcome.claim
            if settled is None or claim.forced or claim.taken_over or not outcome.to_write:
                continue
            if self._folder.hash_on_disk(key) in (NO_FILE, DAMAGED, settled, outcome.hash):
                self._doubts.pop(key, None)
            elif self._wait_for(key):
                one.give_back(claim, self._pause)
            else:
                one.outcomes[key] = outcome._replace(claim=forced(claim))

    def _wait_for(self, key: ProfileKey) -> bool:
        """Whether there is still hope."""
        self._doubts[key] = self._doubts.get(key, 0) + 1
        if self._doubts[key] <= _DOUBTS:
            return True
        del self._doubts[key]
        return False
