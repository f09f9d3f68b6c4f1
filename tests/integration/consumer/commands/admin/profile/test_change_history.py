"""`snapshot-admin history`: what changed, field by field, by what is still kept in the file or on Kafka."""

from pathlib import Path

import pytest

from consumer.kafka.announcements import latest
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.kafka.settings import LIBRDKAFKA, KafkaSettings
from support.community import Community, create


def changed(community: Community) -> None:
    first = community.balloon.comment(community.ben, community.elm, "(Reactions: Ann 👍)")
    community.catch_up()
    community.balloon.soft_delete(first)
    community.catch_up()


def test_the_file(community: Community) -> None:
    changed(community)
    history = community.admin_json("history", community.ben)
    first, second, third = history["changes"]
    assert history["since"] <= first["time"] <= second["time"] <= third["time"]
    assert {"field": "message_count", "before": None, "after": "1"} in first["fields"]
    assert {"field": "reaction_counts 👍", "before": None, "after": "1"} in second["fields"]
    assert {"field": "message_count", "before": "2", "after": "1"} in third["fields"]
    said = community.admin("history", community.ben, "--limit", "1")
    assert "    message_count: 2 → 1\n" in said
    assert "    reaction_counts 👍: 1 → gone\n" in said
    assert "2 earlier ones: --limit 3 prints them" in said
    assert f"{community.storage / ANNOUNCEMENTS} keeps announcements since {history['since']}" in said

    elsewhere = community.admin("history", community.ben, "--group-slug", "ash")
    assert elsewhere.startswith(f"nothing is kept of user {community.ben} in the group ash\n")
    place = community.storage / ANNOUNCEMENTS
    place.write_bytes(place.read_bytes().splitlines(keepends=True)[-1])
    assert "the first that is kept, so what it changed is not known" in community.admin("history", community.ben)
    assert f"nothing is kept of user {community.ann}" in community.admin("history", community.ann)


@pytest.mark.parametrize("kafka_client", [LIBRDKAFKA], indirect=True)  # a minute; the look-up has suites of its own
def test_kafka_keeps_them_too(tmp_path: Path, fresh_kafka: str, kafka_client: str) -> None:
    made = create(tmp_path, KAFKA_BOOTSTRAP_SERVERS=fresh_kafka, KAFKA_CLIENT=kafka_client)
    changed(made)
    history = made.admin_json("history", made.ben)
    assert history["place"] == f"Kafka {fresh_kafka}"
    last = history["changes"][-1]
    assert {"field": "message_count", "before": "2", "after": "1"} in last["fields"]
    settings = KafkaSettings(bootstrap_servers=fresh_kafka, client=kafka_client)
    found = latest(settings, 100)
    assert last["snapshot_hash"] in [one.snapshot_hash for one in found]
    assert 0 < len(latest(settings, 1)) <= len({(one.user_id, one.group_slug) for one in found})
