"""Standard output and standard error: they may be closed at any time (`| head`) or from the start (`>&-`)."""

import errno
import io
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from projections.errors import OperatorError

_HIGHEST = 2
_RICH_CODE = 1
"""The exit code with which rich ends the program when the pipe is closed; it has redirected the stream already."""


class _LossyStderr(io.FileIO):
    """Drops what can't be written, because nobody reads it or the disk is full, rather than fail the run."""

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        written: int | None = None  # what a non-blocking pipe gives where it is full
        with suppress(OSError):
            written = super().write(data)
        return memoryview(data).nbytes if written is None else written


def prepare() -> None:
    """Make both streams fit for use, at the start of a program.

    A closed one is opened on the null device; else a database would get its number, and be printed into. Writing to
    standard error never fails: a broken pipe there would end a run, and with the exit code of another outcome. Neither
    fails for a character that its encoding lacks (LANG=C, a file name that is no UTF-8).
    """
    for number in range(_HIGHEST + 1):
        _occupy(number)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None or sys.stderr is sys.__stderr__:
        raw = io.BufferedWriter(_LossyStderr(2, "w", closefd=False))
        sys.stderr = io.TextIOWrapper(raw, encoding=_encoding(), errors="backslashreplace", line_buffering=True)


def print_line(text: str) -> bool:
    """Print a line as `print_safely` does."""
    return print_safely(lambda: print(text))  # noqa: T201 - standard output is what it is for


def print_safely(write: Callable[[], object]) -> bool:
    """Call what prints to standard output; False where it is no longer read, as by `head`, which is no failure.

    Raises OperatorError where what is printed can't be written, as on a full disk.
    """
    try:
        write()
        sys.stdout.flush()
    except BrokenPipeError:
        _discard()
        return False
    except SystemExit as ending:
        if ending.code != _RICH_CODE:
            raise
        return False
    except OSError as error:
        closed = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(1).st_mode)  # a terminal that is gone
        _discard()
        if closed:
            return False
        raise OperatorError(
            f"standard output can't be written ({error.strerror}); send it to where there is room"
        ) from error
    return True


def _discard() -> None:
    """Send what is still buffered to the null device: at its end Python would try once more, and warn."""
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
