"""What must be true while a history runs. Each violation is kept with its moment; the first one ends the history."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping

from simulation.database import WhiteBalloon

from projections.profile_key import ProfileKey
from snapshot.announce.announcement import Announcement
from snapshot.deletion_guard import LEAST, SHARE

_TAGGED = 5
"""So many comments, once for each profile, may not lose all tags there are; see the guard."""


class Checks:
    """`violated` is called with each violation."""

    def __init__(self, database: WhiteBalloon, violated: Callable[[str], None]) -> None:
        self._database = database
        self._violated = violated
        self.mass = MassDeletion(violated)
        self._counting: dict[ProfileKey, set[int]] = defaultdict(set)
        self._left: set[tuple[ProfileKey, int]] = set()
        """Comments that stopped to count in a profile at some moment, or were shown there although they did not, or
        moved: groups and rows are read one after the other, so a row may seem to be where it never was."""
        self._most_analysed = 0
        self._all_tags_went = False
        self._requests: dict[int, int] = {}
        self._sequences: dict[ProfileKey, int] = {}
        self.known: set[ProfileKey] = set()
        """The profiles that were read by anybody."""
        self._readings: dict[tuple[str, ProfileKey], tuple[int, set[int]]] = {}
        self._shown: dict[tuple[str, ProfileKey], set[int]] = defaultdict(set)
        self._latest: dict[tuple[str, ProfileKey], int] = {}
        """The highest sequence that each place showed."""

    @property
    def may_be_blocked(self) -> bool:
        """Whether so much disappeared that the deletion guard may wait for somebody's word."""
        return len(self._left) >= LEAST or self._all_tags_went

    def __str__(self) -> str:
        """Where each comment counts."""
        return " ".join(f"{key.user_id}:{key.group_slug} {sorted(ids)}" for key, ids in sorted(self._counting.items()))

    # ------------------------------------------------------------------------------------------------- what is called

    def committed(self) -> None:
        """Something was committed: note where each comment counts now."""
        now = self.counting()
        for key, before in self._counting.items():
            self._left.update((key, one) for one in before - now.get(key, set()))
        requests = {one: row.help_request_id for one, row in self._database.tables.comments.items()}
        moved = {one for one, request in self._requests.items() if requests.get(one, request) != request}
        self._left.update((key, one) for key, before in self._counting.items() for one in before & moved)
        self._counting, self._requests = now, requests
        analysed = sum(one in self._database.tables.analyses for ids in now.values() for one in ids)
        self._most_analysed = max(self._most_analysed, analysed)
        self._all_tags_went |= not analysed and self._most_analysed >= _TAGGED
        self.mass.committed(now, self._database.tables.analyses)

    def counting(self) -> dict[ProfileKey, set[int]]:
        """Where each comment counts, by the rows."""
        groups, found = self._database.groups(), defaultdict[ProfileKey, set[int]](set)
        for row in self._database.tables.comments.values():
            if row.deleted_at is None:
                for slug in groups.slugs(row.user_id, row.help_request_id):
                    found[ProfileKey(row.user_id, slug)].add(row.comment_id)
        return found

    def lacking(self, since: Mapping[ProfileKey, set[int]], live: Callable[[ProfileKey], Iterable[int]]) -> list[str]:
        """What the store lacks of the comments that counted then and have been where they are all the while."""
        lacking = {
            key: {one for one in (before & self._counting[key]).difference(live(key)) if (key, one) not in self._left}
            for key, before in since.items()
        }
        return [f"{key.user_id}:{key.group_slug} {_listed(ids)}" for key, ids in lacking.items() if ids]

    def read(self, who: str, key: ProfileKey, sequence: int, live: Mapping[int, bool]) -> None:
        """A flusher read a profile in which these comments count."""
        if sequence <= self._sequences.get(key, 0):
            self._violated(f"the sequence of {key} does not grow: {sequence} after {self._sequences[key]}")
        self._sequences[key] = sequence
        self._readings[who, key] = sequence, set(live)
        self.mass.read(key, live)
        self.known.add(key)

    def written(self, place: str, key: ProfileKey, who: str, *, there: bool) -> None:
        """A process wrote or removed the profile's file."""
        sequence, live = self._readings.get((who, key), (0, set()))
        if sequence:  # else it is an orphan's file
            self._show(place, key, sequence, live, there=there)

    def announced(self, one: Announcement, who: str) -> None:
        """An announcement arrived."""
        key = ProfileKey(one.user_id, one.group_slug)
        _, live = self._readings.get((who, key), (0, set()))
        self._show("the topic", key, one.sequence, live, there=one.snapshot is not None)

    # --------------------------------------------------------------------------------------------------- what must be

    def _show(self, place: str, key: ProfileKey, sequence: int, live: set[int], *, there: bool) -> None:
        """What was shown once is shown as long as it counts all the while; what comes late is repeated soon."""
        if sequence < self._latest.get((place, key), 0):
            return
        self._latest[place, key] = sequence
        shown = self._shown[place, key]
        lacking = {one for one in shown & self._counting[key] - live if (key, one) not in self._left}
        if lacking and not self.mass.happened:  # ids are given again, and much comes back in pieces
            said = f"with {len(live)} comments" if there else "as ended"
            self._violated(f"{place} shows {key} {said}; it lacks {_listed(lacking)}, which count all the while")
        shown |= live
        self._left.update((key, one) for one in live - self._counting[key])  # the guard keeps it there


class MassDeletion:
    """Much that disappeared at once: until somebody confirms it, no more of it ends than the deletion guard allows."""

    def __init__(self, violated: Callable[[str], None]) -> None:
        self._violated = violated
        self._stored: dict[ProfileKey, dict[int, bool]] = defaultdict(dict)
        """What was last read of each profile."""
        self._gone: dict[ProfileKey, set[int]] = {}
        self._untagged: dict[ProfileKey, set[int]] = {}
        self._total = self._tagged = 0
        self.happened = False

    def begin(self, left: Mapping[ProfileKey, set[int]], untagged: set[int]) -> None:
        """These comments no longer count, and these lost their tags, though the store has them."""
        self.happened = True
        stored = self._stored
        self._gone = {key: left.get(key, set()) & ids.keys() for key, ids in stored.items()}
        self._untagged = {
            key: {one for one in untagged - self._gone[key] if ids.get(one)} for key, ids in stored.items()
        }
        self._total = sum(map(len, stored.values()))
        self._tagged = sum(tagged for ids in stored.values() for tagged in ids.values())

    def over(self) -> None:
        """It was confirmed, or the rows are back."""
        self._gone, self._untagged = {}, {}

    def committed(self, counting: Mapping[ProfileKey, set[int]], analysed: Collection[int]) -> None:
        """What is there again ends by what happens to it then, one by one."""
        self._gone = {key: ids - counting.get(key, set()) for key, ids in self._gone.items()}
        self._untagged = {key: ids.difference(analysed) for key, ids in self._untagged.items()}

    def read(self, key: ProfileKey, live: Mapping[int, bool]) -> None:
        """A flusher read a profile."""
        self._stored[key] = dict(live)
        if not self._gone and not self._untagged:
            return
        stored = self._stored
        ended = sum(one not in stored[which] for which, ids in self._gone.items() for one in ids)
        untagged = sum(not stored[which].get(one, True) for which, ids in self._untagged.items() for one in ids)
        if ended >= LEAST and ended * SHARE > self._total:
            self._violated(f"{ended} of {self._total} comments ended, and nobody confirmed it")
        if untagged >= LEAST and untagged * SHARE > self._tagged:
            self._violated(f"{untagged} of {self._tagged} tagged comments lost their tags, and nobody confirmed it")


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:10]))
