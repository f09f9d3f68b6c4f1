"""What must be true while a history runs. Each violation is kept with its moment; the first one ends the history."""

from collections import defaultdict
from collections.abc import Callable, Iterable

from simulation.database import WhiteBalloon

from projections.profile_key import ProfileKey
from snapshot.announce.announcement import Announcement
from snapshot.deletion_guard import LEAST


class Checks:
    """`violated` is called with each violation."""

    def __init__(self, database: WhiteBalloon, violated: Callable[[str], None]) -> None:
        self._database = database
        self._violated = violated
        self._counting: dict[ProfileKey, set[int]] = defaultdict(set)
        self._left: set[tuple[ProfileKey, int]] = set()
        """Comments that stopped to count in a profile at some moment, or moved: groups and rows are read one after the
        other, so between two changes a row may seem to be where it never was."""
        self._requests: dict[int, int] = {}
        self._sequences: dict[ProfileKey, int] = {}
        self.known: set[ProfileKey] = set()
        """The profiles that were read by anybody."""
        self._readings: dict[tuple[str, ProfileKey], tuple[int, frozenset[int]]] = {}
        self._shown: dict[tuple[str, ProfileKey], set[int]] = defaultdict(set)
        self._latest: dict[tuple[str, ProfileKey], int] = {}
        """The highest sequence that each place showed."""

    @property
    def may_be_blocked(self) -> bool:
        """Whether so much disappeared that the deletion guard may wait for somebody's word."""
        return len(self._left) >= LEAST

    def __str__(self) -> str:
        """Where each comment counts."""
        return " ".join(f"{key.user_id}:{key.group_slug} {sorted(ids)}" for key, ids in sorted(self._counting.items()))

    # ------------------------------------------------------------------------------------------------- what is called

    def committed(self) -> None:
        """Something was committed: note where each comment counts now."""
        groups = self._database.groups()
        now: dict[ProfileKey, set[int]] = defaultdict(set)
        for row in self._database.tables.comments.values():
            if row.deleted_at is None:
                for slug in groups.slugs(row.user_id, row.help_request_id):
                    now[ProfileKey(row.user_id, slug)].add(row.comment_id)
        for key, before in self._counting.items():
            self._left.update((key, one) for one in before - now.get(key, set()))
        requests = {one: row.help_request_id for one, row in self._database.tables.comments.items()}
        moved = {one for one, request in self._requests.items() if requests.get(one, request) != request}
        self._left.update((key, one) for key, before in self._counting.items() for one in before & moved)
        self._counting, self._requests = now, requests

    def read(self, who: str, key: ProfileKey, sequence: int, live: frozenset[int]) -> None:
        """A flusher read a profile in which these comments count."""
        if sequence <= self._sequences.get(key, 0):
            self._violated(f"the sequence of {key} does not grow: {sequence} after {self._sequences[key]}")
        self._sequences[key] = sequence
        self._readings[who, key] = sequence, live
        self.known.add(key)

    def written(self, place: str, key: ProfileKey, who: str, *, there: bool) -> None:
        """A process wrote or removed the profile's file."""
        sequence, live = self._readings.get((who, key), (0, frozenset()))
        if sequence:  # else it is an orphan's file
            self._show(place, key, sequence, live, there=there)

    def announced(self, one: Announcement, who: str) -> None:
        """An announcement arrived."""
        key = ProfileKey(one.user_id, one.group_slug)
        _, live = self._readings.get((who, key), (0, frozenset()))
        self._show("the topic", key, one.sequence, live, there=one.snapshot is not None)

    # --------------------------------------------------------------------------------------------------- what must be

    def _show(self, place: str, key: ProfileKey, sequence: int, live: frozenset[int], *, there: bool) -> None:
        """What was shown once is shown as long as it counts all the while; what comes late is repeated soon."""
        if sequence < self._latest.get((place, key), 0):
            return
        self._latest[place, key] = sequence
        shown = self._shown[place, key]
        lacking = {one for one in shown & self._counting[key] - live if (key, one) not in self._left}
        if lacking:
            said = f"with {len(live)} comments" if there else "as ended"
            self._violated(f"{place} shows {key} {said}; it lacks {_listed(lacking)}, which count all the while")
        shown |= live


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:10]))
