"""Memberships and titles: what comes into profiles and what leaves them when they change."""

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from consumer.tail.changes.backlog import Task
from consumer.tail.changes.blocked_deletions import DeletionCount, DeletionGuard
from consumer.tail.rows.event_builder import EventBuilder, removed_event
from projections.comments.events import Event
from projections.comments.groups import Groups
from projections.comments.rows import CommentRow
from projections.database.database import Database

_PAGE = 2_000


class MembershipChanges:
    """Compares all memberships and titles with the last ones.

    Where several of them ended at once and take too many comments along, they are kept in force until somebody
    confirms; everything else about them goes on. A single one is deliberate, however many comments it moves.
    """

    def __init__(
        self, database: Database, builder: EventBuilder, guard: DeletionGuard, add_task: Callable[[Task], object]
    ) -> None:
        self._database = database
        self._builder = builder
        self._guard = guard
        self._add_task = add_task
        self._last = builder.groups

    def look(self) -> bool:
        """Read them; what differs becomes tasks."""
        new = self._database.groups()
        if new != self._last:
            self._change(new)
            self._last = new
        return True

    def _change(self, new: Groups) -> None:
        old = self._builder.groups
        ended = len(ended_facts(old, new))
        departures = Removals(self._builder, affected_users(old, new) if ended else (), new, count=ended > 1)
        leaving = [DeletionCount("comments", len(departures), departures.counted)] if ended > 1 else []
        if self._guard.blocks("groups", *leaving):
            new = merged(old, new)
            departures = Removals(self._builder, (), new)
        users = affected_users(old, new)
        departures.begin(self._builder.revisions.next())
        self._add_task(departures)
        self._add_task(Additions(self._builder, self._database, users, new))
        self._builder.groups = new


class EndedFacts(NamedTuple):
    """Facts that no longer hold: memberships (user, slug) and titles (group name, request)."""

    memberships: set[tuple[int, str]]
    titles: set[tuple[str, int]]

    def __len__(self) -> int:
        return len(self.memberships) + len(self.titles)


def ended_facts(old: Groups, new: Groups) -> EndedFacts:
    """Name the memberships that ended or got another group's name, and the titles that went."""
    memberships = {
        (user, slug)
        for user, groups in old.members.items()
        if (now := new.members.get(user, {})) is not groups and now != groups
        for slug, name in groups.items()
        if now.get(slug) != name
    }
    titles = {
        (name, request) for name, ids in old.requests.items() for request in ids - new.requests.get(name, frozenset())
    }
    return EndedFacts(memberships, titles)


def merged(old: Groups, new: Groups) -> Groups:
    """Give the old groups with all that the new ones add."""
    members: dict[int, Mapping[str, str]] = dict(new.members)
    for user, groups in old.members.items():
        members[user] = {**new.members.get(user, {}), **groups}
    requests = dict(new.requests)
    for name, ids in old.requests.items():
        requests[name] = ids | new.requests.get(name, frozenset())
    return Groups(members, requests)


def affected_users(old: Groups, new: Groups) -> set[int]:
    """Name the users whose comments may count elsewhere than before."""
    names = {name for name in old.requests.keys() | new.requests.keys() if _ids(old, name) != _ids(new, name)}
    none: Mapping[str, str] = {}
    return {
        user
        for user in old.members.keys() | new.members.keys()
        if (before := old.members.get(user, none)) != (now := new.members.get(user, none))
        or (names and not names.isdisjoint([*before.values(), *now.values()]))
    }


def _ids(groups: Groups, name: str) -> frozenset[int]:
    return groups.requests.get(name, frozenset())


class Removals:
    """Comments that leave profiles although their rows stay as they are; `counted` is how many counted anywhere.

    All are found at once when the groups change, and have that moment's revision: whatever is read of them later,
    and published before their turn comes, is newer.
    """

    def __init__(self, builder: EventBuilder, users: Collection[int], new: Groups, *, count: bool = False) -> None:
        self._old, self._new = builder.groups, new
        self._revision = 0
        self._ids, self._users, self._requests = array("q"), array("q"), array("q")
        self._at = 0
        self.counted = 0
        for part in builder.memory.columns() if users else ():
            for comment_id, user, request in zip(part.ids, part.users, part.requests, strict=True):
                if user in users:
                    self._add(comment_id, user, request)
                elif count:
                    self.counted += bool(self._old.slugs(user, request))

    def __len__(self) -> int:
        return len(self._ids)

    def begin(self, revision: int) -> None:
        """Fix the revision."""
        self._revision = revision

    def turn(self) -> list[Event] | None:
        """Give the next page; None at the end."""
        if self._at >= len(self._ids):
            return None
        part = slice(self._at, self._at + _PAGE)
        self._at += _PAGE
        columns = zip(self._ids[part], self._users[part], self._requests[part], strict=True)
        return [
            removed_event(comment_id, user, slug, request, self._revision)
            for comment_id, user, request in columns
            for slug in self._left(user, request)
        ]

    def _add(self, comment_id: int, user: int, request: int) -> None:
        self.counted += bool(self._old.slugs(user, request))
        if any(True for _ in self._left(user, request)):
            self._ids.append(comment_id)
            self._users.append(user)
            self._requests.append(request)

    def _left(self, user: int, request: int) -> Iterator[str]:
        now = self._new.slugs(user, request)
        return (slug for slug in self._old.slugs(user, request) if slug not in now)


class Additions:
    """Comments that come into profiles, read user by user."""

    def __init__(self, builder: EventBuilder, database: Database, users: Collection[int], new: Groups) -> None:
        self._builder = builder
        self._database = database
        self._old = builder.groups
        self._users = sorted(user for user in users if _gains(user, builder.groups, new))
        self._done = 0
        self._after: tuple[int, int] | None = None

    def turn(self) -> list[Event] | None:
        """Give the next page; None at the end."""
        if self._done >= len(self._users):
            return None
        user = self._users[self._done]
        rows = self._database.comments_of_users(user, user, self._after, _PAGE)
        found = self._builder.build([row for row in rows if self._arrives(row)], joins_profile=True)
        if len(rows) < _PAGE:
            self._done += 1
            self._after = None
        else:
            self._after = user, rows[-1].comment_id
        return found

    def _arrives(self, row: CommentRow) -> bool:
        before = self._old.slugs(row.user_id, row.help_request_id)
        now = self._builder.groups.slugs(row.user_id, row.help_request_id)
        return not set(now) <= set(before)


def _gains(user: int, old: Groups, new: Groups) -> bool:
    return any(
        slug not in old.slugs(user, request)
        for slug, name in new.members.get(user, {}).items()
        for request in new.requests.get(name, ())
    )
