"""Whether the consumers have what earlier relays published."""

from collections.abc import Callable, Mapping

import structlog

from projections.errors import OperatorError
from projections.store.protocol import Store
from projections.watermark import holds
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

_CHECK_SECONDS = 1.0
_STALLED_SECONDS = 30.0


class ConsumerProgress:
    """Whether all consumers have what had been published when this relay began.

    `ends` looks up where the topics end; `seen` is called with each result. With `timeout` (seconds): None, once the
    consumers have been stalled for so long.
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
        self._look_up_ends = ends
        self._now = now
        self._timeout = timeout
        self._unknown = ThrottledWarning("how far the consumers are is unknown; trying again", now)
        self._waiting = ThrottledWarning("waiting for the consumers before the store is compared with the rows", now)
        self._seen = seen
        self._goal: Mapping[str, int] | None = None
        self._goal_at = 0.0
        self._checked_at = -_CHECK_SECONDS
        self._positions: list[dict[str, int]] = []
        self._moved_at = 0.0

    def ready(self) -> bool | None:
        """Check, at most once a second. Raises StoreUnavailableError."""
        now = self._now()
        if now - self._checked_at < _CHECK_SECONDS:
            return False
        self._checked_at = now
        try:
            goal = self._present_goal(now)
        except OperatorError as error:
            self._unknown.warn(str(error))
            return False
        self._unknown.resolved()
        positions = [{} if state is None else dict(state.positions) for state in self._store.bucket_states()]
        if all(holds(bucket, goal) for bucket in positions):
            self._waiting.resolved()
            return True
        if positions != self._positions:
            self._positions, self._moved_at = positions, now
        return self._stalled(now - self._moved_at)

    def _stalled(self, seconds: float) -> bool | None:
        if seconds >= _STALLED_SECONDS:
            self._waiting.warn("they are stalled; start them, or see their log")
        if self._timeout is None or seconds < self._timeout:
            return False
        log.warning(
            "the consumers are stalled; what changed while no relay ran and has no key of its own is left to the "
            "next start"
        )
        return None

    def _present_goal(self, now: float) -> Mapping[str, int]:
        """Where the topics ended at the first check; less, where one was recreated since."""
        if self._goal is None or now - self._goal_at >= _STALLED_SECONDS:
            found = {name: end for name, end in self._look_up_ends().items() if end}
            self._goal = found if self._goal is None else clamp(self._goal, found)
            self._goal_at = now
            self._seen(found)
        return self._goal


def clamp(positions: Mapping[str, int], ends: Mapping[str, int]) -> dict[str, int]:
    """Bring positions (`topic/number`) down to where the topics end: a recreated one begins at 0, maybe with fewer.

    >>> clamp({"a/0": 20, "a/1": 20, "b/0": 3}, {"a/0": 5, "b/0": 9})
    {'a/0': 5, 'b/0': 3}
    """
    return {name: min(position, ends[name]) for name, position in positions.items() if name in ends}


class PublishedPositions:
    """Positions of one term: what the holders before had acknowledged, and what this one has.

    Recreated topics are taken into account: else consumers would never reach these positions.
    """

    def __init__(self, before: Mapping[str, int]) -> None:
        self._before = {name: end for name, end in before.items() if not name.startswith("tail/")}

    def ends_are(self, ends: Mapping[str, int]) -> None:
        """Take in where the topics end; 0 may be left out."""
        self._before = clamp(self._before, ends)

    def positions(self, acknowledged: Mapping[str, int]) -> dict[str, int]:
        """Give them all; `acknowledged` is after this term's own."""
        recreated = {_topic(name) for name, end in acknowledged.items() if end < self._before.get(name, 0)}
        self._before = {name: end for name, end in self._before.items() if _topic(name) not in recreated}
        return {**self._before, **acknowledged}


def _topic(name: str) -> str:
    return name.rpartition("/")[0]
