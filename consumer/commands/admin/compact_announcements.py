"""`snapshot-admin compact-announcements`: what Kafka does for a compacted topic, for the file of announcements."""

from projections.errors import OperatorError
from snapshot.announce.compaction import compact
from snapshot.cli.options import FileOptions
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.runtime.stdio import print_line


def compact_announcements_command(files: FileOptions) -> None:
    """Keep only the last announcement of each profile in snapshot-changed.jsonl; safe while daemons append to it."""
    path = files.storage_dir / ANNOUNCEMENTS
    try:
        done = compact(path)
    except FileNotFoundError:
        raise OperatorError(
            f"{path} is not there: correct SNAPSHOT_STORAGE_DIR; with Kafka there is none, brokers compact the topic"
        ) from None
    print_line(f"{done.kept:,} lines kept, {done.removed:,} removed in {path}")
