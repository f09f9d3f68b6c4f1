"""Standard output and standard error: whoever reads them may go at any time (`| head`), or was never there (`>&-`)."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from projections.errors import OperatorError

_HIGHEST = 2
_RICH_MEANS = 1
"""The code with which rich would end the program where nobody reads; it has silenced the stream already."""


class _LossyStderr(io.FileIO):
    """Loses what nobody reads and no disk takes, rather than fail who only wanted to say something."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        written: int | None = None  # what does not block gives that where the pipe is full
        with suppress(OSError):
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def prepare() -> None:
    """Make both streams fit for use, at the start of a program of ours.

    What is closed leads nowhere; else a database would be opened under its number, and printed into. What is said on
    standard error never fails: a broken pipe there would end a run, and with the exit code of another outcome.
    """
    for number in range(_HIGHEST + 1):
        _occupy(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        raw = io.BufferedWriter(_LossyStderr(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding=_encoding(), errors="backslashreplace", line_buffering=True)


def print_safely(tell: Callable[[], object]) -> bool:
    """Do what prints to standard output; False where nobody reads any more, which is no failure: they had enough.

    Raises OperatorError where what is printed can't be kept, as on a full disk.
    """
    try:
        tell()
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()
        return False
    except SystemExit as ending:
        if ending.code != _RICH_MEANS:
            raise
        return False
    except OSError as error:
        _silence()
        raise OperatorError(
            f"standard output can't be written ({error.strerror}); send it to where there is room"
        ) from error
    return True


def _silence() -> None:
    """Let what is still buffered go nowhere: at its end Python would try once more, and complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _occupy(number: int) -> None:
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _encoding() -> str:
    return "utf-8" if sys.__stderr__ is None else sys.__stderr__.encoding
