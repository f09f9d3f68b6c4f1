"""Opening what commands need, from their options; everything is released when the block ends."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from projections.errors import OperatorError
from projections.store.protocol import StoreUnavailableError
from projections.store.redis import embedded
from projections.store.redis.store import RedisStore, connect
from snapshot.announce.announcement import Announcer
from snapshot.announce.file import FileAnnouncer
from snapshot.cli.options import FileOptions, LastingMetricOptions, StoreOptions
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.metrics import Metrics, statsd_metrics
from snapshot.runtime.throttle import ThrottledWarning

ANNOUNCEMENTS = "snapshot-changed.jsonl"
"""The file in the storage folder that takes the announcements where there is no Kafka."""
_LOADING_SECONDS = 120.0


def make_storage(files: FileOptions) -> None:
    """Make the storage folder where it is missing. Raises OperatorError where that can't be done."""
    try:
        files.disk.make_folder(str(files.storage_dir), parents=True)
    except OSError as error:
        raise OperatorError(
            f"the storage folder {files.storage_dir} can't be made ({error.strerror}); "
            "choose another with --storage-dir or SNAPSHOT_STORAGE_DIR"
        ) from error


class OpenStore(NamedTuple):
    """A store that is fit for use; `restart_embedded_redis` restarts a private Redis that died; a no-op for another."""

    store: RedisStore
    restart_embedded_redis: Callable[[], None]


def refuse_missing_store(redis_url: str | None, storage: Path, otherwise: str = "") -> None:
    """Raise OperatorError where no consumer made the store yet: another folder, or another store, is probably meant."""
    redis = storage / "redis"
    if redis_url is None and not redis.is_dir():
        raise OperatorError(
            f"there is no store in {redis}: set SNAPSHOT_STORAGE_DIR or REDIS_URL as for the consumer{otherwise}"
        )


@contextmanager
def open_store(options: StoreOptions, files: FileOptions) -> Iterator[OpenStore]:
    """Connect to REDIS_URL, else to the storage folder's private Redis, which is started where it does not run.

    Raises OperatorError where neither can be used.
    """
    if options.redis_url is not None:
        with _connected(options.redis_url, options.debounce) as store:
            yield OpenStore(store, lambda: None)
        return
    make_storage(files)
    with embedded.using(files.storage_dir) as url, _connected(url, options.debounce) as store:
        yield OpenStore(store, lambda: _restart_embedded(files))


@contextmanager
def _connected(url: str, debounce: float) -> Iterator[RedisStore]:
    store = RedisStore(connect(url), debounce, url)
    try:
        _check(store)
        yield store
    finally:
        store.close()


def _check(store: RedisStore) -> None:
    """Refuse a store that is not fit for use; one that still loads its data is waited for."""
    deadline = time.monotonic() + _LOADING_SECONDS
    warning = ThrottledWarning("waiting for the store", time.monotonic, level="error")
    while True:
        try:
            store.check()
        except StoreUnavailableError as error:
            if time.monotonic() > deadline:
                raise
            warning.warn(str(error))
            time.sleep(0.2)
        else:
            return


def _restart_embedded(files: FileOptions) -> None:
    embedded.ensure_running(files.storage_dir)


@contextmanager
def open_announcer(kafka: KafkaSettings | None, files: FileOptions) -> Iterator[Announcer]:
    """Announce on Kafka where there is one, else in a file of the storage folder."""
    announcer = _file_announcer(files) if kafka is None else _kafka_announcer(kafka)
    try:
        yield announcer
    finally:
        announcer.close()


def _file_announcer(files: FileOptions) -> Announcer:
    return FileAnnouncer(files.storage_dir / ANNOUNCEMENTS, files.disk.file_mode)


def _kafka_announcer(kafka: KafkaSettings) -> Announcer:
    # Kafka's client takes a tenth of a second to import, and who has no broker should not wait for it.
    from snapshot.announce.kafka import KafkaAnnouncer  # noqa: PLC0415
    from snapshot.flush.flusher import LEASE_SECONDS  # noqa: PLC0415
    from snapshot.kafka.producer import Producer  # noqa: PLC0415

    return KafkaAnnouncer(Producer(kafka, delivery_timeout=LEASE_SECONDS / 4))


@contextmanager
def open_metrics(options: LastingMetricOptions) -> Iterator[Metrics]:
    """Send figures to StatsD where STATSD_HOST is set."""
    with statsd_metrics(options.statsd_host, options.statsd_port, options.gauges) as metrics:
        yield metrics
