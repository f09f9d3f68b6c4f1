"""The entry point `snapshot-rebuild`."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
import typer
from rich.console import Console

from projections.database.database import Database, open_databases
from projections.database.errors import DatabaseUnavailableError
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import Folder, Store, StoreUnavailableError
from snapshot.cli.command import INTERRUPTED, command
from snapshot.cli.options import DatabaseOptions, FileOptions, KafkaOptions, MetricOptions, StoreOptions
from snapshot.cli.resources import make_storage, open_announcer, open_store
from snapshot.cli.run_log import RunLog
from snapshot.files.folder import MARKER, ProfileFolder, open_folder
from snapshot.flush.flusher import Flusher
from snapshot.kafka.settings import KafkaSettings
from snapshot.processes import sizing
from snapshot.processes.spawn import Inline, Pool, Processes, raise_gc_thresholds
from snapshot.rebuild.rebuild import LAG_SECONDS, Order, Rebuild
from snapshot.rebuild.report import COULD_NOT_RUN, Report, show
from snapshot.rebuild.tasks import Output, RebuildContext
from snapshot.reconcile.reconcile import Scope
from snapshot.runtime import logs
from snapshot.runtime.metrics import Metrics, NoMetrics, statsd_metrics
from snapshot.runtime.progress import progress_bar
from snapshot.runtime.stdio import print_safely

NAME = "snapshot-rebuild"
_COMMENTS_WORTH_A_WORKER = 50_000


_NAMED = 20
_DEBOUNCE = 0.5
"""Seconds: nobody waits longer for what a rebuild changed."""


class Settings(NamedTuple):
    """What a rebuild runs on; see `snapshot.cli.options`."""

    database: DatabaseOptions
    files: FileOptions
    store: StoreOptions
    kafka: KafkaSettings | None
    deep: bool
    dry_run: bool


def _rebuild(  # noqa: PLR0913, PLR0917 - each is a flag, or a group of flags
    database: DatabaseOptions,
    files: FileOptions,
    store: StoreOptions,
    kafka: KafkaOptions,
    metrics: MetricOptions,
    user: Annotated[list[int] | None, typer.Option("--user", min=0, help="Only this user; may be repeated.")] = None,
    everybody: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--all", help="All users: those of the database, of the store and of the files.")
    ] = False,
    dry_run: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")
    ] = False,
    deep: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--deep", help="Compare all registers and aggregates, not only their digests.")
    ] = False,
    prune_all: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--prune-all", help="Go on even where over a tenth of what there is would end.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,  # noqa: FBT002 - a flag
    workers: Annotated[
        int | None,
        typer.Option(
            envvar="SNAPSHOT_WORKERS",
            min=1,
            max=64,
            help="Processes.",
            show_default="one a core, at most four, within 512 MB",
        ),
    ] = None,
    lag_timeout: Annotated[
        float,
        typer.Option(min=0.0, help="Seconds to wait until lag is told from drift; what is open then is undecided."),
    ] = LAG_SECONDS,
) -> None:
    """Compare every profile with the database, repair what differs, and write the files.

    Safe while the consumer runs. Exit codes: 0 in step, 1 drift found (and repaired, but for --dry-run),
    2 could not run.
    """
    if bool(user) == everybody:
        raise typer.BadParameter("say either --all or --user ID")
    logs.configure_from(os.environ, sys.stderr)
    raise_gc_thresholds()
    make_storage(files)
    order = Order(frozenset(user) if user else None, dry_run, prune_all, lag_timeout)
    with _in_words(), RunLog(files.storage_dir, NAME, group_slug=files.group_slug, dry_run=dry_run) as entry:
        settings = Settings(database, files, store, kafka.settings, deep, dry_run)
        with _measured(metrics, entry) as figures:
            report = rebuild(settings, order, workers)
            _note(report, entry)
            _count(report, figures)
        print_safely(
            lambda: _tell(report, as_json=as_json)
        )  # with or without a reader, the run and its exit code stand
        if report.blocked is not None:
            sys.stderr.write(f"{_blocked(report)}\n")
        raise typer.Exit(report.exit_code)


def rebuild(settings: Settings, order: Order, workers: int | None = 1) -> Report:
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


def _pool(settings: Settings, work: RebuildContext, workers: int, stack: ExitStack) -> Pool[RebuildContext]:
    if workers == 1:
        return Inline(work)
    return stack.enter_context(Processes(partial(open_work, settings), workers))


@contextmanager
def _in_words() -> Iterator[None]:
    """Say in one line what the operator has to mend."""
    try:
        yield
    except (OperatorError, DatabaseUnavailableError, StoreUnavailableError) as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(COULD_NOT_RUN) from error
    except KeyboardInterrupt as error:
        sys.stderr.write(f"{NAME} was interrupted; what it has repaired is kept, run it again to do the rest\n")
        raise typer.Exit(INTERRUPTED) from error


@contextmanager
def _measured(options: MetricOptions, entry: RunLog) -> Iterator[Metrics]:
    """Count a run, however it ends."""
    with statsd_metrics(options.statsd_host, options.statsd_port) as figures:
        figures.count("signal_glaze.runs")
        try:
            yield figures
        except BaseException:
            figures.count("signal_glaze.run_failures")
            raise
        finally:
            figures.gauge("signal_glaze.run_seconds", entry.seconds)


def _note(report: Report, entry: RunLog) -> None:
    entry.users = report.users
    entry.profiles_written = report.written
    entry.unchanged = report.unchanged
    entry.removed = report.removed
    entry.drift = report.drift
    entry.error = report.blocked and _blocked(report)


def _count(report: Report, figures: Metrics) -> None:
    figures.count("signal_glaze.run_failures", int(report.blocked is not None))
    figures.count("signal_glaze.drift", report.drift)
    figures.count("signal_glaze.repairs", report.events)
    figures.count("signal_glaze.snapshots_generated", report.written)
    figures.count("signal_glaze.snapshots_unchanged", report.unchanged)
    figures.count("signal_glaze.snapshots_removed", report.removed)
    figures.count("signal_glaze.announcements", report.announced)
    figures.count("signal_glaze.rows_unreadable", len(report.unreadable))


def _tell(report: Report, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    else:
        show(report, Console())


def _blocked(report: Report) -> str:
    return (
        f"held back: this would end {report.blocked}, as if the database were restored by half; restore it (or correct "
        "DATABASE_URL and INSIGHTS_DATABASE_URL), or confirm with --prune-all"
    )


@contextmanager
def open_work(settings: Settings) -> Iterator[RebuildContext]:
    """Open both databases, the store and the folder. A dry run makes none of them that isn't there.

    Raises OperatorError for whatever is in the way.
    """
    with ExitStack() as stack:
        database = stack.enter_context(
            open_databases(settings.database.database_url, settings.database.insights_database_url)
        )
        projection = Projection(_store(settings, stack))
        refuse_unknown_group(database, projection.store, settings.files.group_slug)  # before a folder is made for it
        output = _looked_at(settings.files) if settings.dry_run else _output(settings, projection, stack)
        if output is not None:
            stack.callback(output.folder.close)
        yield RebuildContext(projection, database, Scope(settings.files.group_slug, settings.deep), output)


def refuse_unknown_group(database: Database, store: Store, slug: str | None) -> None:
    """Raise OperatorError for a group that has neither members nor profiles."""
    if slug is None:
        return
    known = sorted({each for mine in database.groups().members.values() for each in mine})
    if slug in known or any(key.group_slug == slug for key in store.profiles(0, HIGHEST_ID)):
        return
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    raise OperatorError(f"there is no group {slug!r}; the groups are: {', '.join(known[:_NAMED]) or 'none'}{more}")


def _store(settings: Settings, stack: ExitStack) -> Store:
    options = replace(settings.store, debounce=min(settings.store.debounce, _DEBOUNCE))
    if settings.dry_run and options.redis_url is None and not (settings.files.storage_dir / "redis").exists():
        return MemoryStore(lambda: 0)
    return stack.enter_context(open_store(options, settings.files)).store


def _output(settings: Settings, projection: Projection, stack: ExitStack) -> Output:
    folder = open_folder(settings.files.profiles, settings.files.group_slug)
    announcer = stack.enter_context(open_announcer(settings.kafka, settings.files))
    return Output(folder, Flusher(projection, folder, announcer, NoMetrics()))


def _looked_at(files: FileOptions) -> Output | None:
    """The folder as it is, only to be read; None where it was never written to, or is another group's."""
    place = files.profiles / MARKER
    if not place.exists():
        return None
    folder = read_marker(place)
    if folder.group_slug not in (None, files.group_slug):
        return None
    return Output(ProfileFolder(files.profiles, folder), None)


class _Marker(msgspec.Struct):
    id: str
    group_slug: str | None


def read_marker(place: Path) -> Folder:
    """Read which folder this is, and its scope."""
    try:
        marker = msgspec.json.decode(place.read_bytes(), type=_Marker)
    except (OSError, msgspec.DecodeError) as error:
        raise OperatorError(
            f"the marker {place} can't be read ({error}); remove it, and the next run makes it anew"
        ) from error
    return Folder(marker.id, marker.group_slug)


main = command(_rebuild, NAME)
