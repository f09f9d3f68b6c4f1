"""How a downstream job (a bio generator, a highlight store) follows `snapshot-changed` where there is no Kafka.

    python examples/follow_announcements.py storage/snapshot-changed.jsonl [--once] [--state FILE]

Announcements come at least once and, after a crash, an older one may come late: keep the highest `sequence` of each
profile and ignore what is lower. `snapshot` is null when the profile is gone. With `--state` a restart goes on where it
was. docs/downstream.md says more; `highlight_store.py` is the same for a database, and for Kafka.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_SECONDS = 0.2


class Position(NamedTuple):
    """Up to where a file has been read. The inode names it: a rotation gives the file another name."""

    inode: int
    offset: int


class Line(NamedTuple):
    """A complete line without its end, and the position after it."""

    text: bytes
    position: Position


def follow(path: Path, at: Position | None = None, *, once: bool = False) -> Iterator[Line]:
    """Complete lines of a growing file, from a position on; they end only with `once`.

    The file may be missing still, be renamed (what was rotated away meanwhile is read first), truncated, or replaced
    by a compacted one, which is then read from its beginning. A line that a crash left incomplete, or that is being
    written, is read again.
    """
    while True:
        for name in generations(path, at):
            try:
                file = name.open("rb")
            except FileNotFoundError:  # rotated away just now
                continue
            with file:
                _resume(file, at)
                for line in _lines(file, path, once=once or name != path):
                    yield line
                    at = line.position
        if once:
            return
        time.sleep(_SECONDS)


def generations(path: Path, at: Position | None) -> list[Path]:
    """The files to read, oldest first: from the one of the position on, or all there are where none is its file."""
    rotated = [one for one in path.parent.glob(f"{path.name}[.-]*") if one.suffix not in {".gz", ".xz", ".zst"}]
    found = [*sorted(rotated, key=lambda one: one.stat().st_mtime_ns), path]
    for index, one in enumerate(found):
        if at is not None and one.exists() and one.stat().st_ino == at.inode:
            return found[index:]
    return found


def _resume(file: BinaryIO, at: Position | None) -> None:
    if at is not None and at.offset and at.inode == os.fstat(file.fileno()).st_ino:
        file.seek(at.offset - 1)
        if file.read(1) != b"\n":  # a new file, to which the system gave an old one's inode
            file.seek(0)


def _lines(file: BinaryIO, path: Path, *, once: bool) -> Iterator[Line]:
    inode = os.fstat(file.fileno()).st_ino
    while True:
        replaced = not (path.exists() and path.stat().st_ino == inode)  # asked before the last lines are read
        if os.fstat(file.fileno()).st_size < file.tell():
            file.seek(0)
        begin = file.tell()
        *whole, _rest = file.read().split(b"\n")
        for text in whole:
            begin += len(text) + 1
            yield Line(text, Position(inode, begin))
        file.seek(begin)
        if once or replaced:
            return
        time.sleep(_SECONDS)


def announcement(line: bytes) -> dict[str, Any] | None:
    """The announcement in a line; None for a line that a crash cut off: it is announced again further down."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found


def main() -> None:
    """Print what changed."""
    parser = argparse.ArgumentParser(description="Print what changed.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--once", action="store_true", help="end where the file does")
    parser.add_argument("--state", type=Path, help="keep what was read there, and go on from it")
    given = parser.parse_args()
    state = json.loads(given.state.read_text()) if given.state and given.state.exists() else {}
    last: dict[str, int] = state.get("last", {})
    at = Position(*state["at"]) if "at" in state else None
    for line in follow(given.file, at, once=given.once):
        change = announcement(line.text)
        if change is not None:
            _show(change, last)
        if given.state:
            new = given.state.with_suffix(".new")
            new.write_text(json.dumps({"at": line.position, "last": last}))
            new.replace(given.state)


def _show(change: dict[str, Any], last: dict[str, int]) -> None:
    profile = f"{change['user_id']}:{change['group_slug']}"
    if change["sequence"] <= last.get(profile, 0):
        return
    last[profile] = change["sequence"]
    if change["snapshot"] is None:
        print(f"{profile}: gone", flush=True)
    else:
        print(f"{profile}: {change['snapshot']['message_count']} messages, because of {change['cause']}", flush=True)


if __name__ == "__main__":
    main()
