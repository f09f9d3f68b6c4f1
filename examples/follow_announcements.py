"""How a downstream job (a bio generator, a highlight store) follows `snapshot-changed` where there is no Kafka.

    python examples/follow_announcements.py storage/snapshot-changed.jsonl [--once]

Announcements come at least once and, after a crash, an older one may come late: keep the highest `sequence` of each
profile and ignore what is lower. `snapshot` is null when the profile is gone. On Kafka it is the same, with the key
`user_id:group_slug` and no value for a profile that is gone.
"""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def lines(path: Path, *, once: bool) -> Iterator[bytes]:
    """Complete lines of a growing file. An incomplete one is read again: it may even be withdrawn (a full disk)."""
    with path.open("rb") as file:
        while True:
            begin = file.tell()
            *whole, _rest = file.read().split(b"\n")
            file.seek(begin + sum(len(line) + 1 for line in whole))
            yield from whole
            if once:
                return
            time.sleep(0.2)


def announcement(line: bytes) -> dict[str, Any] | None:
    """The announcement in a line; None for a line that a crash cut off: it is announced again further down."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found


def main(path: Path, *, once: bool) -> None:
    """Print what changed."""
    last: dict[tuple[int, str], int] = {}
    for line in lines(path, once=once):
        change = announcement(line)
        if change is None:
            continue
        profile = change["user_id"], change["group_slug"]
        if change["sequence"] <= last.get(profile, 0):
            continue
        last[profile] = change["sequence"]
        if change["snapshot"] is None:
            print(f"{profile}: gone")
        else:
            print(f"{profile}: {change['snapshot']['message_count']} messages, because of {change['cause']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), once="--once" in sys.argv)
