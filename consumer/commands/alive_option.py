"""Where a process that runs all the time shows that it is alive."""

from pathlib import Path
from typing import Annotated

import typer

from snapshot.cli.options import folder

AliveFile = Annotated[
    Path | None,
    typer.Option(
        "--alive-file",
        parser=folder,
        envvar="SNAPSHOT_ALIVE_FILE",
        metavar="PATH",
        help="Touched every second while all threads go round; a health check looks at its age.",
        show_default="alive-HOST-PID in the storage folder",
        rich_help_panel="Files",
    ),
]
