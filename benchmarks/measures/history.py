"""One more comment of a profile that has few or many: what applying it and flushing the profile takes.

In this process, with a real Redis whose append-only file is on, a real folder, and the oracle's texts and tags. Each
comment is a batch and a flush of its own, nothing is known from the batch before, and nothing is announced.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

from benchmarks import stand
from benchmarks.results import Figures
from benchmarks.whiteballoon import oracle_rows
from projections.comments.events import CommentCreated, Event, InsightCreated
from projections.comments.labels import list_column
from projections.profile_key import ProfileKey
from projections.projection import Projection
from projections.store.redis.store import RedisStore, connect
from snapshot.announce.announcement import Announcement
from snapshot.files.folder import open_folder
from snapshot.flush.flusher import Flusher
from snapshot.runtime.metrics import NoMetrics
from snapshot.schema import parse_file
from support.redis_server import RedisServer

SIZES = (10, 100, 1_000, 10_000, 100_000)
_KEY = ProfileKey(1, "group")
_BEGAN = datetime(2024, 1, 1)  # noqa: DTZ001 - times are UTC without a zone throughout
_BATCH = 5_000


class Ground(NamedTuple):
    """Where it is measured, and by how many changes."""

    work: Path
    changes: int


class _Nobody:
    """An announcer without downstream."""

    def announce(self, announcements: Sequence[Announcement]) -> list[Exception | None]:
        return [None] * len(announcements)

    def close(self) -> None:
        """Nothing is open."""


def _events() -> Iterator[tuple[Event, Event]]:
    """The oracle's comments and analyses, again and again, as those of one profile."""
    tables = oracle_rows()
    bodies = [row[tables["request_comments"]["columns"].index("body")] for row in tables["request_comments"]["rows"]]
    column = tables["comment_llm_analyses"]["columns"].index("tags")
    tags = cycle([list_column(row[column]) for row in tables["comment_llm_analyses"]["rows"]])
    revision = time.time_ns() // 1000
    for number, body in enumerate(cycle(bodies), 1):
        comment = CommentCreated(
            comment_id=number,
            user_id=_KEY.user_id,
            group_slug=_KEY.group_slug,
            help_request_id=number % 7 + 1,
            body=body,
            created_at=_BEGAN + timedelta(minutes=number),
            revision=revision,
        )
        insight = InsightCreated(
            comment_id=number, user_id=_KEY.user_id, group_slug=_KEY.group_slug, tags=next(tags), revision=revision
        )
        yield comment, insight


def change(ground: Ground, size: int) -> Figures:
    """CPU of a change of a profile of that many comments, in µs; the file's count is checked in the end."""
    with stand.redis(ground.work / "store") as server:
        store = RedisStore(connect(server.url), debounce=0.0)
        projection, folder = Projection(store), open_folder(ground.work / f"files-{size}-{server.port}", None)
        flusher = Flusher(projection, folder, _Nobody(), NoMetrics())
        flusher.add_folder()
        events = _events()
        for start in range(0, size, _BATCH):
            pairs = [next(events) for _ in range(min(_BATCH, size - start))]
            projection.apply([event for pair in pairs for event in pair])
        flusher.flush()
        cpu, redis = _changed(projection, flusher, [next(events) for _ in range(ground.changes)], server)
        content = folder.read(_KEY)
        folder.close()
    count = 0 if content is None else parse_file(content).message_count
    per = 1e6 / ground.changes
    return {"change": cpu * per, "redis_change": redis * per, "wrong": float(count != size + ground.changes)}


def _changed(
    projection: Projection, flusher: Flusher, pairs: Sequence[tuple[Event, Event]], server: RedisServer
) -> tuple[float, float]:
    """CPU seconds of all, and of them Redis'."""
    own, redis = time.process_time(), stand.cpu_seconds(server.pid)
    for pair in pairs:
        projection.apply(pair)
        flusher.flush()
    redis = stand.cpu_seconds(server.pid) - redis
    return time.process_time() - own + redis, redis


ROWS: Mapping[str, Callable[[Ground], Figures]] = {
    f"a comment more than {size:,}": partial(change, size=size) for size in SIZES
}
"""One for each size."""


@contextmanager
def opened(work: Path, changes: int) -> Iterator[Ground]:
    """Nothing is started before a row needs it."""
    yield Ground(work, changes)
