"""`snapshot-admin groups`: which groups there are, their requests, members and profiles."""

from collections import Counter, defaultdict

import msgspec

from projections.codec import UNREADABLE, unpack_head
from projections.comments.groups import Groups
from projections.profile_key import HIGHEST_ID
from projections.store.protocol import HEAD, Store
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import Json, PlaceOptions, open_database, open_existing_store
from snapshot.runtime.terminal import Printer, show


class GroupSummary(msgspec.Struct, frozen=True):
    """A group: under which names its members have it, the requests that are titled so, and what the store has of it."""

    slug: str
    names: list[str]
    requests: list[int]
    members: int
    profiles: int
    comments: int


def groups_command(
    database: DatabaseOptions,
    place: PlaceOptions,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """List the groups: slug, name, requests, members by the database; profiles and comments that count by the store.

    Example: snapshot-admin groups
    """
    with open_existing_store(place) as store, open_database(database, place, store) as rows:
        found = _summaries(rows.groups(), store)
    show(found, lambda out: _print(out, found), as_json=as_json)


def _summaries(groups: Groups, store: Store) -> list[GroupSummary]:
    names, members = defaultdict[str, set[str]](set), Counter[str]()
    for mine in groups.members.values():
        members.update(mine.keys())
        for slug, name in mine.items():
            names[slug].add(name)
    profiles, comments = Counter[str](), Counter[str]()
    for key, packed in store.load_range(0, HIGHEST_ID, HEAD):
        try:
            count = 0 if packed is None else unpack_head(packed).count
        except UNREADABLE:
            continue
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


def _print(out: Printer, found: list[GroupSummary]) -> None:
    out.table(
        ["group", "~name", "requests", ">members", ">profiles", ">comments"],
        [
            (
                one.slug,
                ", ".join(one.names),
                ", ".join(map(str, one.requests)) or "none",
                f"{one.members:,}",
                f"{one.profiles:,}",
                f"{one.comments:,}",
            )
            for one in found
        ],
        [None if one.requests else "yellow" for one in found],
    )
    if not all(one.requests for one in found):
        out.line("nothing counts where no request is titled `[Signal] NAME`", "yellow")
