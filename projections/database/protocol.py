"""What the product reads of WhiteBalloon's databases. `projections.database.database` reads it with SQL."""

from collections.abc import Collection
from typing import NamedTuple, Protocol, Self

from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow

PAGE = 5_000
"""Rows that one transaction reads where the caller has no opinion: some 10 ms, for which a writer may have to wait."""
USERS_PAGE = 50_000


class HighestIds(NamedTuple):
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


class AnalysesSeen(Protocol):
    """Whether there ever were analyses. If so, a database that lacks them is unavailable; else they are yet to come."""

    def get(self) -> bool:
        """Whether analyses were seen, by any process."""
        ...

    def put(self, *, seen: bool) -> None:
        """Remember that analyses were seen, or that they are known to be gone."""
        ...


class BlockedUsers(Protocol):
    """Who was forgotten although there are rows of them."""

    def get(self) -> frozenset[int]:
        """Their ids; asked often. Raises StoreUnavailableError, and OSError where a folder can't be written."""
        ...


class Database(Protocol):
    """Rows of both databases. Every list is fetched whole and its transaction ended before it is handed over.

    Each method raises DatabaseUnavailableError for what passes by itself, and OperatorError for what has to be
    fixed. Safe to use from several threads.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Close all connections; reading again opens new ones."""
        ...

    def indexed(self) -> Indexed:
        """Which times the databases have an index on; WhiteBalloon itself makes none."""
        ...

    def clock(self) -> int:
        """Microseconds since 1970 by the main database's clock; SQLite's is this host's."""
        ...

    def change_token(self) -> str:
        """A text that differs from the last one whenever something was committed to either database between.

        Take it before reading what it stands for. It may differ without a change, and means nothing to another process.
        See `commits_seen`.
        """
        ...

    def heads(self) -> HighestIds:
        """The highest keys."""
        ...

    def horizon(self, *, insights: bool = False) -> Horizon | None:
        """Which transactions may still bring rows with lower ids; None for SQLite, whose writers take turns."""
        ...

    def groups(self) -> Groups:
        """All memberships and groups' requests, as they stood together at one moment; read again after a commit.

        Users who are blocked are in no group.
        """
        ...

    def groups_of(self, user_id: int) -> Groups:
        """The same with the memberships of one user alone, read each time: little, however many users there are."""
        ...

    def comments_after(self, comment_id: int, limit: int = PAGE) -> list[CommentRow]:
        """The next comments above an id, ascending."""
        ...

    def comments_by_ids(self, comment_ids: Collection[int]) -> list[CommentRow]:
        """Those of these comments that exist, ascending. The caller bounds their number."""
        ...

    def latest_deleted(self, limit: int) -> list[CommentRow]:
        """The comments that were soft-deleted last, the last one first; quick with an index on `deleted_at` only."""
        ...

    def comments_of_users(
        self, first_user: int, last_user: int, after: tuple[int, int] | None = None, limit: int = PAGE
    ) -> list[CommentRow]:
        """The next comments of the users in [first_user, last_user], ordered by (user id, comment id).

        `after` is the (user id, comment id) of the last row had. Shorter than `limit` only at the end.
        """
        ...

    def users_after(self, user_id: int, limit: int = USERS_PAGE) -> list[int]:
        """The next users above an id who have a comment or a membership, ascending."""
        ...

    def user_ranges(self, comments_per_range: int) -> list[tuple[int, int]]:
        """Ranges [first, last] of user ids that together hold every id from 0 up, none of them twice.

        Each has at most `comments_per_range` comments, or one user who has more. Ids without a row are in a range too,
        so that users known only elsewhere (the store, the files) have their place.
        """
        ...

    def comments_above(self, user_id: int) -> int:
        """How many comments the users above an id have."""
        ...

    def analyses_after(self, comment_id: int, limit: int = PAGE) -> list[AnalysisRow]:
        """The next analyses above a comment id, ascending."""
        ...

    def analyses_between(self, low: int, high: int) -> list[AnalysisRow]:
        """The analyses of the comments with ids in [low, high], ascending. The caller bounds their number."""
        ...

    def analyses_by_ids(self, comment_ids: Collection[int]) -> dict[int, AnalysisRow]:
        """The analyses of those of these comments that have one, by comment id. The caller bounds their number."""
        ...

    def analyses_of_run(self, run_id: str, after: int = -1, limit: int = PAGE) -> list[AnalysisRow]:
        """The next analyses of a run above a comment id, ascending, by the index on run_id."""
        ...

    def latest_analyses(self, limit: int) -> list[AnalysisRow]:
        """The analyses that were recorded last, the last one first; quick with an index on `recorded_at` only."""
        ...

    def runs(self) -> dict[str, str]:
        """For each run a text that changes when its row does."""
        ...


def commits_seen(token: str) -> str:
    """The part of a change token that differs only where a commit was seen.

    The rest differs too where none was, but a SQLite file alone was trusted for half a minute: it may not show all.

    >>> commits_seen("3 1?12")
    '3 1'
    """
    return token.partition("?")[0]


def analyses_of(database: Database, comments: list[CommentRow]) -> dict[int, AnalysisRow]:
    """Read the analyses of a page of comments."""
    ids = [row.comment_id for row in comments]
    low, high = min(ids), max(ids)
    if high - low < 2 * len(ids):
        return {row.comment_id: row for row in database.analyses_between(low, high)}
    return database.analyses_by_ids(ids)
