"""WhiteBalloon's two databases read with SQL. It never writes, and keeps no transaction open."""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any, NamedTuple, Self, TypeVar

import structlog
from sqlalchemy import Connection

from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow
from projections.database import queries
from projections.database.connection import Reader, open_reader
from projections.database.errors import DatabaseLocation
from projections.database.protocol import (
    PAGE,
    USERS_PAGE,
    AnalysesSeen,
    BlockedUsers,
    Database,
    HighestIds,
    Horizon,
    Indexed,
    analyses_of,
)
from projections.database.queries import Query
from projections.database.schema_check import check, is_absent, is_indexed
from projections.errors import DatabaseUnavailableError
from projections.profile_key import HIGHEST_ID
from projections.whiteballoon import comment_llm_analyses, request_comments

__all__ = ["Database", "DatabaseUnavailableError", "Horizon", "analyses_of", "open_databases"]

log = structlog.get_logger()

T = TypeVar("T")
Row = TypeVar("Row", bound=tuple[Any, ...])

_INSIGHTS = "INSIGHTS_DATABASE_URL"


class _UserCount(NamedTuple):
    user_id: int
    comments: int


class SqlDatabase:
    """`projections.database.protocol.Database` over two readers."""

    def __init__(
        self,
        main: Reader,
        insights: Reader,
        host_clock: Callable[[], int],
        seen: AnalysesSeen | None = None,
        blocked: BlockedUsers | None = None,
    ) -> None:
        self._main = main
        self._insights = insights
        self._host_clock = host_clock
        self._seen = seen
        self._blocked = blocked
        self._awaited = False
        """There are no analyses yet; each read looks whether they came."""
        self._noted = False
        self._groups: tuple[tuple[str, frozenset[int]], Groups] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._main.close()
        self._insights.close()

    def check(self) -> None:
        """Raise OperatorError unless every table and column that we read is there and may be read.

        With `seen`, the analyses' may be yet to come.
        """
        check(self._main, queries.REQUIRED_MAIN, self._main.place)
        # Where both are one, it is the analyses that may be somewhere else.
        place = replace(self._insights.place, variable=_INSIGHTS)
        if self._seen is None or not self._is_absent(place):
            check(self._insights, queries.REQUIRED_INSIGHTS, place)
            return
        self._awaited = True
        log.warning("there are no analyses yet, so no tags", place=str(place), followed="as soon as they appear")

    def _is_absent(self, place: DatabaseLocation) -> bool:
        try:
            return is_absent(self._insights, queries.REQUIRED_INSIGHTS, place)
        except DatabaseUnavailableError:  # `check` says why
            return False

    def _read_insights(self, work: Callable[[Connection], T], none: T) -> T:
        """Read analyses; `none` while there are none yet."""
        if self._awaited and self._still_absent():
            return none
        return self._insights.read(work)

    def _still_absent(self) -> bool:
        place = replace(self._insights.place, variable=_INSIGHTS)
        if not is_absent(self._insights, queries.REQUIRED_INSIGHTS, place):
            self._awaited = False
            log.info("the analyses' database appeared", place=str(place))
            return False
        if self._seen is not None and self._seen.get():
            raise DatabaseUnavailableError(
                f"{place} has no analyses, and there were some: it is missing; restore it, or confirm with --prune-all "
                "that they are gone"
            )
        return True

    def indexed(self) -> Indexed:
        return Indexed(
            is_indexed(self._main, request_comments.c.deleted_at),
            not self._awaited and is_indexed(self._insights, comment_llm_analyses.c.recorded_at),
        )

    def clock(self) -> int:
        if self._main.dialect == "sqlite":
            return self._host_clock()
        return self._main.read(lambda connection: int(connection.execute(queries.POSTGRES_CLOCK).scalar_one()))

    def change_token(self) -> str:
        tokens, blocked = self._rows_tokens(), self._blocked_users()
        commits = " ".join([commits for commits, _ in tokens] + [str(user) for user in sorted(blocked)])
        return f"{commits}?{sum(looks for _, looks in tokens)}"

    def _blocked_users(self) -> frozenset[int]:
        return frozenset() if self._blocked is None else self._blocked.get()

    def _rows_tokens(self) -> list[tuple[str, int]]:
        alone = self._insights is self._main or (self._awaited and self._still_absent())
        return [one.change_token() for one in ([self._main] if alone else [self._main, self._insights])]

    def heads(self) -> HighestIds:
        comment = self._main.read(lambda connection: connection.execute(queries.HIGHEST_COMMENT).scalar())
        analysis = self._read_insights(lambda connection: connection.execute(queries.HIGHEST_ANALYSIS).scalar(), None)
        return HighestIds(comment or 0, analysis or 0)

    def horizon(self, *, insights: bool = False) -> Horizon | None:
        reader = self._insights if insights else self._main
        if reader.dialect == "sqlite":
            return None
        return reader.read(lambda connection: Horizon(*connection.execute(queries.POSTGRES_HORIZON).one()))

    def groups(self) -> Groups:
        token, known = (str(self._main.change_token()), self._blocked_users()), self._groups
        if known is None or known[0] != token:
            read = partial(_read_groups, memberships=queries.MEMBERSHIPS)
            known = self._groups = token, self._main.read(read).without(token[1])
        return known[1]

    def groups_of(self, user_id: int) -> Groups:
        read = partial(_read_groups, memberships=queries.MEMBERSHIPS_OF_USER, user=user_id)
        return self._main.read(read).without(self._blocked_users())

    # ------------------------------------------------------------------------------------------------- comments

    def comments_after(self, comment_id: int, limit: int = PAGE) -> list[CommentRow]:
        return self._comments(queries.COMMENTS_AFTER, after=comment_id, limit=limit)

    def comments_by_ids(self, comment_ids: Collection[int]) -> list[CommentRow]:
        query = queries.comments_by_ids(self._main.dialect)
        return self._comments(query, ids=_ids(comment_ids, self._main))

    def latest_deleted(self, limit: int) -> list[CommentRow]:
        return self._comments(queries.latest_deleted(self._main.dialect), limit=limit)

    def comments_of_users(
        self, first_user: int, last_user: int, after: tuple[int, int] | None = None, limit: int = PAGE
    ) -> list[CommentRow]:
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
        def read(connection: Connection) -> list[int]:
            parameters = {"after": user_id, "limit": limit}
            found = set(connection.execute(queries.COMMENTING_USERS, parameters).scalars())
            found.update(connection.execute(queries.MEMBER_USERS, parameters).scalars())
            return sorted(found)[:limit]

        return self._main.read(read)

    def user_ranges(self, comments_per_range: int) -> list[tuple[int, int]]:
        ranges: list[tuple[int, int]] = []
        first, count = 0, 0
        for user_id, comments in self._comment_counts():
            if count and count + comments > comments_per_range:
                ranges.append((first, user_id - 1))
                first, count = user_id, 0
            count += comments
        return [*ranges, (first, HIGHEST_ID)]

    def comments_above(self, user_id: int) -> int:
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
        return self._analyses(queries.ANALYSES_AFTER, after=comment_id, limit=limit)

    def analyses_between(self, low: int, high: int) -> list[AnalysisRow]:
        return self._analyses(queries.ANALYSES_BETWEEN, low=low, high=high)

    def analyses_by_ids(self, comment_ids: Collection[int]) -> dict[int, AnalysisRow]:
        query = queries.analyses_by_ids(self._insights.dialect)
        return {row.comment_id: row for row in self._analyses(query, ids=_ids(comment_ids, self._insights))}

    def analyses_of_run(self, run_id: str, after: int = -1, limit: int = PAGE) -> list[AnalysisRow]:
        return self._analyses(queries.ANALYSES_OF_RUN, run=run_id, after=after, limit=limit)

    def latest_analyses(self, limit: int) -> list[AnalysisRow]:
        return self._analyses(queries.latest_analyses(self._insights.dialect), limit=limit)

    def runs(self) -> dict[str, str]:
        none: Sequence[Any] = ()
        rows = self._read_insights(lambda connection: connection.execute(queries.RUNS).all(), none)
        return {row.run_id: json.dumps(list(row), default=str) for row in rows}

    # -------------------------------------------------------------------------------------------------- reading

    def _comments(self, query: Query, **parameters: object) -> list[CommentRow]:
        return self._main.read(lambda connection: _rows(connection, query, parameters, CommentRow))

    def _analyses(self, query: Query, **parameters: object) -> list[AnalysisRow]:
        none: list[AnalysisRow] = []
        rows = self._read_insights(lambda connection: _rows(connection, query, parameters, AnalysisRow), none)
        if rows and self._seen is not None and not self._noted:
            self._seen.put(seen=True)
            self._noted = True
        return rows


def open_databases(  # noqa: PLR0913 - two places, and what is known of them
    main_url: str,
    insights_url: str,
    *,
    timeout: float = 30.0,
    host_clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    seen: AnalysesSeen | None = None,
    blocked: BlockedUsers | None = None,
) -> SqlDatabase:
    """Open WhiteBalloon's two databases, which may be one, and check that they are WhiteBalloon's.

    With `seen`, the analyses' may be yet to come: WhiteBalloon makes them with the first one. Where some were seen
    before, reading them then raises DatabaseUnavailableError. `blocked` users count in no group.

    `timeout`: seconds that a lock on a SQLite file is waited out before DatabaseUnavailableError. `host_clock`:
    microseconds since 1970, the clock of SQLite databases. Raises OperatorError for whatever is in the way.
    """
    main = open_reader(main_url, "DATABASE_URL", timeout)
    same = insights_url == main_url
    insights = main if same else open_reader(insights_url, _INSIGHTS, timeout)
    database = SqlDatabase(main, insights, host_clock, seen, blocked)
    try:
        database.check()
    except BaseException:
        database.close()
        raise
    return database


def _read_groups(connection: Connection, memberships: Query, **parameters: object) -> Groups:
    attributes = (tuple(row) for row in connection.execute(memberships, parameters))
    return Groups.from_rows(attributes, (tuple(row) for row in connection.execute(queries.GROUP_REQUESTS)))


def _rows(connection: Connection, query: Query, parameters: Mapping[str, object], kind: type[Row]) -> list[Row]:
    """Fetch all rows as `kind`, past SQLAlchemy's own row objects: a full read is a fifth faster without them."""
    cursor: Any = connection.execute(query, parameters).cursor
    return list(map(tuple.__new__, repeat(kind), cursor.fetchall()))


def _ids(ids: Collection[int], reader: Reader) -> str | list[int]:
    return json.dumps(list(ids)) if reader.dialect == "sqlite" else list(ids)
