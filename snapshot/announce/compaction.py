"""What Kafka does for a compacted topic, for the file of announcements."""

from pathlib import Path
from typing import NamedTuple

import msgspec

from snapshot.files.jsonl import remove_lines


class Compacted(NamedTuple):
    """How many lines a compaction kept and removed."""

    kept: int
    removed: int


class _Line(msgspec.Struct):
    user_id: int
    group_slug: str
    sequence: int


def compact(path: Path) -> Compacted:
    """Keep the last announcement of each profile, by sequence, and what others append meanwhile. Raises OSError."""
    last: dict[tuple[int, str], int] = {}
    with path.open("rb") as lines:
        for found in filter(None, map(_parsed, lines)):
            key = found.user_id, found.group_slug
            last[key] = max(found.sequence, last.get(key, 0))
    kept: set[tuple[int, str, int]] = set()

    def superseded(line: bytes) -> bool:
        found = _parsed(line)
        if found is None:
            return True  # torn by a crash, and announced again
        key = found.user_id, found.group_slug
        if found.sequence < last.get(key, 0) or (*key, found.sequence) in kept:
            return True
        kept.add((*key, found.sequence))
        return False

    removed = remove_lines(path, superseded)
    return Compacted(len(kept), removed)


def _parsed(line: bytes) -> _Line | None:
    try:
        return msgspec.json.decode(line, type=_Line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
