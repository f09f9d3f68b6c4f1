"""Whether the consumers have what earlier relays published."""

from collections.abc import Callable, Mapping

import structlog

from projections.errors import OperatorError
from projections.store.protocol import Store
from projections.watermark import holds
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

_LOOK_SECONDS = 1.0
_STILL_SECONDS = 30.0


class ConsumerProgress:
    """Whether all consumers have what had been published when this relay began.

    `ends` looks up where the topics end, `seen` is told. With `timeout` (seconds): None, once they have stood still
    for so long.
    """

    def __init__(
        self,
        store: Store,
        ends: Callable[[], Mapping[str, int]],
        now: Callable[[], float],
        timeout: float | None,
        *,
        seen: Callable[[Mapping[str, int]], object] = lambda _ends: None,
    ) -> None:
        self._store = store
        self._ends_now = ends
        self._now = now
        self._timeout = timeout
        self._warning = ThrottledWarning("how far the consumers are can't be seen; trying again", now)
        self._waiting = ThrottledWarning("waiting for the consumers before the store is compared with the rows", now)
        self._seen = seen
        self._ends: Mapping[str, int] | None = None
        self._asked_at = 0.0
        self._looked_at = -_LOOK_SECONDS
        self._stood: list[dict[str, int]] = []
        self._since = 0.0

    def ready(self) -> bool | None:
        """Look, at most once a second. Raises StoreUnavailableError."""
        now = self._now()
        if now - self._looked_at < _LOOK_SECONDS:
            return False
        self._looked_at = now
        try:
            ends = self._goal(now)
        except OperatorError as error:
            self._warning.warn(str(error))
            return False
        self._warning.resolved()
        stand = [{} if mark is None else dict(mark.positions) for mark in self._store.bucket_states()]
        if all(holds(positions, ends) for positions in stand):
            self._waiting.resolved()
            return True
        if stand != self._stood:
            self._stood, self._since = stand, now
        if now - self._since >= _STILL_SECONDS:
            self._waiting.warn("they stand still; start them, or see their log")
        if self._timeout is None or now - self._since < self._timeout:
            return False
        log.warning(
            "the consumers stand still; what changed while no relay ran and has no key of its own is left to the "
            "next start"
        )
        return None

    def _goal(self, now: float) -> Mapping[str, int]:
        """Where the topics ended at the first look; less, where one was made anew since."""
        if self._ends is None or now - self._asked_at >= _STILL_SECONDS:
            found = {name: end for name, end in self._ends_now().items() if end}
            self._ends = found if self._ends is None else clamp(self._ends, found)
            self._asked_at = now
            self._seen(found)
        return self._ends


def clamp(positions: Mapping[str, int], ends: Mapping[str, int]) -> dict[str, int]:
    """Bring positions (`topic/number`) down to where the topics end: one made anew begins at 0, with other partitions.

    >>> at_most({"a/0": 20, "a/1": 20, "b/0": 3}, {"a/0": 5, "b/0": 9})
    {'a/0': 5, 'b/0': 3}
    """
    return {name: min(position, ends[name]) for name, position in positions.items() if name in ends}


class PublishedPositions:
    """Positions of one term: what the holders before had acknowledged, and what this one has.

    Without care for topics that were made anew, nobody would ever be told to have come that far.
    """

    def __init__(self, before: Mapping[str, int]) -> None:
        self._before = {name: end for name, end in before.items() if not name.startswith("tail/")}

    def ends_are(self, ends: Mapping[str, int]) -> None:
        """Take in where the topics end; 0 may be left out."""
        self._before = clamp(self._before, ends)

    def positions(self, acknowledged: Mapping[str, int]) -> dict[str, int]:
        """Give them all; `acknowledged` is after this term's own."""
        anew = {_topic(name) for name, end in acknowledged.items() if end < self._before.get(name, 0)}
        self._before = {name: end for name, end in self._before.items() if _topic(name) not in anew}
        return {**self._before, **acknowledged}


def _topic(name: str) -> str:
    return name.rpartition("/")[0]
