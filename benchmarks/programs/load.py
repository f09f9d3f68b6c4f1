"""Events at a steady rate, each of another profile than the 20,000 before it, until it is killed.

    python -m benchmarks.programs.load RATE

KAFKA_BOOTSTRAP_SERVERS names the broker. Each second it prints how many it has sent so far. Run by
`benchmarks.measures.daemon` as a process of its own, so that it takes no time from who watches.
"""

import os
import sys
import time
from datetime import UTC, datetime
from itertools import count

from confluent_kafka import Producer

from projections.comments.events import COMMENT_CREATED, CommentCreated, encode

PROFILES = 20_000
FIRST_USER = 80_000_000
GROUP = "harvard-st-commons"
_SLICES = 20
"""Parts of a second; what is sent in each is sent at once."""


def producer(servers: str) -> Producer:
    """One that sends at once, with the keys in the same partitions as everybody's."""
    return Producer({"bootstrap.servers": servers, "linger.ms": 0, "partitioner": "murmur2_random"})


def comment(comment_id: int, user_id: int) -> bytes:
    """One more comment of a user, as it stands on the wire."""
    event = CommentCreated(
        comment_id=comment_id,
        user_id=user_id,
        group_slug=GROUP,
        help_request_id=1,
        body=f"see https://example.org/{comment_id % 50}",
        created_at=datetime.now(UTC).replace(tzinfo=None),
        revision=time.time_ns() // 1000,
    )
    return encode(event)


def main() -> None:
    """Send."""
    rate, sends = float(sys.argv[1]), producer(os.environ["KAFKA_BOOTSTRAP_SERVERS"])
    began, sent, said = time.monotonic(), 0, 0
    for number in count():
        while sent < (number + 1) * rate / _SLICES:
            user = FIRST_USER + sent % PROFILES
            sends.produce(COMMENT_CREATED, comment(1_000_000_000 + sent, user), str(user))
            sent += 1
        sends.poll(0)
        if time.monotonic() - began >= said + 1:
            said += 1
            print(sent, flush=True)
        time.sleep(max(0.0, began + (number + 1) / _SLICES - time.monotonic()))


if __name__ == "__main__":
    main()
