"""Highlights against the snapshots of their users."""

from datetime import timedelta

import pytest
from msgspec.structs import replace

from projections.database.highlights import Highlight
from snapshot.fixtures import EXAMPLE
from snapshot.freshness import compare

SLUG, SEEN = EXAMPLE.group_slug, EXAMPLE.last_seen_at
LATER = replace(EXAMPLE, group_slug="oak", message_count=9, last_seen_at=SEEN + timedelta(days=1))
FRESH = Highlight(EXAMPLE.user_id, SLUG, EXAMPLE.snapshot_hash, SEEN)


@pytest.mark.parametrize(
    "highlight",
    [
        FRESH,
        FRESH._replace(last_seen_at=None),
        FRESH._replace(source_group=None),
        FRESH._replace(source_group=None, snapshot_hash=LATER.snapshot_hash, last_seen_at=LATER.last_seen_at),
    ],
)
def test_one_that_was_made_of_what_is_there_is_fresh(highlight: Highlight) -> None:
    found = compare([highlight], [EXAMPLE, LATER])
    assert (found.highlights, found.fresh, found.stale) == (1, 1, [])


@pytest.mark.parametrize(
    ("highlight", "group", "reason"),
    [
        (FRESH._replace(snapshot_hash="0" * 64), SLUG, "changed"),
        (FRESH._replace(source_group="oak"), "oak", "changed"),  # the hash of another group's
        (FRESH._replace(source_group=None, snapshot_hash="0" * 64), "oak", "changed"),
        (FRESH._replace(last_seen_at=SEEN - timedelta(seconds=1)), SLUG, "last seen differs"),
        (FRESH._replace(snapshot_hash=None), SLUG, "no hash"),
        (FRESH._replace(source_group="ash"), "ash", "no snapshot"),
        (FRESH._replace(user_id=99, source_group=None), None, "no snapshot"),
    ],
)
def test_any_other_is_stale_and_says_why(highlight: Highlight, group: str | None, reason: str) -> None:
    found = compare([highlight], [EXAMPLE, LATER])
    assert (found.highlights, found.fresh) == (1, 0)
    (one,) = found.stale
    assert (one.user_id, one.group_slug, one.reason) == (highlight.user_id, group, reason)
    assert (one.highlight_hash, one.highlight_last_seen_at) == (highlight.snapshot_hash, highlight.last_seen_at)
    now = {SLUG: EXAMPLE, "oak": LATER}.get(group or "")
    assert one.snapshot_hash == (now and now.snapshot_hash)
