"""The store check at a million comments: how soon it finds drift, and for how much of a processor.

    python -m benchmarks.large.store_check [COPIES [URL]]

URL is a PostgreSQL database, as for `benchmarks.large.sweep`; without it SQLite is read. A private Redis gets the head
of each profile, as a full read gives it. Then, again and again, one is damaged, and the tail turned until it says so.
The cost is the CPU of the check's own turns and of that Redis; nothing is committed meanwhile.
"""

import secrets
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace
from redis import Redis

from benchmarks import whiteballoon
from benchmarks.large.sweep import COPIES
from consumer.tail.changes.blocked_deletions import DeletionGuard
from consumer.tail.changes.poll import Heads
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.revisions import Revisions
from consumer.tail.startup.fill import Fill
from consumer.tail.state import TailSettings
from consumer.tail.tail import Start, Tail, open_tail
from consumer.tail.verify.store_check import InProcess, StoreCheck
from projections.codec import pack_head, unpack_head
from projections.database.database import Database, analyses_of, open_databases
from projections.profile_key import HIGHEST_ID, ProfileKey, bucket_of
from projections.profiles.bulk import Census
from projections.profiles.head import Head
from projections.projection import Projection
from projections.store.protocol import ABSENT, HEAD, Save, Write
from projections.store.redis import embedded
from projections.store.redis.store import RedisStore, connect
from snapshot.runtime.metrics import NoMetrics

MOST_OF_A_PROCESSOR = 0.01
_DAMAGES = 3


class _Drift(NoMetrics):
    found = 0

    def count(self, name: str, by: int = 1) -> None:
        self.found += by if name == "signal_glaze.drift" else 0


class _Check(StoreCheck):
    """Counts the CPU of its turns."""

    cpu = 0.0

    def turn(self) -> list[object] | None:  # type: ignore[override]
        began = time.thread_time()
        try:
            return super().turn()  # type: ignore[return-value]
        finally:
            self.cpu += time.thread_time() - began


def main() -> None:
    """Measure, print, and end with 1 where the limit is passed."""
    urls = whiteballoon.chosen(COPIES)
    with (
        open_databases(urls["DATABASE_URL"], urls["INSIGHTS_DATABASE_URL"]) as database,
        tempfile.TemporaryDirectory() as folder,
        embedded.using(Path(folder)) as url,
    ):
        client = connect(url)
        share = _measure(database, client)
        client.close()
    sys.exit(0 if share <= MOST_OF_A_PROCESSOR else 1)


def _measure(database: Database, client: Redis) -> float:
    store, drift, made = RedisStore(client), _Drift(), list[tuple[EventBuilder, _Check]]()

    def start(builder: EventBuilder, guard: DeletionGuard, heads: Heads) -> Start:
        check = _Check(
            Projection(store),
            database,
            builder,
            guard,
            InProcess(),
            first_pass=False,
            interval=TailSettings().sweep_interval,
            metrics=drift,
            now=time.monotonic,
        )
        made.append((builder, check))
        return Start([Fill(database, builder, heads.comment_id)], check)

    tail = open_tail(
        database,
        None,
        Revisions(database.clock, 0),
        start,
        TailSettings(),
        begin_poll=database.clock,
        metrics=NoMetrics(),
        now=time.monotonic,
    )
    ((builder, check),) = made
    while tail.starting:
        tail.turn()
    keys = list(_put_heads(database, builder, store))
    print(f"{len(keys)} profiles", flush=True)
    began, before = time.monotonic(), check.cpu + _cpu(client)
    for number in range(1, _DAMAGES + 1):
        seconds = _damage(store, keys[len(keys) * number // (_DAMAGES + 1)], tail, drift)
        print(f"found after {seconds:6.1f} s", flush=True)
    cost, seconds = check.cpu + _cpu(client) - before, time.monotonic() - began
    print(f"{cost:.2f} s of CPU in {seconds:.1f} s: {100 * cost / seconds:.2f} % of a processor")
    return cost / seconds


def _put_heads(database: Database, builder: EventBuilder, store: RedisStore) -> Iterator[ProfileKey]:
    census, after = Census(builder.groups, lambda _error: None), None
    rows = database.comments_of_users(0, HIGHEST_ID)
    while rows:
        after = rows[-1].user_id, rows[-1].comment_id
        heads = dict(census.page(rows, analyses_of(database, rows)))
        rows = database.comments_of_users(0, HIGHEST_ID, after)
        heads |= {} if rows else dict(census.rest())
        store.save([_save(key, _with_digest(builder, key, head)) for key, head in heads.items()])
        yield from heads


def _with_digest(builder: EventBuilder, key: ProfileKey, head: Head) -> Head:
    requests = builder.groups.requests[builder.groups.members[key.user_id][key.group_slug]]
    total = sum(builder.fingerprints.sums.get((key.user_id, request), 0) for request in requests)
    return replace(head, digest=(total % 2**128).to_bytes(16, "big"))


def _damage(store: RedisStore, key: ProfileKey, tail: Tail, drift: _Drift) -> float:
    """Damage a head, turn the tail until it is found, and put it right again; the seconds until it was found."""
    began, before = time.monotonic(), drift.found
    version, fields = store.load({key: (HEAD,)})[key]
    head = unpack_head(fields[HEAD])
    store.save([_save(key, replace(head, digest=bytes(16)), version)])
    while drift.found == before:
        if tail.turn() is None:
            time.sleep(min(0.5, tail.wait()))
    store.save([_save(key, head, store.load({key: ()})[key].version)])
    return time.monotonic() - began


def _save(key: ProfileKey, head: Head, version: bytes = ABSENT) -> Save:
    write = Write(key, version, secrets.token_bytes(8), {HEAD: pack_head(head)}, (), dirty=False)
    return Save(bucket_of(key.user_id), [write])


def _cpu(client: Redis) -> float:
    used = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


if __name__ == "__main__":
    main()
