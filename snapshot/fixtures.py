"""pytest fixtures for programs that read snapshots: `pytest_plugins = ["snapshot.fixtures"]` in a conftest.py.

The only module of this package that imports pytest.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from snapshot.schema import LinkStat, SignalProfileSnapshot, TagStat

EXAMPLE = SignalProfileSnapshot(
    user_id=42,
    group_slug="harvardstcommons",
    message_count=7,
    first_seen_at=datetime(2024, 5, 1, 12, 0),  # noqa: DTZ001 - a snapshot's times are UTC without a zone
    last_seen_at=datetime(2024, 6, 2, 8, 30, 15, 250000),  # noqa: DTZ001 - the same
    top_links=(
        LinkStat(url="https://partiful.com/e/abc123", domain="partiful.com", count=3),
        LinkStat(url="https://www.example.org/wiki/Foo_(bar)", domain="www.example.org", count=1),
    ),
    top_tags=(TagStat(label="housing", count=4), TagStat(label="events", count=2)),
    reaction_counts={"❤️": 1, "👍": 5},
    attachment_counts={"document": 1, "image": 2},
    request_ids=(3, 11),
)


@pytest.fixture
def signal_profile_snapshot() -> SignalProfileSnapshot:
    """A snapshot with something in every field."""
    return EXAMPLE


@pytest.fixture
def signal_profile_snapshot_dict() -> dict[str, Any]:
    """The same as `to_dict` gives it; the test may change it."""
    return EXAMPLE.to_dict()


@pytest.fixture
def make_signal_profile_snapshot() -> Callable[..., SignalProfileSnapshot]:
    """Makes the same snapshot with other fields: `make_signal_profile_snapshot(user_id=7, top_links=())`.

    It raises msgspec.ValidationError, a ValueError that names the field, for what no snapshot can hold.
    """

    def make(**fields: Any) -> SignalProfileSnapshot:  # noqa: ANN401 - each field has its own type
        # Checked as if it were read: a test on what no snapshot can be shows nothing.
        return msgspec.convert(msgspec.to_builtins(EXAMPLE) | msgspec.to_builtins(fields), SignalProfileSnapshot)

    return make
