"""`wb signal-profile snapshot`: the command that WhiteBalloon's operators know, straight from the database.

`app` and `run` are what WhiteBalloon mounts under its own command line (docs/operations/wb.md); `main` is our own `wb`.
"""

import json
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import structlog
import typer
from rich.console import Console

from projections.comments.groups import KEY_PREFIX, Groups
from projections.database.database import Database, open_databases
from projections.database.highlights import read_highlights
from projections.errors import OperatorError
from projections.remembered.analyses_seen import SeenAnywhere
from snapshot.cli import usage
from snapshot.cli.command import exit_code, one_line_errors
from snapshot.cli.command import run as run_program
from snapshot.cli.groups import refuse_unknown_group
from snapshot.cli.options import (
    DatabaseOptions,
    FileOptions,
    MetricOptions,
    OutputDir,
    RunOptions,
    StorageDir,
    with_options,
)
from snapshot.cli.run_log import RunLog, run_log
from snapshot.cli.run_metrics import measured
from snapshot.direct import direct_snapshots
from snapshot.export import COMMENTS_A_RANGE, Export, Exported, Range, fitting, ranges_of
from snapshot.files.folder import open_folder
from snapshot.files.marker import BlockedInMarker, SeenInMarker, find_marker
from snapshot.freshness import Freshness, compare
from snapshot.runtime import logs
from snapshot.runtime.metrics import Metrics, statsd_metrics
from snapshot.runtime.progress import progress_bar
from snapshot.runtime.stdio import print_safely
from snapshot.runtime.terminal import Printer, many, show
from snapshot.schema import SignalProfileSnapshot

NAME = "wb signal-profile snapshot"
_STALE = 1

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Signal profiles: what each member of an imported Signal group shared, one small document each.",
)


def _snapshot(database: DatabaseOptions, files: FileOptions, metrics: MetricOptions, options: RunOptions) -> None:
    """Write the Signal profiles of a user or of all users, straight from the database.

    Files that are right already are not touched; with --all, files of profiles that no longer exist are removed. A dry
    run prints the profiles as JSON, and writes nothing but the run log. Exit codes: 0 done, 2 could not run.
    """
    users = options.users
    if not structlog.is_configured():  # mounted elsewhere; unconfigured, it would write into our standard output
        logs.configure(sys.stderr, libraries=False)
    with (
        one_line_errors(),  # here as well as in `run`, as other programs mount the command
        run_log(files, NAME, dry_run=options.dry_run) as run,
    ):
        open_database = _opener(database, files, options)
        selection = _select(open_database, files, users)
        run.entry.users = len(selection.users)
        if options.dry_run:
            _refuse(selection.unknown_users, files.group_slug)
            profiles = _print(open_database, selection)
            typer.echo(f"{many(profiles, 'profile')} in {run.seconds:.1f} s; nothing was written", err=True)
            return
        with measured(metrics, run):
            done = _write(open_database, files, selection, options)
            run.entry.profiles_written, run.entry.unchanged, run.entry.removed = (
                done.written,
                done.unchanged,
                done.removed,
            )
        print_safely(lambda: _print_summary(done, run, files))


def _freshness(
    database: DatabaseOptions,
    metrics: MetricOptions,
    storage_dir: StorageDir = Path("storage"),
    output_dir: OutputDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002 - a flag
) -> None:
    """Compare WhiteBalloon's highlights with the profiles as they are now, and list those that are stale.

    Reads the database (user_profile_highlights: snapshot_hash, last seen, the group that each was made from) and writes
    nothing. Exit codes: 0 all are fresh, 1 some are stale, 2 could not run.
    """
    if not structlog.is_configured():
        logs.configure(sys.stderr, libraries=False)
    with one_line_errors():
        highlights = read_highlights(database.database_url)
        files = FileOptions(storage_dir, output_dir)
        with _opener(database, files, RunOptions())() as opened:
            found = compare(highlights, _snapshots_of(opened, [one.user_id for one in highlights]))
        with statsd_metrics(metrics.statsd_host, metrics.statsd_port) as figures:
            _measure(found, figures)
        show(found, partial(_print_freshness, found), as_json=as_json)
    if found.stale:
        raise typer.Exit(_STALE)


app.command("snapshot")(with_options(_snapshot))
app.command("freshness")(with_options(_freshness))


def main() -> None:
    """Run `wb`."""
    root = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
    root.add_typer(app, name="signal-profile")
    run_program(root)


def run(argv: Sequence[str]) -> int:
    """Run `snapshot` or `freshness` and its flags, for a command line that is not made with Typer; give the exit code.

    What goes wrong is one line on standard error. `argv` is what stands behind `signal-profile`. Raises nothing.
    """
    program = usage.dress(typer.main.get_command(app))
    return exit_code(lambda: program(args=[*argv], prog_name="wb signal-profile", standalone_mode=False))


# ----------------------------------------------------------------------------------------------------- whose profiles


class _Selection(NamedTuple):
    """The groups and users asked for, and the ranges that hold those of them who are in a group."""

    groups: Groups
    users: Collection[int]
    everybody: bool
    ranges: list[Range]

    @property
    def unknown_users(self) -> list[int]:
        """Users asked for by id who are in none of the groups."""
        return sorted(user for user in self.users if user not in self.groups.members)


OpenDatabase = Callable[[], AbstractContextManager[Database]]


def _opener(options: DatabaseOptions, files: FileOptions, run_options: RunOptions) -> OpenDatabase:
    marker = SeenInMarker(files.profiles, files.disk)
    seen = SeenAnywhere(
        marker, confirmed=run_options.prune_all, read_only=True
    )  # its workers may be ended at any moment
    find_marker(files.profiles, files.disk)  # refuses one that is damaged
    blocked = BlockedInMarker(files.profiles, files.disk)
    return lambda: open_databases(options.database_url, options.insights_database_url, seen=seen, blocked=blocked)


def _select(open_database: OpenDatabase, files: FileOptions, users: frozenset[int] | None) -> _Selection:
    slug = files.group_slug
    with open_database() as database:
        groups = database.groups()
        refuse_unknown_group(slug, groups, files.profiles)
        groups = groups.only(slug)
        if users is None:
            return _Selection(groups, groups.members, everybody=True, ranges=ranges_of(database, groups))
    members = {user: groups.members[user] for user in sorted(users) if user in groups.members}
    ranges = [(user, user) for user in members]
    return _Selection(Groups(members, groups.requests), users, everybody=False, ranges=ranges)


def _refuse(unknown_users: list[int], slug: str | None) -> None:
    if unknown_users:
        where = "in no imported Signal group" if slug is None else f"not in the group {slug!r}"
        raise OperatorError(
            f"user {', '.join(map(str, unknown_users))} is {where}: no attribute {KEY_PREFIX}{slug or '...'}; "
            "correct --user, or import the group first (or end a block with `snapshot-admin forget ID --undo`)"
        )


# --------------------------------------------------------------------------------------------------------- freshness


def _snapshots_of(database: Database, users: list[int]) -> Iterator[SignalProfileSnapshot]:
    """Build the snapshots of these users, who are in ascending order, and of some between them."""
    groups = database.groups()
    for first, last in database.user_ranges(COMMENTS_A_RANGE) if users else []:
        index = bisect_left(users, first)
        mine = users[index : bisect_right(users, last)]
        if mine:
            yield from direct_snapshots(database, groups, mine[0], mine[-1])


def _measure(found: Freshness, metrics: Metrics) -> None:
    metrics.gauge("signal_glaze.highlights_stale", len(found.stale))


def _print_freshness(found: Freshness, out: Printer) -> None:
    if found.stale:
        rows = [
            (
                one.user_id,
                one.group_slug,
                one.reason,
                *map(_time, (one.highlight_last_seen_at, one.snapshot_last_seen_at)),
            )
            for one in found.stale
        ]
        out.table([">user", "*group", "why", "last seen, highlight", "last seen, now"], rows)
    out.line(f"{many(found.highlights, 'highlight')}: {found.fresh:,} fresh, {len(found.stale):,} stale", "bold")


def _time(moment: datetime | str | None) -> str:
    return moment.isoformat(" ", "seconds") if isinstance(moment, datetime) else moment or ""


# ------------------------------------------------------------------------------------------------------ what is done


def _print(open_database: OpenDatabase, selection: _Selection) -> int:
    """Print each profile, until standard output is no longer read.

    For a person as its file looks, else on one line, the very text that its hash is taken of.
    """
    form = _pretty if sys.stdout.isatty() else _line
    profiles = 0
    with open_database() as database:
        for users in selection.ranges:
            for snapshot in direct_snapshots(database, selection.groups, *users):
                if not print_safely(partial(typer.echo, form(snapshot))):
                    return profiles
                profiles += 1
    return profiles


def _pretty(snapshot: SignalProfileSnapshot) -> bytes:
    return snapshot.file_bytes().rstrip()


def _line(snapshot: SignalProfileSnapshot) -> str:
    return json.dumps(snapshot.to_dict(), sort_keys=True)


def _remember_analyses(open_database: OpenDatabase, marker: SeenInMarker, *, prune_all: bool) -> None:
    with open_database() as database:
        seen = database.heads().analysis_comment_id > 0
    if seen or prune_all:
        marker.put(seen=seen)


def _write(open_database: OpenDatabase, files: FileOptions, selection: _Selection, options: RunOptions) -> Exported:
    folder = open_folder(files.profiles, files.group_slug, disk=files.disk)
    try:
        _remember_analyses(open_database, SeenInMarker(files.profiles, files.disk), prune_all=options.prune_all)
        users = None if selection.everybody else selection.users
        export = Export(open_database, selection.groups, folder, users)
        _refuse([user for user in selection.unknown_users if not export.has_files(user)], files.group_slug)
        with progress_bar(Console(stderr=True)) as bar:
            bar.phase("profiles", len(selection.ranges))
            return export.run(
                selection.ranges,
                processes=fitting(options.workers, selection.ranges, len(selection.groups.members)),
                prune_all=options.prune_all or not selection.everybody,
                progress=bar.advance,
            )
    finally:
        folder.close()


def _print_summary(done: Exported, run: RunLog, files: FileOptions) -> None:
    rate = done.comments / max(run.seconds, 0.001)
    typer.echo(
        f"{many(done.profiles, 'profile')} of {many(run.entry.users, 'user')}: {done.written:,} written, "
        f"{done.unchanged:,} unchanged, {done.removed:,} removed in {files.profiles}; "
        f"{many(done.comments, 'comment')} read in {run.seconds:.1f} s ({rate:,.0f}/s)"
    )
    if done.invalid_rows:
        typer.echo(f"{many(done.invalid_rows, 'comment')} have invalid rows and are left out; the log names the first")
