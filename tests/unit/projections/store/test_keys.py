"""Buckets and keys. The values are fixed: another spelling would lose every store that exists."""

from collections import Counter

import pytest

from projections.profile_key import BUCKETS, ProfileKey, bucket_of, member, parse_member
from projections.store import keys

USERS = (0, 1, 2, 3, 1_000, 2**31, 2**53 + 1, 2**63 - 1)


def test_the_hash_is_fixed() -> None:
    assert [bucket_of(user) for user in USERS] == [0, 39, 15, 54, 2, 47, 8, 56]


@pytest.mark.parametrize(
    "users",
    [range(64_000), range(10**12, 10**12 + 64_000), range(0, 64_000 * 64, 64), range(0, 64_000 * 1_000, 1_000)],
    ids=["from 0", "big", "each 64th", "each 1000th"],
)
def test_users_spread_over_all_buckets(users: range) -> None:
    counts = Counter(map(bucket_of, users))
    assert set(counts) == set(range(BUCKETS))
    assert max(counts.values()) < 1_100
    assert min(counts.values()) > 900


def test_keys_are_fixed() -> None:
    key = ProfileKey(1, "a:b")
    assert keys.profile_key(key) == "sis:{b39}:p:1:a:b"
    assert keys.state_key(7) == "sis:{b7}:mark"
    assert keys.index_key(7) == "sis:{b7}:profiles"
    assert keys.folder_keys(7, "17ab") == [
        "sis:{b7}:due:17ab",
        "sis:{b7}:leases:17ab",
        "sis:{b7}:tokens:17ab",
        "sis:{b7}:force:17ab",
        "sis:{b7}:settled:17ab",
    ]
    assert keys.claim_key(7, "17ab", "t") == "sis:{b7}:claim:17ab:t"
    assert (keys.announced_key(7), keys.sequence_key(7)) == ("sis:{b7}:announced", "sis:{b7}:sequence")
    assert (keys.lease_key("relay"), keys.document_key("relay")) == (
        "sis:{relay}:lease",
        "sis:{relay}:document",
    )


@pytest.mark.parametrize("slug", ["", "a:b", "7:8", "ünï 🦁", "line\nbreak", "nul\0"])
def test_a_member_names_its_profile(slug: str) -> None:
    for user in (0, 7, 2**63 - 1):
        key = ProfileKey(user, slug)
        assert parse_member(member(key).encode()) == key
