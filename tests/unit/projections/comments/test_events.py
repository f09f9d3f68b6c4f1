"""The events on the wire, and what is refused there: a moment that no calendar holds would end every consumer."""

import re
import time
from datetime import datetime

import pytest
from hypothesis import given

from projections.comments.events import (
    COMMENT_CREATED,
    INSIGHT_CREATED,
    MAX_CLOCK_SKEW,
    CommentCreated,
    Event,
    InvalidEventError,
    decode,
    encode,
    gone,
    reject_future_revision,
    topic_of,
    utc,
)
from projections.comments.register import GONE, CommentHalf, half_of
from support.histories import events

_EVENT = b'{"comment_id":1,"user_id":2,"group_slug":"g","help_request_id":1,"body":"x","created_at":"%s","revision":3}'


@given(events)
def test_an_event_comes_back_from_its_own_topic_alone(event: Event) -> None:
    topic, other = COMMENT_CREATED, INSIGHT_CREATED
    if not isinstance(event, CommentCreated):
        topic, other = other, topic
    assert topic_of(event) == topic
    assert decode(topic, encode(event)) == event
    if topic == INSIGHT_CREATED:  # a comment has all that an insight must have
        with pytest.raises(InvalidEventError):
            decode(other, encode(event))


def test_that_a_comment_is_gone_is_an_event_which_names_it() -> None:
    event = gone(1, 2, "elm", 3, 4)
    assert decode(COMMENT_CREATED, encode(event)) == event
    assert (event.comment_id, event.user_id, event.group_slug, event.help_request_id) == (1, 2, "elm", 3)
    assert (half_of(event).revision, half_of(event).comment) == (4, CommentHalf(GONE, 0, 0))
    assert event.body == ""


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "the message has no value"),
        (b"{}", "Object missing required field `comment_id`"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_what_is_no_event_is_refused_with_the_reason(value: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidEventError, match=f"^{reason}"):
        decode(COMMENT_CREATED, value)


@pytest.mark.parametrize("moment", [b"0001-01-01T00:00:00+02:00", b"9999-12-31T23:59:59-02:00", b"0000-01-01T00:00:00"])
def test_a_moment_outside_the_calendar_is_no_event(moment: bytes) -> None:
    with pytest.raises(InvalidEventError):
        decode(COMMENT_CREATED, _EVENT % moment)


@pytest.mark.parametrize(
    "moment", [b"0001-01-01T00:00:00", b"9999-12-31T23:59:59.999999Z", b"0001-01-01T02:00:00+02:00"]
)
def test_the_first_and_the_last_moment_are_read(moment: bytes) -> None:
    assert half_of(decode(COMMENT_CREATED, _EVENT % moment)).comment is not None


def test_the_machine_s_own_zone_changes_no_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "XYZ-9")
        time.tzset()
        moment = utc(datetime.fromisoformat("2024-05-01T12:00:00+02:00"))
    time.tzset()
    assert moment == datetime(2024, 5, 1, 10)  # noqa: DTZ001  UTC, as stored


@pytest.mark.parametrize("field", ["comment_id", "user_id", "help_request_id"])
@pytest.mark.parametrize("value", [b"0", b"-4", b"9223372036854775808", b"1.5", b'"1"', b"null", b"9" * 5_000])
def test_an_id_outside_1_to_2_to_the_63_is_no_event(field: str, value: bytes) -> None:
    event = _EVENT % b"2024-05-01T12:00:00"
    with pytest.raises(InvalidEventError):
        decode(COMMENT_CREATED, re.sub(rb'"%s":\d' % field.encode(), b'"%s":%s' % (field.encode(), value), event))


def test_a_revision_more_than_five_minutes_ahead_is_no_event() -> None:
    event = decode(COMMENT_CREATED, _EVENT % b"2024-05-01T12:00:00")
    assert reject_future_revision(event, event.revision - MAX_CLOCK_SKEW) is event
    with pytest.raises(InvalidEventError) as refused:
        reject_future_revision(event, event.revision - MAX_CLOCK_SKEW - 60_000_000)
    assert str(refused.value) == (
        "its revision is 360 s ahead of this machine's clock, more than 300 s: set the clock of the database or of "
        "this machine right, or correct the application that counts otherwise"
    )
    with pytest.raises(InvalidEventError, match="300 s ahead"):
        reject_future_revision(event, event.revision - MAX_CLOCK_SKEW - 1)
