"""`snapshot-admin forget`: everything about one person that this project keeps, and a receipt of it."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console

from consumer.forget.forget import Forgetting, Surroundings
from consumer.forget.kafka import TopicTraces
from consumer.forget.receipt import Receipt, show, stamp
from projections.database.database import open_databases
from projections.masking import mask
from projections.profile_key import HIGHEST_ID
from projections.projection import Projection
from projections.remembered.analyses_seen import SeenAnywhere, SeenInStore
from snapshot.cli.options import DatabaseOptions, FileOptions, KafkaOptions, StoreOptions
from snapshot.cli.resources import open_announcer, open_store, refuse_missing_store
from snapshot.files.marker import SeenInMarker
from snapshot.runtime.stdio import print_safely

INCOMPLETE = 1

_User = Annotated[int, typer.Argument(min=1, max=HIGHEST_ID, metavar="USER", help="The user's id.")]
_Force = Annotated[
    bool, typer.Option("--force", help="Also while the database has comments of theirs; blocks the user until --undo.")
]
_Undo = Annotated[bool, typer.Option("--undo", help="End the block; their rows are published again.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the receipt as JSON, on a terminal too.")]


def forget_command(  # noqa: PLR0913, PLR0917 - each is a flag, or a group of flags
    user: _User,
    database: DatabaseOptions,
    files: FileOptions,
    store: StoreOptions,
    kafka: KafkaOptions,
    force: _Force = False,  # noqa: FBT002 - a flag
    undo: _Undo = False,  # noqa: FBT002 - a flag
    as_json: _Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Forget a person: profile, files, announcements, dead letters, notes and lines; print a receipt.

    Safe to repeat. Exit codes: 0 forgotten, 1 something could not be removed (run it again), 2 could not run, or
    the database still has comments of theirs.
    """
    if force and undo:
        raise typer.BadParameter("give either --force or --undo")
    with _opened(database, files, store, kafka) as (around, rewrite_log):
        forgetting = Forgetting(user, around, lambda: datetime.now(UTC))
        if undo:
            _print_undone(user, forgetting.undo())
            return
        receipt = forgetting.run(force=force)
        if rewrite_log is not None:
            rewrite_log()
    print_safely(lambda: _print(receipt, as_json=as_json))
    if not receipt.complete:
        raise typer.Exit(INCOMPLETE)


@contextmanager
def _opened(
    database: DatabaseOptions, files: FileOptions, store: StoreOptions, kafka: KafkaOptions
) -> Iterator[tuple[Surroundings, Callable[[], None] | None]]:
    """What forgetting works on; and what rewrites the log of a private Redis, of which we are the only user."""
    otherwise = "; where that was lost, or there never was one, make this folder first"
    refuse_missing_store(store.redis_url, files.storage_dir, otherwise)
    settings = kafka.settings
    urls = database.database_url, database.insights_database_url
    with open_store(store, files) as opened, open_announcer(settings, files) as announcer:
        places = SeenInMarker(files.profiles, files.disk), SeenInStore(lambda: opened.store)
        with open_databases(*urls, seen=SeenAnywhere(*places, read_only=True)) as database_:
            redis = f"Redis {mask(store.redis_url)}" if store.redis_url else f"Redis in {files.storage_dir / 'redis'}"
            topics = None if settings is None else TopicTraces(settings)
            around = Surroundings(Projection(opened.store), database_, files, announcer, topics, redis)
            yield around, None if store.redis_url else opened.store.rewrite_log


def _print(receipt: Receipt, *, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        typer.echo(receipt.to_json())
    else:
        show(receipt, Console())


def _print_undone(user: int, floor: int) -> None:
    then = f"the tail publishes their rows again within seconds; without one, run `snapshot-rebuild --user {user}`"
    typer.echo(
        json.dumps({"user_id": user, "blocked": False, "floor": floor, "at": stamp(datetime.now(UTC)), "then": then})
    )
