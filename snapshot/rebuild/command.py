"""The entry point `snapshot-rebuild`."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

from projections.database.database import open_databases
from projections.errors import OperatorError
from projections.projection import Projection
from projections.remembered.analyses_seen import SeenAnywhere, SeenInStore
from projections.remembered.forgotten import BlockedAnywhere
from projections.store.memory import MemoryStore
from projections.store.protocol import Store
from snapshot.cli.command import RunInterruptedError, command
from snapshot.cli.groups import refuse_unknown_group
from snapshot.cli.options import (
    DatabaseOptions,
    FileOptions,
    KafkaOptions,
    MetricOptions,
    RunOptions,
    StoreOptions,
    finite,
)
from snapshot.cli.resources import make_storage, open_announcer, open_store
from snapshot.cli.run_log import RunEntry, run_log
from snapshot.cli.run_metrics import measured
from snapshot.deletion_guard import blocked_message
from snapshot.files.folder import ProfileFolder, open_folder
from snapshot.files.marker import BlockedInMarker, SeenInMarker, read_marker
from snapshot.files.places import note_place
from snapshot.flush.flusher import Flusher
from snapshot.kafka.settings import KafkaSettings
from snapshot.processes import sizing
from snapshot.processes.spawn import Inline, Pool, Processes, raise_gc_thresholds
from snapshot.rebuild.rebuild import LAG_SECONDS, Order, Rebuild
from snapshot.rebuild.report import Report, show
from snapshot.rebuild.tasks import Output, RebuildContext
from snapshot.reconcile.reconcile import Scope
from snapshot.runtime.metrics import Counter, NoMetrics
from snapshot.runtime.progress import progress_bar
from snapshot.runtime.stdio import print_safely

NAME = "snapshot-rebuild"
_COMMENTS_WORTH_A_WORKER = 50_000


class RebuildSettings(NamedTuple):
    """What a rebuild runs on; see `snapshot.cli.options`."""

    database: DatabaseOptions
    files: FileOptions
    store: StoreOptions
    kafka: KafkaSettings | None
    deep: bool
    dry_run: bool
    prune_all: bool = False


def _rebuild(  # noqa: PLR0913, PLR0917 - each is a flag, or a group of flags
    database: DatabaseOptions,
    files: FileOptions,
    store: StoreOptions,
    kafka: KafkaOptions,
    metrics: MetricOptions,
    options: RunOptions,
    deep: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--deep", help="Compare all registers and aggregates, not only their digests.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,  # noqa: FBT002 - a flag
    lag_timeout: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=86_400.0,
            callback=finite,
            help="Seconds to wait for the tail before a difference that may be lag is reported as undecided.",
        ),
    ] = LAG_SECONDS,
) -> None:
    """Compare every profile with the database, repair what differs, and write the files.

    Safe while the consumer runs. Exit codes: 0 in step, 1 drift found (and repaired, except with --dry-run),
    2 could not run.
    """
    order = Order(options.users, options.dry_run, options.prune_all, lag_timeout)
    raise_gc_thresholds()
    make_storage(files)
    settings = RebuildSettings(database, files, store, kafka.settings, deep, options.dry_run, options.prune_all)
    with (
        _interruption_reported(),
        run_log(files, NAME, dry_run=options.dry_run) as run,
    ):
        with measured(metrics, run) as counts:
            report = rebuild(settings, order, options.workers)
            _record(report, run.entry)
            _count(report, counts)
        print_safely(lambda: _print(report, as_json=as_json))  # read or not, the run and its exit code stand
        if report.blocked is not None:
            sys.stderr.write(f"{run.entry.error}\n")
        raise typer.Exit(report.exit_code)


def rebuild(settings: RebuildSettings, order: Order, workers: int | None = 1) -> Report:
    """Open everything, run, and report; `workers` None: as many processes as are worth it.

    Raises OperatorError, StoreUnavailableError, DatabaseUnavailableError.
    """
    with ExitStack() as stack:
        work = stack.enter_context(open_work(settings))
        pool = _pool(settings, work, _fitting(work, order, workers), stack)
        bar = stack.enter_context(progress_bar(Console(stderr=True)))
        return Rebuild(work, pool, order, bar).run()


def _fitting(work: RebuildContext, order: Order, asked: int | None) -> int:
    """How many processes are worth their start and their memory."""
    if asked is not None:
        return asked
    if order.users is not None:
        return 1
    useful = work.database.heads().comment_id // _COMMENTS_WORTH_A_WORKER
    return sizing.fitting(useful, len(work.database.groups().members))


def _pool(settings: RebuildSettings, work: RebuildContext, workers: int, stack: ExitStack) -> Pool[RebuildContext]:
    if workers == 1:
        return Inline(work)
    return stack.enter_context(Processes(partial(open_work, settings), workers))


@contextmanager
def _interruption_reported() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt as error:
        what = f"{NAME} was interrupted; what it has repaired is kept, run it again to do the rest"
        raise RunInterruptedError(what) from error


def _record(report: Report, entry: RunEntry) -> None:
    entry.users = report.users
    entry.profiles_written = report.written
    entry.unchanged = report.unchanged
    entry.removed = report.removed
    entry.drift = report.drifted
    entry.error = report.blocked and blocked_message(report.blocked, "--prune-all")


def _count(report: Report, counts: dict[Counter, int]) -> None:
    counts["signal_glaze.drift"] = report.drifted
    counts["signal_glaze.repairs"] = report.events
    counts["signal_glaze.announcements"] = report.announced
    counts["signal_glaze.rows_unreadable"] = len(report.invalid_rows)


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        show(report, Console())


@contextmanager
def open_work(settings: RebuildSettings) -> Iterator[RebuildContext]:
    """Open both databases, the store and the folder. A dry run creates none of them.

    Raises OperatorError where one of them can't be used.
    """
    with ExitStack() as stack:
        blocked = _blocked_users(settings, lambda: projection.store)
        database = stack.enter_context(
            open_databases(
                settings.database.database_url,
                settings.database.insights_database_url,
                seen=_analyses_seen(settings, lambda: projection.store),
                blocked=blocked,
            )
        )
        projection = Projection(_store(settings, stack))
        # before a folder is made for it
        refuse_unknown_group(settings.files.group_slug, database.groups(), settings.files.profiles, projection.store)
        output = _read_only_output(settings.files) if settings.dry_run else _output(settings, projection, stack)
        blocked.enforce()  # a folder that was just made is to remember them, too
        if output is not None:
            stack.callback(output.folder.close)
        yield RebuildContext(projection, database, Scope(settings.files.group_slug, settings.deep), output)


def _analyses_seen(settings: RebuildSettings, store: Callable[[], Store]) -> SeenAnywhere:
    marker = SeenInMarker(settings.files.profiles, settings.files.disk)
    return SeenAnywhere(marker, SeenInStore(store), confirmed=settings.prune_all, read_only=settings.dry_run)


def _blocked_users(settings: RebuildSettings, store: Callable[[], Store]) -> BlockedAnywhere:
    marker = BlockedInMarker(settings.files.profiles, settings.files.disk)
    return BlockedAnywhere(store, marker, read_only=settings.dry_run)


def _store(settings: RebuildSettings, stack: ExitStack) -> Store:
    options = settings.store.of_a_run()
    if settings.dry_run and options.redis_url is None and not (settings.files.storage_dir / "redis").exists():
        return MemoryStore(lambda: 0)
    return stack.enter_context(open_store(options, settings.files)).store


def _output(settings: RebuildSettings, projection: Projection, stack: ExitStack) -> Output:
    folder = open_folder(settings.files.profiles, settings.files.group_slug, disk=settings.files.disk)
    note_place(projection.store, folder, settings.files.storage_dir)
    announcer = stack.enter_context(open_announcer(settings.kafka, settings.files))
    flusher = Flusher(projection, folder, announcer, NoMetrics(), folder_days=settings.files.folder_days)
    return Output(folder, flusher)


def _read_only_output(files: FileOptions) -> Output | None:
    """The folder as it is; None where it was never written to, or has another scope."""
    try:
        folder = read_marker(files.profiles)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperatorError(f"the folder {files.profiles} can't be read ({error.strerror}); fix that") from error
    if folder.group_slug not in (None, files.group_slug):
        return None
    return Output(ProfileFolder(files.profiles, folder), None)


main = command(_rebuild, NAME)
