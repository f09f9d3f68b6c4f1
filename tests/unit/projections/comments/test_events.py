"""Moments that no calendar holds are no events: they would end every consumer that reads them."""

import re

import pytest

from projections.comments.events import (
    COMMENT_CREATED,
    MAX_CLOCK_SKEW,
    InvalidEventError,
    decode,
    reject_future_revision,
)
from projections.comments.register import half_of

_EVENT = b'{"comment_id":1,"user_id":2,"group_slug":"g","help_request_id":1,"body":"x","created_at":"%s","revision":3}'


@pytest.mark.parametrize("moment", [b"0001-01-01T00:00:00+02:00", b"9999-12-31T23:59:59-02:00", b"0000-01-01T00:00:00"])
def test_a_moment_outside_the_calendar_is_no_event(moment: bytes) -> None:
    with pytest.raises(InvalidEventError):
        decode(COMMENT_CREATED, _EVENT % moment)


@pytest.mark.parametrize(
    "moment", [b"0001-01-01T00:00:00", b"9999-12-31T23:59:59.999999Z", b"0001-01-01T02:00:00+02:00"]
)
def test_the_first_and_the_last_moment_are_read(moment: bytes) -> None:
    assert half_of(decode(COMMENT_CREATED, _EVENT % moment)).comment is not None


@pytest.mark.parametrize("field", ["comment_id", "user_id", "help_request_id"])
@pytest.mark.parametrize("value", [b"0", b"-4", b"9223372036854775808", b"1.5", b'"1"', b"null", b"9" * 5_000])
def test_an_id_outside_1_to_2_to_the_63_is_no_event(field: str, value: bytes) -> None:
    event = _EVENT % b"2024-05-01T12:00:00"
    with pytest.raises(InvalidEventError):
        decode(COMMENT_CREATED, re.sub(rb'"%s":\d' % field.encode(), b'"%s":%s' % (field.encode(), value), event))


def test_a_revision_more_than_five_minutes_ahead_is_no_event() -> None:
    event = decode(COMMENT_CREATED, _EVENT % b"2024-05-01T12:00:00")
    assert reject_future_revision(event, event.revision - MAX_CLOCK_SKEW) is event
    with pytest.raises(InvalidEventError, match="300 s ahead"):
        reject_future_revision(event, event.revision - MAX_CLOCK_SKEW - 1)
