"""Memberships and titles: what comes into profiles and what leaves them when they change."""

from array import array
from collections.abc import Callable, Collection, Iterator, Mapping

from consumer.tail.changes.backlog import Task
from consumer.tail.changes.blocked_deletions import DeletionGuard, Deletions
from consumer.tail.changes.unmatched import log_unmatched
from consumer.tail.rows.contribution import counts, has_tags
from consumer.tail.rows.event_builder import EventBuilder, NoAnalysis, removed
from projections.comments.events import Event
from projections.comments.groups import Groups
from projections.comments.rows import CommentRow
from projections.database.database import Database
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import cause_of

_PAGE = 2_000


class MembershipChanges:
    """Compares all memberships and titles with the last ones.

    If some of them ended, and the deletion guard blocks what that takes out of profiles, they stay in force until it
    is confirmed; everything else about them goes on.
    """

    def __init__(
        self, database: Database, builder: EventBuilder, guard: DeletionGuard, add_task: Callable[[Task], object]
    ) -> None:
        self._database = database
        self._builder = builder
        self._guard = guard
        self._add_task = add_task
        self._last = builder.groups
        self._report(self._last)

    def look(self) -> bool:
        """Read them; what differs becomes tasks."""
        new = self._database.groups()
        if new != self._last:
            self._change(new)
            self._last = new
            self._report(new)
        return True

    def _report(self, groups: Groups) -> None:
        self._builder.measure(groups)
        log_unmatched(groups)

    def _change(self, new: Groups) -> None:
        old = self._builder.groups
        users, unsettled = affected_users(old, new), set[int]()
        removals = Removals(self._builder, users, new)
        if self._blocks(removals, new):
            kept = merged(old, new)
            unsettled = affected_users(kept, new)
            new, users = kept, affected_users(old, kept)
            removals = Removals(self._builder, users, new)
        additions = Additions(self._builder, self._database, users, new)
        leaving = ((comment_id, key) for comment_id, key, _, _ in removals.leaving())
        removals.begin(self._builder.change_groups(new, leaving, additions.ids, unsettled))
        self._add_task(removals)
        self._add_task(additions)

    def _blocks(self, removals: "Removals", new: Groups) -> bool:
        deletions = Deletions()
        for _, key, request, contribution in removals.leaving():
            if counts(contribution):
                deletions.delete(key, cause_of(key, request, new), tagged=has_tags(contribution))
        return deletions.are_blocked(self._guard, "groups", self._builder.fingerprints, self._builder.groups)


def merged(old: Groups, new: Groups) -> Groups:
    """Give the old groups with all that the new ones add."""
    members: dict[int, Mapping[str, str]] = dict(new.members)
    for user, groups in old.members.items():
        if user not in new.blocked:
            members[user] = {**new.members.get(user, {}), **groups}
    requests = dict(new.requests)
    for name, ids in old.requests.items():
        requests[name] = ids | new.requests.get(name, frozenset())
    return Groups(members, requests, new.blocked)


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
    """Comments that leave profiles although their rows stay as they are.

    All are found at once when the groups change, and have that moment's revision: whatever is read of them later,
    and published before their turn comes, is newer.
    """

    def __init__(self, builder: EventBuilder, users: Collection[int], new: Groups) -> None:
        self._old, self._new = builder.groups, new
        self._revision = 0
        self.ids, self._users, self._requests = array("q"), array("q"), array("q")
        self._contributions = array("Q")
        self._at = 0
        for comment_id, user, request, contribution in _comments_of(users, builder):
            if self._left(user, request):
                self.ids.append(comment_id)
                self._users.append(user)
                self._requests.append(request)
                self._contributions.append(contribution)

    def leaving(self) -> Iterator[tuple[int, ProfileKey, int, int]]:
        """Give id, profile, request and contribution of each."""
        columns = zip(self.ids, self._users, self._requests, self._contributions, strict=True)
        for comment_id, user, request, contribution in columns:
            for key in self._left(user, request):
                yield comment_id, key, request, contribution

    def begin(self, revision: int) -> None:
        """Fix the revision."""
        self._revision = revision

    def turn(self) -> list[Event] | None:
        """Give the next page; None at the end."""
        if self._at >= len(self.ids):
            return None
        part = slice(self._at, self._at + _PAGE)
        self._at += _PAGE
        columns = zip(self.ids[part], self._users[part], self._requests[part], strict=True)
        return [
            event
            for comment_id, user, request in columns
            for event in removed(comment_id, self._left(user, request), self._revision)
        ]

    def _left(self, user: int, request: int) -> dict[ProfileKey, int]:
        now = self._new.slugs(user, request)
        return {ProfileKey(user, slug): request for slug in self._old.slugs(user, request) if slug not in now}


class Additions:
    """Comments that come into profiles, read user by user.

    `ids` are those that are remembered where they come in. One of them may be elsewhere, or away, when it is read here,
    and be back soon after.
    """

    def __init__(self, builder: EventBuilder, database: Database, users: Collection[int], new: Groups) -> None:
        self._builder = builder
        self._database = database
        self._old = builder.groups
        self._users = sorted(user for user in users if _gains(user, builder.groups, new))
        self.ids = [
            comment_id
            for comment_id, user, request, _ in _comments_of(frozenset(self._users), builder)
            if _arrives(self._old.slugs(user, request), new.slugs(user, request))
        ]
        self._done = 0
        self._after: tuple[int, int] | None = None

    def turn(self) -> list[Event] | None:
        """Give the next page; None at the end."""
        if self._done >= len(self._users):
            return None
        user = self._users[self._done]
        rows = self._database.comments_of_users(user, user, self._after, _PAGE)
        arriving = [row for row in rows if self._arrives(row)]
        found = self._builder.build(arriving, no_analysis=NoAnalysis.UNKNOWN_BEFORE)
        if len(rows) < _PAGE:
            self._done += 1
            self._after = None
        else:
            self._after = user, rows[-1].comment_id
        return found

    def _arrives(self, row: CommentRow) -> bool:
        user, request = row.user_id, row.help_request_id
        return _arrives(self._old.slugs(user, request), self._builder.groups.slugs(user, request))


def _comments_of(users: Collection[int], builder: EventBuilder) -> Iterator[tuple[int, int, int, int]]:
    """Give id, user, request and contribution of each of their comments that is remembered."""
    for part in builder.fingerprints.columns() if users else ():
        for one in zip(*part, strict=True):
            if one[1] in users:
                yield one


def _arrives(before: Collection[str], now: Collection[str]) -> bool:
    return not set(now) <= set(before)


def _gains(user: int, old: Groups, new: Groups) -> bool:
    return any(
        slug not in old.slugs(user, request)
        for slug, name in new.members.get(user, {}).items()
        for request in new.requests.get(name, ())
    )
