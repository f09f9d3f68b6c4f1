"""The first thing that a tail does: remember every row."""

from consumer.tail.rows.contribution import NO_CONTRIBUTION, contributions
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import Entry, fingerprint_of
from projections.comments.events import Event
from projections.database.database import Database, analyses_of
from projections.profile_key import HIGHEST_ID

_PAGE = 5_000


class Fill:
    """Before the first round: remember all comments up to the head, without making events of them.

    What the store holds is compared with this afterwards, see `consumer.tail.verify`.
    """

    def __init__(self, database: Database, builder: EventBuilder, head: int) -> None:
        self._database = database
        self._builder = builder
        self._head = head
        self._after = 0
        self.done = False

    def turn(self) -> list[Event] | None:
        """Read a page; None at the end."""
        self.done = self._after >= self._head
        if self.done:
            return None
        rows = [row for row in self._database.comments_after(self._after, _PAGE) if row.comment_id <= self._head]
        analyses = analyses_of(self._database, rows) if rows else {}
        present = contributions(rows, analyses, self._builder.groups)
        self._builder.fingerprints.fill(
            {
                row.comment_id: Entry(
                    fingerprint_of(row, analyses.get(row.comment_id)), present.get(row.comment_id, NO_CONTRIBUTION)
                )
                for row in rows
            }
        )
        self._after = rows[-1].comment_id if len(rows) == _PAGE else HIGHEST_ID
        return []
