"""What forgetting a person did: where what was removed, what remains, until when, and what ends it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Clock = Callable[[], datetime]


class Removed(msgspec.Struct, frozen=True):
    """So many of something were removed from a place, at a time (UTC, ISO 8601)."""

    what: str
    where: str
    count: int
    at: str


class Remaining(msgspec.Struct, frozen=True):
    """Something remains: until a time (UTC, ISO 8601), or for as long as `ends` says (`until` null).

    `failed`: this run was to remove it and could not.
    """

    what: str
    where: str
    until: str | None
    ends: str
    failed: bool = False


class Receipt(msgspec.Struct, kw_only=True):
    """One run. `floor`: events with no higher revision are ignored; null where the user is blocked: all are."""

    user_id: int
    started: str
    finished: str = ""
    blocked: bool
    floor: int | None = None
    complete: bool = True
    removed: list[Removed] = []
    remaining: list[Remaining] = []

    def to_json(self) -> str:
        """The whole receipt on one line."""
        return msgspec.json.encode(self).decode()


class ReceiptBook:
    """Writes a receipt as the run goes on. `now` gives the time in UTC."""

    def __init__(self, user_id: int, now: Clock, *, blocked: bool) -> None:
        self._now = now
        self.receipt = Receipt(user_id=user_id, started=stamp(now()), blocked=blocked)

    def removed(self, what: str, where: object, count: int) -> None:
        """Something was removed; nothing is written of what was not there."""
        if count:
            self.receipt.removed.append(Removed(what, str(where), count, stamp(self._now())))

    def remains(self, what: str, where: object, ends: str, *, milliseconds: int | None = None) -> None:
        """Something remains, for so long from now where that is known."""
        until = None if milliseconds is None else stamp(self._now() + timedelta(milliseconds=milliseconds))
        self.receipt.remaining.append(Remaining(what, str(where), until, ends))

    def remains_anyway(self, redis: str) -> None:
        """What remains after every run."""
        self.remains("the user's id and the revision floor", redis, "they keep old events out")
        where = f"append-only file, replicas and backups of {redis}"
        self.remains("what was overwritten", where, "BGREWRITEAOF, and the backups' own end")
        self.remains("warnings that name the user's id", "logs of all processes", "their own rotation")
        where = "whoever follows snapshot-changed or reads the files"
        self.remains("what others made of it", where, "they act on the tombstones")

    def failed(self, what: str, where: object, error: Exception) -> None:
        """Something could not be removed, so the run has to be repeated."""
        reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        self.receipt.complete = False
        self.receipt.remaining.append(
            Remaining(what, str(where), None, f"{reason}; then run forget again", failed=True)
        )

    def close(self) -> Receipt:
        """The run has ended."""
        self.receipt.finished = stamp(self._now())
        return self.receipt


def stamp(moment: datetime) -> str:
    """Write a time as ISO 8601.

    >>> stamp(datetime(2026, 1, 2, 3, 4, 5, 678901, UTC))
    '2026-01-02T03:04:05Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def show(receipt: Receipt, console: Console) -> None:
    """Print a receipt for a person."""
    state = "forgotten" if receipt.complete else "not wholly forgotten: run it again"
    console.print(f"User {receipt.user_id} is {state}{' and blocked' if receipt.blocked else ''}.")
    removed = Table("removed", "where", "count", "when (UTC)", title="What was removed", title_justify="left")
    for one in receipt.removed:
        removed.add_row(one.what, escape(one.where), str(one.count), one.at)
    remaining = Table("remains", "where", "until (UTC)", "ends", title="What remains", title_justify="left")
    for left in receipt.remaining:
        remaining.add_row(left.what, escape(left.where), left.until or "unknown", escape(left.ends))
    for table in (removed, remaining):
        if table.row_count:
            console.print(table)
