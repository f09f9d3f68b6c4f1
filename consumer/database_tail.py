"""WhiteBalloon's database as a source: the tail in process, where there is no broker."""

import secrets
import time
from collections.abc import Callable, Mapping

from consumer.source import Assignment, Batch, Offsets
from consumer.tail_state import TailSettings
from projections.database import Database
from projections.projection import Projection


class DatabaseTail:
    """`consumer.source.Source` over the two databases; its one partition is `tail/0`.

    It connects to nothing when it is made. Only the holder of the lease `tail` has the partition; the others wait with
    an empty assignment. Give `database` a short patience (2 s, say): while a read waits for a lock, nothing is
    delivered, and after five seconds another process may take over. Where the database is away, `poll` gives empty
    batches and the log says so. `offsets` raises SourceUnavailableError where the database can't be read,
    StoreUnavailableError comes from `offsets`, `commit` and `exhausted`. `token` names this process among the holders
    of the lease; `on_round` is told the seconds of each sweep round.
    """

    def __init__(  # noqa: PLR0913 - seams for tests, all with defaults
        self,
        projection: Projection,
        database: Database,
        settings: TailSettings = TailSettings(),
        *,
        token: str | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        on_round: Callable[[float], object] = lambda _seconds: None,
    ) -> None:
        raise NotImplementedError
