"""Notices a consumer that has silently stalled: no answer, no assignment, or a position that stays below the end."""

from collections.abc import Mapping


class Watchdog:
    """Gives the reason to recreate the consumer, from observations and their times (seconds of a monotonic clock).

    A partition has stalled when its position stays the same for `limit` seconds with events after it all the while.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._unanswered_since: float | None = None
        self._unassigned_since: float | None = None
        self._flat: dict[str, tuple[int, float]] = {}
        self._behind: dict[str, float] = {}
        self._looked_up_at = float("-inf")

    def answered(self, now: float, *, answered: bool) -> str | None:
        """Note whether Kafka answers this client; a new one may get through.

        librdkafka (2.13 to 2.16, its issue 5301) loses all brokers for good where one that was paused says that it
        knows of none.
        """
        if answered:
            self._unanswered_since = None
        elif self._unanswered_since is None:
            self._unanswered_since = now
        elif now - self._unanswered_since >= self.limit:
            return f"no answer for {now - self._unanswered_since:.0f} s"
        return None

    def assigned(self, now: float, *, joined: bool) -> str | None:
        """Note whether the group assigned partitions to us, even none."""
        if joined:
            self._unassigned_since = None
        elif self._unassigned_since is None:
            self._unassigned_since = now
        elif now - self._unassigned_since >= self.limit:
            return f"no assignment for {now - self._unassigned_since:.0f} s"
        return None

    def moved(self, now: float, positions: Mapping[str, int]) -> bool:
        """Note the positions of all partitions that are being read; True: look up where they end, and call `ends`."""
        self._flat = {
            name: self._flat[name] if self._flat.get(name, (-1, 0.0))[0] == position else (position, now)
            for name, position in positions.items()
        }
        self._behind = {name: since for name, since in self._behind.items() if self._since(name) <= since}
        step = self.limit / 3
        due = now - self._looked_up_at >= step and any(now - since >= step for _, since in self._flat.values())
        if due:
            self._looked_up_at = now
        return due

    def ends(self, now: float, ends: Mapping[str, int]) -> str | None:
        """Compare with the partitions' ends, as looked up."""
        for name, (position, _) in self._flat.items():
            if ends.get(name, 0) <= position:
                self._behind.pop(name, None)
            elif now - self._behind.setdefault(name, now) >= self.limit:
                return f"{name} is stalled at {position} for {now - self._behind[name]:.0f} s, its end is {ends[name]}"
        return None

    def _since(self, name: str) -> float:
        return self._flat[name][1] if name in self._flat else float("inf")
