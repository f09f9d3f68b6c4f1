"""Whose profile, in which group; the ids that rows may have; and the bucket that a user's profiles lie in."""

from sys import intern
from typing import NamedTuple


class ProfileKey(NamedTuple):
    """Whose profile, in which group."""

    user_id: int
    group_slug: str


HIGHEST_ID = 2**63 - 1
"""Ids of users, comments and requests are 1 to this."""

BUCKETS = 64

_GOLDEN = 11_400_714_819_323_198_485


def bucket_of(user_id: int) -> int:
    """The bucket of a user: the top six bits of a multiplicative hash, so that runs of ids spread.

    >>> [bucket_of(user) for user in (1, 2, 3)]
    [39, 15, 54]
    """
    return (user_id * _GOLDEN & 0xFFFF_FFFF_FFFF_FFFF) >> 58


def member(key: ProfileKey) -> str:
    """How a profile is written inside sets.

    >>> member(ProfileKey(7, "a:b"))
    '7:a:b'
    """
    return f"{key.user_id}:{key.group_slug}"


def parse_member(text: bytes) -> ProfileKey:
    """The profile that a set's member names.

    >>> parse_member(b"7:a:b")
    ProfileKey(user_id=7, group_slug='a:b')
    """
    user, _, slug = text.decode().partition(":")
    return ProfileKey(int(user), intern(slug))  # a group's thousand profiles share one text
