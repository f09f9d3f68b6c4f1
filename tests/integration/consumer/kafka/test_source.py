"""The Kafka source where Kafka is not as one would like it."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition
from structlog.testing import capture_logs

from consumer.kafka.librdkafka.member import LibrdkafkaMember
from consumer.kafka.options import SourceOptions
from consumer.kafka.source import KafkaSource
from consumer.source import Batch, OffsetOutOfRangeError, SourceUnavailableError
from projections.comments.events import CommentCreated, encode
from projections.errors import OperatorError
from snapshot.kafka.settings import CLIENTS, KafkaSettings
from support.feeds import KafkaFeed, after, begin, comments, drain, ids, poll_until, wait_for_generation
from support.kafka_broker import Broker
from support.process import wait_until


@pytest.fixture
def feed(fresh_kafka: str, kafka_client: str) -> Iterator[KafkaFeed]:
    found = KafkaFeed(fresh_kafka, client=kafka_client)
    yield found
    found.close()


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


def test_what_is_no_event_is_invalid_with_its_origin_and_the_rest_is_delivered(feed: KafkaFeed) -> None:
    feed.publish(comments(range(1, 4)))
    produce(feed, "comment-created", b"{not json", headers=[("who", b"relay")])
    feed.publish(comments(range(4, 7)))
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    batches = drain(source)
    assert ids(batches) == list(range(1, 7))
    [invalid] = [one for batch in batches for one in batch.invalid]
    assert (invalid.topic, invalid.value, invalid.headers) == ("comment-created", b"{not json", [("who", b"relay")])
    first, end = next(batch.intervals for batch in batches if batch.invalid)[f"{invalid.topic}/{invalid.partition}"]
    assert first <= invalid.offset < end
    after(batches, start)


class _Odd(str):
    """A header's name that goes to the broker as bytes that are no UTF-8, as librdkafka would send them."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfename"


def test_a_message_with_a_header_of_odd_bytes_stops_nothing(feed: KafkaFeed) -> None:
    feed.publish(comments(range(1, 4)))
    produce(feed, "comment-created", encode(comments(range(4, 5))[0]), headers=[(_Odd(), b"\xff\x00")])
    produce(feed, "comment-created", b"{not json", headers=[(_Odd(), b"\xff\x00"), ("who", b"relay")])
    feed.publish(comments(range(5, 8)))
    source = feed.open()
    wait_for_generation(source)
    begin(source)
    batches = drain(source)
    assert ids(batches) == list(range(1, 8))
    [invalid] = [one for batch in batches for one in batch.invalid]
    assert invalid.headers == [(r"\xff\xfename", b"\xff\x00"), ("who", b"relay")]
    assert source.recreated == 0


def test_a_body_of_five_megabytes_passes(feed: KafkaFeed) -> None:
    [event] = comments(range(1, 2))
    assert isinstance(event, CommentCreated)
    body = '"quoted"\n' * (5_000_000 // 9)
    feed.publish([CommentCreated(**{**{name: getattr(event, name) for name in event.__struct_fields__}, "body": body})])
    source = feed.open()
    wait_for_generation(source)
    begin(source)
    [delivered] = [one for batch in drain(source) for one in batch.events]
    assert isinstance(delivered, CommentCreated)
    assert delivered.body == body


def test_a_batch_has_at_most_max_records(feed: KafkaFeed) -> None:
    feed.publish(comments(range(1, 301)))
    feed.options = SourceOptions(max_records=100, heartbeat=0.2)
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    batches = drain(source)
    assert max(len(batch.events) for batch in batches) <= 100
    assert ids(batches) == list(range(1, 301))
    after(batches, start)


def transactional(feed: KafkaFeed) -> KafkaProducer:
    producer = KafkaProducer(bootstrap_servers=feed.settings.bootstrap_servers, transactional_id="t")
    producer.init_transactions()
    return producer


def test_intervals_cover_transaction_markers(feed: KafkaFeed) -> None:
    producer = transactional(feed)
    producer.begin_transaction()
    producer.send("comment-created", b"{}", partition=0)
    producer.commit_transaction()
    producer.close()
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    assert after(drain(source), start)["comment-created/0"] == 2, "the message and the marker"


@pytest.mark.parametrize("before", [0, 1], ids=["alone", "behind an event"])
def test_events_of_an_aborted_transaction_are_not_delivered_and_their_positions_covered(
    feed: KafkaFeed, before: int
) -> None:
    producer = transactional(feed)
    for event in comments(range(1, 1 + before)):
        producer.begin_transaction()
        producer.send("comment-created", encode(event), partition=0)
        producer.commit_transaction()
    producer.begin_transaction()
    for event in comments(range(10, 13)):
        producer.send("comment-created", encode(event), partition=0).get(10)
    producer.abort_transaction()
    producer.close()
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    batches = drain(source)
    assert ids(batches) == list(range(1, 1 + before))
    assert after(batches, start)["comment-created/0"] == 2 * before + 4, "three events and the marker"


def test_events_of_an_open_transaction_wait_for_its_end(feed: KafkaFeed) -> None:
    producer = transactional(feed)
    producer.begin_transaction()
    producer.send("comment-created", encode(comments(range(1, 2))[0]), partition=0).get(10)
    produce(feed, "comment-created", encode(comments(range(2, 3))[0]))
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    assert ids(drain(source)) == []
    producer.commit_transaction()
    producer.close()
    batches = poll_until(source, lambda found: len(ids(found)) == 2)
    assert ids(batches) == [1, 2]
    after(batches, start)


def test_a_position_that_is_no_longer_kept_is_reported_and_never_reset(feed: KafkaFeed) -> None:
    produce(feed, "comment-created", *[b"{}"] * 5)
    source = feed.open()
    wait_for_generation(source)
    with KafkaAdminClient(bootstrap_servers=feed.settings.bootstrap_servers) as client:
        client.delete_records({TopicPartition("comment-created", 0): 3})
    start = begin(source, {"comment-created/0": 1})
    with pytest.raises(OffsetOutOfRangeError, match="comment-created/0 at 1") as caught:
        poll_until(source, lambda _: False)
    assert caught.value.partitions == {"comment-created/0"}
    assert not source.poll(0.1).intervals, "it is paused until it is started"
    earliest = source.offsets(caught.value.partitions)["comment-created/0"].earliest
    assert earliest == 3
    source.start(source.assignment().generation, {"comment-created/0": earliest})
    assert after(drain(source), start | {"comment-created/0": 3})["comment-created/0"] == 5


def test_a_recreated_topic_begins_a_generation_and_has_another_id(feed: KafkaFeed) -> None:
    feed.publish(comments(range(1, 21)))
    source = feed.open()
    generation = wait_for_generation(source)
    begin(source)
    drain(source)
    before = source.offsets(source.assignment().partitions)
    with KafkaAdminClient(bootstrap_servers=feed.settings.bootstrap_servers) as client:
        client.delete_topics(["comment-created"])
        wait_until(lambda: "comment-created" not in client.list_topics(), "the topic to be gone")
        client.create_topics({"comment-created": {"num_partitions": 2}}, wait_for_metadata=True)
    feed.publish(comments(range(21, 61)))  # more than the old topic had: the old positions would fit

    def all_assigned_again() -> bool:
        with contextlib.suppress(OffsetOutOfRangeError):
            source.poll(0.1)
        assignment = source.assignment()
        return assignment.generation > generation and len(assignment.partitions) == 4

    wait_until(all_assigned_again, "a generation with the new topic", 30)
    now = source.offsets(source.assignment().partitions)
    assert now["comment-created/0"].topic_id != before["comment-created/0"].topic_id
    assert now["insight-created/0"].topic_id == before["insight-created/0"].topic_id
    source.start(source.assignment().generation, {name: found.earliest for name, found in now.items()})
    assert ids(drain(source)) == list(range(21, 61))


def test_two_members_share_the_partitions_and_each_has_the_same_of_both_topics(feed: KafkaFeed) -> None:
    first, second = feed.open(), feed.open()

    def shared() -> bool:
        first.poll(0.1)
        second.poll(0.1)
        return len(first.assignment().partitions) == len(second.assignment().partitions) == 2

    wait_until(shared, "both to have partitions", 30)
    for source in (first, second):
        names = source.assignment().partitions
        assert len({name.partition("/")[2] for name in names}) == 1
        assert len({name.partition("/")[0] for name in names}) == 2
    assert not first.assignment().partitions & second.assignment().partitions


def test_members_with_different_clients_share_a_group_and_know_the_same_of_it(fresh_kafka: str) -> None:
    """A store that one client filled is read by the other: another topic id would mean another topic."""
    feeds = [KafkaFeed(fresh_kafka, client=client) for client in CLIENTS]
    feeds[0].publish(comments(range(1, 21)))
    members = [feed.open() for feed in feeds]

    def shared() -> bool:
        for source in members:
            source.poll(0.1)
        return all(len(source.assignment().partitions) == 2 for source in members)

    wait_until(shared, "both to have partitions", 30)
    batches: list[Batch] = []
    for source in members:
        start = begin(source)
        found = drain(source)
        source.commit(after(found, start))
        batches += found
    assert ids(batches) == list(range(1, 21))
    known = [source.offsets(source.assignment().partitions) for source in members]
    assert not known[0].keys() & known[1].keys()
    assert all(one.committed == one.end for found in known for one in found.values())
    topics = [{name.partition("/")[0]: one.topic_id for name, one in found.items()} for found in known]
    assert topics[0] == topics[1]
    for feed in feeds:
        feed.close()


def test_a_member_without_partitions_is_exhausted(feed: KafkaFeed) -> None:
    members = [feed.open() for _ in range(3)]

    def settled() -> bool:
        for source in members:
            source.poll(0.1)
        counts = sorted(len(source.assignment().partitions) for source in members)
        return counts == [0, 2, 2]

    wait_until(settled, "two members with partitions and one without", 30)
    [idle] = [source for source in members if not source.assignment().partitions]
    wait_until(lambda: not idle.poll(0.1).events and idle.exhausted(), "the one without to be exhausted", 10)


def test_a_rebalance_that_changes_nothing_for_a_member_does_not_stop_it(feed: KafkaFeed) -> None:
    feed.publish(comments(range(1, 11)))
    members = [feed.open() for _ in range(2)]

    def shared() -> bool:
        for source in members:
            source.poll(0.1)
        return all(len(source.assignment().partitions) == 2 for source in members)

    wait_until(shared, "both to have partitions", 30)
    before = [(source, source.assignment()) for source in members]
    third = feed.open()

    def joined() -> bool:
        for source in (*members, third):
            source.poll(0.1)
        return third.assignment().generation > 0

    wait_until(joined, "a third member", 30)
    unchanged = [source for source, was in before if source.assignment().partitions == was.partitions]
    assert all(source.assignment() == was for source, was in before if source in unchanged)


def test_a_broker_that_is_away_is_logged_and_everything_goes_on_when_it_is_back(
    own_kafka: Broker, logged: list[Any], kafka_client: str
) -> None:
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    feed = KafkaFeed(own_kafka.bootstrap, client=kafka_client)
    source = KafkaSource(feed.settings, "test", options=feed.options, clock=clock)
    wait_for_generation(source)
    start = begin(source)
    feed.publish(comments(range(1, 11)))
    position = after(drain(source), start)
    own_kafka.kill()
    wait_until(lambda: not source.poll(0.1).events and "is unreachable" in str(logged), "a warning", 30)
    with pytest.raises(SourceUnavailableError, match="does not answer with the offsets"):
        source.offsets(frozenset(start))
    source.commit(position)  # raises nothing: the positions are in the store
    assert source.recreated == 0
    own_kafka.start()
    feed.publish(comments(range(11, 21)))
    batches = read_on(source, position, 10)
    assert ids(batches) == list(range(11, 21))
    after(batches, position)
    source.close()
    feed.close()


def test_a_broker_that_pauses_stops_nothing(own_kafka: Broker, kafka_client: str) -> None:
    feed = KafkaFeed(own_kafka.bootstrap, client=kafka_client)
    source = feed.open()
    wait_for_generation(source)
    start = begin(source)
    position = after(drain(source), start)
    own_kafka.pause()
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            assert not source.poll(0.1).events
            source.pause()
            with pytest.raises(SourceUnavailableError):
                source.offsets(frozenset(position))
            source.commit(position)
            source.resume()
    finally:
        own_kafka.resume()
    feed.publish(comments(range(1, 11)))
    assert ids(read_on(source, position, 10)) == list(range(1, 11))
    own_kafka.pause()
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 5
    own_kafka.resume()
    feed.close()


class UnforeseenError(Exception):
    """Something that no client's documentation names."""


@pytest.mark.parametrize(
    "error", [UnforeseenError("no idea"), AssertionError(), RuntimeError("closed!"), OSError(9, "x")]
)
def test_whatever_a_poll_raises_the_consumer_is_recreated_and_nothing_is_missed(
    feed: KafkaFeed, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.publish(comments(range(1, 4)))
    source = feed.open()
    generation = wait_for_generation(source)
    start = begin(source)
    position = after(drain(source), start)
    feed.publish(comments(range(4, 7)))

    fail_polls(source, monkeypatch, error)
    assert source.poll(0.1).events == ()
    wait_for_generation(source, generation)
    begin(source, position)
    assert ids(drain(source)) == [4, 5, 6]
    assert source.recreated == 1


def test_a_close_while_the_broker_is_away_takes_less_than_the_time_to_stop(
    own_kafka: Broker, kafka_client: str
) -> None:
    feed = KafkaFeed(own_kafka.bootstrap, client=kafka_client)
    source = feed.open()
    wait_for_generation(source)
    own_kafka.kill()
    source.poll(0.1)
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 5
    feed.close()


def test_a_missing_topic_is_one_line_with_the_fix(fresh_kafka: str, kafka_client: str) -> None:
    with pytest.raises(OperatorError, match="has no topic comment-created and no topic insight-created: create it"):
        KafkaSource(KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client), "test")


def test_a_group_without_a_name_is_refused(feed: KafkaFeed) -> None:
    with pytest.raises(OperatorError, match=r"KAFKA_GROUP_ID=''.*choose another"):
        poll_until(feed.open(""), lambda _: False)


def test_two_members_with_one_instance_id_are_refused(feed: KafkaFeed) -> None:
    feed.options = SourceOptions(instance_id="one", session_timeout=6.0, heartbeat=0.2)
    first = feed.open()
    wait_for_generation(first)
    second = feed.open()
    wait_for_generation(second)
    with pytest.raises(OperatorError, match="KAFKA_GROUP_INSTANCE_ID=one: another consumer"):
        poll_until(first, lambda _: first.commit({"comment-created/0": 0}) is not None)  # type: ignore[func-returns-value]


def test_the_lag_is_what_was_not_delivered(feed: KafkaFeed) -> None:
    feed.options = SourceOptions(max_records=10, heartbeat=0.2)
    produce(feed, "comment-created", *[b"{}"] * 30)
    source = feed.open()
    wait_for_generation(source)
    begin(source)
    batches = poll_until(source, lambda batches: any(batch.intervals for batch in batches))
    delivered = after(batches, {"comment-created/0": 0})["comment-created/0"]  # a poll may give fewer than there are
    assert source.lag()["comment-created/0"] == 30 - delivered
    assert 0 < delivered <= 10


def produce(feed: KafkaFeed, topic: str, *values: bytes, headers: list[tuple[str, bytes]] | None = None) -> None:
    producer = KafkaProducer(bootstrap_servers=feed.settings.bootstrap_servers)
    for future in [producer.send(topic, value, partition=0, headers=headers) for value in values]:
        future.get(10)
    producer.close()


def read_on(source: KafkaSource, position: dict[str, int], count: int) -> list[Batch]:
    """Poll until so many events came. The member's session may be over: then it is started where it was."""
    started = source.assignment()

    def enough(found: list[Batch]) -> bool:
        nonlocal started
        if source.assignment() != started:
            begin(source, after(found, position))
            started = source.assignment()
        return len(ids(found)) >= count

    return poll_until(source, enough)


def fail_polls(source: KafkaSource, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Let the client itself raise this."""

    def fail(*_: object, **__: object) -> None:
        raise error

    member: Any = source._member  # noqa: SLF001  what a client may raise is the point
    if isinstance(member, LibrdkafkaMember):
        monkeypatch.setattr(member, "_consume", fail)
    else:
        monkeypatch.setattr(member._consumer, "poll", fail)  # noqa: SLF001  see above
