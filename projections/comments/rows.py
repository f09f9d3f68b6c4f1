"""Rows of the database as events, or as halves of registers: what a full read of WhiteBalloon gives."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple, NoReturn

from projections.comments.body import read as read_body
from projections.comments.events import CommentCreated, Event, InsightCreated, micros, utc
from projections.comments.groups import Groups
from projections.comments.labels import labels as read_labels
from projections.comments.labels import list_column
from projections.comments.register import EMPTY_REGISTER, LIVE, CommentHalf, half_of, merge


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


class InvalidRowError(ValueError):
    """A comment with an invalid row: `created_at` or `deleted_at` is no date-time, or the body no text.

    SQLite takes any value in any column. `row` is the row; the text names the comment, the column and the value.
    """

    def __init__(self, row: CommentRow, column: str, value: object) -> None:
        super().__init__(
            f"comment {row.comment_id} of user {row.user_id} is left out: request_comments.{column} is "
            f"{value!r:.80}; correct that row in WhiteBalloon's database"
        )
        self.row = row


InvalidRowHandler = Callable[[InvalidRowError], object]


def _raise(error: InvalidRowError) -> NoReturn:
    raise error


def events(
    comments: Iterable[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    groups: Groups,
    revision: int,
    on_invalid: InvalidRowHandler = _raise,
) -> Iterator[Event]:
    """The events that these rows give, for each group that a comment counts in.

    That is a CommentCreated, for soft-deleted comments too, and an InsightCreated where there is an analysis.
    `analyses` is by comment id, `revision` in microseconds of the database's clock, taken after the rows were read.
    An invalid row gives no event: `on_invalid` is called with the error, which by default is raised.
    """
    for row in comments:
        slugs = groups.slugs(row.user_id, row.help_request_id)
        if not slugs:
            continue
        try:
            created_at, deleted_at = _times(row)
        except InvalidRowError as error:
            on_invalid(error)
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
    """The event of a comment's analysis in one group; without an analysis (it was deleted) its lists are empty."""
    if analysis is None:
        return InsightCreated(comment_id=row.comment_id, user_id=row.user_id, group_slug=slug, revision=revision)
    resource_tags, request_tags, tags = _lists(*analysis[1:4])
    return InsightCreated(
        comment_id=row.comment_id,
        user_id=row.user_id,
        group_slug=slug,
        resource_tags=resource_tags,
        request_tags=request_tags,
        tags=tags,
        recorded_at=_recorded_at(analysis.recorded_at),
        revision=revision,
    )


def is_valid(row: CommentRow) -> bool:
    """Whether the row gives events."""
    try:
        _times(row)
    except InvalidRowError:
        return False
    return True


def _times(row: CommentRow) -> tuple[datetime, datetime | None]:
    body: object = row.body
    if not isinstance(body, str):  # a blob, or null in a table that was made by hand
        raise InvalidRowError(row, "body", row.body)
    created_at = _moment(row, "created_at", row.created_at)
    return created_at, None if row.deleted_at is None else _moment(row, "deleted_at", row.deleted_at)


def _moment(row: CommentRow, column: str, text: str) -> datetime:
    try:
        return utc(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidRowError(row, column, text) from error


def _recorded_at(text: str | None) -> datetime | None:
    """None where it is no date-time: nothing that is counted depends on it, so no tags are lost by it."""
    try:
        return None if text is None else utc(datetime.fromisoformat(text))
    except (TypeError, ValueError, OverflowError):
        return None


_INVALID = datetime.max.replace(tzinfo=UTC)
"""Stands for a time that can't be read."""

RowHalves = tuple[CommentRow, tuple[str, ...], CommentHalf, tuple[str, ...]]
"""A row, the groups in which its user's profiles hold it, and both halves of its register there: comment and labels."""


def register_halves(
    comments: Iterable[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    groups: Groups,
    on_invalid: InvalidRowHandler,
) -> Iterator[RowHalves]:
    """Read rows without making events of them, several times as fast; a test holds both equal.

    A row that counts nowhere is left out; so is an invalid one, for which `on_invalid` is called.
    """
    slugs_of, analysis_of, moment_of = groups.slugs, analyses.get, datetime.fromisoformat
    for row in comments:
        comment_id, user_id, request_id, body, text, deleted_at = row
        slugs = slugs_of(user_id, request_id)
        if not slugs:
            continue
        analysis = analysis_of(comment_id)
        try:
            moment = moment_of(text)
        except (TypeError, ValueError):
            moment = _INVALID
        if moment.tzinfo is not None or deleted_at is not None or type(body) is not str:
            half, labels = _slow_path(row, analysis, groups, on_invalid)
            if half is None:
                continue
        else:
            links, reactions, attachments = read_body(body)
            half = CommentHalf(LIVE, micros(moment), request_id, links, reactions, attachments)
            labels = () if analysis is None else _labels(*analysis[1:4])
        yield row, slugs, half, labels


def _slow_path(
    row: CommentRow, analysis: AnalysisRow | None, groups: Groups, on_invalid: InvalidRowHandler
) -> tuple[CommentHalf | None, tuple[str, ...]]:
    """Read a row by way of its events: deleted, with a time zone, or invalid."""
    known = {} if analysis is None else {row.comment_id: analysis}
    register = merge(EMPTY_REGISTER, map(half_of, events([row], known, groups, 0, on_invalid)))
    return register.comment, register.labels


# Both are cached, because a model repeats a few of them all the time.


@lru_cache(4096)
def _labels(resource_tags: str | None, request_tags: str | None, tags: str | None) -> tuple[str, ...]:
    """The labels of one analysis."""
    return read_labels(*_lists(resource_tags, request_tags, tags))


@lru_cache(4096)
def _lists(*columns: str | None) -> list[tuple[str, ...]]:
    """The items of each of these list columns."""
    return [list_column(column) for column in columns]
