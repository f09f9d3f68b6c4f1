"""What answers 'which are first?' without reading the history: a few earliest comments, a few leading labels.

Both keep less than everything, know whether they do, and say when they know too little: then the profile is recomputed.
"""

from bisect import bisect_left, insort

import msgspec

KEPT = 4
"""How many earliest (or latest) comments are kept: only after so many of them were retracted is a recompute needed."""

CANDIDATES = 16
"""How many leading labels a head lists."""

TOP_N = 5
"""How many labels a snapshot lists."""

Appearance = tuple[int, int, int]
"""Where something appears: created_at (microseconds), comment id, position in the comment. Total order, no ties."""

Rank = tuple[int, int, int, int]
"""-count, then the first appearance: the smaller one ranks higher."""

Leader = tuple[int, int, int, int, str]
"""A rank and its label."""

UNKNOWN: Appearance = (2**62, 0, 0)
"""Stands for a first appearance that is not known until the profile is recomputed."""


class EarliestComments(msgspec.Struct, array_like=True, gc=False):
    """The first few of a set that is not stored: always a prefix of it, in order; `complete` when it is all of it."""

    kept: list[Appearance] = []
    complete: bool = True

    def add(self, item: Appearance) -> None:
        """The set gained an item. A later one is appended only while all are kept: there may be unknown ones between.

        >>> few = EarliestComments()
        >>> for second in (5, 1, 4, 2, 3):
        ...     few.add((second, 0, 0))
        >>> few
        EarliestComments(kept=[(1, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)], complete=False)
        """
        kept = self.kept
        if kept and item < kept[-1]:
            insort(kept, item)
            if len(kept) > KEPT:
                kept.pop()
                self.complete = False
        elif self.complete:
            if len(kept) < KEPT:
                kept.append(item)
            else:
                self.complete = False

    def remove(self, item: Appearance) -> None:
        """The set lost an item."""
        kept = self.kept
        index = bisect_left(kept, item)
        if index < len(kept) and kept[index] == item:
            del kept[index]

    def shift(self, old: Appearance, new: Appearance) -> None:
        """One comment's item became another one. Without a new time it keeps its place: no other comment is between."""
        if old[:2] == new[:2]:
            index = bisect_left(self.kept, old)
            if index < len(self.kept) and self.kept[index] == old:
                self.kept[index] = new
        else:
            self.remove(old)
            self.add(new)


class LabelStats(msgspec.Struct, array_like=True, gc=False):
    """One link or tag of one profile: how often it occurs, and the comments where it first appears."""

    count: int = 0
    first: EarliestComments = msgspec.field(default_factory=EarliestComments)

    def appear(self, where: Appearance, times: int) -> None:
        """Another comment has it, first at `where`."""
        self.count += times
        self.first.add(where)

    def retract(self, where: Appearance, times: int) -> None:
        """A comment no longer has it."""
        self.count -= times
        if self.count > 0:
            self.first.remove(where)
        else:
            self.first = EarliestComments()

    def replace(self, old: tuple[Appearance, int], new: tuple[Appearance, int]) -> None:
        """A comment has it at another place, or another number of times."""
        if self.count == old[1]:
            self.count, self.first = new[1], EarliestComments([new[0]])
        else:
            self.count += new[1] - old[1]
            self.first.shift(old[0], new[0])

    def rank(self) -> Rank:
        """Its place among the profile's labels."""
        return (-self.count, *(self.first.kept[0] if self.first.kept else UNKNOWN))

    def known(self) -> bool:
        """Whether its first appearance is known."""
        return bool(self.first.kept)


class Ranking(msgspec.Struct, array_like=True, gc=False):
    """The leading labels, best first, and the cutoff: no label outside the list ranks above it (None: all are listed).

    A label that beats the cutoff enters; on overflow the last one leaves and its rank becomes the cutoff; a member
    that falls to or below the cutoff leaves. Only a recompute lowers the cutoff.
    """

    leaders: list[Leader] = []
    cutoff: Rank | None = None

    def place(self, name: str, rank: Rank | None) -> None:
        """A label has a new rank; None: it no longer occurs."""
        leaders = self.leaders
        for index, leader in enumerate(leaders):
            if leader[4] == name:
                del leaders[index]
                break
        if rank is None or (self.cutoff is not None and rank >= self.cutoff):
            return
        insort(leaders, (*rank, name))
        if len(leaders) > CANDIDATES:
            last = leaders.pop()
            self.cutoff = last[:4]

    def too_short(self) -> bool:
        """Whether labels outside the list may belong among the first five."""
        return self.cutoff is not None and len(self.leaders) < TOP_N
