"""Where programs begin: from the first moment on, Ctrl-C ends them without a traceback.

A command's imports take most of its first second, so nothing but this module is imported before them.
"""

import importlib
import os
import signal
import sys

_INTERRUPTED = 130


def start(module: str, function: str) -> None:
    """Import a command and run it. Where Ctrl-C is ignored, as under nohup, it stays so."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, lambda *_: os._exit(_INTERRUPTED))
    run = getattr(importlib.import_module(module), function)
    try:
        if interruptible:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    finally:
        if interruptible:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own end has nothing to say of it either


def rebuild() -> None:
    """Run `snapshot-rebuild`."""
    start("snapshot.rebuild.command", "main")


def wb() -> None:
    """Run `wb`."""
    start("snapshot.wb", "main")
