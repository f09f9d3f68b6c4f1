"""`wb signal-profile snapshot`: the command that WhiteBalloon's operators know, straight from the database.

`app` is what WhiteBalloon mounts under its own command line (docs/operations/wb.md); `main` is our own `wb`.
"""

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Annotated, NamedTuple

import structlog
import typer
from rich.console import Console
from rich.progress import Progress

from projections.comments.groups import KEY_PREFIX, Groups
from projections.database.database import Database, open_databases
from projections.database.errors import DatabaseUnavailableError
from projections.errors import OperatorError
from snapshot.cli.command import COULD_NOT_RUN, run
from snapshot.cli.options import DatabaseOptions, FileOptions, MetricOptions, with_options
from snapshot.cli.run_log import RunLog
from snapshot.direct import direct_snapshots, only_group
from snapshot.export import Export, Exported, Range, fitting, ranges_of
from snapshot.files.folder import open_folder
from snapshot.runtime import logs
from snapshot.runtime.metrics import statsd_metrics
from snapshot.runtime.stdio import print_safely
from snapshot.schema import SignalProfileSnapshot

NAME = "wb signal-profile snapshot"
_MOST_NAMED = 10

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Signal profiles: what each member of an imported Signal group shared, one small document each.",
)


def _snapshot(  # noqa: PLR0913, PLR0917 - each is a flag, or a group of flags
    database: DatabaseOptions,
    files: FileOptions,
    metrics: MetricOptions,
    user: Annotated[
        list[int] | None, typer.Option("--user", min=0, help="The profiles of this user; may be repeated.")
    ] = None,
    everybody: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--all", help="The profiles of all users; files of profiles that are no more are removed.")
    ] = False,
    dry_run: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--dry-run", help="Print the profiles as JSON, and write nothing but the run log.")
    ] = False,
    prune_all: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--prune-all", help="Go on even where over a tenth of what the files show would end.")
    ] = False,
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
) -> None:
    """Write the Signal profiles of a user or of all users, straight from the database.

    Files that are right already stay untouched. Exit codes: 0 done, 2 could not run.
    """
    if bool(user) == everybody:
        raise typer.BadParameter("say either --user ID or --all")
    if not structlog.is_configured():  # mounted elsewhere; unconfigured, it would write into our standard output
        logs.configure(sys.stderr, libraries=False)
    with _in_words(), RunLog(files.storage_dir, NAME, group_slug=files.group_slug, dry_run=dry_run) as entry:
        asked = _read(database, files.group_slug, sorted(set(user)) if user else None)
        entry.users = len(asked.users)
        if dry_run:
            _refuse(asked.strangers, files.group_slug)
            profiles = _print(database, asked)
            typer.echo(f"{_many(profiles, 'profile')} in {entry.seconds:.1f} s; nothing was written", err=True)
            return
        with _measured(metrics, entry):
            done = _write(database, files, asked, workers, prune_all=prune_all)
            entry.profiles_written, entry.unchanged, entry.removed = done.written, done.unchanged, done.removed
        print_safely(lambda: _tell(done, entry, files))


app.command("snapshot")(with_options(_snapshot))


@app.callback()
def _signal_profile() -> None:
    """Keep `snapshot` a command of its own name, though it is the only one."""


def main() -> None:
    """Run `wb`."""
    root = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)
    root.add_typer(app, name="signal-profile")

    def configured() -> None:
        logs.configure_from(os.environ, sys.stderr)
        root()

    run(configured)


@contextmanager
def _in_words() -> Iterator[None]:
    """Say what the operator has to mend in one line: here, not in `main`, as other programs mount the command."""
    try:
        yield
    except (OperatorError, DatabaseUnavailableError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(COULD_NOT_RUN) from error


# ----------------------------------------------------------------------------------------------------- what is asked


class _Asked(NamedTuple):
    """The groups and users asked for, and the ranges that hold those of them who are in a group."""

    groups: Groups
    users: Collection[int]
    everybody: bool
    ranges: list[Range]

    @property
    def strangers(self) -> list[int]:
        """Users asked for by id who are in none of the groups."""
        return [user for user in self.users if user not in self.groups.members]


def _opening(options: DatabaseOptions) -> Callable[[], AbstractContextManager[Database]]:
    return lambda: open_databases(options.database_url, options.insights_database_url)


def _read(options: DatabaseOptions, slug: str | None, only: list[int] | None) -> _Asked:
    with _opening(options)() as database:
        groups = _in_scope(database.groups(), slug)
        if only is None:
            return _Asked(groups, groups.members, everybody=True, ranges=ranges_of(database, groups))
    members = {user: groups.members[user] for user in only if user in groups.members}
    ranges = [(user, user) for user in members]
    return _Asked(Groups(members, groups.requests), only, everybody=False, ranges=ranges)


def _in_scope(groups: Groups, slug: str | None) -> Groups:
    if slug is None:
        return groups
    found = only_group(groups, slug)
    if not found.members:
        slugs = sorted({known for names in groups.members.values() for known in names})
        named = ", ".join(slugs[:_MOST_NAMED]) or "there is none"
        more = f" and {len(slugs) - _MOST_NAMED} more" if len(slugs) > _MOST_NAMED else ""
        raise OperatorError(f"nobody is in the group {slug!r}; the groups of this database: {named}{more}")
    return found


def _refuse(strangers: list[int], slug: str | None) -> None:
    if strangers:
        where = "in no imported Signal group" if slug is None else f"not in the group {slug!r}"
        raise OperatorError(
            f"user {', '.join(map(str, strangers))} is {where}: no attribute {KEY_PREFIX}{slug or '...'}; "
            "correct --user, or import the group first"
        )


# ------------------------------------------------------------------------------------------------------ what is done


def _print(options: DatabaseOptions, asked: _Asked) -> int:
    """Print each profile until nobody reads any more.

    For a person as its file looks, else on one line, the very text that its hash is taken of.
    """
    form = _pretty if sys.stdout.isatty() else _line
    profiles = 0
    with _opening(options)() as database:
        for users in asked.ranges:
            for snapshot in direct_snapshots(database, asked.groups, *users):
                if not print_safely(partial(typer.echo, form(snapshot))):
                    return profiles
                profiles += 1
    return profiles


def _pretty(snapshot: SignalProfileSnapshot) -> bytes:
    return snapshot.file_bytes().rstrip()


def _line(snapshot: SignalProfileSnapshot) -> str:
    return json.dumps(snapshot.to_dict(), sort_keys=True)


def _write(
    options: DatabaseOptions, files: FileOptions, asked: _Asked, workers: int | None, *, prune_all: bool
) -> Exported:
    folder = open_folder(files.profiles, files.group_slug)
    try:
        export = Export(_opening(options), asked.groups, folder, None if asked.everybody else asked.users)
        _refuse([user for user in asked.strangers if not export.has_files(user)], files.group_slug)
        console = Console(stderr=True)
        with Progress(console=console, auto_refresh=False, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("profiles", total=len(asked.ranges))
            return export.run(
                asked.ranges,
                processes=fitting(workers, asked.ranges, len(asked.groups.members)),
                prune_all=prune_all or not asked.everybody,
                progress=lambda: bar.update(task, advance=1, refresh=True),
            )
    finally:
        folder.close()


@contextmanager
def _measured(options: MetricOptions, entry: RunLog) -> Iterator[None]:
    """Count a run. The sender begins afterwards: its thread would forbid the fork of worker processes."""
    failed = True
    try:
        yield
        failed = False
    finally:
        with statsd_metrics(options.statsd_host, options.statsd_port) as metrics:
            metrics.count("signal_glaze.runs")
            metrics.count("signal_glaze.run_failures", int(failed))
            metrics.gauge("signal_glaze.run_seconds", entry.seconds)
            metrics.count("signal_glaze.snapshots_generated", entry.profiles_written)
            metrics.count("signal_glaze.snapshots_unchanged", entry.unchanged)
            metrics.count("signal_glaze.snapshots_removed", entry.removed)


def _tell(done: Exported, entry: RunLog, files: FileOptions) -> None:
    rate = done.comments / max(entry.seconds, 0.001)
    typer.echo(
        f"{_many(done.profiles, 'profile')} of {_many(entry.users, 'user')}: {done.written:,} written, "
        f"{done.unchanged:,} unchanged, {done.removed:,} removed in {files.profiles}; "
        f"{_many(done.comments, 'comment')} in {entry.seconds:.1f} s ({rate:,.0f}/s)"
    )
    if done.unreadable:
        typer.echo(f"{_many(done.unreadable, 'comment')} can't be understood: left out, and the log names the first")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
