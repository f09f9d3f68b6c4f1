"""The quick check: the digests of all heads against sums over one sequential read of the rows.

Costs the memory of a number for each profile, and nothing for each comment.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from sys import intern
from typing import NamedTuple

import msgspec

from projections.codec import UNREADABLE
from projections.comments.groups import Groups
from projections.comments.register import LIVE, content_fingerprint
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowHandler, register_halves
from projections.database.database import Database, analyses_of
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.profiles.head import Head
from projections.store.protocol import HEAD, Store

PAGE = 5_000
_HEADS = 1_000
_MODULUS = 2**128

Digests = dict[str, dict[int, int]]
"""Group slug -> user id -> a sum of fingerprints, to be taken modulo 2^128."""


class PackedDigest(msgspec.Struct, array_like=True, gc=False):
    """The two numbers of a packed head that are compared; the fields between them are skipped."""

    count: int
    first: msgspec.Raw
    last: msgspec.Raw
    reactions: msgspec.Raw
    attachments: msgspec.Raw
    requests: msgspec.Raw
    links: msgspec.Raw
    tags: msgspec.Raw
    digest: bytes


_decode = msgspec.msgpack.Decoder(PackedDigest).decode
DAMAGED = -1
"""A digest that no sum of rows equals."""


class StoredDigests(msgspec.Struct):
    """The digests of stored profiles, how many of these are shown, and how many comments count in them."""

    digests: Digests = {}
    profiles: int = 0
    shown: int = 0
    comments: int = 0

    def add(self, key: ProfileKey, head: Head | PackedDigest | None) -> None:
        """Add one profile's head; None where there is none that can be read."""
        self.profiles += 1
        digest = DAMAGED
        if head is not None:
            digest = int.from_bytes(head.digest, "big")
            self.shown += head.count > 0
            self.comments += max(head.count, 0)
        self.digests.setdefault(intern(key.group_slug), {})[key.user_id] = digest

    def merge(self, other: "StoredDigests") -> None:
        """Add the digests of other profiles."""
        self.profiles += other.profiles
        self.shown += other.shown
        self.comments += other.comments
        for slug, users in other.digests.items():
            self.digests.setdefault(intern(slug), {}).update(users)


def stored_digests(store: Store, keys: Collection[ProfileKey]) -> StoredDigests:
    """Read the digests of these profiles."""
    found = StoredDigests()
    left = iter(keys)
    while page := list(islice(left, _HEADS)):
        for key, (_, fields) in store.load(dict.fromkeys(page, (HEAD,))).items():
            found.add(key, unpack_digest(fields.get(HEAD)))
    return found


def unpack_digest(packed: bytes | None) -> PackedDigest | None:
    """Read the digest of a packed head; None where there is none that can be read."""
    try:
        return None if packed is None else _decode(packed)
    except UNREADABLE:
        return None


class Sums(NamedTuple):
    """What some rows sum up to. `tagged` comments count and have tags, once for each profile that they count in."""

    digests: Digests
    comments: int = 0
    tagged: int = 0
    invalid_rows: Mapping[int, str] = {}


def sum_rows(database: Database, low: int, high: int, groups: Groups, on_invalid_row: InvalidRowHandler) -> Sums:
    """Sum the rows up whose comment ids are in this closed range."""
    digests: Digests = {}
    comments = tagged = 0
    for page, analyses in _sequential(database, low, high):
        comments += len(page)
        for row, slugs, half, tags in register_halves(page, analyses, groups, on_invalid_row):
            content = content_fingerprint(row.comment_id, half, tags)
            for slug in slugs:
                users = digests.get(slug)
                if users is None:
                    users = digests[slug] = {}
                users[row.user_id] = users.get(row.user_id, 0) + content
            if tags and half.state == LIVE:
                tagged += len(slugs)
    return Sums(digests, comments, tagged)


def subtract(digests: Digests, sums: Sums) -> None:
    """Subtract what rows sum up to from the stored digests; a profile in step ends at a multiple of 2^128."""
    for slug, users in sums.digests.items():
        mine = digests.setdefault(intern(slug), {})
        for user_id, total in users.items():
            mine[user_id] = mine.get(user_id, 0) - total


def differing(digests: Digests) -> set[int]:
    """After all rows were subtracted, name the users one of whose profiles is not in step."""
    return {user for mine in digests.values() for user, digest in mine.items() if digest % _MODULUS}


def differing_users(database: Database, stored: StoredDigests, on_invalid_row: InvalidRowHandler) -> set[int]:
    """Name the users one of whose profiles has another digest than its rows, or is missing.

    The digests must have been read before: rows are read now. They are used up.
    """
    subtract(stored.digests, sum_rows(database, 0, HIGHEST_ID, database.groups(), on_invalid_row))
    return differing(stored.digests)


def _sequential(database: Database, low: int, high: int) -> Iterator[tuple[list[CommentRow], dict[int, AnalysisRow]]]:
    """Read comments by ascending id, page by page, each page with its analyses."""
    after = low - 1
    while page := database.comments_after(after, PAGE):
        after = page[-1].comment_id
        if after > high:
            page = [row for row in page if row.comment_id <= high]
        if page:
            yield page, analyses_of(database, page)
        if after >= high:
            return
