"""Ids that are missing below the highest one: rows of transactions that have not ended, perhaps.

On PostgreSQL an id is drawn before its transaction commits, so a lower one may appear after a higher one. A missing id
is looked for until it is a minute old and every transaction that could still bring it has ended.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import msgspec

MAX_AGE = 60_000_000
"""Microseconds. An id may also be drawn by one transaction and used by a later one of the same session."""
NARROW = 1_000
LIMIT = 5_000


class MissingIds(msgspec.Struct, frozen=True, array_like=True):
    """Missing ids, both ends included.

    `since` is when they were first missed, in microseconds of the database's clock, `xmax` the first transaction that
    had not begun by then.
    """

    low: int
    high: int
    since: int
    xmax: int


class Gaps:
    """The missing ids of one table, ascending. Beyond `limit` ranges the oldest are left to the sweep."""

    def __init__(self, gaps: Iterable[MissingIds] = (), limit: int = LIMIT) -> None:
        self._gaps = list(gaps)
        self._limit = limit

    def __iter__(self) -> Iterator[MissingIds]:
        return iter(self._gaps)

    def __len__(self) -> int:
        return len(self._gaps)

    def add(self, after: int, found: Iterable[int], since: int, xmax: int) -> None:
        """Add what is missing between `after` and the last of the ids found (ascending)."""
        self._gaps += [MissingIds(low, high, since, xmax) for low, high in missing(after, found)]
        if len(self._gaps) > self._limit:
            self._gaps.sort(key=lambda gap: gap.since)
            del self._gaps[: -self._limit]
        self._gaps.sort(key=lambda gap: gap.low)

    def narrow_ids(self) -> list[int]:
        """All ids of the narrow gaps, up to about the limit."""
        ids: list[int] = []
        for gap in self._gaps:
            if gap.high - gap.low < NARROW and len(ids) < self._limit:
                ids += range(gap.low, gap.high + 1)
        return ids

    def wide(self) -> list[MissingIds]:
        """The gaps with too many ids to name each: after a row with an id of its own choosing."""
        return [gap for gap in self._gaps if gap.high - gap.low >= NARROW]

    def fill(self, found: Iterable[int], since: int, xmax: int) -> None:
        """Take out ids that appeared.

        What is left above the last of them counts as missed from now on: a sequence that works its way up a wide gap
        keeps it in view.
        """
        ids = sorted(found)
        left: list[MissingIds] = []
        for gap in self._gaps:
            inside = ids[bisect_left(ids, gap.low) : bisect_right(ids, gap.high)]
            if not inside:
                left.append(gap)
                continue
            left += [MissingIds(low, high, gap.since, gap.xmax) for low, high in missing(gap.low - 1, inside)]
            if inside[-1] < gap.high:
                left.append(MissingIds(inside[-1] + 1, gap.high, since, max(gap.xmax, xmax)))
        self._gaps = left

    def expire(self, now: int, xmin: int) -> None:
        """Forget what cannot appear any more.

        `xmin` is the oldest transaction that ran before the gaps were last looked for, and looked for in vain.
        """
        self._gaps = [gap for gap in self._gaps if now - gap.since < MAX_AGE or gap.xmax > xmin]


def missing(after: int, found: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Give the ranges that are missing above `after`, before and between ascending ids.

    >>> list(missing(3, [4, 7, 8, 10]))
    [(5, 6), (9, 9)]
    """
    for number in found:
        if number > after + 1:
            yield after + 1, number - 1
        after = number
