import pytest
from kafka import KafkaAdminClient

from consumer.kafka.topics import Topics, ensure_topics
from projections.errors import OperatorError
from snapshot.kafka.settings import KafkaSettings

UNEQUAL = (
    "comment-created 2 and insight-created 4 partitions: give both the same number, so that one consumer reads both "
    "halves of a comment"
)


def test_missing_topics_are_created_once(fresh_kafka: str, kafka_client: str) -> None:
    settings = KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client)
    first = ensure_topics(settings, partitions=3)
    assert sorted(first.created) == [
        "comment-created",
        "comment-created.dead",
        "insight-created",
        "insight-created.dead",
        "snapshot-changed",
    ]
    assert first.differences == []
    assert ensure_topics(settings, partitions=3) == Topics([], [])
    assert ensure_topics(settings) == Topics([], []), "no number was asked for"


def test_differences_are_reported_and_left(fresh_kafka: str, kafka_client: str) -> None:
    settings = KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client)
    create(fresh_kafka, "comment-created", 2, {"max.message.bytes": "1000000"})
    create(fresh_kafka, "insight-created", 4, {"max.message.bytes": "99999999", "retention.ms": "-1"})
    create(fresh_kafka, "snapshot-changed", 4, {"cleanup.policy": "delete", "delete.retention.ms": "604800000"})
    found = ensure_topics(settings, partitions=4)
    assert sorted(found.created) == ["comment-created.dead", "insight-created.dead"]
    expected = [
        "comment-created: partitions is 2, not 4",
        "comment-created: max.message.bytes is 1000000, below 16777216",
        "snapshot-changed: cleanup.policy is delete, not compact",
        UNEQUAL,
    ]
    assert found.differences == expected
    assert ensure_topics(settings, partitions=4).differences == expected
    asked = ensure_topics(settings, partitions=4, replication=2).differences
    assert [line for line in asked if "replication" in line] == [
        f"{name}: replication is 1, not 2"
        for name in (
            "comment-created",
            "insight-created",
            "comment-created.dead",
            "insight-created.dead",
            "snapshot-changed",
        )
    ]


def test_more_replicas_than_brokers_are_refused_with_the_fix(fresh_kafka: str, kafka_client: str) -> None:
    with pytest.raises(OperatorError, match=r"has too few brokers .*comment-created.*--replication"):
        ensure_topics(KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client), replication=3)


def test_a_new_event_topic_has_as_many_partitions_as_the_other(fresh_kafka: str, kafka_client: str) -> None:
    settings = KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client)
    create(fresh_kafka, "insight-created", 5, {"max.message.bytes": "16777216"})
    ensure_topics(settings)
    with KafkaAdminClient(bootstrap_servers=fresh_kafka) as client:
        [topic] = client.describe_topics(["comment-created"])
    assert len(topic["partitions"]) == 5


def create(bootstrap: str, name: str, partitions: int, configs: dict[str, str]) -> None:
    with KafkaAdminClient(bootstrap_servers=bootstrap) as client:
        client.create_topics({name: {"num_partitions": partitions, "configs": configs}}, wait_for_metadata=True)
