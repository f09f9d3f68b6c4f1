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


def lines(path: Path, *, once: bool) -> Iterator[str]:
    """Whole lines of a file that grows; a line that is still being written is left for later."""
    rest = ""
    with path.open(encoding="utf-8") as file:
        while True:
            rest += file.read()
            *whole, rest = rest.split("\n")
            yield from whole
            if once:
                return
            time.sleep(0.2)


def main(path: Path, *, once: bool) -> None:
    """Print what changed."""
    last: dict[tuple[int, str], int] = {}
    for line in lines(path, once=once):
        news = json.loads(line)
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
