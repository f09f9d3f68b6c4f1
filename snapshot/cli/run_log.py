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
from snapshot.files.jsonl import append_lines

log = structlog.get_logger()

FILE_NAME = "signal_profile_snapshot.log"

_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
"""What ends a run from outside: a stop, or the terminal that was closed."""
_encode = msgspec.json.Encoder().encode


class Entry(msgspec.Struct, kw_only=True):
    """One line, its keys in this order. Times are UTC; `error` is null where the run did what it was asked.

    users: those looked at. profiles_written, unchanged, removed: files. drift: profiles that differed from the
    database's rows, where the run compares them.
    """

    started: str
    finished: str
    seconds: float
    command: str
    group_slug: str | None
    users: int
    profiles_written: int
    unchanged: int
    removed: int
    drift: int
    dry_run: bool
    error: str | None


class RunLog:
    """Notes one run, however it ends: `with RunLog(storage, "snapshot-rebuild") as run: run.users = 12`.

    A SIGTERM or SIGHUP in the block ends it like an error, so that the line is still written. A log that can't be
    written is said in the process' log and nowhere else: the run's own outcome stands.
    """

    def __init__(  # noqa: PLR0913 - what the line says from the start, and the clocks
        self,
        storage: Path,
        command: str,
        *,
        group_slug: str | None = None,
        dry_run: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place = storage / FILE_NAME
        self._command = command
        self._group_slug = group_slug
        self._dry_run = dry_run
        self._clock = clock
        self._monotonic = monotonic
        self._before: dict[signal.Signals, Any] = {}
        self.users = 0
        self.profiles_written = 0
        self.unchanged = 0
        self.removed = 0
        self.drift = 0
        self.error: str | None = None
        """Set it where a run that ends without an exception did not do what it was asked."""

    def __enter__(self) -> Self:
        self._started = self._clock()
        self._began = self._monotonic()
        self._before = {number: signal.signal(number, _terminated) for number in _ENDINGS if _may_catch(number)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        if error is not None and (said := _said(error)) is not None:
            self.error = said
        try:
            append_lines(self._place, [_encode(self._entry())])
        except OSError as cause:
            log.warning("the run log can't be written", file=str(self._place), reason=cause.strerror)

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return round(self._monotonic() - self._began, 3)

    def _entry(self) -> Entry:
        return Entry(
            started=_stamp(self._started),
            finished=_stamp(self._clock()),
            seconds=self.seconds,
            command=self._command,
            group_slug=self._group_slug,
            users=self.users,
            profiles_written=self.profiles_written,
            unchanged=self.unchanged,
            removed=self.removed,
            drift=self.drift,
            dry_run=self._dry_run,
            error=self.error,
        )


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _may_catch(number: signal.Signals) -> bool:
    """Only the main thread may handle signals; what somebody else has set, as nohup does, is left alone."""
    return threading.current_thread() is threading.main_thread() and signal.getsignal(number) is signal.SIG_DFL


def _terminated(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _said(error: BaseException) -> str | None:
    """What the line says of an exception; None where it only carries an exit code."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, SystemExit):
        return "terminated" if error.code in [128 + number for number in _ENDINGS] else None
    if isinstance(error, typer.Exit):  # the run ended as it meant to
        return None
    text = " ".join(str(error).split())
    return text if isinstance(error, OperatorError) else f"{type(error).__name__}: {text}"
