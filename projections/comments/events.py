"""The two events, as they stand on the wire, and their reading and writing.

Each event carries the whole present state of its half of a comment, not a change. It is JSON, its Kafka key is the
`user_id`, and one topic holds one kind.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec

from projections.decoding import DecodingError, JsonDecoder
from projections.profile_key import HIGHEST_ID

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are UTC without a zone throughout
_MICROSECOND = timedelta(microseconds=1)

Id = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_ID)]
Revision = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_ID)]
Slug = Annotated[str, msgspec.Meta(min_length=1)]


class CommentCreated(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a comment's row, for one profile.

    `created_at` and `deleted_at` are UTC (a zone, where one is given, is converted; none is written). `gone` says that
    the comment is no longer part of this profile at all: moved, hard-deleted, or its membership or title changed.
    `revision` orders readings of the row: microseconds of the database's clock, taken after the read.
    """

    comment_id: Id
    user_id: Id
    group_slug: Slug
    help_request_id: Id
    body: str
    created_at: datetime
    deleted_at: datetime | None = None
    gone: bool = False
    revision: Revision


class InsightCreated(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of a comment's analysis, for one profile; an analysis that vanished has empty lists."""

    comment_id: Id
    user_id: Id
    group_slug: Slug
    resource_tags: tuple[str, ...] = ()
    request_tags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    recorded_at: datetime | None = None
    revision: Revision


Event = CommentCreated | InsightCreated

_NO_TIME = datetime(1970, 1, 1)  # noqa: DTZ001 - a comment that is gone counts nowhere, so its time is never looked at


def gone(comment_id: int, user_id: int, group_slug: str, help_request_id: int, revision: int) -> CommentCreated:
    """Say that a comment is no longer part of this profile."""
    return CommentCreated(
        comment_id=comment_id,
        user_id=user_id,
        group_slug=group_slug,
        help_request_id=help_request_id,
        body="",
        created_at=_NO_TIME,
        gone=True,
        revision=revision,
    )


COMMENT_CREATED = "comment-created"
INSIGHT_CREATED = "insight-created"
COMMENT_DELETED = "comment-deleted"
"""What a change is called that takes a comment out of its profile: not a topic, the event is a comment's."""
TOPICS: dict[str, type[CommentCreated] | type[InsightCreated]] = {
    COMMENT_CREATED: CommentCreated,
    INSIGHT_CREATED: InsightCreated,
}

_DECODERS = {topic: JsonDecoder(kind) for topic, kind in TOPICS.items()}
_ENCODER = msgspec.json.Encoder()

MAX_CLOCK_SKEW = 5 * 60 * 1_000_000
"""How far ahead of the clock a revision may be, in microseconds. One from an application that counts nanoseconds would
outdo the relay's for ever."""


class InvalidEventError(ValueError):
    """Bytes that are no event of their topic; the text says why and where."""


def topic_of(event: Event) -> str:
    """The topic that carries this kind of event."""
    return COMMENT_CREATED if type(event) is CommentCreated else INSIGHT_CREATED


def decode(topic: str, value: bytes | None) -> Event:
    """Read one message's value.

    Raises InvalidEventError for anything that is not an event of that topic. Unknown fields are ignored.

    >>> decode("insight-created", b'{"comment_id":1,"user_id":2,"group_slug":"g","revision":3,"new":0}').comment_id
    1
    """
    if value is None:
        raise InvalidEventError("the message has no value")
    try:
        event = _DECODERS[topic].decode(value)
        if isinstance(event, CommentCreated):
            utc(event.created_at)  # a zone can push a moment out of the calendar
    except (DecodingError, OverflowError) as error:
        raise InvalidEventError(str(error)) from error
    return event


def reject_future_revision(event: Event, now: int) -> Event:
    """Give the event back. Raises InvalidEventError where its revision is too far ahead of `now` (microseconds)."""
    ahead = event.revision - now
    if ahead > MAX_CLOCK_SKEW:
        raise InvalidEventError(
            f"its revision is {ahead // 1_000_000} s ahead of this machine's clock, "
            f"more than {MAX_CLOCK_SKEW // 1_000_000} s: "
            "set the clock of the database or of this machine right, or correct the application that counts otherwise"
        )
    return event


encode: Callable[[Event], bytes] = _ENCODER.encode
"""Write one message's value; the same event always gives the same bytes."""


def micros(moment: datetime) -> int:
    """Microseconds since 1970 of a moment in UTC without a zone; exact, as floats are not."""
    return (moment - _EPOCH) // _MICROSECOND


def utc(moment: datetime) -> datetime:
    """The same moment in UTC, without a zone.

    >>> utc(datetime.fromisoformat("2024-05-01T12:00:00+02:00"))
    datetime.datetime(2024, 5, 1, 10, 0)
    """
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
