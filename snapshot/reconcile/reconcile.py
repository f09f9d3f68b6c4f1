"""Reconcile: rows against registers, and what differs as events for the ordinary path.

For some users: 1 read the registers; 2 then the database's time; 3 then the groups and the rows, a page at a time, each
in a transaction of its own that has ended before the page is compared; 4 compare both ways. What is committed later,
and what the live path reads later, has a higher revision and wins.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from projections.comments.events import Event
from projections.comments.rows import CommentRow
from projections.database.database import Database, analyses_of
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.protocol import Store
from snapshot.reconcile.comparison import Comparison, InvalidRowHandler
from snapshot.reconcile.stored import Stored, read_stored

COMMENTS_A_RANGE = 20_000
PAGE = 5_000
FEW = 64
_RANGES = 5
"""Where no more than `FEW` users of a range are asked for, they are compared together with those of its neighbours."""


class Scope(NamedTuple):
    """What is compared: the profiles of one group, or of all; `deep` also checks aggregates."""

    group_slug: str | None = None
    deep: bool = False

    def covers(self, key: ProfileKey) -> bool:
        """Whether this profile is compared."""
        return self.group_slug is None or self.group_slug == key.group_slug


class Part(NamedTuple):
    """Users who are compared together: those in the closed range [first, last], or only the named ones of them.

    `alone`: they are so few that each one's rows are read, not those of the range.
    """

    first: int
    last: int
    users: frozenset[int] | None = None
    alone: bool = False

    def asks(self, user_id: int) -> bool:
        """Whether this user is asked for."""
        return self.users is None or user_id in self.users

    def ranges(self) -> list[tuple[int, int]]:
        """The closed ranges of users whose rows have to be read."""
        if self.users is None or not self.alone:
            return [(self.first, self.last)]
        return [(user, user) for user in sorted(self.users)]


def all_users(database: Database) -> Iterator[int]:
    """The users who have comments or memberships, ascending."""
    after = -1
    while page := database.users_after(after):
        yield from page
        after = page[-1]


def user_ranges(database: Database, first_user: int, last_user: int) -> list[tuple[int, int]]:
    """Split a closed range of users so that the rows of each part, or one user's, are compared together."""
    if first_user == last_user:
        return [(first_user, last_user)]
    clipped = ((max(first, first_user), min(last, last_user)) for first, last in database.user_ranges(COMMENTS_A_RANGE))
    return [(first, last) for first, last in clipped if first <= last]


def cut(ranges: Iterable[tuple[int, int]], users: frozenset[int] | None) -> Iterator[Part]:
    """Cut these users, or all (None), into parts that are compared together."""
    if users is None:
        yield from (Part(first, last) for first, last in ranges)
        return
    asked = sorted(users)
    few: list[int] = []
    gathered = 0
    for first, last in ranges:
        mine = asked[bisect_left(asked, first) : bisect_right(asked, last)]
        if len(mine) > FEW:
            yield Part(first, last, frozenset(mine))
        elif mine:
            few += mine
            gathered += 1
        if gathered == _RANGES:
            yield Part(few[0], few[-1], frozenset(few), alone=True)
            few, gathered = [], 0
    if few:
        yield Part(few[0], few[-1], frozenset(few), alone=True)


def read_part(store: Store, part: Part, scope: Scope) -> Stored:
    """Step 1."""
    keys = [key for key in store.profiles(part.first, part.last) if part.asks(key.user_id) and scope.covers(key)]
    return read_stored(store, keys, deep=scope.deep)


class PartComparison:
    """One part compared by steps 2 to 4.

    `ended` is when all rows had been read, in microseconds of the database's clock; `comments` counts them. Damaged
    profiles are compared as if they weren't there: remove them before the events are applied.
    """

    def __init__(
        self, database: Database, part: Part, scope: Scope, stored: Stored, on_invalid_row: InvalidRowHandler
    ) -> None:
        self._database = database
        self._part = part
        time = database.clock()  # step 2
        self._groups = database.groups().only(scope.group_slug)  # step 3
        self.comparison = Comparison(stored.registers, time, on_invalid_row)
        self.comments = 0
        self.ended = 0

    def pages(self) -> Iterator[list[Event]]:
        """Give the events that are asked for; read once, to the end."""
        for rows in rows_of(self._database, self._part):
            self.comments += len(rows)
            if events := self.comparison.compare(rows, analyses_of(self._database, rows), self._groups):  # step 4
                yield events
        self.ended = self._database.clock()
        yield from self.comparison.without_row(PAGE)


def rows_of(database: Database, part: Part) -> Iterator[list[CommentRow]]:
    """Read the comments of a part's users, a page at a time."""
    for first, last in part.ranges():
        after: tuple[int, int] | None = None
        while page := database.comments_of_users(first, last, after, PAGE):
            after = page[-1].user_id, page[-1].comment_id
            if asked := [row for row in page if part.asks(row.user_id)]:
                yield asked
            if len(page) < PAGE:
                break


def remove_damaged(store: Store, stored: Stored) -> None:
    """Remove profiles that have to be recreated."""
    for key, version in stored.damaged.items():
        store.remove(key, version)


def recompute_inconsistent(projection: Projection, stored: Stored) -> None:
    """After the events were applied, repair what no event does: aggregates that don't follow from their registers."""
    for key, names in stored.inconsistent_fields.items():
        if names:
            projection.recompute(key)
