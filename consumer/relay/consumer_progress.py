"""Whether the consumers have what was published."""

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
    """Whether all consumers have what had been published when a pass of the store's comparison began.

    For the first pass that is all that earlier relays published: `ends` says where the topics end (None: not known
    yet), and `seen` is called with that. With `timeout` (seconds), the pass is given up once the consumers have been
    stalled for so long. For later passes it is what `published` says, since only this relay publishes; Kafka is asked
    only where that is not reached: a topic may have been recreated, and nothing published since to a partition of it.
    """

    in_process = False

    def __init__(  # noqa: PLR0913 - what the relay wires
        self,
        store: Store,
        ends: Callable[[], Mapping[str, int] | None],
        published: Callable[[], Mapping[str, int]],
        now: Callable[[], float],
        timeout: float | None,
        *,
        seen: Callable[[Mapping[str, int]], object] = lambda _ends: None,
    ) -> None:
        self._store = store
        self._ends = ends
        self._published = published
        self._now = now
        self._timeout = timeout
        self._seen = seen
        self._unknown = ThrottledWarning("how far the consumers are is unknown; trying again", now)
        self._waiting = ThrottledWarning("waiting for the consumers before the store is compared with the rows", now)
        self._first = False
        self._goal: Mapping[str, int] | None = None
        self._goal_at = 0.0
        self._checked_at = -_CHECK_SECONDS
        self._positions: list[dict[str, int]] = []
        self._moved_at = 0.0

    def begin_pass(self, *, first: bool) -> None:
        """From now on, `ready` is about what was published by now."""
        self._first = first
        self._goal = None if first else self._published()
        self._goal_at = self._now()
        self._checked_at = -_CHECK_SECONDS

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
        if goal is None:
            return False
        self._unknown.resolved()
        positions = [{} if state is None else dict(state.positions) for state in self._store.bucket_states()]
        if all(holds(bucket, goal) for bucket in positions):
            self._waiting.resolved()
            return True
        if positions != self._positions:
            self._positions, self._moved_at = positions, now
        return self._stalled(now - self._moved_at) if self._first else False

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

    def _present_goal(self, now: float) -> Mapping[str, int] | None:
        """What has to be reached; less than at first, if a topic was recreated since."""
        if not self._first:
            self._goal = clamp(self._goal or {}, self._published())
            if now - self._goal_at >= _STALLED_SECONDS and (found := self._ends()) is not None:
                self._goal, self._goal_at = clamp(self._goal, found), now
        elif self._goal is None or now - self._goal_at >= _STALLED_SECONDS:
            found = self._ends()
            if found is None:
                return None
            found = {name: end for name, end in found.items() if end}
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
