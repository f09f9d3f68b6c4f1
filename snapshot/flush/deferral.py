"""What a flusher must not show yet: what a store that lost something still says of profiles."""

from projections.profile_key import ProfileKey, bucket_of
from projections.store.protocol import Store
from projections.store.rollback import Witness
from snapshot.files.folder import ProfileFolder
from snapshot.flush.batch import DAMAGED, NOTHING, Round, again, lies

_DOUBTS = 5


class Caution:
    """Gives claims back, due again after `pause` seconds, until it is safe to show what was read."""

    def __init__(self, store: Store, folder: ProfileFolder, witness: Witness | None, pause: float) -> None:
        self._store = store
        self._folder = folder
        self._witness = witness
        self._pause = pause
        self._doubts: dict[ProfileKey, int] = {}

    def leave(self, one: Round) -> None:
        """Look at a batch that was read. Raises StoreUnavailableError."""
        self._leave_lost(one)
        self._leave_doubtful(one)

    def _leave_lost(self, one: Round) -> None:
        """Show nothing of buckets that fell back, or began to heal since the claim.

        The marks are read after the heads: what they say holds for every head that was read.
        """
        marks, fallen = (self._store.marks(), {}) if self._witness is None else self._witness.look()
        lost = {bucket for bucket, mark in enumerate(marks) if mark is not None and mark.healing is not None} | {
            *fallen
        }
        for outcome in one.open():
            if bucket_of(outcome.claim.key.user_id) in lost:
                one.leave(outcome.claim, self._pause)

    def _leave_doubtful(self, one: Round) -> None:
        """Wait with a file that is neither what was settled nor what it is to be.

        The store may have lost its last second with the machine, before any process could see it: soon it knows again
        what the file says. If it doesn't, somebody put the file there.
        """
        for outcome in one.open():
            key, settled, claim = outcome.claim.key, outcome.reading.settled, outcome.claim
            if settled is None or claim.forced or claim.taken_over or not outcome.to_write:
                continue
            if lies(self._folder, key) in (NOTHING, DAMAGED, settled, outcome.hash):
                self._doubts.pop(key, None)
            elif self._wait_for(key):
                one.leave(claim, self._pause)
            else:
                one.outcomes[key] = outcome._replace(claim=again(claim))

    def _wait_for(self, key: ProfileKey) -> bool:
        """Whether there is still hope."""
        self._doubts[key] = self._doubts.get(key, 0) + 1
        if self._doubts[key] <= _DOUBTS:
            return True
        del self._doubts[key]
        return False
