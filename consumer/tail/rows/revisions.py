"""Revisions: the order of readings of rows, over all tails that ever ran."""

from collections.abc import Callable


class Revisions:
    """Gives revisions that only grow: microseconds of the database's `clock`, above `last`.

    Ask after the rows were read. Each reading gets its own: of two with the same revision, neither would be the later.
    """

    def __init__(self, clock: Callable[[], int], last: int) -> None:
        self._clock = clock
        self.last = last

    def next(self) -> int:
        """Give the revision of rows that were just read. Raises what the clock raises."""
        self.last = max(self.last + 1, self._clock())
        return self.last

    def number(self) -> int:
        """Give a number from the same row, for a batch."""
        self.last += 1
        return self.last

    def saw(self, revision: int) -> None:
        """Stay above a revision that was fixed elsewhere."""
        self.last = max(self.last, revision)
