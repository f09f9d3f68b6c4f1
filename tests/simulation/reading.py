"""What a process reads of the simulated database: `projections.database.protocol.Database`."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Self

from simulation.database import WhiteBalloon
from simulation.processes import Process

from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow
from projections.database.protocol import PAGE, USERS_PAGE, HighestIds, Horizon, Indexed
from projections.errors import DatabaseUnavailableError
from projections.profile_key import HIGHEST_ID


class Reader:
    """One process' connections. `seen` is called with the rows that it read."""

    def __init__(
        self,
        server: WhiteBalloon,
        process: Process,
        indexed: Indexed,
        seen: Callable[[Collection[CommentRow]], None] = lambda _: None,
    ) -> None:
        self._server = server
        self._process = process
        self._indexed = indexed
        self._seen = seen

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def close(self) -> None:
        pass

    def _ask(self, what: str) -> WhiteBalloon:
        self._process.call(f"reads {what}")
        if self._server.away:
            raise DatabaseUnavailableError("the database is away")
        return self._server

    def indexed(self) -> Indexed:
        return self._indexed

    def clock(self) -> int:
        return self._ask("clock").clock()

    def change_token(self) -> str:
        return str(self._ask("change token").version)

    def heads(self) -> HighestIds:
        tables = self._ask("heads").tables
        return HighestIds(max(tables.comments, default=0), max(tables.analyses, default=0))

    def horizon(self, *, insights: bool = False) -> Horizon | None:
        server = self._ask(f"horizon {insights}")
        return None if server.one_writer else Horizon(*server.horizon())

    def groups(self) -> Groups:
        return self._ask("groups").groups()

    def groups_of(self, user_id: int) -> Groups:
        groups = self.groups()
        mine = {user: names for user, names in groups.members.items() if user == user_id}
        return Groups(mine, groups.requests, groups.blocked)

    # ------------------------------------------------------------------------------------------------------ comments

    def comments_after(self, comment_id: int, limit: int = PAGE) -> list[CommentRow]:
        comments, _ = self._ask("comments after").rows()
        return self._read([row for row in comments if row.comment_id > comment_id][:limit])

    def comments_by_ids(self, comment_ids: Collection[int]) -> list[CommentRow]:
        comments = self._ask("comments by ids").tables.comments
        return self._read([comments[one] for one in sorted(set(comment_ids)) if one in comments])

    def latest_deleted(self, limit: int) -> list[CommentRow]:
        comments, _ = self._ask("latest deleted").rows()
        deleted = [row for row in comments if row.deleted_at is not None]
        return self._read(sorted(deleted, key=lambda row: row.deleted_at or "", reverse=True)[:limit])

    def comments_of_users(
        self, first_user: int, last_user: int, after: tuple[int, int] | None = None, limit: int = PAGE
    ) -> list[CommentRow]:
        comments, _ = self._ask("comments of users").rows()
        above = after or (first_user, -1)
        mine = [row for row in comments if row.user_id <= last_user and (row.user_id, row.comment_id) > above]
        return self._read(sorted(mine, key=lambda row: (row.user_id, row.comment_id))[:limit])

    def _read(self, rows: list[CommentRow]) -> list[CommentRow]:
        self._seen(rows)
        return rows

    # --------------------------------------------------------------------------------------------------------- users

    def users_after(self, user_id: int, limit: int = USERS_PAGE) -> list[int]:
        tables = self._ask("users after").tables
        users = {row.user_id for row in tables.comments.values()} | {user for user, _ in tables.members}
        return sorted(user for user in users if user > user_id)[:limit]

    def user_ranges(self, comments_per_range: int) -> list[tuple[int, int]]:
        comments, _ = self._ask("user ranges").rows()
        ranges: list[tuple[int, int]] = []
        first, count = 0, 0
        for user, number in sorted(Counter(row.user_id for row in comments).items()):
            if count and count + number > comments_per_range:
                ranges.append((first, user - 1))
                first, count = user, 0
            count += number
        return [*ranges, (first, HIGHEST_ID)]

    def comments_above(self, user_id: int) -> int:
        comments, _ = self._ask("comments above").rows()
        return sum(row.user_id > user_id for row in comments)

    # ------------------------------------------------------------------------------------------------------ analyses

    def analyses_after(self, comment_id: int, limit: int = PAGE) -> list[AnalysisRow]:
        _, analyses = self._ask("analyses after").rows()
        return [row for row in analyses if row.comment_id > comment_id][:limit]

    def analyses_between(self, low: int, high: int) -> list[AnalysisRow]:
        _, analyses = self._ask("analyses between").rows()
        return [row for row in analyses if low <= row.comment_id <= high]

    def analyses_by_ids(self, comment_ids: Collection[int]) -> dict[int, AnalysisRow]:
        analyses = self._ask("analyses by ids").tables.analyses
        return {one: analyses[one].row for one in sorted(set(comment_ids)) if one in analyses}

    def analyses_of_run(self, run_id: str, after: int = -1, limit: int = PAGE) -> list[AnalysisRow]:
        analyses = self._ask("analyses of run").tables.analyses
        mine = [one.row for number, one in sorted(analyses.items()) if one.run == run_id and number > after]
        return mine[:limit]

    def latest_analyses(self, limit: int) -> list[AnalysisRow]:
        _, analyses = self._ask("latest analyses").rows()
        return sorted(analyses, key=lambda row: row.recorded_at or "", reverse=True)[:limit]

    def runs(self) -> dict[str, str]:
        return dict(self._ask("runs").tables.runs)
