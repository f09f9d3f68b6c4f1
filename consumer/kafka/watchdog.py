"""Notices a consumer that has silently stopped: no assignment, or a partition that stands still before its end."""

from collections.abc import Mapping


class Watchdog:
    """Told what is seen, with the time of seeing (seconds of any clock that only grows), it says when to start anew.

    A partition stalls when its position stays the same for `limit` seconds with events behind it all the while.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._unassigned_since: float | None = None
        self._flat: dict[str, tuple[int, float]] = {}
        self._behind: dict[str, float] = {}
        self._looked = float("-inf")

    def assigned(self, now: float, *, joined: bool) -> str | None:
        """Whether the group gave an answer about its partitions (none of them is an answer too)."""
        if joined:
            self._unassigned_since = None
        elif self._unassigned_since is None:
            self._unassigned_since = now
        elif now - self._unassigned_since >= self.limit:
            return f"no assignment for {now - self._unassigned_since:.0f} s"
        return None

    def moved(self, now: float, positions: Mapping[str, int]) -> bool:
        """Note the positions of all partitions that are being read; True: look up where they end, and say so."""
        self._flat = {
            name: self._flat[name] if self._flat.get(name, (-1, 0.0))[0] == position else (position, now)
            for name, position in positions.items()
        }
        self._behind = {name: since for name, since in self._behind.items() if self._since(name) <= since}
        step = self.limit / 3
        due = now - self._looked >= step and any(now - since >= step for _, since in self._flat.values())
        if due:
            self._looked = now
        return due

    def ends(self, now: float, ends: Mapping[str, int]) -> str | None:
        """Compare with the partitions' ends, as looked up."""
        for name, (position, _) in self._flat.items():
            if ends.get(name, 0) <= position:
                self._behind.pop(name, None)
            elif now - self._behind.setdefault(name, now) >= self.limit:
                return f"{name} stands at {position} for {now - self._behind[name]:.0f} s, its end is {ends[name]}"
        return None

    def _since(self, name: str) -> float:
        return self._flat[name][1] if name in self._flat else float("inf")


class OutageLog:
    """Says that a server is away after ten seconds, then less and less often, and that it is back."""

    FIRST = 10.0

    def __init__(self, server: str, now: float) -> None:
        self._server = server
        self._seen = now
        self._told = 0.0

    def observe(self, now: float, *, present: bool) -> str | None:
        """Return what is to be said now, if anything."""
        absence = now - self._seen
        if present:
            told, self._seen, self._told = self._told, now, 0.0
            return f"{self._server} is back after {absence:.0f} s" if told else None
        if absence < max(self.FIRST, 2 * self._told):
            return None
        self._told = absence
        return f"{self._server} has not answered for {absence:.0f} s; trying on"
