"""Reconcile: rows against registers, and what differs as events for the ordinary path.

For a range of users: 1 read the registers; 2 then the database's time; 3 then the groups and the rows, a page at a
time, each in a transaction of its own that has ended before the page is looked at; 4 compare both ways. Whatever is
committed later, and whatever the live path reads later, has a higher revision and wins.
"""

from collections.abc import Callable, Generator, Iterator
from typing import NamedTuple

import structlog

from projections.database import Database
from projections.events import Event
from projections.history import UnreadableRowError
from projections.profile import ProfileKey
from projections.projection import Projection
from projections.store import Store
from snapshot.differences import Comparison, Unreadable
from snapshot.digests import analyses_of, differing_users, heads_of, stored_digests

log = structlog.get_logger()

COMMENTS_A_RANGE = 20_000
PAGE = 5_000
_FEW = 4
"""Where fewer than a quarter of a range's users are asked for, each is read alone."""


def everybody(_user: int) -> bool:
    """Leave nobody out."""
    return True


def warn(error: UnreadableRowError) -> None:
    """Say in the log that a row is left out."""
    log.warning("a row can't be understood", reason=str(error))


def repairs(  # noqa: PLR0913 - which users, and what becomes of odd rows
    projection: Projection,
    database: Database,
    first_user: int,
    last_user: int,
    *,
    only: Callable[[int], bool] = everybody,
    unreadable: Unreadable = warn,
) -> Iterator[list[Event]]:
    """Give pages of events that bring the profiles of these users in step with their rows.

    `only` leaves users of the closed range out. Apply each page with `Projection.apply` before asking for the next:
    what a page is compared with is read as late as that. Aggregates that don't fit their registers are mended on the
    way. Raises what the store and the database raise; to begin again is harmless.
    """
    ranges = user_ranges(database, first_user, last_user)
    if len(ranges) > 1 and only is everybody:
        stored = stored_digests(projection.store, first_user, last_user)
        if 2 * len(stored) > len(database.groups().members):
            only = differing_users(database, stored, unreadable).__contains__
    for first, last in ranges:
        for part in parts(projection.store, database, first, last, only):
            comparison = yield from compare(projection.store, database, part, unreadable)
            mend_unexplained(projection, comparison)


def user_ranges(database: Database, first_user: int, last_user: int) -> list[tuple[int, int]]:
    """Split a closed range of users so that the rows of each part, or one user's, are compared together."""
    if first_user == last_user:
        return [(first_user, last_user)]
    clipped = ((max(first, first_user), min(last, last_user)) for first, last in database.user_ranges(COMMENTS_A_RANGE))
    return [(first, last) for first, last in clipped if first <= last]


class Part(NamedTuple):
    """Users who are compared together: those in the closed range [first, last] whom `only` names."""

    first: int
    last: int
    only: Callable[[int], bool] = everybody


def parts(
    store: Store, database: Database, first: int, last: int, only: Callable[[int], bool] = everybody
) -> Iterator[Part]:
    """Split a range where few of its users are asked for, so that the rows of the others aren't read."""
    if only is everybody or first == last:
        if only(first) or first != last:
            yield Part(first, last)
        return
    users = {key.user_id for key in store.profiles(first, last)}
    after = first - 1
    while page := [user for user in database.users_after(after) if user <= last]:
        users.update(page)
        after = page[-1]
    wanted = sorted(filter(only, users))
    if len(wanted) * _FEW > len(users):
        yield Part(first, last, only)
    else:
        yield from (Part(user, user) for user in wanted)


def compare(
    store: Store, database: Database, part: Part, unreadable: Unreadable
) -> Generator[list[Event], None, Comparison]:
    """Compare one part by the steps above, giving pages of events; in the end, what was seen."""
    keys = [key for key in store.profiles(part.first, part.last) if part.only(key.user_id)]
    registers = {key: _packed(store, key) for key in keys}
    comparison = Comparison(registers, database.clock(), unreadable)
    groups = database.groups()
    after: tuple[int, int] | None = None
    while page := database.comments_of_users(part.first, part.last, after, PAGE):
        after = page[-1].user_id, page[-1].comment_id
        asked = [row for row in page if part.only(row.user_id)]
        if asked and (events := comparison.page(asked, analyses_of(database, asked), groups)):
            yield events
    yield from comparison.rest(PAGE)
    return comparison


def _packed(store: Store, key: ProfileKey) -> dict[int, bytes]:
    return {int(name[1:]): value for name, value in store.scan(key) if name[:1] == b"c"}


def mend_unexplained(projection: Projection, comparison: Comparison) -> list[ProfileKey]:
    """After the events were applied, mend the profiles whose digest still is not their rows'; name them.

    Under live traffic a digest may have moved on; then mending changes nothing.
    """
    tallies = comparison.tallies
    wrong = [key for key, _, digest in heads_of(projection.store, tallies) if digest != tallies[key].rows_digest]
    for key in wrong:
        projection.mend(key)
    return wrong
