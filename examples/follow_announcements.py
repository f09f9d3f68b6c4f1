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
    """Whole lines of a file that grows. One without its end is read again: it may even be taken back (a full disk)."""
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
    """What a line says; None for one that a crash tore: what it told is told again, further down."""
    try:
        news: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return news


def main(path: Path, *, once: bool) -> None:
    """Print what changed."""
    last: dict[tuple[int, str], int] = {}
    for line in lines(path, once=once):
        news = announcement(line)
        if news is None:
            continue
        profile = news["user_id"], news["group_slug"]
        if news["sequence"] <= last.get(profile, 0):
            continue
        last[profile] = news["sequence"]
        if news["snapshot"] is None:
            print(f"{profile}: gone")
        else:
            print(f"{profile}: {news['snapshot']['message_count']} messages, because of {news['cause']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), once="--once" in sys.argv)
