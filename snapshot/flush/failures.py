"""What stands in the way of profiles that could not be flushed: for the log, and for the operator."""

from collections.abc import Callable, Mapping
from pathlib import Path

from projections.profile_key import ProfileKey
from snapshot.flush.batch import FlushBatch
from snapshot.runtime.throttle import ThrottledWarning


class Failures:
    """Kept until every profile that failed was flushed. `place` says where a profile's file lies."""

    def __init__(self, place: Callable[[ProfileKey], Path], now: Callable[[], float]) -> None:
        self.trouble: str | None = None
        """What stands in the way at present; None where nothing does."""
        self._place = place
        self.reasons: dict[ProfileKey, str] = {}
        """The profiles that failed and were not flushed since, with why."""
        self._batch: dict[ProfileKey, str] = {}
        self._unreadable = ThrottledWarning("profiles in the store can't be read", now, level="error")
        self._unwritten = ThrottledWarning("files not written; retrying", now, level="error")
        self._foreign = ThrottledWarning("a file that is not ours has the name of a removed profile; it is left", now)
        self._unannounced = ThrottledWarning("announcements not acknowledged; retrying", now, level="error")

    def unreadable(self, key: ProfileKey, error: Exception) -> None:
        """A profile in the store can't be read."""
        self._unreadable.warn(str(error), first=named(key))
        self._batch[key] = f"can't be read in the store: {error}"
        self.trouble = (
            f"the profile {named(key)} in the store can't be read ({error}); fix it with "
            f"`snapshot-rebuild --user {key.user_id}`"
        )

    def unwritten(self, errors: Mapping[ProfileKey, OSError]) -> None:
        """Files were not written."""
        self._batch |= {key: f"file not written: {error.strerror or error}" for key, error in errors.items()}
        for key, error in list(errors.items())[:1]:
            reason = error.strerror or str(error)
            self._unwritten.warn(reason, files=len(errors), first=str(self._place(key)))
            self.trouble = (
                f"{self._place(key)} can't be written ({reason}); fix that, or choose another folder with "
                "--output-dir or SNAPSHOT_STORAGE_DIR"
            )

    def not_ours(self, key: ProfileKey) -> None:
        """What lies in the place of a removed profile is not ours to remove."""
        self._foreign.warn(str(self._place(key)))

    def unannounced(self, errors: Mapping[ProfileKey, Exception]) -> None:
        """Announcements were not acknowledged."""
        self._batch |= {key: f"not announced: {error}" for key, error in errors.items()}
        for key, error in list(errors.items())[:1]:
            self._unannounced.warn(str(error), announcements=len(errors), first=named(key))
            self.trouble = f"the change of the profile {named(key)} can't be announced: {error}"

    def record(self, batch: FlushBatch) -> None:
        """A batch is done: which profiles failed, and which of those that failed before no longer do."""
        for one in batch.open():
            self.reasons.pop(one.claim.key, None)
        self.reasons |= {key: self._batch.get(key, self.trouble or "") for key in batch.failed}
        self._batch = {}
        if not self.reasons:
            self.trouble = None
            for warning in (self._unwritten, self._unannounced, self._unreadable):
                warning.resolved()


def named(key: ProfileKey) -> str:
    """A profile's name for people: that of its announcements' key."""
    return f"{key.user_id}:{key.group_slug}"
