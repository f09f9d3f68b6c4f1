"""Reconcile: rows against registers, and what differs as events for the ordinary path.

For some users: 1 read the registers; 2 then the database's time; 3 then the groups and the rows, a page at a time, each
in a transaction of its own that has ended before the page is looked at; 4 compare both ways. What is committed later,
and what the live path reads later, has a higher revision and wins.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import structlog

from projections.comments.events import Event
from projections.comments.groups import Groups
from projections.comments.rows import CommentRow, InvalidRowError
from projections.database.database import Database, analyses_of
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.protocol import Store
from snapshot.reconcile.comparison import Comparison, InvalidRowHandler
from snapshot.reconcile.digests import differing_users, stored_digests
from snapshot.reconcile.stored import Stored, read_stored

log = structlog.get_logger()

COMMENTS_A_RANGE = 20_000
PAGE = 5_000
_FEW = 64
_RANGES = 5
"""Where no more than `_FEW` users of a range are asked for, they are put together with those of its neighbours."""


class Scope(NamedTuple):
    """What is compared: the profiles of one group, or of all; `deep` also checks aggregates."""

    group_slug: str | None = None
    deep: bool = False

    def covers(self, key: ProfileKey) -> bool:
        """Whether this profile is looked at."""
        return self.group_slug is None or self.group_slug == key.group_slug

    def groups(self, groups: Groups) -> Groups:
        """Leave the other groups out."""
        slug = self.group_slug
        if slug is None:
            return groups
        members = {user: {slug: mine[slug]} for user, mine in groups.members.items() if slug in mine}
        return Groups(members, groups.requests)


class Part(NamedTuple):
    """Users who are compared together: those in the closed range [first, last], or only the named ones of them.

    `alone`: they are so few that each one's rows are read for themselves, not those of the range.
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


def everybody(_user: int) -> bool:
    """Leave nobody out."""
    return True


def warn(error: InvalidRowError) -> None:
    """Say in the log that a row is left out."""
    log.warning("a row can't be understood", reason=str(error))


def repairs(  # noqa: PLR0913 - which users, and what becomes of odd rows
    projection: Projection,
    database: Database,
    first_user: int,
    last_user: int,
    *,
    only: Callable[[int], bool] = everybody,
    unreadable: InvalidRowHandler = warn,
) -> Iterator[list[Event]]:
    """Give pages of events that bring the profiles of these users in step with their rows.

    `only` leaves users of the closed range out. Apply each page with `Projection.apply` before asking for the next:
    what a page is compared with is read as late as that. Aggregates that don't fit their registers are mended on the
    way. Raises what the store and the database raise; to begin again is harmless.
    """
    for part in cut(
        user_ranges(database, first_user, last_user),
        _wanted(projection, database, first_user, last_user, only, unreadable),
    ):
        stored = read_part(projection.store, part, Scope())
        remove_damaged(projection.store, stored)
        yield from PartComparison(database, part, Scope(), stored, unreadable).pages()
        recompute_inconsistent(projection, stored)


def _wanted(  # noqa: PLR0913, PLR0917 - those of `repairs`
    projection: Projection,
    database: Database,
    first_user: int,
    last_user: int,
    only: Callable[[int], bool],
    unreadable: InvalidRowHandler,
) -> frozenset[int] | None:
    """Whom to compare, None for everybody: a store that has most of them is asked who differs."""
    if first_user == last_user:
        return None if only(first_user) else frozenset()
    keys = projection.store.profiles(first_user, last_user)
    if only is not everybody:
        return frozenset(filter(only, {key.user_id for key in keys}.union(_users(database, first_user, last_user))))
    if 2 * len(keys) <= len(database.groups().members):
        return None
    return frozenset(differing_users(database, stored_digests(projection.store, keys), unreadable))


def _users(database: Database, first_user: int, last_user: int) -> Iterator[int]:
    after = first_user - 1
    while page := database.users_after(after):
        yield from (user for user in page if user <= last_user)
        after = page[-1]
        if after >= last_user:
            return


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
    wanted = sorted(users)
    few: list[int] = []
    gathered = 0
    for first, last in ranges:
        mine = wanted[bisect_left(wanted, first) : bisect_right(wanted, last)]
        if len(mine) > _FEW:
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
        self, database: Database, part: Part, scope: Scope, stored: Stored, unreadable: InvalidRowHandler
    ) -> None:
        self._database = database
        self._part = part
        time = database.clock()  # step 2
        self._groups = scope.groups(database.groups())  # step 3
        self.comparison = Comparison(stored.registers, time, unreadable)
        self.comments = 0
        self.ended = 0

    def pages(self) -> Iterator[list[Event]]:
        """Give the events that are asked for; read once, to the end."""
        for first, last in self._part.ranges():
            for rows in self._rows(first, last):
                if events := self.comparison.compare(rows, analyses_of(self._database, rows), self._groups):  # step 4
                    yield events
        self.ended = self._database.clock()
        yield from self.comparison.without_row(PAGE)

    def _rows(self, first: int, last: int) -> Iterator[list[CommentRow]]:
        after: tuple[int, int] | None = None
        while page := self._database.comments_of_users(first, last, after, PAGE):
            after = page[-1].user_id, page[-1].comment_id
            asked = [row for row in page if self._part.asks(row.user_id)]
            self.comments += len(asked)
            if asked:
                yield asked
            if len(page) < PAGE:
                return


def remove_damaged(store: Store, stored: Stored) -> None:
    """Make room for profiles that have to be made anew."""
    for key, version in stored.damaged.items():
        store.remove(key, version)


def recompute_inconsistent(projection: Projection, stored: Stored) -> None:
    """After the events were applied, mend what no event does: aggregates that don't follow from their registers."""
    for key, names in stored.inconsistent_fields.items():
        if names:
            projection.recompute(key)
