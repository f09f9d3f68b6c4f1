"""Which groups there are: by the database and by the store."""

from collections import Counter, defaultdict

import msgspec

from projections.comments.groups import Groups
from projections.profile_key import HIGHEST_ID
from projections.store.protocol import HEAD, Store
from snapshot.reconcile.digests import unpack_digest


class GroupSummary(msgspec.Struct, frozen=True):
    """A group: under which names its members have it, the requests that are titled so, and what the store has of it."""

    slug: str
    names: list[str]
    requests: list[int]
    members: int
    profiles: int
    comments: int


def summaries(groups: Groups, store: Store) -> list[GroupSummary]:
    """Sum up each group, by slug."""
    names, members = defaultdict[str, set[str]](set), Counter[str]()
    for mine in groups.members.values():
        members.update(mine.keys())
        for slug, name in mine.items():
            names[slug].add(name)
    profiles, comments = Counter[str](), Counter[str]()
    for key, packed in store.load_range(0, HIGHEST_ID, HEAD):
        head = unpack_digest(packed)  # the count alone: a whole head takes ten times as long
        if head is None and packed is not None:
            continue  # damaged
        count = 0 if head is None else head.count
        profiles[key.group_slug] += count > 0
        comments[key.group_slug] += count
    return [
        GroupSummary(
            slug,
            sorted(names[slug]),
            sorted({number for name in names[slug] for number in groups.requests.get(name, ())}),
            members[slug],
            profiles[slug],
            comments[slug],
        )
        for slug in sorted({*members, *profiles})
    ]
