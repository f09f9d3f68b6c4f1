"""WhiteBalloon's two databases as one object to read from. It never writes, and keeps no transaction open."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, Self, TypeVar

from sqlalchemy import Connection

from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow
from projections.database import queries
from projections.database.connection import Reader, open_reader
from projections.database.errors import DatabaseUnavailable
from projections.database.queries import Query
from projections.database.schema_check import check, is_indexed
from projections.whiteballoon import comment_llm_analyses, request_comments

__all__ = ["Database", "DatabaseUnavailable", "Heads", "Horizon", "Indexed", "open_databases"]

Row = TypeVar("Row", bound=tuple[Any, ...])

_INSIGHTS = "INSIGHTS_DATABASE_URL"
HIGHEST_ID = 2**63 - 1
PAGE = 5_000
"""Rows that one transaction reads where the caller has no opinion: some 10 ms, for which a writer may have to wait."""
USERS_PAGE = 50_000


class Heads(NamedTuple):
    """The highest keys: what is above them is new. 0 where a table is empty."""

    comment_id: int
    analysis_comment_id: int


class Horizon(NamedTuple):
    """Transactions of PostgreSQL: all below `xmin` have ended, none from `xmax` on had begun."""

    xmin: int
    xmax: int


class Indexed(NamedTuple):
    """Which times have an index that leads to the last ones."""

    deleted_at: bool
    recorded_at: bool


class _UserCount(NamedTuple):
    user_id: int
    comments: int


class Database:
    """Rows of both databases. Every list is fetched whole and its transaction ended before it is handed over.

    Each method raises DatabaseUnavailable for what passes by itself, and OperatorError for what somebody has to mend.
    Safe to use from several threads.
    """

    def __init__(self, main: Reader, insights: Reader, host_clock: Callable[[], int]) -> None:
        self._main = main
        self._insights = insights
        self._host_clock = host_clock
        self._groups: tuple[str, Groups] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of all connections; reading again opens new ones."""
        self._main.close()
        self._insights.close()

    def check(self) -> None:
        """Raise OperatorError unless every table and column that we read is there and may be read."""
        check(self._main, queries.REQUIRED_MAIN, self._main.place)
        # Where both are one, it is the analyses that may be somewhere else.
        check(self._insights, queries.REQUIRED_INSIGHTS, replace(self._insights.place, variable=_INSIGHTS))

    def indexed(self) -> Indexed:
        """Which times the databases have an index on; WhiteBalloon itself makes none."""
        return Indexed(
            is_indexed(self._main, request_comments.c.deleted_at),
            is_indexed(self._insights, comment_llm_analyses.c.recorded_at),
        )

    def clock(self) -> int:
        """Microseconds since 1970 by the main database's clock; SQLite's is this host's."""
        if self._main.dialect == "sqlite":
            return self._host_clock()
        return self._main.read(lambda connection: int(connection.execute(queries.POSTGRES_CLOCK).scalar_one()))

    def change_token(self) -> str:
        """A text that differs from the last one whenever something was committed to either database between.

        Take it before reading what it stands for. It may differ without a change, and means nothing to another process.
        """
        if self._insights is self._main:
            return self._main.change_token()
        return f"{self._main.change_token()} {self._insights.change_token()}"

    def heads(self) -> Heads:
        """The highest keys."""
        comment = self._main.read(lambda connection: connection.execute(queries.HIGHEST_COMMENT).scalar())
        analysis = self._insights.read(lambda connection: connection.execute(queries.HIGHEST_ANALYSIS).scalar())
        return Heads(comment or 0, analysis or 0)

    def horizon(self, *, insights: bool = False) -> Horizon | None:
        """Which transactions may still bring rows with lower ids; None for SQLite, whose writers take turns."""
        reader = self._insights if insights else self._main
        if reader.dialect == "sqlite":
            return None
        return reader.read(lambda connection: Horizon(*connection.execute(queries.POSTGRES_HORIZON).one()))

    def groups(self) -> Groups:
        """All memberships and groups' requests, as they stood together at one moment; read again after a commit."""

        def read(connection: Connection) -> Groups:
            memberships = (tuple(row) for row in connection.execute(queries.MEMBERSHIPS))
            requests = (tuple(row) for row in connection.execute(queries.GROUP_REQUESTS))
            return Groups.from_rows(memberships, requests)

        token, known = self._main.change_token(), self._groups
        if known is None or known[0] != token:
            known = self._groups = token, self._main.read(read)
        return known[1]

    # ------------------------------------------------------------------------------------------------- comments

    def comments_after(self, comment_id: int, limit: int = PAGE) -> list[CommentRow]:
        """The next comments above an id, ascending."""
        return self._comments(queries.COMMENTS_AFTER, after=comment_id, limit=limit)

    def comments_by_ids(self, comment_ids: Collection[int]) -> list[CommentRow]:
        """Those of these comments that exist, ascending. The caller bounds their number."""
        query = queries.comments_by_ids(self._main.dialect)
        return self._comments(query, ids=_ids(comment_ids, self._main))

    def latest_deleted(self, limit: int) -> list[CommentRow]:
        """The comments that were soft-deleted last, the last one first; quick with an index on `deleted_at` only."""
        return self._comments(queries.latest_deleted(self._main.dialect), limit=limit)

    def comments_of_users(
        self, first_user: int, last_user: int, after: tuple[int, int] | None = None, limit: int = PAGE
    ) -> list[CommentRow]:
        """The next comments of the users in [first_user, last_user], ordered by (user id, comment id).

        `after` is the (user id, comment id) of the last row had. Shorter than `limit` only at the end.
        """

        def read(connection: Connection) -> list[CommentRow]:
            rows: list[CommentRow] = []
            first = first_user
            if after is not None:
                of_user = {"user": after[0], "after": after[1], "limit": limit}
                rows = _rows(connection, queries.COMMENTS_OF_USER, of_user, CommentRow)
                first = after[0] + 1
            missing = limit - len(rows)
            if missing and first <= last_user:
                of_users = {"first": first, "last": last_user, "limit": missing}
                rows += _rows(connection, queries.COMMENTS_OF_USERS, of_users, CommentRow)
            return rows

        return self._main.read(read)

    # ---------------------------------------------------------------------------------------------------- users

    def users_after(self, user_id: int, limit: int = USERS_PAGE) -> list[int]:
        """The next users above an id who have a comment or a membership, ascending."""

        def read(connection: Connection) -> list[int]:
            parameters = {"after": user_id, "limit": limit}
            found = set(connection.execute(queries.COMMENTING_USERS, parameters).scalars())
            found.update(connection.execute(queries.MEMBER_USERS, parameters).scalars())
            return sorted(found)[:limit]

        return self._main.read(read)

    def user_ranges(self, comments_per_range: int) -> list[tuple[int, int]]:
        """Ranges [first, last] of user ids that together hold every id from 0 up, none of them twice.

        Each has at most `comments_per_range` comments, or one user who has more. Ids without a row are in a range too,
        so that users known only elsewhere (the store, the files) have their place.
        """
        ranges: list[tuple[int, int]] = []
        first, count = 0, 0
        for user_id, comments in self._comment_counts():
            if count and count + comments > comments_per_range:
                ranges.append((first, user_id - 1))
                first, count = user_id, 0
            count += comments
        return [*ranges, (first, HIGHEST_ID)]

    def comments_above(self, user_id: int) -> int:
        """How many comments the users above an id have."""
        return sum(comments for _, comments in self._comment_counts(user_id))

    def _comment_counts(self, after: int = -1) -> Iterator[_UserCount]:
        while True:
            parameters = {"after": after, "limit": USERS_PAGE}
            page = self._main.read(
                partial(_rows, query=queries.COMMENTS_BY_USER, parameters=parameters, kind=_UserCount)
            )
            yield from page
            if len(page) < USERS_PAGE:
                return
            after = page[-1].user_id

    # ------------------------------------------------------------------------------------------------- analyses

    def analyses_after(self, comment_id: int, limit: int = PAGE) -> list[AnalysisRow]:
        """The next analyses above a comment id, ascending."""
        return self._analyses(queries.ANALYSES_AFTER, after=comment_id, limit=limit)

    def analyses_between(self, low: int, high: int) -> list[AnalysisRow]:
        """The analyses of the comments with ids in [low, high], ascending. The caller bounds their number."""
        return self._analyses(queries.ANALYSES_BETWEEN, low=low, high=high)

    def analyses_by_ids(self, comment_ids: Collection[int]) -> dict[int, AnalysisRow]:
        """The analyses of those of these comments that have one, by comment id. The caller bounds their number."""
        query = queries.analyses_by_ids(self._insights.dialect)
        return {row.comment_id: row for row in self._analyses(query, ids=_ids(comment_ids, self._insights))}

    def analyses_of_run(self, run_id: str, after: int = -1, limit: int = PAGE) -> list[AnalysisRow]:
        """The next analyses of a run above a comment id, ascending, by the index on run_id."""
        return self._analyses(queries.ANALYSES_OF_RUN, run=run_id, after=after, limit=limit)

    def latest_analyses(self, limit: int) -> list[AnalysisRow]:
        """The analyses that were recorded last, the last one first; quick with an index on `recorded_at` only."""
        return self._analyses(queries.latest_analyses(self._insights.dialect), limit=limit)

    def runs(self) -> dict[str, str]:
        """For each run a text that changes when its row does."""
        rows = self._insights.read(lambda connection: connection.execute(queries.RUNS).all())
        return {row.run_id: json.dumps(list(row), default=str) for row in rows}

    # -------------------------------------------------------------------------------------------------- reading

    def _comments(self, query: Query, **parameters: object) -> list[CommentRow]:
        return self._main.read(lambda connection: _rows(connection, query, parameters, CommentRow))

    def _analyses(self, query: Query, **parameters: object) -> list[AnalysisRow]:
        return self._insights.read(lambda connection: _rows(connection, query, parameters, AnalysisRow))


def open_databases(
    main_url: str,
    insights_url: str,
    *,
    patience: float = 30.0,
    host_clock: Callable[[], int] = lambda: time.time_ns() // 1000,
) -> Database:
    """Open WhiteBalloon's two databases, which may be one, and check that they are WhiteBalloon's.

    `patience`: seconds that a lock on a SQLite file is waited out before DatabaseUnavailable. `host_clock`:
    microseconds since 1970, the clock of SQLite databases. Raises OperatorError for whatever is in the way.
    """
    main = open_reader(main_url, "DATABASE_URL", patience)
    same = insights_url == main_url
    insights = main if same else open_reader(insights_url, _INSIGHTS, patience)
    database = Database(main, insights, host_clock)
    try:
        database.check()
    except BaseException:
        database.close()
        raise
    return database


def _rows(connection: Connection, query: Query, parameters: Mapping[str, object], kind: type[Row]) -> list[Row]:
    """Fetch all rows as `kind`, past SQLAlchemy's own row objects: a full read is a fifth faster without them."""
    cursor: Any = connection.execute(query, parameters).cursor
    return list(map(tuple.__new__, repeat(kind), cursor.fetchall()))


def _ids(ids: Collection[int], reader: Reader) -> str | list[int]:
    return json.dumps(list(ids)) if reader.dialect == "sqlite" else list(ids)


def analyses_of(database: Database, comments: list[CommentRow]) -> dict[int, AnalysisRow]:
    """Read the analyses of a page of comments."""
    ids = [row.comment_id for row in comments]
    low, high = min(ids), max(ids)
    if high - low < 2 * len(ids):
        return {row.comment_id: row for row in database.analyses_between(low, high)}
    return database.analyses_by_ids(ids)
