"""What `snapshot-admin status` says, gathered: each part from where it is known, and why where it is not."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

from consumer.dead_letters.file import FILE_NAME, FileDeadLetters
from consumer.process.presence import SECONDS, ProcessDescription
from projections.decoding import DecodingError, JsonDecoder
from projections.errors import DatabaseUnavailableError, OperatorError
from projections.masking import mask
from projections.profile_key import BUCKETS
from projections.store.protocol import Store
from projections.watermark import Watermark, observe, tail_is_running
from snapshot.cli.options import DatabaseOptions
from snapshot.cli.read_only import PlaceOptions, open_database
from snapshot.cli.run_log import FILE_NAME as RUN_LOG
from snapshot.cli.run_log import RunEntry
from snapshot.deletion_guard import CONFIRM
from snapshot.files.disk import open_regular
from snapshot.files.places import known_folders
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.terminal import many, span

STUCK_SECONDS = 6 * SECONDS
_LOG_BYTES = 256_000
T = TypeVar("T")


class ProcessStatus(ProcessDescription, kw_only=True):
    """A process, how long ago it last said something, and whether that is so recent that it is at work."""

    last_sign_seconds: float
    beating: bool


class DatabaseStatus(msgspec.Struct, kw_only=True):
    """WhiteBalloon's database: whether it is followed, when it was last looked at.

    Seconds by its clock since it was last polled and swept whole; null: never, or it is unreachable.
    """

    url: str
    error: str | None = None
    followed: bool
    polled_seconds: float | None = None
    swept_seconds: float | None = None

    @property
    def looks(self) -> str:
        """How long ago it was looked at; never, where a store is new or was only filled by a rebuild."""
        looks = (("polled", self.polled_seconds), ("swept whole", self.swept_seconds))
        return ", ".join(f"never {what}" if ago is None else f"{what} {span(ago)} ago" for what, ago in looks)


class PartitionStatus(msgspec.Struct, kw_only=True):
    """A partition: events behind, and for how many seconds the first of them has been there."""

    partition: str
    position: int
    end: int
    events: int
    seconds: float | None


class KafkaStatus(msgspec.Struct, kw_only=True):
    """Kafka, as far as it answers."""

    servers: str
    error: str | None = None
    partitions: list[PartitionStatus] = []


class FolderStatus(msgspec.Struct, kw_only=True):
    """A folder: profiles due in it, and for how many seconds the oldest has been."""

    id: str
    place: str
    group_slug: str | None
    due: int
    oldest_seconds: float


class Status(msgspec.Struct, kw_only=True):
    """All of it. `recovering`: buckets, with the reasons; `last_rebuild` is by the run log of this storage folder."""

    processes: list[ProcessStatus]
    database: DatabaseStatus
    kafka: KafkaStatus | None
    folders: list[FolderStatus]
    recovering: dict[int, str]
    failures: int
    failed: dict[str, str]
    troubles: list[str]
    blocked: list[str]
    confirm: str | None
    dead_letters: int | None
    last_rebuild: RunEntry | None
    problems: list[str] = []

    @property
    def recovering_by_reason(self) -> list[str]:
        """How many buckets recover for each reason."""
        return [
            f"{number} of {BUCKETS} buckets: {reason}" for reason, number in Counter(self.recovering.values()).items()
        ]

    @property
    def rebuild(self) -> str:
        """When the last rebuild was, and what came of it."""
        run = self.last_rebuild
        if run is None:
            return "none in this storage folder's run log"
        outcome = run.error or f"{many(run.users, 'user')} checked, {many(run.drift, 'profile')} drifted"
        return f"{run.finished[:16].replace('T', ' ')}, {run.seconds:.1f} s, {outcome}"


_decode = JsonDecoder(ProcessDescription).decode
_decode_entry = JsonDecoder(RunEntry).decode


def gather(store: Store, place: PlaceOptions, database: DatabaseOptions, kafka: KafkaSettings | None) -> Status:
    """Ask everything. Raises StoreUnavailableError; what else can't be reached is said in the status."""
    processes = _processes(store)
    seen = observe(store)
    states = store.bucket_states()
    kafka_status, dead_letters = _kafka(kafka, seen.positions) if kafka else (None, _dead_letters(place))
    blocked = [f"{where}: {reason}" for one in processes for where, reason in one.blocked.items()]
    status = Status(
        processes=processes,
        database=_database(store, place, database, seen.tail),
        kafka=kafka_status,
        folders=_folders(store),
        recovering={number: one.recovery.reason for number, one in enumerate(states) if one and one.recovery},
        failures=sum(one.failures for one in processes),
        failed={key: reason for one in processes for key, reason in one.failed.items()},
        troubles=list(dict.fromkeys(reason for one in processes for reason in one.troubles)),
        blocked=blocked,
        confirm=CONFIRM if blocked else None,
        dead_letters=dead_letters,
        last_rebuild=last_run(place.storage_dir / RUN_LOG, "snapshot-rebuild"),
    )
    status.problems = list(_problems(status))
    return status


def _processes(store: Store) -> list[ProcessStatus]:
    now, found = store.clock(), []
    for one in store.processes().values():
        seconds = max(0, now - one.time) / 1e6
        try:
            described = _decode(one.value)
        except DecodingError:  # another version's
            continue
        found.append(
            ProcessStatus(
                **msgspec.structs.asdict(described), last_sign_seconds=seconds, beating=seconds < STUCK_SECONDS
            )
        )
    return sorted(found, key=lambda one: (one.program, one.host, one.since))


def _database(store: Store, place: PlaceOptions, options: DatabaseOptions, tail: Watermark | None) -> DatabaseStatus:
    status = DatabaseStatus(url=mask(options.database_url), followed=tail_is_running(store))
    try:
        with open_database(options, place, store) as database:
            now = database.clock()
    except (OperatorError, DatabaseUnavailableError) as error:
        status.error = str(error)
        return status
    if tail is not None:
        polled, swept = tail.polled_until, tail.swept_until
        status.polled_seconds = max(0, now - polled) / 1e6 if polled else None
        status.swept_seconds = max(0, now - swept) / 1e6 if swept else None
    return status


def _kafka(settings: KafkaSettings, positions: Iterable[Mapping[str, int]]) -> tuple[KafkaStatus, int | None]:
    from consumer.kafka.lag import backlog  # noqa: PLC0415 - Kafka's client takes long to import

    status = KafkaStatus(servers=settings.bootstrap_servers)
    lowest: dict[str, int] = {}
    for bucket in positions:
        for name, position in bucket.items():
            lowest[name] = min(position, lowest.get(name, position))
    try:
        found = backlog(settings, lowest)
    except OperatorError as error:
        status.error = str(error)
        return status, None
    now = datetime.now(UTC).timestamp()
    status.partitions = [
        PartitionStatus(
            partition=name,
            position=lag.position,
            end=lag.end,
            events=lag.end - lag.position,
            seconds=None if lag.since is None else max(0.0, now - lag.since / 1e3),
        )
        for name, lag in sorted(found.partitions.items())
    ]
    return status, found.dead_letters


def _dead_letters(place: PlaceOptions) -> int | None:
    kept = FileDeadLetters(place.storage_dir / FILE_NAME, lambda: datetime.now(UTC))
    return _or_none(lambda: len({one.id for one in kept.letters()}))


def _or_none(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except OperatorError:
        return None


def _folders(store: Store) -> list[FolderStatus]:
    now, found = store.clock(), []
    for folder, place in known_folders(store):
        first = min((due for due in store.next_due(folder.id) if due is not None), default=now)
        found.append(
            FolderStatus(
                id=folder.id,
                place=str(place),
                group_slug=folder.group_slug,
                due=store.count_due(folder.id),
                oldest_seconds=max(0, now - first) / 1e6,
            )
        )
    return found


def last_run(path: Path, command: str) -> RunEntry | None:
    """Find the last run of a command in the end of a run log, but for dry runs."""
    try:
        with os.fdopen(open_regular(str(path), os.O_RDONLY), "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            entry = _decode_entry(line)
        except DecodingError:
            continue
        if entry.command == command and not entry.dry_run:
            return entry
    return None


def _problems(status: Status) -> Iterable[str]:
    """What an operator has to look at."""
    working = [one for one in status.processes if one.beating]
    if not any(one.program == "snapshot-consumer" for one in working):
        yield "no consumer is at work: start snapshot-consumer"
    yield from (
        f"{one.program} {one.pid} on {one.host} was killed or is stuck: no sign for {one.last_sign_seconds:.0f} s"
        for one in status.processes
        if not one.beating
    )
    if status.database.error:
        yield status.database.error
    if not status.database.followed:
        yield f"nobody follows the database: start {'snapshot-relay' if status.kafka else 'snapshot-consumer'}"
    if status.kafka and status.kafka.error:
        yield status.kafka.error
    if status.recovering:
        yield f"{len(status.recovering)} of {BUCKETS} buckets recover; their profiles are published when that is done"
    yield from status.troubles
    if status.failures:
        yield f"{many(status.failures, 'profile')} could not be flushed so far"
    if status.blocked:
        yield f"the deletion guard blocks deletions; restore the database, or confirm with {status.confirm}"
    if status.dead_letters:
        yield f"{many(status.dead_letters, 'dead letter')}: see `snapshot-admin dead-letters list`"
    if status.last_rebuild and status.last_rebuild.error:
        yield f"the last rebuild failed: {status.last_rebuild.error}"
