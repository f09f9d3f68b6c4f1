"""pytest fixtures for programs that read snapshots: `pytest_plugins = ["snapshot.fixtures"]` in a conftest.py.

The only module of this package that imports pytest.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
import pytest

from projections.comments.body import KINDS
from projections.comments.links import domain
from projections.profiles.ranking import TOP_N
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
        made = msgspec.convert(msgspec.to_builtins(EXAMPLE) | msgspec.to_builtins(fields), SignalProfileSnapshot)
        for what, wrong in _impossible(made).items():
            if wrong:
                raise msgspec.ValidationError(f"no snapshot can have {what}")
        return made

    return make


def _impossible(made: SignalProfileSnapshot) -> dict[str, bool]:
    """What types don't say: each fault by its name, and whether the snapshot has it."""
    rankings = {"top_links": [link.url for link in made.top_links], "top_tags": [tag.label for tag in made.top_tags]}
    counts = {"top_links": [link.count for link in made.top_links], "top_tags": [tag.count for tag in made.top_tags]}
    return {
        "a first_seen_at after its last_seen_at": made.first_seen_at > made.last_seen_at,
        **{f"more than {TOP_N} {name}": len(labels) > TOP_N for name, labels in rankings.items()},
        **{f"the same one twice in {name}": len(set(labels)) < len(labels) for name, labels in rankings.items()},
        **{f"{name} that don't fall by count": sorted(by)[::-1] != by for name, by in counts.items()},
        "a domain in top_links that is not its url's": any(link.domain != domain(link.url) for link in made.top_links),
        f"attachment_counts of another kind than {', '.join(sorted(KINDS))}": not KINDS.issuperset(
            made.attachment_counts
        ),
        "no request_ids, or one twice": not made.request_ids or len(set(made.request_ids)) < len(made.request_ids),
    }
