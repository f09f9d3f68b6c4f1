"""What every command shares: how it is run, and how it says that something is wrong."""

import os
import sys
import traceback
from collections.abc import Callable

import typer

from projections.database.errors import DatabaseUnavailableError
from projections.errors import OperatorError
from projections.store.protocol import StoreUnavailableError
from snapshot.cli.options import with_options
from snapshot.runtime import logs, stdio

COULD_NOT_RUN = 2
INTERRUPTED = 130


def command(function: Callable[..., None], name: str) -> Callable[[], None]:
    """Make an entry point of one command, with its option groups as flags."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(with_options(function))
    return lambda: run(app)


def run(app: Callable[[], None]) -> None:
    """Run a Typer app; what the operator has to mend becomes one line on standard error and exit code 2.

    So does a fault of the file system. A mistake of ours ends with 2, too: Python's own 1 would say `drift repaired`.
    """
    stdio.prepare()
    try:
        logs.configure_from(os.environ, sys.stderr)
        app()
    except (OperatorError, StoreUnavailableError, DatabaseUnavailableError) as error:
        line = str(error).replace("\n", " ")
        sys.stderr.write(f"{line}\n")
        sys.exit(COULD_NOT_RUN)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        sys.stderr.write(f"could not go on: {where}{error.strerror or error}; mend that and run again\n")
        sys.exit(COULD_NOT_RUN)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception:  # noqa: BLE001 - whatever it is, the exit code must not say that the run came to its end
        traceback.print_exc()
        sys.exit(COULD_NOT_RUN)
