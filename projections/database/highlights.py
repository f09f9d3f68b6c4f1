"""WhiteBalloon's `user_profile_highlights`: which snapshot each user's bio was made from. Read, never written."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Text, select, type_coerce

from projections.comments.events import utc
from projections.database.connection import open_reader
from projections.database.queries import Query
from projections.database.schema_check import check
from projections.whiteballoon import user_profile_highlights

_LONGEST = 32
_highlight = user_profile_highlights.c
_HIGHLIGHTS: Query = select(
    _highlight.user_id,
    _highlight.source_group,
    _highlight.snapshot_hash,
    type_coerce(_highlight.snapshot_last_seen_at, Text).label("snapshot_last_seen_at"),  # read as text, as all times
).order_by(_highlight.user_id)


class Highlight(NamedTuple):
    """One user's; `source_group` is a slug, and any but the user may be None. Times are UTC without a zone.

    `last_seen_at` is a text where what is stored is no time.
    """

    user_id: int
    source_group: str | None
    snapshot_hash: str | None
    last_seen_at: datetime | str | None


def read_highlights(url: str, timeout: float = 30.0) -> list[Highlight]:
    """Read all of them, by user. Raises OperatorError where the table is not there, or can't be read.

    `timeout`: seconds that a lock on a SQLite file is waited out before DatabaseUnavailableError.
    """
    reader = open_reader(url, "DATABASE_URL", timeout)
    try:
        check(reader, (_HIGHLIGHTS,), reader.place)
        return reader.read(_read)
    finally:
        reader.close()


def _read(connection: Connection) -> list[Highlight]:
    return [
        Highlight(user, group, digest, _moment(seen))
        for user, group, digest, seen in map(tuple, connection.execute(_HIGHLIGHTS))
        if isinstance(user, int)  # SQLite keeps any value in any column
    ]


def _moment(value: object) -> datetime | str | None:
    """An odd value is no time that a snapshot has; so the highlight is stale."""
    try:
        return None if value is None else utc(datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        return str(value)[:_LONGEST]
