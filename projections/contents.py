"""What rows say, without saying it: the two halves of each comment's register, for whoever only compares.

To make events of rows that are as the store has them costs more than to read what they say. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from projections.groups import Groups
from projections.history import AnalysisRow, CommentRow, UnreadableRowError, events
from projections.message import labels as read_labels
from projections.message import list_column
from projections.message import read as read_body
from projections.register import LIVE, NOTHING, CommentHalf, merge, reading

Unreadable = Callable[[UnreadableRowError], object]

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are UTC without a zone throughout
_ODD = datetime.max.replace(tzinfo=UTC)
"""Stands for a time that can't be read."""


Content = tuple[CommentRow, tuple[str, ...], CommentHalf, tuple[str, ...]]
"""A row, the groups in which its user's profiles hold it, and both halves of its register there: comment and labels."""


def contents(
    comments: Iterable[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    groups: Groups,
    unreadable: Unreadable,
) -> Iterator[Content]:
    """Read rows as the fold reads their events; a test holds both equal.

    A row that counts nowhere is left out; so is one that can't be understood, of which `unreadable` is told.
    """
    slugs_of, analysis_of, moment_of = groups.slugs, analyses.get, datetime.fromisoformat
    for row in comments:
        comment_id, user_id, request_id, body, sent, deleted_at = row
        slugs = slugs_of(user_id, request_id)
        if not slugs:
            continue
        analysis = analysis_of(comment_id)
        try:
            moment = moment_of(sent)
        except (TypeError, ValueError):
            moment = _ODD
        if moment.tzinfo is not None or deleted_at is not None or type(body) is not str:
            half, labels = _oddly(row, analysis, groups, unreadable)
            if half is None:
                continue
        else:
            since = moment - _EPOCH
            created_at = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            links, reactions, attachments = read_body(body)
            half = CommentHalf(LIVE, created_at, request_id, links, reactions, attachments)
            labels = () if analysis is None else _labels(*analysis[1:4])
        yield row, slugs, half, labels


def _oddly(
    row: CommentRow, analysis: AnalysisRow | None, groups: Groups, unreadable: Unreadable
) -> tuple[CommentHalf | None, tuple[str, ...]]:
    """Read a row by way of its events: deleted, with a time zone, or not to be understood at all."""
    known = {} if analysis is None else {row.comment_id: analysis}
    register = merge(NOTHING, map(reading, events([row], known, groups, 0, unreadable)))
    return register.comment, register.labels


@lru_cache(4096)
def _labels(resource_tags: str | None, request_tags: str | None, tags: str | None) -> tuple[str, ...]:
    """The labels of one analysis; cached, because a model's few favourite ones come again and again."""
    return read_labels(list_column(resource_tags), list_column(request_tags), list_column(tags))
