"""The fold in one pass, for a full read that keeps nothing: rows in, finished heads out.

`projections.profiles.fold` can take a comment back out again and says what a batch changes; a command that reads
everything once needs neither, and is several times as fast without. A test holds the heads of both equal. Pure.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache

from projections.comments.body import Message
from projections.comments.body import read as read_body
from projections.comments.groups import Groups
from projections.comments.labels import labels as read_labels
from projections.comments.labels import list_column
from projections.comments.register import EMPTY_REGISTER, LIVE, half_of, merge
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowError, events
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.profiles.ranking import CANDIDATES, KEPT, Appearance, EarliestComments, Ranking

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times are UTC without a zone throughout
_MOMENTS = 1024

InvalidRowHandler = Callable[[InvalidRowError], object]


class _Label:
    """How often a link or tag occurs, and where first."""

    __slots__ = ("count", "first")

    def __init__(self, first: Appearance) -> None:
        self.count = 0
        self.first = first


class Tally:
    """One profile's aggregates, counted up, in any order of comments; each comment that counts is added once."""

    __slots__ = ("_attachments", "_count", "_links", "_moments", "_reactions", "_requests", "_tags")

    def __init__(self) -> None:
        self._count = 0
        self._moments: list[Appearance] = []
        self._requests: dict[int, int] = {}
        self._reactions: dict[str, int] = {}
        self._attachments: dict[str, int] = {}
        self._links: dict[str, _Label] = {}
        self._tags: dict[str, _Label] = {}

    def add(self, comment_id: int, created_at: int, request_id: int, said: Message, labels: tuple[str, ...]) -> None:
        """Count a comment; `created_at` in microseconds since 1970."""
        links, reactions, attachments = said
        self._count += 1
        self._moments.append((created_at, comment_id, 0))
        self._requests[request_id] = self._requests.get(request_id, 0) + 1
        for word, times in reactions:
            self._reactions[word] = self._reactions.get(word, 0) + times
        for kind, times in attachments:
            self._attachments[kind] = self._attachments.get(kind, 0) + times
        for url, position, times in links:
            _count(self._links, url, (created_at, comment_id, position), times)
        for position, label in enumerate(labels):
            _count(self._tags, label, (created_at, comment_id, position), 1)
        if len(self._moments) > _MOMENTS:
            self._forget_the_middle()

    def head(self) -> Head | None:
        """The head that `fold.aggregate` gives, but for its digest and cause; None where no comment was added."""
        if not self._count:
            return None
        moments = sorted(self._moments)
        complete = self._count <= KEPT
        last = [(-created_at, -comment_id, 0) for created_at, comment_id, _ in moments[: -KEPT - 1 : -1]]
        return Head(
            count=self._count,
            first=EarliestComments(moments[:KEPT], complete),
            last=EarliestComments(last, complete),
            reactions=self._reactions,
            attachments=self._attachments,
            requests=self._requests,
            links=_ranking(self._links),
            tags=_ranking(self._tags),
        )

    def _forget_the_middle(self) -> None:
        """Keep what the extremes may need, so that a long history takes no more memory than a short one."""
        self._moments.sort()
        del self._moments[KEPT:-KEPT]


def _count(labels: dict[str, _Label], name: str, where: Appearance, times: int) -> None:
    label = labels.get(name)
    if label is None:
        label = labels[name] = _Label(where)
    elif where < label.first:
        label.first = where
    label.count += times


def _ranking(labels: Mapping[str, _Label]) -> Ranking:
    if not labels:
        return Ranking()
    leaders = sorted([(-label.count, *label.first, name) for name, label in labels.items()])
    return Ranking(leaders[:CANDIDATES], leaders[CANDIDATES][:4] if len(leaders) > CANDIDATES else None)


class Census:
    """Counts the comments of many users, who come one after another, each with all their comments.

    `unreadable` is called for a row that can't be understood; it counts nowhere.
    """

    def __init__(self, groups: Groups, unreadable: InvalidRowHandler) -> None:
        self._groups = groups
        self._unreadable = unreadable
        self._user_id = -1
        self._tallies: dict[str, Tally] = {}

    def page(
        self, comments: Iterable[CommentRow], analyses: Mapping[int, AnalysisRow]
    ) -> Iterator[tuple[ProfileKey, Head]]:
        """Count a page of rows, ordered by user; give the profiles of the users who are done, in order.

        Rows of one user may go on in the next page.
        """
        slugs_of = self._groups.slugs
        for row in comments:
            comment_id, user_id, request_id, body, sent, deleted_at = row
            slugs = slugs_of(user_id, request_id)
            if not slugs:
                continue
            if user_id != self._user_id:
                yield from self.rest()
                self._user_id = user_id
            analysis = analyses.get(comment_id)
            moment = _moment(sent) if deleted_at is None else None
            if moment is None or moment.tzinfo is not None or type(body) is not str:
                self._slow_path(row, slugs, analysis)
                continue
            since = moment - _EPOCH
            created_at = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            said = read_body(body)
            labels = () if analysis is None else _labels(*analysis[1:4])
            for slug in slugs:
                tally = self._tallies.get(slug) or self._tally(slug)
                tally.add(comment_id, created_at, request_id, said, labels)

    def rest(self) -> Iterator[tuple[ProfileKey, Head]]:
        """After the last page, give the profiles of the last user."""
        tallies, self._tallies = self._tallies, {}
        for slug in sorted(tallies):
            head = tallies[slug].head()
            if head is not None:
                yield ProfileKey(self._user_id, slug), head

    def _tally(self, slug: str) -> Tally:
        return self._tallies.setdefault(slug, Tally())

    def _slow_path(self, row: CommentRow, slugs: tuple[str, ...], analysis: AnalysisRow | None) -> None:
        """Count a row by way of its events: deleted, with a time zone, or not to be understood at all."""
        known = {} if analysis is None else {row.comment_id: analysis}
        register = merge(EMPTY_REGISTER, map(half_of, events([row], known, self._groups, 0, self._unreadable)))
        half = register.comment
        if half is not None and half.state == LIVE:
            said = Message(half.links, half.reactions, half.attachments)
            for slug in slugs:
                self._tally(slug).add(row.comment_id, half.created_at, half.help_request_id, said, register.labels)


def _moment(text: str) -> datetime | None:
    """When a comment was sent; None where that can't be read."""
    try:
        return datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None


@lru_cache(4096)
def _labels(resource_tags: str | None, request_tags: str | None, tags: str | None) -> tuple[str, ...]:
    """The labels of one analysis; cached, because a model's few favourite ones come again and again."""
    return read_labels(list_column(resource_tags), list_column(request_tags), list_column(tags))
