"""The quick look: the digests of all heads against sums over one sequential read of the rows.

Costs the memory of a number for each profile, and nothing for each comment.
"""

from collections.abc import Collection, Iterator, Mapping
from itertools import islice
from sys import intern

import msgspec

from projections.database import Database
from projections.groups import Groups
from projections.history import AnalysisRow, CommentRow
from projections.profile import ProfileKey
from projections.register import Register, fingerprint
from projections.store import HEAD, Store
from snapshot.differences import Unreadable, row_readings

PAGE = 5_000
_HEADS = 1_000
_MODULUS = 2**128


class Digest(msgspec.Struct, array_like=True):
    """The two numbers of a packed head that are compared; what stands between them is passed over."""

    count: int
    first: msgspec.Raw
    last: msgspec.Raw
    reactions: msgspec.Raw
    attachments: msgspec.Raw
    requests: msgspec.Raw
    links: msgspec.Raw
    tags: msgspec.Raw
    digest: bytes


_decode = msgspec.msgpack.Decoder(Digest).decode


def heads_of(store: Store, keys: Collection[ProfileKey]) -> Iterator[tuple[ProfileKey, int, int]]:
    """Give each stored profile's count and digest."""
    left = iter(keys)
    while page := list(islice(left, _HEADS)):
        for key, (_, fields) in store.load(dict.fromkeys(page, (HEAD,))).items():
            if HEAD in fields:
                head = _decode(fields[HEAD])
                yield key, head.count, int.from_bytes(head.digest, "big")


def stored_digests(store: Store, first_user: int, last_user: int) -> dict[ProfileKey, int]:
    """Read the digests of all profiles of the users in this closed range."""
    keys = store.profiles(first_user, last_user)
    return {ProfileKey(key.user_id, intern(key.group_slug)): digest for key, _, digest in heads_of(store, keys)}


def differing_users(database: Database, digests: Mapping[ProfileKey, int], unreadable: Unreadable) -> set[int]:
    """Name the users one of whose profiles has another digest than its rows, or is missing.

    The digests must have been read before: rows are read now.
    """
    left = dict(digests)
    groups = database.groups()
    for comments, analyses in sequential(database):
        subtract(left, comments, analyses, groups, unreadable)
    return {key.user_id for key, digest in left.items() if digest % _MODULUS}


def sequential(database: Database) -> Iterator[tuple[list[CommentRow], dict[int, AnalysisRow]]]:
    """Read all comments by ascending id, page by page, each page with its analyses."""
    after = -1
    while page := database.comments_after(after, PAGE):
        after = page[-1].comment_id
        yield page, analyses_of(database, page)


def analyses_of(database: Database, comments: list[CommentRow]) -> dict[int, AnalysisRow]:
    """Read the analyses of a page of comments."""
    ids = [row.comment_id for row in comments]
    low, high = min(ids), max(ids)
    if high - low < 2 * len(ids):
        return {row.comment_id: row for row in database.analyses_between(low, high)}
    return database.analyses_by_ids(ids)


def subtract(
    digests: dict[ProfileKey, int],
    comments: list[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    groups: Groups,
    unreadable: Unreadable,
) -> None:
    """Take what rows give from the digests of their profiles; a profile in step ends at a multiple of 2^128."""
    for row in row_readings(comments, analyses, groups, 0, unreadable):
        new = Register(0, row.half, 0, row.labels)
        digests[row.key] = digests.get(row.key, 0) - fingerprint(row.comment.comment_id, new)
