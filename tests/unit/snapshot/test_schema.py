import hashlib
import json
import re
from datetime import timedelta
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from snapshot.fixtures import EXAMPLE
from snapshot.schema import LinkStat, SignalProfileSnapshot, TagStat, flat, parse_file

TEXT = st.text(st.characters(exclude_categories=[]), min_size=1)
COUNT = st.integers(1, 2**63 - 1)
COUNTS = st.dictionaries(TEXT, COUNT, max_size=6)
SNAPSHOTS = st.builds(
    SignalProfileSnapshot,
    user_id=st.integers(0, 2**63 - 1),
    group_slug=TEXT,
    message_count=COUNT,
    first_seen_at=st.datetimes(),
    last_seen_at=st.datetimes(),
    top_links=st.lists(st.builds(LinkStat, url=TEXT, domain=TEXT, count=COUNT), max_size=5).map(tuple),
    top_tags=st.lists(st.builds(TagStat, label=TEXT, count=COUNT), max_size=5).map(tuple),
    reaction_counts=COUNTS,
    attachment_counts=COUNTS,
    request_ids=st.lists(st.integers(0, 2**63 - 1), unique=True, max_size=6).map(tuple),
)


@given(SNAPSHOTS)
def test_the_hash_is_that_of_the_dict_as_python_writes_it(snapshot: SignalProfileSnapshot) -> None:
    text = json.dumps(snapshot.to_dict(), sort_keys=True)
    assert snapshot.snapshot_hash == hashlib.sha256(text.encode()).hexdigest()


@given(SNAPSHOTS)
def test_the_file_is_the_dict_as_python_writes_it(snapshot: SignalProfileSnapshot) -> None:
    text = json.dumps(snapshot.to_dict(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    assert snapshot.file_bytes() == text.encode("utf-8", "backslashreplace")


@given(SNAPSHOTS)
def test_dict_and_file_come_back_as_the_same_document(snapshot: SignalProfileSnapshot) -> None:
    assert SignalProfileSnapshot.from_dict(snapshot.to_dict()) == snapshot
    # Two halves of a pair side by side are read from a file as one character, which has the same hash.
    assert parse_file(snapshot.file_bytes()).snapshot_hash == snapshot.snapshot_hash


def test_fields_stand_in_the_schemas_order() -> None:
    assert list(EXAMPLE.to_dict()) == [
        *["user_id", "group_slug", "message_count", "first_seen_at", "last_seen_at"],
        *["top_links", "top_tags", "reaction_counts", "attachment_counts", "request_ids"],
    ]


def test_order_of_maps_and_ids_makes_no_difference() -> None:
    one = replace(EXAMPLE, reaction_counts={"b": 1, "a": 2}, request_ids=(9, 3, 11))
    other = replace(EXAMPLE, reaction_counts={"a": 2, "b": 1}, request_ids=(3, 9, 11))
    assert list(one.to_dict()["reaction_counts"]) == ["a", "b"]
    assert one.to_dict()["request_ids"] == [3, 9, 11]
    assert (one, one.snapshot_hash, one.file_bytes()) == (other, other.snapshot_hash, other.file_bytes())


def test_times_have_six_fraction_digits_or_none() -> None:
    whole = EXAMPLE.first_seen_at
    plain = replace(EXAMPLE, last_seen_at=whole + timedelta(microseconds=5)).to_dict()
    assert (plain["first_seen_at"], plain["last_seen_at"]) == ("2024-05-01T12:00:00", "2024-05-01T12:00:00.000005")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("user_id", "42"),
        ("user_id", -1),
        ("user_id", True),
        ("user_id", 42.0),
        ("group_slug", ""),
        ("group_slug", None),
        ("message_count", 0),
        ("first_seen_at", "2024-05-01T12:00:00Z"),
        ("first_seen_at", "2024-05-01T12:00:00+02:00"),
        ("first_seen_at", "2024-05-01 12:00:00"),
        ("first_seen_at", "2024-05-01T12:00:00.5"),
        ("first_seen_at", "2024-05-01"),
        ("top_links", None),
        ("top_links", [{"url": "https://a.org/", "count": 1}]),
        ("top_links", [{"url": "https://a.org/", "domain": "a.org", "count": 1, "rank": 1}]),
        ("top_tags", [{"label": "a", "count": 0}]),
        ("reaction_counts", {"a": "1"}),
        ("reaction_counts", []),
        ("attachment_counts", None),
        ("request_ids", [11, 3]),
        ("request_ids", {}),
    ],
)
def test_a_wrong_field_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=rf"not a signal profile snapshot.*{field}"):
        SignalProfileSnapshot.from_dict({**EXAMPLE.to_dict(), field: value})


def test_a_value_that_says_the_same_in_another_way_is_named_beside_the_right_one() -> None:
    with pytest.raises(ValueError, match=re.escape(": request_ids is [11, 3], and must be [3, 11]")):
        SignalProfileSnapshot.from_dict({**EXAMPLE.to_dict(), "request_ids": [11, 3]})


@pytest.mark.parametrize(
    "value", [None, [], "x", {}, {**EXAMPLE.to_dict(), "more": 1}, EXAMPLE, MappingProxyType(EXAMPLE.to_dict())]
)
def test_a_wrong_shape_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="not a signal profile snapshot"):
        SignalProfileSnapshot.from_dict(value)


@pytest.mark.parametrize("field", EXAMPLE.__struct_fields__)
def test_a_missing_field_is_refused_by_name(field: str) -> None:
    plain = EXAMPLE.to_dict()
    del plain[field]
    with pytest.raises(ValueError, match=field):
        SignalProfileSnapshot.from_dict(plain)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"null", b"[" * 100_000, b'{"user_id": NaN}'])
def test_a_file_that_holds_no_snapshot_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a signal profile snapshot"):
        parse_file(content)


def test_half_of_a_surrogate_pair_is_written_and_read() -> None:
    snapshot = replace(EXAMPLE, reaction_counts={"\ud83d": 1})
    assert b'"\\ud83d": 1' in snapshot.file_bytes()
    assert parse_file(snapshot.file_bytes()) == snapshot


def test_fields_one_by_one_name_each_link_tag_and_count() -> None:
    assert flat(EXAMPLE.to_dict()) == {
        "user_id": "42",
        "group_slug": "harvardstcommons",
        "message_count": "7",
        "first_seen_at": "2024-05-01T12:00:00",
        "last_seen_at": "2024-06-02T08:30:15.250000",
        "top_links https://partiful.com/e/abc123": "3 (#1)",
        "top_links https://www.example.org/wiki/Foo_(bar)": "1 (#2)",
        "top_tags housing": "4 (#1)",
        "top_tags events": "2 (#2)",
        "reaction_counts ❤️": "1",
        "reaction_counts 👍": "5",
        "attachment_counts document": "1",
        "attachment_counts image": "2",
        "request_ids": "3, 11",
    }
    assert flat(None) == {}


def test_the_oracles_hashes(oracle_expected: list[dict[str, Any]]) -> None:
    for entry in oracle_expected:
        snapshot = SignalProfileSnapshot.from_dict(entry["snapshot"])
        assert snapshot.snapshot_hash == entry["snapshot_hash"]
        assert parse_file(snapshot.file_bytes()) == snapshot
