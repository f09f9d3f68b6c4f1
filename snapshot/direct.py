"""Snapshots straight from the database: no events, no store, the same meaning.

WhiteBalloon calls `build_snapshot` and `build_snapshots` with a session of its own; `wb signal-profile snapshot` reads
whole ranges of users with `direct_snapshots`.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowHandler
from projections.database.database import Database
from projections.database.queries import ANALYSES, COMMENTS_OF_USER, GROUP_REQUESTS, MEMBERSHIPS
from projections.profile_key import HIGHEST_ID
from projections.profiles.bulk import Census
from projections.whiteballoon import INSIGHTS, MAIN, comment_llm_analyses, user_attributes
from snapshot.build import build
from snapshot.runtime.logs import warn_invalid_row
from snapshot.schema import SignalProfileSnapshot

PAGE = 5_000
_SESSION_PAGE = 500
"""Comments that a session reads at once: their ids are parameters of one statement, and SQLite limits those."""


class SeveralGroupsError(ValueError):
    """The user is in several groups, and no slug says which is meant; `slugs` names them."""

    def __init__(self, user_id: int, slugs: tuple[str, ...]) -> None:
        super().__init__(f"user {user_id} is in several groups ({', '.join(slugs)}): name one with group_slug")
        self.slugs = slugs


# ------------------------------------------------------------------------------------------------------- one session


def open_session(main: Engine, insights: Engine) -> Session:
    """A session bound to both of WhiteBalloon's databases, which may be one: each table is read from its own."""
    binds: dict[Any, Any] = {
        **dict.fromkeys(MAIN.sorted_tables, main),
        **dict.fromkeys(INSIGHTS.sorted_tables, insights),
    }
    return Session(binds=binds)


def build_snapshot(user_id: int, session: Session, group_slug: str | None = None) -> SignalProfileSnapshot | None:
    """Build the snapshot of a user in a group; None where no comment of theirs counts there.

    The session reads both databases: one from `open_session`, or any whose binds cover their tables. It is only read
    from, and its transaction left to the caller. Without a slug the user's only group is meant; SeveralGroupsError
    where there are several.
    """
    groups = _groups(user_id, session)
    slugs = tuple(sorted(groups.members.get(user_id, {})))
    if group_slug is None and len(slugs) > 1:
        raise SeveralGroupsError(user_id, slugs)
    found = _snapshots(user_id, session, groups.only(group_slug))
    return next(iter(found), None)


def build_snapshots(user_id: int, session: Session) -> list[SignalProfileSnapshot]:
    """Build all snapshots of a user, by group slug; for the session see `build_snapshot`."""
    return _snapshots(user_id, session, _groups(user_id, session))


def _groups(user_id: int, session: Session) -> Groups:
    if not 1 <= user_id <= HIGHEST_ID:
        return Groups({}, {})
    memberships = session.execute(MEMBERSHIPS.where(user_attributes.c.user_id == user_id))
    return Groups.from_rows(map(_plain, memberships), map(_plain, session.execute(GROUP_REQUESTS)))


def _plain(row: Any) -> Any:  # noqa: ANN401 - a row, as a tuple of its own types
    return tuple(row)


def _snapshots(user_id: int, session: Session, groups: Groups) -> list[SignalProfileSnapshot]:
    if not groups.members:
        return []
    census = Census(groups, warn_invalid_row)
    found: list[SignalProfileSnapshot | None] = []
    after = -1
    while rows := _comments(user_id, session, after):
        after = rows[-1].comment_id
        found += [build(key, head) for key, head in census.page(rows, _analyses(session, rows))]
    found += [build(key, head) for key, head in census.rest()]
    return [one for one in found if one is not None]


def _comments(user_id: int, session: Session, after: int) -> list[CommentRow]:
    parameters = {"user": user_id, "after": after, "limit": _SESSION_PAGE}
    rows = [CommentRow._make(row) for row in session.execute(COMMENTS_OF_USER, parameters)]
    return [row._replace(created_at=_text(row.created_at), deleted_at=_text(row.deleted_at)) for row in rows]


def _text(moment: Any) -> Any:  # noqa: ANN401 - whatever the driver of a foreign session gives
    """A time as text: SQLite gives it as it is stored, other drivers what they make of it."""
    return str(moment) if isinstance(moment, datetime) else moment


def _analyses(session: Session, comments: list[CommentRow]) -> dict[int, AnalysisRow]:
    ids = [row.comment_id for row in comments]
    rows = session.execute(ANALYSES.where(comment_llm_analyses.c.comment_id.in_(ids)))
    return {row.comment_id: AnalysisRow._make(row) for row in rows}


# ------------------------------------------------------------------------------------------------------- many users


def direct_snapshots(  # noqa: PLR0913 - whose profiles, and who hears of what
    database: Database,
    groups: Groups,
    first_user: int,
    last_user: int,
    on_invalid_row: InvalidRowHandler = warn_invalid_row,
    *,
    on_rows: Callable[[int], object] = lambda _rows: None,
) -> Iterator[SignalProfileSnapshot]:
    """Build the snapshots of the users in [first_user, last_user] in these groups, by user and slug.

    `on_rows` takes how many comments were read, page by page. Memory holds one page of rows and one user's counts.
    Raises what the database raises.
    """
    census = Census(groups, on_invalid_row)
    after: tuple[int, int] | None = None
    while True:
        rows = database.comments_of_users(first_user, last_user, after, PAGE)
        on_rows(len(rows))
        analyses = database.analyses_by_ids(sorted([row.comment_id for row in rows])) if rows else {}
        for key, head in census.page(rows, analyses):
            if (snapshot := build(key, head)) is not None:
                yield snapshot
        if len(rows) < PAGE:
            break
        after = rows[-1].user_id, rows[-1].comment_id
    for key, head in census.rest():
        if (snapshot := build(key, head)) is not None:
            yield snapshot
