"""The fold in one pass, for a full read that keeps nothing: rows in, finished heads out.

`projections.profiles.fold` can take a comment back out again and says what a batch changes; a command that reads
everything once needs neither, and is several times as fast without. A test holds both equal. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping

from projections.comments.groups import Groups
from projections.comments.register import LIVE, CommentHalf
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowHandler, register_halves
from projections.profile_key import ProfileKey
from projections.profiles.head import Head
from projections.profiles.ranking import CANDIDATES, KEPT, Appearance, EarliestComments, Ranking

_MOMENTS = 1024


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

    def add(self, comment_id: int, half: CommentHalf, labels: tuple[str, ...]) -> None:
        """Count a comment that is live."""
        created_at = half.created_at
        self._count += 1
        self._moments.append((created_at, comment_id, 0))
        self._requests[half.help_request_id] = self._requests.get(half.help_request_id, 0) + 1
        for word, times in half.reactions:
            self._reactions[word] = self._reactions.get(word, 0) + times
        for kind, times in half.attachments:
            self._attachments[kind] = self._attachments.get(kind, 0) + times
        for url, position, times in half.links:
            _count(self._links, url, (created_at, comment_id, position), times)
        for position, label in enumerate(labels):
            _count(self._tags, label, (created_at, comment_id, position), 1)
        if len(self._moments) > _MOMENTS:
            self._drop_middle()

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

    def _drop_middle(self) -> None:
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

    `on_invalid` is called for each invalid row; it counts nowhere.
    """

    def __init__(self, groups: Groups, on_invalid: InvalidRowHandler) -> None:
        self._groups = groups
        self._on_invalid = on_invalid
        self._user_id = -1
        self._tallies: dict[str, Tally] = {}

    def page(
        self, comments: Iterable[CommentRow], analyses: Mapping[int, AnalysisRow]
    ) -> Iterator[tuple[ProfileKey, Head]]:
        """Count a page of rows, ordered by user; give the profiles of the users who are done, in order.

        Rows of one user may go on in the next page.
        """
        for row, slugs, half, labels in register_halves(comments, analyses, self._groups, self._on_invalid):
            if half.state != LIVE:
                continue
            if row.user_id != self._user_id:
                yield from self.rest()
                self._user_id = row.user_id
            for slug in slugs:
                tally = self._tallies.get(slug) or self._tallies.setdefault(slug, Tally())
                tally.add(row.comment_id, half, labels)

    def rest(self) -> Iterator[tuple[ProfileKey, Head]]:
        """After the last page, give the profiles of the last user."""
        tallies, self._tallies = self._tallies, {}
        for slug in sorted(tallies):
            head = tallies[slug].head()
            if head is not None:
                yield ProfileKey(self._user_id, slug), head
