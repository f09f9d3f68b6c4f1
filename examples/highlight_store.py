"""A highlight store: one row a profile in SQLite, kept current from `snapshot-changed`, on Kafka or in its file.

    python examples/highlight_store.py highlights.db --file storage/snapshot-changed.jsonl [--once]
    python examples/highlight_store.py highlights.db --kafka 127.0.0.1:9092 [--once]

What is read and how far it was read are committed together, so that a restart, or a crash anywhere, goes on exactly
there. A lower sequence is ignored; the text is made again only where the hash is another; a profile that is gone keeps
a row without text, so that what is older than its end and comes later is ignored too.
"""

import argparse
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from follow_announcements import Position, announcement, follow

_TOPIC = "snapshot-changed"
_TABLES = """
CREATE TABLE IF NOT EXISTS highlights (
  user_id INTEGER NOT NULL, group_slug TEXT NOT NULL, sequence INTEGER NOT NULL, snapshot_hash TEXT, highlight TEXT,
  PRIMARY KEY (user_id, group_slug));
CREATE TABLE IF NOT EXISTS positions (source TEXT PRIMARY KEY, position TEXT NOT NULL);
"""


class Change(NamedTuple):
    """What was announced of a profile; `snapshot` is None where it is gone."""

    user_id: int
    group_slug: str
    sequence: int
    snapshot_hash: str | None
    snapshot: Mapping[str, Any] | None


class Read(NamedTuple):
    """A change (None: nothing that can be read), and what to note of where it stood."""

    change: Change | None
    source: str
    position: str


def open_store(path: Path) -> sqlite3.Connection:
    """Open the database, and make its tables where they are missing."""
    database = sqlite3.connect(path)
    database.executescript(_TABLES)
    return database


def highlight(snapshot: Mapping[str, Any]) -> str:
    """What people are shown; here a language model would write a bio."""
    tags = ", ".join(tag["label"] for tag in snapshot["top_tags"]) or "anything and everything"
    return f"{snapshot['message_count']} messages about {tags}"


def apply(database: sqlite3.Connection, read: Read) -> None:
    """Bring one change into the database, together with where it stood."""
    with database:
        if read.change is not None:
            _upsert(database, read.change)
        database.execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (read.source, read.position))


def _upsert(database: sqlite3.Connection, change: Change) -> None:
    key = change.user_id, change.group_slug
    found = "SELECT sequence, snapshot_hash, highlight FROM highlights WHERE user_id = ? AND group_slug = ?"
    sequence, known_hash, text = database.execute(found, key).fetchone() or (0, None, None)
    if change.sequence <= sequence:
        return
    if change.snapshot is None:
        text = None
    elif change.snapshot_hash != known_hash:
        text = highlight(change.snapshot)
    row = (*key, change.sequence, change.snapshot_hash, text)
    database.execute("INSERT OR REPLACE INTO highlights VALUES (?, ?, ?, ?, ?)", row)


def from_file(path: Path, database: sqlite3.Connection, *, once: bool) -> Iterator[Read]:
    """What the file of JSON lines has, from where the database stands."""
    source = str(path)
    known = database.execute("SELECT position FROM positions WHERE source = ?", (source,)).fetchone()
    at = Position(*json.loads(known[0])) if known else None
    for line in follow(path, at, once=once):
        said = announcement(line.text)
        change = None if said is None else Change(*(said[field] for field in Change._fields))
        yield Read(change, source, json.dumps(line.position))


def from_kafka(servers: str, database: sqlite3.Connection, *, once: bool) -> Iterator[Read]:
    """What the topic has, from where the database stands."""
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False, isolation_level="read_committed")
    try:
        partitions = [TopicPartition(_TOPIC, number) for number in sorted(consumer.partitions_for_topic(_TOPIC) or ())]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        for source, position in database.execute("SELECT source, position FROM positions WHERE source LIKE 'kafka:%'"):
            partition = TopicPartition(_TOPIC, int(source.removeprefix("kafka:")))
            if partition in partitions:
                consumer.seek(partition, int(position))
        ends = consumer.end_offsets(partitions)
        while not (once and all(consumer.position(one) >= ends[one] for one in partitions)):
            for records in consumer.poll(500).values():
                for record in records:
                    yield Read(_change(record), f"kafka:{record.partition}", str(record.offset + 1))
    finally:
        consumer.close()


def _change(record: Any) -> Change:  # noqa: ANN401 - kafka-python's
    user, _, slug = record.key.decode().partition(":")  # a slug may hold a colon
    if record.value is None:
        return Change(int(user), slug, int(dict(record.headers)["ce_sequence"]), None, None)
    said = json.loads(record.value)
    return Change(int(user), slug, said["sequence"], said["snapshot_hash"], said["snapshot"])


def main() -> None:
    """Keep the database current."""
    parser = argparse.ArgumentParser(description="Keep a store of highlights current.")
    parser.add_argument("database", type=Path)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--file", type=Path, help="snapshot-changed.jsonl")
    source.add_argument("--kafka", help="host:port")
    parser.add_argument("--once", action="store_true", help="end where the announcements do")
    given = parser.parse_args()
    database = open_store(given.database)
    if given.file:
        reads = from_file(given.file, database, once=given.once)
    else:
        reads = from_kafka(given.kafka, database, once=given.once)
    for read in reads:
        apply(database, read)


if __name__ == "__main__":
    main()
