"""CloudEvents 1.0 in binary mode: an event's context as Kafka headers (the CloudEvents' Kafka protocol binding)."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache

Headers = list[tuple[str, bytes]]

SOURCE = "/signal-identity-snapshotter"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def required_headers(kind: str, identity: str) -> Headers:
    """Give the attributes that every event must have. `identity` is the same when the same event is sent again."""
    return [*_same_headers(kind), ("ce_id", identity.encode())]


@cache
def _same_headers(kind: str) -> Headers:
    return [("ce_specversion", b"1.0"), ("ce_type", f"signal.{kind}".encode()), ("ce_source", SOURCE.encode())]


def further_headers(attributes: Mapping[str, str | None]) -> Headers:
    """Give optional and extension attributes; those that are None are left out."""
    return [(f"ce_{name}", text.encode()) for name, text in attributes.items() if text is not None]


def moment(microseconds: int) -> str | None:
    """Write microseconds since 1970 as CloudEvents' time; None for a number that is no time.

    >>> moment(1_700_000_000_000_001)
    '2023-11-14T22:13:20.000001Z'
    """
    try:
        return (_EPOCH + timedelta(microseconds=microseconds)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None
