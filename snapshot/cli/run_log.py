"""The run log: one JSON line for each run of a command, in `<storage>/signal_profile_snapshot.log`."""

import signal
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import msgspec
import structlog
import typer

from projections.errors import OperatorError
from projections.masking import mask_urls
from snapshot.cli.options import FileOptions
from snapshot.files.disk import FILE_MODE
from snapshot.files.jsonl import append_lines
from snapshot.processes.interrupts import postponed

log = structlog.get_logger()

FILE_NAME = "signal_profile_snapshot.log"

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a run from outside: a stop, or the terminal that was closed."""
_encode = msgspec.json.Encoder().encode


class RunEntry(msgspec.Struct, kw_only=True):
    """One line, its keys in this order. Times are UTC; `error` is null where the run did what it was asked.

    users: those looked at. profiles_written, unchanged, removed: files. drift: profiles that differed from the
    database's rows, where the run compares them; what a first fill of the store adds did not.
    """

    started: str = ""
    finished: str = ""
    seconds: float = 0.0
    command: str
    group_slug: str | None
    users: int = 0
    profiles_written: int = 0
    unchanged: int = 0
    removed: int = 0
    drift: int = 0
    dry_run: bool
    error: str | None = None


class RunLog:
    """Writes one run's entry, however it ends: `with RunLog(storage, "snapshot-rebuild") as run: run.entry.users = 12`.

    A SIGTERM or SIGHUP in the block ends it like an error, so that the line is still written. A log that can't be
    written is a warning in the process' log and nothing else: the run's own outcome stands. Set the entry's `error`
    where a run that ends without an exception did not do what it was asked.
    """

    def __init__(  # noqa: PLR0913 - what the line says from the start, and the clocks
        self,
        storage: Path,
        command: str,
        *,
        group_slug: str | None = None,
        dry_run: bool = False,
        file_mode: int = FILE_MODE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = storage / FILE_NAME
        self._file_mode = file_mode
        self._clock = clock
        self._monotonic = monotonic
        self._handlers: dict[signal.Signals, Any] = {}
        self.entry = RunEntry(command=command, group_slug=group_slug and _printable(group_slug), dry_run=dry_run)

    def __enter__(self) -> Self:
        self.entry.started = _stamp(self._clock())
        self._began = self._monotonic()
        self._handlers = {number: signal.signal(number, _terminate) for number in _ENDINGS if _may_catch(number)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if error is not None and (reason := _reason(error)) is not None:
            self.entry.error = _printable(reason)
        self.entry.finished, self.entry.seconds = _stamp(self._clock()), self.seconds
        try:
            append_lines(self._place, [_encode(self.entry)], self._file_mode)
        except OSError as cause:
            if self.entry.error is None:  # else one line says what has to be fixed; on a full disk it is the same
                log.warning("the run log can't be written", file=str(self._place), reason=cause.strerror)

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return round(self._monotonic() - self._began, 3)


def run_log(files: FileOptions, command: str, *, dry_run: bool) -> RunLog:
    """The run log of a command with these options."""
    return RunLog(
        files.storage_dir, command, group_slug=files.group_slug, dry_run=dry_run, file_mode=files.disk.file_mode
    )


def _printable(text: str) -> str:
    """The text without what UTF-8 can't hold: bytes of file names and arguments that are in no encoding."""
    return text.encode("utf-8", "backslashreplace").decode()


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _may_catch(number: signal.Signals) -> bool:
    """Only the main thread may handle signals; what was set by others, as nohup does, is left alone."""
    return threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL


def _terminate(number: int, frame: FrameType | None) -> None:
    if not postponed(_terminate, number, frame):
        raise SystemExit(128 + number)


def _reason(error: BaseException) -> str | None:
    """What the line says of an exception; None where it only carries an exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SystemExit):
        return "terminated" if error.code in [128 + number for number in _ENDINGS] else None
    if isinstance(error, typer.Exit):  # the run ended as it meant to
        return None
    text = mask_urls(" ".join(str(error).split()))
    return text if isinstance(error, OperatorError) else f"{type(error).__name__}: {text}"
