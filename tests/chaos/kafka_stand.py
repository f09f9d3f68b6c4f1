"""The broker under attack: a real one, whose advertised address is a proxy's."""

import os
import signal
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from chaos.proxy import Proxy
from support.kafka_broker import NativeBroker
from support.process import free_port

EVENTS = ("comment-created", "insight-created")
CHANGED = "snapshot-changed"
GROUP = "signal-identity-snapshotter"


class KafkaStand:
    """What faults do to Kafka. The product reaches it through the proxy only."""

    def __init__(self, make_folder: Callable[[str], Path], seed: str) -> None:
        port = free_port()
        self.proxy = Proxy(("127.0.0.1", port), seed)
        self.bootstrap = f"127.0.0.1:{self.proxy.port}"
        advertised = {"advertised.listeners": f"PLAINTEXT://{self.bootstrap}"}
        self.broker = NativeBroker(make_folder("kafka"), advertised, port=port)

    def signal(self, number: int) -> None:
        os.kill(self.broker.pid, number)

    def close(self) -> None:
        with suppress(ProcessLookupError):  # it has been stopped
            self.signal(signal.SIGCONT)
        self.broker.close()
        self.proxy.close()

    def admin(self) -> Any:  # noqa: ANN401  kafka-python has no types
        return KafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=10_000)

    def partitions(self, topics: Iterable[str]) -> dict[str, int]:
        """How many partitions each of these topics has."""
        with self.admin() as admin:
            return {one["name"]: len(one["partitions"]) for one in admin.describe_topics(list(topics))}

    def ends(self, topics: Iterable[str]) -> dict[str, int]:
        """By partition (`topic/number`), the offset after the last record."""
        consumer = KafkaConsumer(bootstrap_servers=self.bootstrap, request_timeout_ms=10_000, enable_auto_commit=False)
        try:
            wanted = [
                TopicPartition(one, number) for one in topics for number in consumer.partitions_for_topic(one) or ()
            ]
            return {f"{one.topic}/{one.partition}": end for one, end in consumer.end_offsets(wanted).items()}
        finally:
            consumer.close()

    def waiting(self) -> int:
        """How many events the group has yet to take."""
        with self.admin() as admin:
            committed = admin.list_group_offsets([GROUP])[GROUP]
        taken = {f"{one.topic}/{one.partition}": offset.offset for one, offset in committed.items()}
        return sum(max(0, end - max(0, taken.get(part, 0))) for part, end in self.ends(EVENTS).items())
