"""docs/operations/kafka.md names every option of kafka-python's clients, with the value in use."""

import re
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer

from consumer.kafka.kafka_python.options import ADMIN_OPTIONS, READER_OPTIONS, member_options
from consumer.kafka.options import SourceOptions
from snapshot.kafka.kafka_python.producer import OPTIONS
from snapshot.kafka.settings import KafkaSettings

DOCUMENT = Path(__file__).parents[5] / "docs" / "operations" / "kafka.md"
SETTINGS = KafkaSettings(bootstrap_servers="kafka:9092")
CONNECTION = SETTINGS.options() | {"bootstrap_timeout_ms": 10_000}
CONSUMER: dict[str, Any] = KafkaConsumer.DEFAULT_CONFIG | CONNECTION | member_options("group", SourceOptions())
BY_USE = dict.fromkeys(("delivery_timeout_ms", "request_timeout_ms", "max_block_ms"))
PRODUCER: dict[str, Any] = KafkaProducer.DEFAULT_CONFIG | CONNECTION | OPTIONS | BY_USE
ADMIN: dict[str, Any] = KafkaAdminClient.DEFAULT_CONFIG | CONNECTION | ADMIN_OPTIONS


def rows(section: str) -> dict[str, str]:
    """Option -> the text of the value's column."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.*?) \| (.*?) \| .*\|$", text, re.MULTILINE)
    return {name: value for names, value in lines for name in re.findall(r"`(\w+)`", names)}


def test_every_option_of_the_consumer_is_chosen_and_documented() -> None:
    assert set(rows("Consumer")) == set(KafkaConsumer.DEFAULT_CONFIG)


def test_what_the_admin_client_has_of_its_own_is_documented() -> None:
    other = {name for name in KafkaAdminClient.DEFAULT_CONFIG if name not in CONSUMER or ADMIN[name] != CONSUMER[name]}
    assert set(rows("Admin client")) == other


def test_what_the_producer_has_of_its_own_is_documented() -> None:
    own = {name for name in KafkaProducer.DEFAULT_CONFIG if name not in CONSUMER or PRODUCER[name] != CONSUMER[name]}
    assert own <= set(rows("Producer")) <= set(KafkaProducer.DEFAULT_CONFIG)


@pytest.mark.parametrize(
    ("section", "effective"), [("Consumer", CONSUMER), ("Producer", PRODUCER), ("Admin client", ADMIN)]
)
def test_the_documented_values_are_those_in_use(section: str, effective: dict[str, Any]) -> None:
    shown = {name: value.strip("`") for name, value in rows(section).items() if value.startswith("`")}
    assert shown
    assert shown == {name: str(effective[name]) or "''" for name in shown}


def test_consumers_without_a_group_never_reset_commit_create_or_read_the_uncommitted() -> None:
    chosen = ("auto_offset_reset", "enable_auto_commit", "allow_auto_create_topics", "isolation_level")
    assert [READER_OPTIONS[name] for name in chosen] == ["none", False, False, "read_committed"]
    assert "group_id" not in READER_OPTIONS
