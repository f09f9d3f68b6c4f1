"""What is taken of librdkafka's messages, and where the positions are afterwards."""

from confluent_kafka import KafkaError, Message

from consumer.kafka.librdkafka.records import Place, read
from projections.comments.events import encode
from support.feeds import comments

PLACE: Place = ("comment-created", 3)
NOW = 2**60
END = KafkaError._PARTITION_EOF  # noqa: SLF001 - a name of librdkafka's


def message(offset: int, value: bytes | None = None, error: KafkaError | None = None, number: int = 3) -> Message:
    [event] = comments(range(offset + 1, offset + 2))
    return Message(
        topic="comment-created",
        partition=number,
        offset=offset,
        key=b"1",
        value=encode(event) if value is None else value,
        headers=[("who", b"relay"), ("none", None)],
        error=error,
    )


def test_events_move_the_position_and_what_is_none_keeps_its_origin() -> None:
    positions = {PLACE: 5}
    found = read([message(5), message(6, b"{"), message(8)], positions, NOW)
    assert [event.comment_id for event in found.events] == [6, 9]
    [invalid] = found.invalid
    assert invalid[:6] == ("comment-created", 3, 6, b"1", b"{", [("who", b"relay"), ("none", b"")])
    assert invalid.error
    assert positions == {PLACE: 9}


def test_what_was_read_before_and_what_was_not_started_is_left_out() -> None:
    positions = {PLACE: 5}
    found = read([message(4), message(0, number=4), message(5)], positions, NOW)
    assert [event.comment_id for event in found.events] == [6]
    assert positions == {PLACE: 6}


def test_the_end_of_a_partition_covers_what_is_no_message_and_never_moves_back() -> None:
    positions = {PLACE: 5}
    read([message(9, error=KafkaError(END)), message(7, error=KafkaError(END))], positions, NOW)
    assert positions == {PLACE: 9}
    assert read([message(9, error=KafkaError(END), number=4)], positions, NOW).troubles == []
    assert positions == {PLACE: 9}


def test_behind_what_can_not_be_read_nothing_is_taken() -> None:
    """librdkafka goes on behind it; the position would pass what was never seen."""
    positions = {PLACE: 5, ("comment-created", 4): 0}
    bad = KafkaError(KafkaError._BAD_MSG)  # noqa: SLF001 - see above
    found = read([message(5), message(6, error=bad), message(7), message(0, number=4)], positions, NOW)
    assert sorted(event.comment_id for event in found.events) == [1, 6]
    assert [one.place for one in found.troubles] == [PLACE]
    assert positions == {("comment-created", 4): 1}


def test_an_error_that_passes_keeps_the_position() -> None:
    positions = {PLACE: 5}
    found = read([message(-1, error=KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)), message(5)], positions, NOW)
    assert len(found.troubles) == len(found.events) == 1
    assert positions == {PLACE: 6}
