"""`snapshot-admin populate`: the demo's community in a PostgreSQL of its own, so that there is something to follow."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from sqlalchemy.exc import DBAPIError

from consumer.commands.admin.populate.community import Community
from consumer.process.liveness import Liveness
from consumer.process.signals import handle_signals
from snapshot.cli.options import finite, folder
from snapshot.runtime.stdio import print_line
from snapshot.runtime.throttle import ThrottledWarning


def populate_command(
    url: Annotated[
        str,
        typer.Option(
            envvar="SNAPSHOT_DEMO_URL",
            metavar="URL",
            help="The PostgreSQL database to write to: an empty one, or one that this command has filled before.",
        ),
    ],
    interval: Annotated[
        float, typer.Option(min=0.05, max=20.0, callback=finite, help="Seconds between two new comments.")
    ] = 2.0,
    comments: Annotated[
        int | None, typer.Option(min=0, help="End after so many new comments.", show_default="until stopped")
    ] = None,
    alive_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SNAPSHOT_ALIVE_FILE",
            parser=folder,
            metavar="PATH",
            help="Touched while it goes on writing, or trying to.",
            show_default="none",
        ),
    ] = None,
) -> None:
    """Fill an empty PostgreSQL database with the demo's community, and let it go on writing.

    Example: snapshot-admin populate --url postgresql://wb@127.0.0.1/demo --interval 2

    Everything in it is invented. A database with tables that others made is refused, and nothing is written to it.
    """
    stopping, written = threading.Event(), 0
    with handle_signals() as signals:
        community = Community(url, Random(), lambda: datetime.now(UTC).replace(tzinfo=None))  # noqa: S311 - dice
        made = community.fill()
        print_line("the community is there" if made else "the community was there already")
        signals.call(stopping.set)
        away = ThrottledWarning("the demo's database takes nothing; trying again", time.monotonic)
        liveness = None if alive_file is None else Liveness(alive_file)
        while written != comments and not stopping.wait(interval):
            if liveness is not None:
                liveness.heartbeat()
            try:
                community.write()
            except DBAPIError as error:
                away.warn(" ".join(str(error.orig).split()))
            else:
                away.resolved()
                written += 1
        print_line(f"{written} comments written")
