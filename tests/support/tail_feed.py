"""The tail as a source under test: what is published goes into WhiteBalloon's database."""

from collections.abc import Sequence
from pathlib import Path

from consumer.source import EMPTY, Batch
from consumer.tail.source import DatabaseTail
from projections.comments.events import CommentCreated, Event
from projections.comments.groups import KEY_PREFIX, TITLE_PREFIX
from projections.database.database import open_databases
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.whiteballoon import user_attributes
from support.tailing import QUICK, microseconds
from support.whiteballoon import START, WhiteBalloon

SLUG = "harvard"
USERS = 200


class AppliedTail(DatabaseTail):
    """Brings each batch into the store before it polls for the next, as a consumer does."""

    def __init__(self, white_balloon: WhiteBalloon, projection: Projection) -> None:
        self._applying = projection
        self._last: Batch = EMPTY
        self._own_database = open_databases(white_balloon.main_url, white_balloon.insights_url)
        super().__init__(projection, self._own_database, QUICK)

    def poll(self, seconds: float) -> Batch:
        self._applying.apply(self._last.events)
        self._last = super().poll(seconds)
        return self._last

    def close(self) -> None:
        super().close()
        self._own_database.close()


class TailFeed:
    """A database with one group, whose members are the users that `support.feeds.comments` makes up."""

    def __init__(self, folder: Path) -> None:
        self._white_balloon = WhiteBalloon.in_folder(folder)
        self._projection = Projection(MemoryStore(microseconds))
        self._white_balloon.add_request(TITLE_PREFIX + SLUG, request_id=1)
        moments = {"created_at": START, "updated_at": START}
        with self._white_balloon.main.begin() as connection:
            members = [{"user_id": user, "key": KEY_PREFIX + SLUG, **moments} for user in range(1, USERS)]
            connection.execute(user_attributes.insert(), members)
        self._sources: list[AppliedTail] = []

    def publish(self, events: Sequence[Event]) -> None:
        self._white_balloon.comments(
            [
                {
                    "id": event.comment_id,
                    "user_id": event.user_id,
                    "help_request_id": event.help_request_id,
                    "body": event.body,
                    "created_at": event.created_at,
                }
                for event in events
                if isinstance(event, CommentCreated)
            ]
        )

    def open(self) -> AppliedTail:
        self._sources.append(AppliedTail(self._white_balloon, self._projection))
        return self._sources[-1]

    def close(self) -> None:
        for source in self._sources:
            source.close()
