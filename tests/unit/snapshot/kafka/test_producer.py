"""How far the messages of a producer reach, over batches and over topics that were recreated."""

import pytest

from snapshot.kafka.messages import Deliveries, DeliveryError, Message
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings


class Client:
    """Answers with what the test prepared."""

    def __init__(self) -> None:
        self.answers: list[Deliveries] = []

    def send(self, _messages: object, _deadline: float) -> Deliveries:
        return self.answers.pop(0)

    def close(self, seconds: float) -> None:
        """Nothing is open."""


def acknowledged(*places: tuple[str, int, int]) -> Deliveries:
    found = Deliveries()
    for topic, partition, end in places:
        found.acknowledge(topic, partition, end)
    return found


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Client:
    found = Client()
    monkeypatch.setattr("snapshot.kafka.producer.connect_producer", lambda *_wanted: found)
    return found


def after(client: Client, *answers: Deliveries) -> dict[str, int]:
    client.answers += answers
    producer = Producer(KafkaSettings(bootstrap_servers="a:9092"), delivery_timeout=1)
    for _ in answers:
        producer.send([Message("a", b"1", b"{}", [])])
    return producer.ends


def test_they_reach_after_the_last_one_of_each_partition(client: Client) -> None:
    first = acknowledged(("a", 0, 1), ("a", 1, 1), ("a", 0, 2), ("b", 0, 7))
    unknown = acknowledged(("a", 0, 0))  # the broker had it already, and doesn't tell where
    assert after(client, first, unknown, acknowledged(("a", 1, 5))) == {"a/0": 2, "a/1": 5, "b/0": 7}


def test_of_a_topic_that_was_recreated_nothing_old_is_left(client: Client) -> None:
    before = acknowledged(("a", 0, 30), ("a", 1, 40), ("b", 0, 7))
    assert after(client, before, acknowledged(("a", 0, 1))) == {"a/0": 1, "b/0": 7}


def test_nor_where_that_shows_within_a_batch_only(client: Client) -> None:
    before = acknowledged(("a", 0, 30), ("a", 1, 40), ("b", 0, 7))
    recreated = acknowledged(("a", 0, 31), ("a", 0, 1), *(("a", 0, end) for end in range(2, 60)))
    assert after(client, before, recreated) == {"a/0": 59, "b/0": 7}


def test_a_message_that_was_not_acknowledged_is_named_by_its_place(client: Client) -> None:
    answer = acknowledged(("a", 0, 3))
    answer.failed[1] = DeliveryError("refused", local=True)
    client.answers.append(answer)
    producer = Producer(KafkaSettings(bootstrap_servers="a:9092"), delivery_timeout=1)
    assert producer.send([Message("a", b"1", b"{}", [])] * 3) == [None, answer.failed[1], None]
