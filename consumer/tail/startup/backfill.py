"""The whole history, published user by user."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from consumer.tail.rows.event_builder import EventBuilder, NoAnalysis
from projections.comments.events import Event
from projections.database.database import Database
from projections.profile_key import HIGHEST_ID
from snapshot.runtime.progress import ProgressBar

_PAGE = 2_500


class Backfill:
    """A stage of the relay's start. `cursor` is the user up to whom everything was handed out; it goes on after it.

    Comments above `head`, the tail's head when it began, are left to the tail, which publishes each of them anyway.
    `empty_store`: the store is new. What it publishes is remembered, so a first backfill needs no filling of the
    memory. `progress` opens what shows the progress; it is closed at the end, or by `close`.
    """

    def __init__(  # noqa: PLR0913 - the parts that the relay wires
        self,
        database: Database,
        builder: EventBuilder,
        cursor: int,
        progress: Callable[[], AbstractContextManager[ProgressBar]],
        *,
        head: int,
        empty_store: bool,
    ) -> None:
        self._database = database
        self._builder = builder
        self._open_progress = progress
        self._progress: ProgressBar | None = None
        self._opened = ExitStack()
        self._head = head
        self._no_analysis = NoAnalysis.NEVER_ANALYSED if empty_store else NoAnalysis.UNCONFIRMED
        self._after: tuple[int, int] | None = None
        self.cursor = cursor
        self.done = cursor >= HIGHEST_ID

    def turn(self) -> list[Event] | None:
        """Give the next page; None at the end."""
        if self.done:
            return None
        progress = self._progress = self._progress or self._begin()
        rows = self._database.comments_of_users(self.cursor + 1, HIGHEST_ID, self._after, _PAGE)
        below_head = [row for row in rows if row.comment_id <= self._head]
        found = self._builder.build(below_head, no_analysis=self._no_analysis)
        progress.advance(len(rows))
        if len(rows) < _PAGE:
            self.cursor, self.done = HIGHEST_ID, True
            self.close()
        else:
            self._after = rows[-1].user_id, rows[-1].comment_id
            self.cursor = max(self.cursor, rows[-1].user_id - 1)  # the last one's comments may go on
        return found

    def close(self) -> None:
        """Take the progress away."""
        self._opened.close()

    def _begin(self) -> ProgressBar:
        ahead = self._database.comments_above(self.cursor)
        progress = self._opened.enter_context(self._open_progress())
        progress.phase("Backfill", ahead)
        return progress
