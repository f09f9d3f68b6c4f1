"""A relay in process, whose events go into a list that a test applies when it likes."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

from consumer.relay.event_producer import EventDeliveryError
from consumer.relay.relay import Relay
from consumer.tail.state import TailSettings
from projections.comments.events import Event, topic_of
from projections.database.database import open_databases
from projections.projection import RULES_VERSION, Fence, Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import InitialPositions, Store
from snapshot.runtime.progress import NoProgress, ProgressBar
from support.differences import differences
from support.tailing import QUICK, Counted, microseconds
from support.whiteballoon import WhiteBalloon


class Topics:
    """Two topics of one partition each, and one consumer."""

    def __init__(self, store: Store | None = None) -> None:
        self.projection = Projection(store or MemoryStore(microseconds))
        self.log: list[Event] = []
        self.refuses: Callable[[Sequence[Event]], Exception | None] = lambda _events: None
        self._consumed = 0

    def send(self, events: Sequence[Event]) -> None:
        """Take all or, as the test wants it, none."""
        if (error := self.refuses(events)) is not None:
            raise EventDeliveryError(str(error)) from error
        self.log += events

    def begin(self) -> None:
        """The ends are always those of the log."""

    @property
    def ends(self) -> Mapping[str, int]:
        return self._ends(self.log)

    @staticmethod
    def _ends(events: Sequence[Event]) -> dict[str, int]:
        names = [f"{topic_of(event)}/0" for event in events]
        return {name: names.count(name) for name in set(names)}

    def consume(self) -> None:
        """Apply what is new, and move all buckets there."""
        store = self.projection.store
        store.initialize(
            InitialPositions(dict.fromkeys(("comment-created/0", "insight-created/0"), 0), {}, RULES_VERSION)
        )
        fence = {name: (0, end) for name, end in self.ends.items()}
        fences = {
            bucket: Fence(state.epoch, fence) for bucket, state in enumerate(store.bucket_states()) if state is not None
        }
        self.projection.apply(self.log[self._consumed :], fences)
        self._consumed = len(self.log)


class Running:
    """A relay stepped by the test."""

    def __init__(  # noqa: PLR0913 - what tests choose
        self,
        white_balloon: WhiteBalloon,
        topics: Topics,
        settings: TailSettings = QUICK,
        *,
        backfill: bool = False,
        timeout: float | None = None,
        progress: ProgressBar | None = None,
        ends: Callable[[], Mapping[str, int] | None] | None = None,
    ) -> None:
        self.topics = topics
        self.metrics = Counted()
        self.database = open_databases(white_balloon.main_url, white_balloon.insights_url, timeout=2.0)
        self.relay = Relay(
            topics.projection,
            self.database,
            topics,
            ends or (lambda: topics.ends),
            settings,
            backfill=backfill,
            timeout=timeout,
            metrics=self.metrics,
            progress=lambda: nullcontext(progress or NoProgress()),
        )

    def until(self, wanted: Callable[[], bool], seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not wanted():
            assert time.monotonic() < deadline, "it never came to that"
            self.relay.step(0.05)

    def catch_up(self, *, consume: bool = True) -> None:
        """Until everything committed by now is published, a sweep round included."""
        self.relay._leased._asked_at = None  # noqa: SLF001 - the question is asked again

        def done() -> bool:
            if consume:
                self.topics.consume()
            return self.relay.caught_up()

        self.until(done)

    def drift(self) -> list[Event]:
        """What reconcile would still change."""
        return differences(self.topics.projection.store, self.database)

    def vanish(self) -> None:
        """End as `kill -9` does."""
        self.database.close()

    def close(self) -> None:
        self.relay.close()
        self.database.close()
