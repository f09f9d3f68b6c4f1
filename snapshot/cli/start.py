"""Where programs begin: from the first moment on, Ctrl-C ends them without a traceback.

A command's imports take most of its first second, so nothing but this module is imported before them. What comes before
that is Python's own start, some hundredths of a second in which a program can have no handler.
"""

import os
import signal
import sys

TYPE_CHECKING = False  # `typing` takes as long to import as all of these
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

_INTERRUPTED = 130
_AGAIN_SECONDS = 0.1


def start(module: str, function: str) -> None:
    """Import a command and run it. Where Ctrl-C is ignored, as under nohup, it stays so."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _end)
    import importlib  # noqa: PLC0415 - see above

    sys.unraisablehook = _send_again
    run = getattr(importlib.import_module(module), function)
    try:
        if interruptible:
            signal.signal(signal.SIGINT, _interrupt)
        try:
            run()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is done: its exit code stands while Python ends
    except KeyboardInterrupt:
        say_interrupted()
        sys.exit(_INTERRUPTED)


def say_interrupted(text: str = "interrupted") -> None:
    """Say in one line why a program ends; a terminal has shown `^C` and stands behind it."""
    if sys.stderr is None:
        return
    before = "\n" if sys.stderr.isatty() else ""
    try:
        sys.stderr.write(f"{before}{text}\n")
        sys.stderr.flush()
    except OSError:  # nobody reads it
        return


def _end(_number: int, _frame: "FrameType | None") -> "NoReturn":
    say_interrupted()
    os._exit(_INTERRUPTED)


def _interrupt(number: int, frame: "FrameType | None") -> None:
    from snapshot.processes.interrupts import postponed  # noqa: PLC0415 - see above

    if not postponed(_interrupt, number, frame):
        raise KeyboardInterrupt


def _send_again(unraisable: "Any") -> None:  # noqa: ANN401 - a type that only type checkers have
    """Send a signal again whose exception was lost, as it came in a `__del__`."""
    error = unraisable.exc_value
    lost = {128 + number: number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    code = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else getattr(error, "code", None)
    if code in lost:
        import threading  # noqa: PLC0415 - see above

        from snapshot.processes.interrupts import note_lost  # noqa: PLC0415 - see above

        note_lost()
        threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), lost[code])).start()
    else:
        sys.__unraisablehook__(unraisable)


def rebuild() -> None:
    """Run `snapshot-rebuild`."""
    start("snapshot.rebuild.command", "main")


def wb() -> None:
    """Run `wb`."""
    start("snapshot.wb", "main")
