"""What every command shares: how it is run, and how it says that something is wrong."""

import hashlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import typer

from projections import __version__
from projections.errors import DatabaseUnavailableError, OperatorError
from projections.masking import mask_urls
from projections.store.protocol import StoreUnavailableError
from snapshot.cli import usage
from snapshot.cli.options import with_options
from snapshot.cli.start import say_interrupted
from snapshot.cli.usage import completing
from snapshot.cli.variables import check_variables
from snapshot.files.disk import LocalDisk
from snapshot.runtime import logs, stdio
from snapshot.runtime.terminal import printable

COULD_NOT_RUN = 2
INTERRUPTED = 130
_LONGEST = 60
_UsageError = typer.BadParameter.__mro__[1]
"""What every wrong flag is to typer, which has click or a copy of its own."""
_PACKAGE = "signal-identity-snapshotter"
_WANTED = {
    "bool_parsing": "write 1, true, yes or on, or 0, false, no or off",
    "int_parsing": "write a whole number",
    "float_parsing": "write a number",
}
"""What to write instead, by the kind of fault that typer's library names."""


class RunInterruptedError(Exception):
    """Ctrl-C ended a run; the text says in one line what that means."""


def command(function: Callable[..., None], name: str) -> partial[None]:
    """Make an entry point of one command, with its option groups as flags; its only argument is the Typer app."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command(name)(with_options(function))
    return partial(run, app)


def run(app: Callable[..., object]) -> None:
    """Run a Typer app; whatever goes wrong becomes one line on standard error and an exit code.

    A mistake of ours ends with 2, too: Python's own 1 would mean `drift repaired`.
    """
    stdio.prepare()

    def program() -> object:
        logs.configure_from(os.environ, sys.stderr)
        if not completing():
            check_variables(os.environ)
        return usage.program(app)(standalone_mode=False)

    sys.exit(exit_code(program))


def exit_code(program: Callable[[], object]) -> int:
    """Run click's program, not in its standalone mode, and give the exit code; what goes wrong is said as in `run`."""
    try:
        with one_line_errors():
            code = program()
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except RunInterruptedError as error:
        say_interrupted(str(error))
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - whatever it is, the exit code must not say that the run came to its end
        if isinstance(error, _UsageError):
            _say_usage(error)
        else:
            _report_bug(error)
        return COULD_NOT_RUN
    if code == INTERRUPTED:  # what typer makes of Ctrl-C, too
        say_interrupted()
    return code if isinstance(code, int) else 0


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print what the operator has to fix in one line, and end with exit code 2. So does a fault of the file system."""
    try:
        yield
    except (OperatorError, StoreUnavailableError, DatabaseUnavailableError) as error:
        _fail(str(error), error)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        _fail(f"could not go on: {where}{error.strerror or error}; fix that and run again", error)


def _fail(text: str, error: Exception) -> None:
    sys.stderr.write(f"{printable(mask_urls(' '.join(text.splitlines())))}\n")
    raise SystemExit(COULD_NOT_RUN) from error


def _say_usage(error: Any) -> None:  # noqa: ANN401 - typer's
    """Say in one line which flag is wrong; where there are none at all, print the help."""
    text = error.format_message()
    if type(error).__name__ == "NoArgsIsHelpError":  # typer has printed it, click has not
        sys.stderr.write(text)
        return
    faults: list[Any] = getattr(error.__cause__, "errors", list)()  # typer's newer versions leave the value out
    for fault in faults:
        text = text.replace(fault["msg"], _WANTED.get(fault["type"], fault["msg"].removeprefix("Value error, ")))
    value = repr(str(faults[0]["input"])[:_LONGEST]) if faults else ""
    given = f", not {value}" if value not in text else ""
    path = error.ctx.command_path if error.ctx is not None else "the command's"
    sys.stderr.write(f"{mask_urls(' '.join(text.split())).rstrip('.')}{given}; see {path} --help\n")


def _report_bug(error: Exception) -> None:
    """Say that this is a bug, in one line; the traceback goes to a file, as the line is what people read.

    One file for the same traceback: a supervisor starts again and again what ends this way.
    """
    text = mask_urls("".join(traceback.format_exception(error)))
    what = " ".join(traceback.format_exception_only(error)[-1].split())
    line = mask_urls(f"this is a bug in {_PACKAGE} {__version__}: {what}")
    # The names of flags alone: a value may be a password.
    given = " ".join([sys.argv[0], *(one.partition("=")[0] for one in sys.argv[1:] if one.startswith("--"))])
    content = f"{_PACKAGE} {__version__}, Python {sys.version}\n{given}\n{text}".encode(errors="backslashreplace")
    with suppress(OSError):
        # A service's /tmp is its own, and ends with it.
        storage = os.environ.get("SNAPSHOT_STORAGE_DIR", "")
        folder = storage if os.path.isdir(storage) else tempfile.gettempdir()  # noqa: PTH112 - "" is none
        name = f"{folder}/{_PACKAGE}-{hashlib.sha256(content).hexdigest()[:12]}.traceback"
        with suppress(FileExistsError):
            LocalDisk(0o600).write_new(name, content)
        sys.stderr.write(f"{line}; please report it with the file {name}\n")
        return
    sys.stderr.write(f"{line}\n{text}")
