"""Questions to a broker that has no answer yet."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from consumer.kafka.cluster import ClusterError, UnansweredError, operator_error
from consumer.kafka.librdkafka import cluster
from consumer.kafka.librdkafka.cluster import LibrdkafkaCluster
from projections.errors import OperatorError, UnreachableError
from snapshot.kafka.settings import KafkaSettings


class Asked:
    """`offsets` of a broker: the answers that it gives one after the other, codes of errors among them."""

    def __init__(self, *answers: int | Mapping[str, int]) -> None:
        self._answers = list(answers)
        self.now = 0.0

    def __call__(self, *_: object) -> Mapping[str, int]:
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(found, int):
            raise KafkaException(KafkaError(found))
        return found

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def ends(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, int]:
    def partitions(_cluster: LibrdkafkaCluster, topics: Sequence[str]) -> list[str]:
        return [f"{topic}/0" for topic in topics]

    monkeypatch.setattr(LibrdkafkaCluster, "_admin", None)
    monkeypatch.setattr(LibrdkafkaCluster, "_partitions", partitions)
    monkeypatch.setattr(cluster, "offsets", asked)
    settings: Any = KafkaSettings(bootstrap_servers="127.0.0.1:1")
    return LibrdkafkaCluster(settings, lambda: asked.now, asked.sleep).ends(["topic"])


def test_partitions_that_were_just_created_have_no_leader_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE, {"topic/0": 7})
    assert ends(asked, monkeypatch) == {"topic/0": 7}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (KafkaError.NOT_LEADER_FOR_PARTITION, UnreachableError),
        (KafkaError._TIMED_OUT, UnreachableError),  # noqa: SLF001  a name of librdkafka's
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, OperatorError),
    ],
)
def test_who_waits_for_servers_waits_where_there_is_no_answer(
    code: int, kind: type[OperatorError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ClusterError) as caught:
        ends(Asked(code), monkeypatch)
    assert isinstance(caught.value, UnansweredError) == (kind is UnreachableError)
    assert type(operator_error("a text", caught.value)) is kind
