"""The first thing that a tail does: remember every row."""

from consumer.tail.changes.sweep import _PAGE
from consumer.tail.rows.fingerprints import RowFingerprints, fingerprint_of
from projections.comments.events import Event
from projections.database.database import Database, analyses_of
from projections.profile_key import HIGHEST_ID


class Fill:
    """Before the first round: remember all comments up to the head, without saying anything about them.

    Whatever is remembered here is compared with the store later (`consumer.tail.startup.verify`), never earlier.
    """

    given_up = False

    def __init__(self, database: Database, memory: RowFingerprints, head: int) -> None:
        self._database = database
        self._memory = memory
        self._head = head
        self._after = -1
        self.done = False

    def turn(self) -> list[Event] | None:
        """Read a page; None at the end."""
        self.done = self._after >= self._head
        if self.done:
            return None
        rows = self._database.comments_after(self._after, _PAGE)
        analyses = analyses_of(self._database, rows) if rows else {}
        self._memory.fill(
            {
                row.comment_id: fingerprint_of(row, analyses.get(row.comment_id))
                for row in rows
                if row.comment_id <= self._head
            }
        )
        self._after = rows[-1].comment_id if len(rows) == _PAGE else HIGHEST_ID
        return []
