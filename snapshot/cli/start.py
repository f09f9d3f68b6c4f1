"""Where programs begin: from the first moment on, Ctrl-C ends them without a traceback.

A command's imports take most of its first second, so nothing but this module is imported before them.
"""

import importlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

_INTERRUPTED = 130
_AGAIN_SECONDS = 0.1


def start(module: str, function: str) -> None:
    """Import a command and run it. Where Ctrl-C is ignored, as under nohup, it stays so."""
    sys.unraisablehook = _send_again
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    run = getattr(importlib.import_module(module), function)
    try:
        if interruptible:
            signal.signal(signal.SIGINT, _interrupt)
        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        if interruptible:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own end has nothing to say of it either


def _interrupt(number: int, frame: FrameType | None) -> None:
    from snapshot.processes.interrupts import postponed  # noqa: PLC0415 - see above

    if not postponed(_interrupt, number, frame):
        raise KeyboardInterrupt


def _send_again(unraisable: Any) -> None:  # noqa: ANN401 - a type that only type checkers have
    """Send a signal again whose exception was lost, as it came in a `__del__`."""
    error = unraisable.exc_value
    lost = {128 + number: number for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    code = _INTERRUPTED if isinstance(error, KeyboardInterrupt) else getattr(error, "code", None)
    if code in lost:
        threading.Timer(_AGAIN_SECONDS, os.kill, (os.getpid(), lost[code])).start()
    else:
        sys.__unraisablehook__(unraisable)


def rebuild() -> None:
    """Run `snapshot-rebuild`."""
    start("snapshot.rebuild.command", "main")


def wb() -> None:
    """Run `wb`."""
    start("snapshot.wb", "main")
