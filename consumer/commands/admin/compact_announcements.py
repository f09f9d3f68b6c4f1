"""`snapshot-admin compact-announcements`: what Kafka does for a compacted topic, for the file of announcements."""

from projections.errors import OperatorError
from snapshot.announce.compaction import compact
from snapshot.cli.options import FileOptions
from snapshot.cli.read_only import Json
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.runtime.stdio import print_line
from snapshot.runtime.terminal import show


def compact_announcements_command(files: FileOptions, as_json: Json = False) -> None:  # noqa: FBT002 - a flag
    """Keep only the last announcement of each profile in snapshot-changed.jsonl; safe while daemons append to it."""
    path = files.storage_dir / ANNOUNCEMENTS
    try:
        done = compact(path)
    except FileNotFoundError:
        raise OperatorError(
            f"{path} is not there: correct SNAPSHOT_STORAGE_DIR; with Kafka there is none, brokers compact the topic"
        ) from None
    show(
        {"path": str(path), **done._asdict()},
        lambda _out: print_line(f"{done.kept:,} lines kept, {done.removed:,} removed in {path}"),
        as_json=as_json,
    )
