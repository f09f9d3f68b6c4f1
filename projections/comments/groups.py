"""Who is in which group, and which requests are a group's: the rule that decides where a comment counts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

KEY_PREFIX = "signal_import_group:"
TITLE_PREFIX = "[Signal] "

AttributeRow = tuple[int, str, str | None]
"""`user_id, key, value` of user_attributes."""
RequestRow = tuple[int, str | None]
"""`id, title` of help_requests."""

_NOWHERE: Mapping[int, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Groups:
    """All memberships and all groups' requests, at one moment.

    `members` gives, for each user, the name of each group (by slug) that they are in; `requests` gives, for each group
    name, the ids of the requests titled after it. Two slugs may share a name, and then share its requests. `blocked`
    are users who were forgotten although they have rows: they are in no group.

    >>> groups = Groups.from_rows([(7, "signal_import_group:elm", " Elm St ")], [(1, "[Signal] Elm St"), (2, "Elm St")])
    >>> groups.slugs(7, 1), groups.slugs(7, 2), groups.slugs(8, 1)
    (('elm',), (), ())
    """

    members: Mapping[int, Mapping[str, str]]
    requests: Mapping[str, frozenset[int]]
    blocked: frozenset[int] = frozenset()
    _views: Mapping[int, Mapping[int, tuple[str, ...]]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_views", _views(self.members, self.requests))

    @classmethod
    def from_rows(cls, attributes: Iterable[AttributeRow], requests: Iterable[RequestRow]) -> Self:
        """Sort rows of user_attributes and help_requests into groups; rows of any other kind are ignored.

        Names are trimmed on both sides; else all is compared exactly: `[signal] elm` belongs to no group.
        """
        return cls(_members(attributes), _requests(requests))

    def only(self, slug: str | None) -> "Groups":
        """Leave out the other groups; None: none of them."""
        if slug is None:
            return self
        members = {user: {slug: names[slug]} for user, names in self.members.items() if slug in names}
        return Groups(members, self.requests, self.blocked)

    def without(self, users: frozenset[int]) -> "Groups":
        """Block these users."""
        if not users:
            return self
        members = {user: names for user, names in self.members.items() if user not in users}
        return Groups(members, self.requests, users)

    def unmatched(self) -> list[tuple[int, str]]:
        """List the memberships (user id and slug) of groups that no request is titled after, ascending.

        >>> Groups.from_rows([(7, "signal_import_group:elm", "Elm St")], [(1, "Elm St")]).unmatched()
        [(7, 'elm')]
        """
        memberships = ((user, slug, name) for user, names in self.members.items() for slug, name in names.items())
        return sorted((user, slug) for user, slug, name in memberships if name not in self.requests)

    def slugs(self, user_id: int, help_request_id: int) -> tuple[str, ...]:
        """Name the groups in which this user's comment on this request counts, sorted."""
        return self._views.get(user_id, _NOWHERE).get(help_request_id, ())


def membership(key: str, value: str | None) -> tuple[str, str] | None:
    """Read slug and name of the group that an attribute says its user is in; None where it says nothing of the kind.

    >>> membership("signal_import_group:elm", "  "), membership("signal_import_group:", "Elm")
    (('elm', 'elm'), None)
    """
    if not key.startswith(KEY_PREFIX) or key == KEY_PREFIX:
        return None
    slug = key[len(KEY_PREFIX) :]
    return slug, (value or "").strip() or slug.strip()


def _members(rows: Iterable[AttributeRow]) -> dict[int, Mapping[str, str]]:
    shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}  # a group's thousand members share one mapping
    members: dict[int, Mapping[str, str]] = {}
    for user_id, key, value in rows:
        pair = membership(key, value)
        if pair:
            found = {**members.get(user_id, {}), pair[0]: pair[1]}
            members[user_id] = shared.setdefault(tuple(sorted(found.items())), found)
    return members


def _requests(rows: Iterable[RequestRow]) -> dict[str, frozenset[int]]:
    requests: dict[str, set[int]] = {}
    for request_id, title in rows:
        if title and title.startswith(TITLE_PREFIX):
            requests.setdefault(title[len(TITLE_PREFIX) :].strip(), set()).add(request_id)
    return {name: frozenset(ids) for name, ids in requests.items()}


def _views(
    members: Mapping[int, Mapping[str, str]], requests: Mapping[str, frozenset[int]]
) -> dict[int, Mapping[int, tuple[str, ...]]]:
    """Slugs by request of each user, worked out once for each set of memberships; slugs() is called so often."""
    shared: dict[tuple[tuple[str, str], ...], Mapping[int, tuple[str, ...]]] = {}
    by_mapping: dict[int, Mapping[int, tuple[str, ...]]] = {}
    views = {}
    for user_id, groups in members.items():
        view = by_mapping.get(id(groups))
        if view is None:
            key = tuple(sorted(groups.items()))
            view = shared.get(key) or shared.setdefault(key, _view(key, requests))
            by_mapping[id(groups)] = view
        views[user_id] = view
    return views


def _view(groups: tuple[tuple[str, str], ...], requests: Mapping[str, frozenset[int]]) -> dict[int, tuple[str, ...]]:
    view: dict[int, tuple[str, ...]] = {}
    for slug, name in groups:
        for request_id in requests.get(name, ()):
            view[request_id] = (*view.get(request_id, ()), slug)
    return view
