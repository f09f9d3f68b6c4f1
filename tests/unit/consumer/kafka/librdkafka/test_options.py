"""docs/operations/kafka.md names every option that is set of librdkafka's clients, with its value."""

import re
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer

from consumer.kafka.librdkafka.options import CONSUMER_OPTIONS, member_options
from consumer.kafka.options import SourceOptions
from snapshot.kafka.librdkafka import client, producer
from snapshot.kafka.settings import KafkaSettings

DOCUMENT = Path(__file__).parents[5] / "docs" / "operations" / "kafka.md"
SECTIONS = {
    "every client": client.COMMON,
    "consumer": member_options("group", SourceOptions(instance_id="one")),
    "producer": producer.OPTIONS | producer.times(10.0),
}
CONNECTION = KafkaSettings(
    bootstrap_servers="kafka:9092",
    security_protocol="SASL_SSL",
    sasl_username="u",
    sasl_password="p",  # noqa: S106  no user has it
    ssl_certfile="c",
    ssl_password="p",  # noqa: S106  no user has it
).librdkafka_options()


def rows(section: str) -> dict[str, str]:
    """Option -> the text of the value's column."""
    text = DOCUMENT.read_text(encoding="utf-8").partition(f"\n## librdkafka: {section}\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| (`.*?) \| (.*?) \| .*\|$", text, re.MULTILINE)
    return {name: value for names, value in lines for name in re.findall(r"`([\w.]+)`", names)}


@pytest.mark.parametrize("section", SECTIONS)
def test_every_option_that_is_set_is_documented_and_no_other(section: str) -> None:
    ours = {"every client": {"error_cb", "logger", *CONNECTION}, "consumer": {"on_commit"}}
    elsewhere = set() if section == "every client" else {"topic.metadata.refresh.interval.ms"}
    assert set(rows(section)) | elsewhere == set(SECTIONS[section]) | ours.get(section, set()) | elsewhere


@pytest.mark.parametrize("section", SECTIONS)
def test_the_documented_values_are_those_in_use(section: str) -> None:
    shown = {name: value.strip("`") for name, value in rows(section).items() if value.startswith("`")}
    assert shown
    assert shown == {name: str(SECTIONS[section][name]) for name in shown}


def test_librdkafka_knows_all_of_them() -> None:
    Consumer(client.COMMON | SECTIONS["consumer"]).close()
    Producer(client.COMMON | SECTIONS["producer"]).close()


def test_consumers_without_a_group_never_reset_commit_create_or_read_the_uncommitted() -> None:
    chosen = ("auto.offset.reset", "enable.auto.commit", "allow.auto.create.topics", "isolation.level")
    assert [CONSUMER_OPTIONS[name] for name in chosen] == ["error", False, False, "read_committed"]
