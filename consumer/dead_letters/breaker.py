"""The breaker: a stream of bad messages is a bad deploy and not bad data, and stops the daemon."""

from collections import deque


class BadStreak:
    """Whether most of the last events were bad."""

    def __init__(self, window: int = 100, least: int = 20) -> None:
        self._window = window
        self._least = least
        self._batches: deque[tuple[int, int]] = deque()

    def observe(self, good: int, bad: int) -> bool:
        """Count one batch; True: at least `least` and more than half of the last `window` events or so are bad.

        Whole batches are counted, so the window may hold more, never less once there were so many.
        """
        if good or bad:
            self._batches.append((good, bad))
        while self._total() - sum(self._batches[0] if self._batches else (0,)) >= self._window:
            self._batches.popleft()
        all_bad = sum(bad for _, bad in self._batches)
        return all_bad >= self._least and 2 * all_bad > self._total()

    def _total(self) -> int:
        return sum(good + bad for good, bad in self._batches)
