"""`snapshot-changed`: announcements in the order in which they arrive, compacted by key."""

from collections.abc import Callable, Sequence

from simulation.processes import Process

from projections.errors import OperatorError
from projections.profile_key import ProfileKey
from snapshot.announce.announcement import Announcement
from snapshot.files.folder import NO_FILE


class Announcements:
    """The topic, or the file of JSON lines. `arrived` is called with each, and with who sent it."""

    def __init__(self) -> None:
        self.last: dict[ProfileKey, Announcement] = {}
        """What compaction leaves."""
        self.away = False
        self.arrived: Callable[[Announcement, str], None] = lambda _one, _who: None

    def append(self, one: Announcement, who: str) -> None:
        self.last[ProfileKey(one.user_id, one.group_slug)] = one
        self.arrived(one, who)


class Announcer:
    """One process' producer. `lost` draws whether an announcement (True) or its acknowledgement (False) is lost."""

    def __init__(self, topic: Announcements, process: Process, lost: Callable[[], bool | None]) -> None:
        self._topic = topic
        self._process = process
        self._lost = lost

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        return [self._sent(one) for one in announcements]

    def _sent(self, one: Announcement) -> Exception | None:
        self._process.call(f"announces {one.user_id}:{one.group_slug} {one.sequence}")
        lost = self._lost()
        if self._topic.away or lost:
            return OSError("it was not sent")
        self._topic.append(one, self._process.name)
        return None if lost is None else OSError("it was not acknowledged")

    def announced(self) -> dict[ProfileKey, str | None]:
        """What downstream has. Raises OperatorError."""
        self._process.call("reads announcements")
        if self._topic.away:
            raise OperatorError("the announcements are away")
        return {key: one.snapshot_hash or NO_FILE for key, one in self._topic.last.items()}

    def close(self) -> None:
        """Nothing is held open."""
