"""How far a tail is: up to which poll everything that was committed before it has been handed out."""

from consumer.tail.changes.poll import Moment
from projections.database.protocol import commits_seen
from projections.watermark import Watermark


class Progress:
    """`polled_until` is about what polling sees; `swept_until` about everything, if no deletion is blocked.

    Both are the places of polls, which only grow: see `Moment`.
    """

    def __init__(self, before: Watermark) -> None:
        self.polled_until, self.swept_until = before.polled_until, before.swept_until
        self._polled = self._read = 0
        self._complete: Moment | None = None

    def all_rows_were_read(self, since: Moment) -> None:
        """All rows were read after that poll began, and what was found is handed out."""
        self._complete = since

    def update(self, last: Moment, handed_out: Moment, *, trusted: bool) -> None:
        """Nothing is left to hand out; `trusted`: the store was verified, and no deletion is blocked."""
        self._polled = handed_out.at
        if self._complete is not None:
            nothing_was_committed = commits_seen(self._complete.token) == commits_seen(last.token)
            self._read = last.at if nothing_was_committed else self._complete.at
        self.polled_until = max(self.polled_until, self._polled)
        if trusted:
            self.swept_until = max(self.swept_until, self._read)

    @property
    def read_until(self) -> int:
        """Up to which poll everything was handed out, or is blocked; of this process only."""
        return min(self._polled, self._read)

    def passed(self, at: int) -> bool:
        """Whether a later poll than the one in this place, and a later look at all rows, have been handed out."""
        return self.read_until > at
