"""Which groups there are: by the database and by the store."""

from collections import Counter, defaultdict
from typing import NamedTuple

import msgspec

from projections.codec import UNREADABLE
from projections.comments.groups import Groups
from projections.profile_key import HIGHEST_ID
from projections.store.protocol import HEAD, Store


class GroupSummary(msgspec.Struct, frozen=True):
    """A group: under which names its members have it, the requests that are titled so, and what the store has of it."""

    slug: str
    names: list[str]
    requests: list[int]
    members: int
    profiles: int
    comments: int


class StoredCounts(NamedTuple):
    """How many profiles are shown, and how many comments count in them, by slug."""

    profiles: Counter[str]
    comments: Counter[str]


class _Count(msgspec.Struct, array_like=True, gc=False):
    """The first number of a packed head: a whole head takes ten times as long."""

    count: int


_decode = msgspec.msgpack.Decoder(_Count).decode


def stored_counts(store: Store) -> StoredCounts:
    """Count what the store has; damaged profiles are left out."""
    profiles, comments = Counter[str](), Counter[str]()
    for (_, slug), packed in store.load_range(0, HIGHEST_ID, HEAD):
        try:
            count = 0 if packed is None else _decode(packed).count
        except UNREADABLE:
            continue
        profiles[slug] += count > 0
        comments[slug] += count
    return StoredCounts(profiles, comments)


def summaries(groups: Groups, stored: StoredCounts) -> list[GroupSummary]:
    """Sum up each group, by slug."""
    names, members = defaultdict[str, set[str]](set), Counter[str]()
    shared = {id(mine): mine for mine in groups.members.values()}  # thousands of members have the same one
    for identity, number in Counter(map(id, groups.members.values())).items():
        for slug, name in shared[identity].items():
            members[slug] += number
            names[slug].add(name)
    return [
        GroupSummary(
            slug,
            sorted(names[slug]),
            sorted({number for name in names[slug] for number in groups.requests.get(name, ())}),
            members[slug],
            stored.profiles[slug],
            stored.comments[slug],
        )
        for slug in sorted({*members, *stored.profiles})
    ]
