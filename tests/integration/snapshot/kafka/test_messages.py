"""Announcements, dead letters and events on a real broker."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from consumer.dead_letters.dead_letters import DeadLetterError
from consumer.dead_letters.kafka import KafkaDeadLetters
from consumer.kafka.topics import ensure_topics
from consumer.relay.event_producer import EventDeliveryError, EventProducer
from consumer.source import Invalid
from projections.comments.events import CommentCreated, decode
from snapshot.announce.announcement import Announcement
from snapshot.announce.kafka import KafkaAnnouncer
from snapshot.kafka.messages import Message, TooLargeError
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import CLIENTS, KAFKA_PYTHON, LIBRDKAFKA, KafkaSettings
from support.feeds import comments
from support.kafka_broker import Broker
from support.process import wait_until

DEAD = "comment-created.dead"


@pytest.fixture
def settings(fresh_kafka: str, kafka_client: str) -> KafkaSettings:
    found = KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client)
    ensure_topics(found)
    return found


@pytest.fixture
def producer(settings: KafkaSettings) -> Iterator[Producer]:
    found = Producer(settings, delivery_timeout=10)
    yield found
    found.close()


def announcement(user_id: int, *, size: int = 1, gone: bool = False) -> Announcement:
    return Announcement(
        user_id=user_id,
        group_slug="harvard",
        snapshot=None if gone else {"user_id": user_id, "text": "x" * size},
        snapshot_hash=None if gone else "h2",
        previous_hash="h1",
        sequence=1_700_000_000_000_001,
        cause={"event": "comment-created", "comment_id": 3},
    )


def test_an_announcement_carries_the_snapshot_and_cloud_events_headers(
    settings: KafkaSettings, producer: Producer
) -> None:
    assert KafkaAnnouncer(producer).announce([announcement(7)]) == [None]
    [message] = read(settings, "snapshot-changed")
    assert message.key == b"7:harvard"
    assert message.value == (
        b'{"user_id":7,"group_slug":"harvard","snapshot":{"text":"x","user_id":7},"snapshot_hash":"h2",'
        b'"previous_hash":"h1","sequence":1700000000000001,"cause":{"comment_id":3,"event":"comment-created"}}'
    )
    assert dict(message.headers) == {
        "ce_specversion": b"1.0",
        "ce_type": b"signal.snapshot-changed",
        "ce_source": b"/signal-identity-snapshotter",
        "ce_id": b"7:harvard:1700000000000001",
        "ce_subject": b"7:harvard",
        "ce_time": b"2023-11-14T22:13:20.000001Z",
        "ce_sequence": b"1700000000000001",
        "ce_previoushash": b"h1",
        "ce_cause": b'{"comment_id":3,"event":"comment-created"}',
        "content-type": b"application/json",
    }


def test_the_end_of_a_profile_has_no_value_and_tells_the_rest_in_headers(
    settings: KafkaSettings, producer: Producer
) -> None:
    assert KafkaAnnouncer(producer).announce([announcement(7, gone=True)]) == [None]
    [message] = read(settings, "snapshot-changed")
    assert (message.key, message.value) == (b"7:harvard", None)
    headers = dict(message.headers)
    assert headers["ce_sequence"] == b"1700000000000001"
    assert headers["ce_previoushash"] == b"h1"
    assert "content-type" not in headers


@pytest.mark.parametrize("size", [2_000_000, 20_000_000], ids=["for the topic", "for the client"])
def test_one_that_is_too_large_fails_alone(settings: KafkaSettings, producer: Producer, size: int) -> None:
    outcomes = KafkaAnnouncer(producer).announce([announcement(1), announcement(2, size=size), announcement(3)])
    assert outcomes[0] is None
    assert isinstance(outcomes[1], TooLargeError)
    assert outcomes[2] is None
    assert {message.key for message in read(settings, "snapshot-changed")} == {b"1:harvard", b"3:harvard"}


def test_while_the_broker_is_away_all_fail_in_time_and_later_ones_arrive(own_kafka: Broker, kafka_client: str) -> None:
    settings = KafkaSettings(bootstrap_servers=own_kafka.bootstrap, client=kafka_client)
    ensure_topics(settings)
    announcer = KafkaAnnouncer(Producer(settings, delivery_timeout=2))
    assert announcer.announce([announcement(1)]) == [None]
    own_kafka.kill()
    for _ in range(2):
        began = time.monotonic()
        assert all(isinstance(one, Exception) for one in announcer.announce([announcement(2), announcement(3)]))
        assert time.monotonic() - began < 10, "the flusher's lease is three times the delivery time-out, or more"
    own_kafka.start()
    assert announcer.announce([announcement(4)]) == [None]
    announcer.close()
    assert {message.key for message in read(settings, "snapshot-changed")} >= {b"1:harvard", b"4:harvard"}


def test_events_are_keyed_by_user_and_tell_how_far_they_reach(settings: KafkaSettings, producer: Producer) -> None:
    events = EventProducer(producer)
    events.send(comments(range(1, 31)))
    messages = read(settings, "comment-created")
    assert sorted(int(message.key) for message in messages) == list(range(1, 31))
    assert all(isinstance(decode(message.topic, message.value), CommentCreated) for message in messages)
    assert dict(messages[0].headers)["ce_type"] == b"signal.comment-created"
    assert sum(events.ends.values()) == 30


def test_how_far_they_reach_starts_over_with_the_topic(settings: KafkaSettings, producer: Producer) -> None:
    events = EventProducer(producer)
    events.send(comments(range(1, 31)))
    with KafkaAdminClient(bootstrap_servers=settings.bootstrap_servers) as client:
        client.delete_topics(["comment-created"])
        wait_until(lambda: "comment-created" not in client.list_topics(), "the topic to go")
    ensure_topics(settings)

    def sent() -> bool:
        try:
            events.send(comments(range(1, 2)))
        except EventDeliveryError:  # it may take a while until the client knows that the topic is another
            return False
        return True

    wait_until(sent, "one event in the new topic")
    [(name, end)] = events.ends.items()
    assert name.startswith("comment-created/")
    assert end < 5


def test_events_that_do_not_arrive_are_an_error(own_kafka: Broker, kafka_client: str) -> None:
    settings = KafkaSettings(bootstrap_servers=own_kafka.bootstrap, client=kafka_client)
    ensure_topics(settings)
    events = EventProducer(Producer(settings, delivery_timeout=2))
    own_kafka.kill()
    with pytest.raises(EventDeliveryError, match="2 of 2 events were not acknowledged"):
        events.send(comments(range(1, 3)))
    events.close()


def test_both_clients_put_a_key_into_the_same_partition(fresh_kafka: str) -> None:
    """Else compaction would keep two records of it for ever."""
    keys = ["7:harvard", "3:straße-漢字", "", "a" * 1_000, *(f"{number}:élan {number}" for number in range(200))]
    found = {}
    for client in CLIENTS:
        settings = KafkaSettings(bootstrap_servers=fresh_kafka, client=client)
        ensure_topics(settings, partitions=7)
        producer = Producer(settings, delivery_timeout=10)
        messages = [Message("comment-created", key.encode(), client.encode(), []) for key in keys]
        assert producer.send(messages) == [None] * len(keys)
        producer.close()
        records = read(settings, "comment-created")
        found[client] = {one.key.decode(): one.partition for one in records if one.value == client.encode()}
    assert found[KAFKA_PYTHON] == found[LIBRDKAFKA]
    assert found[KAFKA_PYTHON].keys() == set(keys)
    assert len(set(found[KAFKA_PYTHON].values())) == 7


def letter(key: bytes | None, value: bytes | None) -> Invalid:
    return Invalid("comment-created", 2, 7, key, value, [("ce_id", b"1")], "no user_id")


def letters(producer: Producer) -> KafkaDeadLetters:
    return KafkaDeadLetters(producer, lambda: datetime(2026, 1, 2, tzinfo=UTC))


def test_a_dead_letter_keeps_what_came_and_says_what_happened(settings: KafkaSettings, producer: Producer) -> None:
    letters(producer).send([letter(b"1", b"\xff{")])
    [message] = read(settings, DEAD)
    assert (message.key, message.value) == (b"1", b"\xff{")
    assert dict(message.headers) == {
        "ce_id": b"1",
        "dead-letter-error": b"no user_id",
        "dead-letter-topic": b"comment-created",
        "dead-letter-partition": b"2",
        "dead-letter-offset": b"7",
        "dead-letter-time": b"2026-01-02T00:00:00+00:00",
    }


def test_one_with_neither_key_nor_value_is_kept_too(settings: KafkaSettings, producer: Producer) -> None:
    letters(producer).send([letter(None, None)])
    assert [message.value for message in read(settings, DEAD)] == [b""]


@pytest.mark.parametrize("limit", [1_000_000, 100_000, 10_000])
def test_one_that_is_too_large_for_its_topic_is_cut_and_says_so(
    fresh_kafka: str, kafka_client: str, limit: int
) -> None:
    settings = KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client)
    with KafkaAdminClient(bootstrap_servers=fresh_kafka) as client:
        configs = {"max.message.bytes": str(limit)}
        client.create_topics({DEAD: {"num_partitions": 1, "configs": configs}}, wait_for_metadata=True)
    producer = Producer(settings, delivery_timeout=10)
    letters(producer).send([letter(b"1", b"small"), letter(b"2", b"x" * 5_000_000)])
    producer.close()
    small, large = sorted(read(settings, DEAD), key=lambda message: message.key)
    assert small.value == b"small"
    assert 1_000 <= len(large.value) < limit
    assert dict(large.headers)["dead-letter-truncated"] == b"5000000"
    assert dict(large.headers)["dead-letter-offset"] == b"7"


def test_a_key_that_is_too_large_is_cut_as_well(settings: KafkaSettings, producer: Producer) -> None:
    letters(producer).send([letter(b"k" * 18_000_000, b"v")])
    [message] = read(settings, DEAD)
    assert len(message.key) == 1_000


def test_without_its_topic_a_dead_letter_is_an_error_and_not_a_loss(fresh_kafka: str, kafka_client: str) -> None:
    producer = Producer(KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client), delivery_timeout=2)
    with pytest.raises(DeadLetterError, match=r"comment-created\.dead did not accept a dead letter"):
        letters(producer).send([letter(b"1", b"x")])
    producer.close()


def read(settings: KafkaSettings, topic: str) -> list[Any]:
    """All messages of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap_servers)
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning()
    ends = consumer.end_offsets(partitions)
    messages: list[Any] = []
    while any(consumer.position(one) < ends[one] for one in partitions):
        messages += [message for found in consumer.poll(500).values() for message in found]
    consumer.close()
    return messages
