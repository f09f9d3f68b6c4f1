"""Looks at the status every few seconds, for all who look at the page together, and keeps an hour of its figures."""

import threading
import time
from collections import deque
from collections.abc import Callable

import msgspec

from consumer.views.status import Status, gather
from consumer.web.live.connection import UNREACHABLE, Sources, StoreConnection
from projections.masking import mask_urls

SECONDS = 5.0
_FIRST_SECONDS = 5.0
KEPT = 720
"""An hour of samples."""


class Sample(msgspec.Struct, frozen=True):
    """The figures of one look. `time`: seconds since 1970; rates a second; spans in seconds, None where unknown.

    `behind`: events that wait on Kafka, None without it.
    """

    time: float
    events: float
    flushes: float
    due: int
    database_seconds: float | None
    kafka_seconds: float | None
    behind: int | None


class Sampler:
    """The last status, or why there is none, and the samples; a thread of its own renews them."""

    def __init__(self, sources: Sources, store: StoreConnection, now: Callable[[], float] = time.time) -> None:
        self._sources = sources
        self._store = store
        self._now = now
        self._stopped = threading.Event()
        self._looked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.status: Status | None = None
        self.trouble: str | None = None
        self.looked_at = 0.0
        self.samples: deque[Sample] = deque(maxlen=KEPT)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and close the store."""
        self._stopped.set()
        self._thread.join(1.0)
        self._store.lose("the page is ending")

    def look(self) -> None:
        """Take one sample."""
        sources = self._sources
        try:
            status = gather(self._store.ensure(), sources.place, sources.database, sources.kafka)
        except UNREACHABLE as error:
            self.status, self.trouble = None, mask_urls(" ".join(str(error).split()))
            self._store.lose(self.trouble)
        else:
            self.status, self.trouble = status, None
            self.samples.append(sample_of(status, self._now()))
        self.looked_at = self._now()
        self._looked.set()

    def wait(self) -> None:
        """Return when there was a first look, or it takes too long."""
        self._looked.wait(_FIRST_SECONDS)

    def _run(self) -> None:
        while not self._stopped.is_set():
            self.look()
            self._stopped.wait(SECONDS)


def sample_of(status: Status, now: float) -> Sample:
    """Sum up a status."""
    working = [one for one in status.processes if one.beating]
    partitions = status.kafka.partitions if status.kafka and not status.kafka.error else None
    return Sample(
        time=now,
        events=sum(one.events_per_second for one in working),
        flushes=sum(one.flushes_per_second for one in working),
        due=sum(one.due for one in status.folders),
        database_seconds=status.database.polled_seconds,
        kafka_seconds=None if partitions is None else max((one.seconds or 0.0 for one in partitions), default=0.0),
        behind=None if partitions is None else sum(one.events for one in partitions),
    )
