"""From heads to snapshots, against a recount of the same events."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from projections.comments.events import Event
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.projection import Projection
from projections.store.memory import MemoryStore
from snapshot.build import build
from snapshot.schema import SignalProfileSnapshot
from support import naive
from support.histories import KEYS, comment, deliveries, histories, insight
from support.stores import Clock

KEY = KEYS[0]


def built(events: list[Event], key: ProfileKey = KEY) -> SignalProfileSnapshot | None:
    projection = Projection(MemoryStore(Clock()))
    projection.apply(events)
    return build(key, projection.read_current([key])[key].head)


def micros(moment: datetime) -> int:
    return round(moment.replace(tzinfo=UTC).timestamp() * 1e6)


@given(histories.flatmap(deliveries))
def test_a_snapshot_says_what_a_recount_says(batches: list[list[Event]]) -> None:
    projection = Projection(MemoryStore(Clock()))
    for batch in batches:
        projection.apply(batch)
    expected = naive.latest(event for batch in batches for event in batch)
    for key, shown in projection.read_current(KEYS).items():
        snapshot, counted = build(key, shown.head), naive.counted(expected.get(key, {}))
        if not counted.comments:
            assert snapshot is None
            continue
        assert snapshot is not None
        assert (snapshot.user_id, snapshot.group_slug) == key
        assert snapshot.message_count == counted.comments
        assert (micros(snapshot.first_seen_at), micros(snapshot.last_seen_at)) == (
            counted.first_seen,
            counted.last_seen,
        )
        assert [(one.url, one.count) for one in snapshot.top_links] == counted.links
        assert [(one.label, one.count) for one in snapshot.top_tags] == counted.tags
        assert snapshot.reaction_counts == counted.reactions
        assert snapshot.attachment_counts == counted.attachments
        assert snapshot.request_ids == tuple(sorted(counted.requests))
        assert all(one.domain == urlsplit(one.url).hostname for one in snapshot.top_links)


def test_no_profile_and_no_comment_give_no_snapshot() -> None:
    assert build(KEY, None) is None
    assert build(KEY, Head()) is None
    assert built([insight(KEY, 1, 1, ("soup",))]) is None
    assert built([comment(KEY, 1, 1, state=1)]) is None


def test_one_comment() -> None:
    snapshot = built([comment(KEY, 3, 1, "http://www.example.org:80 (and)\n(Reactions: Ann 👍)", request=9)])
    assert snapshot is not None
    assert snapshot.to_dict() == {
        "user_id": 7,
        "group_slug": "lions",
        "message_count": 1,
        "first_seen_at": "2024-05-01T08:00:00",
        "last_seen_at": "2024-05-01T08:00:00",
        "top_links": [{"url": "http://www.example.org/", "domain": "www.example.org", "count": 1}],
        "top_tags": [],
        "reaction_counts": {"👍": 1},
        "attachment_counts": {},
        "request_ids": [9],
    }


@given(st.datetimes(datetime(1, 1, 2), datetime(9998, 12, 31)))  # noqa: DTZ001  UTC, as stored
def test_any_time_survives(moment: datetime) -> None:
    snapshot = built([msgspec.structs.replace(comment(KEY, 1, 1), created_at=moment)])
    assert snapshot is not None
    assert snapshot.first_seen_at == snapshot.last_seen_at == moment
