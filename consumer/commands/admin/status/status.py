"""`snapshot-admin status`: what runs, what is behind, what fails, what waits for an operator."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from consumer.commands.admin.status.health import health
from consumer.commands.alive_option import AliveFile
from snapshot.cli.options import DatabaseOptions, KafkaOptions
from snapshot.cli.read_only import Json, PlaceOptions, open_existing_store
from snapshot.runtime.stdio import print_line
from snapshot.runtime.terminal import Printer, show, span

if TYPE_CHECKING:
    from consumer.views.status import Status

PROBLEMS = 1
_PAUSE = 2.0


def status_command(  # noqa: PLR0913, PLR0917 - each is a flag, or a group of flags
    database: DatabaseOptions,
    place: PlaceOptions,
    kafka: KafkaOptions,
    watch: Annotated[bool, typer.Option("--watch", help="Again every two seconds, until Ctrl-C.")] = False,  # noqa: FBT002
    only_health: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--health", help="One line, by the sign of life of this host's process alone; for probes.")
    ] = False,
    alive_file: AliveFile = None,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Say what runs, what is behind, what fails, and what waits for an operator.

    Examples: snapshot-admin status --watch; snapshot-admin status --health

    Exit codes: 0 all is well, 1 something has to be looked at (with --health: not alive), 2 could not run.
    """
    if only_health:
        if watch:
            raise typer.BadParameter("give either --watch or --health")
        found = health(place.storage_dir, alive_file)
        show(found, lambda _out: print_line(found.said), as_json=as_json)
        raise typer.Exit(0 if found.alive else PROBLEMS)
    from consumer.views.status import gather  # noqa: PLC0415 - a probe needs none of it

    with open_existing_store(place) as store:
        while True:
            status = gather(store, place, database, kafka.settings)
            show(status, lambda out, status=status: _print(out, status, clear=watch), as_json=as_json)  # type: ignore[misc]
            if not watch:
                break
            time.sleep(_PAUSE)
    if status.problems:
        raise typer.Exit(PROBLEMS)


def _print(out: Printer, status: "Status", *, clear: bool) -> None:
    if clear:
        out.clear()
        out.line(datetime.now(UTC).strftime("%H:%M:%S UTC"), "dim")
    for problem in status.problems:
        out.line(f"! {problem}", "red")
    if not status.problems:
        out.line("all is well", "green")
    _processes(out, status)
    _lag(out, status)
    out.line()
    if status.failed:
        out.table(["profile not flushed", "~reason"], status.failed.items())
    for one in status.blocked:
        out.line(f"blocked by the deletion guard: {one}")
    for reason in status.recovering_by_reason:
        out.line(f"recovering, {reason}")
    dead = "unknown" if status.dead_letters is None else f"{status.dead_letters:,}"
    out.line(f"dead letters: {dead}; last rebuild: {status.rebuild}")


def _processes(out: Printer, status: "Status") -> None:
    if not status.processes:
        return
    out.line()
    now = time.time()
    out.table(
        ["process", "version", "host, pid", ">runs for", ">last sign", ">events", ">flushes"],
        [
            (
                one.program.removeprefix("snapshot-"),
                one.version,
                f"{one.host} {one.pid}",
                span(max(0.0, now - one.since / 1e6)),
                span(one.last_sign_seconds),
                _rated(one.events, one.events_per_second),
                _rated(one.flushes, one.flushes_per_second),
            )
            for one in status.processes
        ],
        [None if one.beating else "red" for one in status.processes],
    )


def _lag(out: Printer, status: "Status") -> None:
    database = status.database
    out.line()
    behind = "unreachable" if database.error else database.looks
    out.line(f"database {database.url}: {'followed' if database.followed else 'not followed'}, {behind}")
    if status.kafka:
        out.line(f"Kafka {status.kafka.servers}: {status.kafka.error or 'reachable'}")
        out.table(
            ["partition", ">position", ">end", ">events behind", ">for"],
            [
                (one.partition, one.position, one.end, f"{one.events:,}", span(one.seconds) if one.events else "")
                for one in status.kafka.partitions
            ],
        )
    out.line()
    out.table(
        [">profiles due", ">oldest", "group", "*folder"],
        [
            (f"{one.due:,}", span(one.oldest_seconds) if one.due else "", one.group_slug or "all", one.place)
            for one in status.folders
        ],
    )


def _rated(count: int, rate: float) -> str:
    return f"{count:,} ({rate:,.0f}/s)" if rate else f"{count:,}"
