"""The entry point `snapshot-rebuild`."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Annotated

import typer
from rich.console import Console

from projections.errors import OperatorError
from projections.faults import DatabaseUnavailable
from projections.store import StoreUnavailableError
from snapshot import logs, processes
from snapshot.command import INTERRUPTED, command
from snapshot.metrics import Metrics, statsd_metrics
from snapshot.opening import make_storage
from snapshot.options import DatabaseOptions, FileOptions, KafkaOptions, MetricOptions, StoreOptions
from snapshot.pool import Inline, Pool, Processes, collect_seldom
from snapshot.progress import meter
from snapshot.rebuild import LAG_SECONDS, Order, Rebuild
from snapshot.rebuild_opening import Settings, open_work
from snapshot.report import COULD_NOT_RUN, Report, show
from snapshot.run_log import RunLog
from snapshot.streams import told
from snapshot.work import Work

NAME = "snapshot-rebuild"
_COMMENTS_WORTH_A_WORKER = 50_000


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
    collect_seldom()
    make_storage(files)
    order = Order(frozenset(user) if user else None, dry_run, prune_all, lag_timeout)
    with _in_words(), RunLog(files.storage_dir, NAME, group_slug=files.group_slug, dry_run=dry_run) as entry:
        settings = Settings(database, files, store, kafka.settings, deep, dry_run)
        with _measured(metrics, entry) as figures:
            report = rebuild(settings, order, workers)
            _note(report, entry)
            _count(report, figures)
        told(lambda: _tell(report, as_json=as_json))  # with or without a reader, the run and its exit code stand
        if report.held is not None:
            sys.stderr.write(f"{_held(report)}\n")
        raise typer.Exit(report.exit_code)


def rebuild(settings: Settings, order: Order, workers: int | None = 1) -> Report:
    """Open everything, run, and report; `workers` None: as many processes as are worth it.

    Raises OperatorError, StoreUnavailableError, DatabaseUnavailable.
    """
    with ExitStack() as stack:
        work = stack.enter_context(open_work(settings))
        pool = _pool(settings, work, _fitting(work, order, workers), stack)
        bar = stack.enter_context(meter(Console(stderr=True)))
        return Rebuild(work, pool, order, bar).run()


def _fitting(work: Work, order: Order, asked: int | None) -> int:
    """How many processes are worth their start and their memory."""
    if asked is not None:
        return asked
    if order.users is not None:
        return 1
    useful = work.database.heads().comment_id // _COMMENTS_WORTH_A_WORKER
    return processes.fitting(useful, len(work.database.groups().members))


def _pool(settings: Settings, work: Work, workers: int, stack: ExitStack) -> Pool:
    if workers == 1:
        return Inline(work)
    return stack.enter_context(Processes(partial(open_work, settings), workers))


@contextmanager
def _in_words() -> Iterator[None]:
    """Say in one line what the operator has to mend."""
    try:
        yield
    except (OperatorError, DatabaseUnavailable, StoreUnavailableError) as error:
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
    entry.error = report.held and _held(report)


def _count(report: Report, figures: Metrics) -> None:
    figures.count("signal_glaze.run_failures", int(report.held is not None))
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


def _held(report: Report) -> str:
    return (
        f"held back: this would end {report.held}, as if the database were restored by half; restore it (or correct "
        "DATABASE_URL and INSIGHTS_DATABASE_URL), or confirm with --prune-all"
    )


main = command(_rebuild, NAME)
