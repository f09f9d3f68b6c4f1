"""What the daemon is asked for, and what a run did."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from consumer.tail.source import DEFAULTS
from consumer.tail.state import TailSettings
from projections.masking import mask
from snapshot.cli.options import DatabaseOptions, FileOptions, StoreOptions
from snapshot.flush.batch import Flushed
from snapshot.kafka.settings import KafkaSettings


class NightlySettings(NamedTuple):
    """A nightly rebuild: when, as a cron expression, and what runs then."""

    schedule: str
    run: Callable[[threading.Event], None]


class DaemonSettings(NamedTuple):
    """What the daemon runs on; see `snapshot.cli.options` for each."""

    database: DatabaseOptions
    files: FileOptions
    store: StoreOptions
    kafka: KafkaSettings | None
    group_id: str
    instance_id: str | None
    until_caught_up: bool
    nightly: NightlySettings | None = None
    tail: TailSettings = DEFAULTS
    alive_file: Path | None = None

    def facts(self) -> dict[str, str]:
        """What an operator wants to read of it in the log; passwords are masked."""
        redis_url = self.store.redis_url
        return {
            "database": mask(self.database.database_url),
            "source": "the database" if self.kafka is None else f"Kafka at {self.kafka.bootstrap_servers}",
            "store": mask(redis_url) if redis_url else f"Redis in {self.files.storage_dir}",
            "folder": str(self.files.profiles),
            "scope": self.files.group_slug or "all groups",
        }


class Summary(NamedTuple):
    """What a run did."""

    events: int
    flushed: Flushed
