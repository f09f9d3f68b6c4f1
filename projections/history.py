"""Rows of the database as events: what a full read of WhiteBalloon says, in the words of the live stream."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, NoReturn

from projections.events import CommentCreated, Event, InsightCreated, utc
from projections.groups import Groups
from projections.message import list_column


class CommentRow(NamedTuple):
    """A row of request_comments as read.

    Times are text as stored: they are parsed once the comment is known to count.
    """

    comment_id: int
    user_id: int
    help_request_id: int
    body: str
    created_at: str
    deleted_at: str | None


class AnalysisRow(NamedTuple):
    """A row of comment_llm_analyses as read; the list columns are raw text."""

    comment_id: int
    resource_tags: str | None
    request_tags: str | None
    tags: str | None
    recorded_at: str | None


class UnreadableRowError(ValueError):
    """A comment whose row cannot be understood: `created_at` or `deleted_at` is no date-time, or the body no text.

    SQLite takes any value in any column. `row` is the row; the text names the comment, the column and the value.
    """

    def __init__(self, row: CommentRow, column: str, value: object) -> None:
        super().__init__(
            f"comment {row.comment_id} of user {row.user_id} is left out: request_comments.{column} is "
            f"{value!r:.80}; correct that row in WhiteBalloon's database"
        )
        self.row = row


def _raise(error: UnreadableRowError) -> NoReturn:
    raise error


def events(
    comments: Iterable[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    groups: Groups,
    revision: int,
    unreadable: Callable[[UnreadableRowError], object] = _raise,
) -> Iterator[Event]:
    """Say what these rows mean, for each group that a comment counts in.

    That is a CommentCreated, for soft-deleted comments too, and an InsightCreated where there is an analysis.
    `analyses` is by comment id, `revision` in microseconds of the database's clock, taken after the rows were read.
    A row that cannot be understood gives no event: `unreadable` is called with the error, which by default is raised.
    """
    for row in comments:
        slugs = groups.slugs(row.user_id, row.help_request_id)
        if not slugs:
            continue
        try:
            created_at, deleted_at = _times(row)
        except UnreadableRowError as error:
            unreadable(error)
            continue
        for slug in slugs:
            yield CommentCreated(
                comment_id=row.comment_id,
                user_id=row.user_id,
                group_slug=slug,
                help_request_id=row.help_request_id,
                body=row.body,
                created_at=created_at,
                deleted_at=deleted_at,
                revision=revision,
            )
        if analysis := analyses.get(row.comment_id):
            for slug in slugs:
                yield insight(row, slug, analysis, revision)


def insight(row: CommentRow, slug: str, analysis: AnalysisRow | None, revision: int) -> InsightCreated:
    """Say what an analysis means for a comment in one group; without an analysis (it vanished) its lists are empty."""
    if analysis is None:
        return InsightCreated(comment_id=row.comment_id, user_id=row.user_id, group_slug=slug, revision=revision)
    return InsightCreated(
        comment_id=row.comment_id,
        user_id=row.user_id,
        group_slug=slug,
        resource_tags=list_column(analysis.resource_tags),
        request_tags=list_column(analysis.request_tags),
        tags=list_column(analysis.tags),
        recorded_at=_recorded_at(analysis.recorded_at),
        revision=revision,
    )


def is_readable(row: CommentRow) -> bool:
    """Whether the row can be understood."""
    try:
        _times(row)
    except UnreadableRowError:
        return False
    return True


def _times(row: CommentRow) -> tuple[datetime, datetime | None]:
    body: object = row.body
    if not isinstance(body, str):  # a blob, or null in a table that was made by hand
        raise UnreadableRowError(row, "body", row.body)
    created_at = _moment(row, "created_at", row.created_at)
    return created_at, None if row.deleted_at is None else _moment(row, "deleted_at", row.deleted_at)


def _moment(row: CommentRow, column: str, text: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise UnreadableRowError(row, column, text) from error


def _recorded_at(text: str | None) -> datetime | None:
    """None where it is no date-time: nothing that is counted depends on it, so it costs nobody their tags."""
    try:
        return None if text is None else utc(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError):
        return None
