"""The store over a network: commands that come late or twice, answers that are lost, and a server that forgets.

Behind it is the product's own store in memory. What RedisStore sends as several commands is several here, and others
may come between them.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import Any, cast

from simulation.database import EPOCH
from simulation.processes import Process

from projections.codec import is_register
from projections.comments.register import counts, unpack
from projections.profile_key import ProfileKey
from projections.store.memory import MemoryStore
from projections.store.protocol import Claim, EpochError, FlushReading, PositionGapError, Store, StoreUnavailableError
from projections.watermark import TAIL
from support.rollback import keep

_KEPT = ("_lock", "_clock")


class Trouble(Enum):
    """What befalls one command."""

    UNSENT = "it never arrives"
    UNANSWERED = "its answer is lost"
    TWICE = "its answer is lost, and it is sent again"


class Storage:
    """The server. `now` is the true time in microseconds, which is its clock."""

    def __init__(self, now: Callable[[], int], debounce: float) -> None:
        self._now = now
        self._clock = lambda: EPOCH + now()
        self._debounce = debounce
        self._births = 0
        self.away_until = 0
        self.inner = MemoryStore(self._clock, debounce, "birth 0")
        self.read: Callable[[str, ProfileKey, int, Live], None] = lambda _who, _key, _sequence, _live: None
        """Called with each reading of a flusher: who, which profile, the sequence, the comments that count there."""
        self.lapses = 0
        """How often the lease of the tail had run out when somebody took it."""

    @property
    def away(self) -> bool:
        return self._now() < self.away_until

    def keep(self) -> Callable[[], None]:
        """Remember all that it holds; what is given back makes it fall back to that."""
        return keep(self.inner)

    def lose_all(self) -> None:
        self._births += 1
        fresh = MemoryStore(self._clock, self._debounce, f"birth {self._births}")
        vars(self.inner).update({name: value for name, value in vars(fresh).items() if name not in _KEPT})

    def live(self, key: ProfileKey) -> "Live":
        """The comments that count in a profile, as its registers have it, and whether each has tags."""
        registers = {int(name[1:]): unpack(value) for name, value in self.inner.scan(key) if is_register(name)}
        return {number: bool(register.labels) for number, register in registers.items() if counts(register)}

    def operation(self, name: str) -> Callable[..., Any]:
        """What a command does when it arrives."""
        return self._lease if name == "lease" else getattr(self.inner, name)

    def _lease(self, name: str, token: str, seconds: float) -> bool:
        self.lapses += name == TAIL and not self.inner.leased(TAIL)
        return self.inner.lease(name, token, seconds)


Live = dict[int, bool]


class Connection:
    """One process' connection to the store; `store()` is what the product gets. `trouble` draws what befalls a call."""

    def __init__(self, storage: Storage, process: Process, trouble: Callable[[str], Trouble | None]) -> None:
        self._storage = storage
        self._process = process
        self._trouble = trouble
        for name in _WHOLE:
            setattr(self, name, partial(self._ask, name))

    def store(self) -> Store:
        return cast("Store", self)

    def _ask(self, name: str, *arguments: Any) -> Any:  # noqa: ANN401 - whatever the operation takes and gives
        trouble = self._trouble(name)
        self._arrive(name)
        if trouble is Trouble.UNSENT:
            raise StoreUnavailableError(f"{name} was not sent")
        operation = self._storage.operation(name)
        answer = operation(*arguments)
        if trouble is Trouble.UNANSWERED:
            self._process.call(f"{name} is not answered")
            raise StoreUnavailableError(f"{name} was not answered")
        if trouble is Trouble.TWICE:
            self._arrive(f"{name} again")
            answer = operation(*arguments)
        return answer

    def _arrive(self, what: str) -> None:
        self._process.call(what)
        if self._storage.away:
            raise StoreUnavailableError("the store is away")

    # ------------------------------------------------------------------------------------------- sent as several

    def save(self, saves: Sequence[Any]) -> list[list[ProfileKey]]:
        answers, refused = [], None
        for one in saves:
            try:
                answers += self._ask("save", [one])
            except (EpochError, PositionGapError) as error:  # the others of the pipeline are done all the same
                refused = refused or error
        if refused is not None:
            raise refused
        return answers

    def claim(self, folder: str, buckets: Sequence[int], limit: int, seconds: float, token: str) -> list[Claim]:
        """Few buckets have anything to claim; these are asked by themselves."""
        due = self._storage.inner.next_due(folder)
        some = [bucket for bucket in buckets if due[bucket] is not None]
        if not some:
            self._arrive("claim")
            return []
        return [one for bucket in some for one in self._ask("claim", folder, [bucket], limit, seconds, token)]

    def read(self, folder: str, claims: Sequence[Claim]) -> list[FlushReading]:
        readings: list[FlushReading] = []
        for one in claims:
            readings += self._ask("read", folder, [one])
            live = self._storage.live(one.key)
            self._storage.read(self._process.name, one.key, readings[-1].sequence, live)
        return readings

    def settle(self, folder: str, token: str, settlements: Sequence[Any], seconds: float) -> None:
        for one in settlements:
            self._ask("settle", folder, token, [one], seconds)

    def bucket_states(self) -> list[Any]:
        first = self._ask("bucket_states")
        if self._process.draw() < 0.1:
            half = len(first) // 2
            return [*first[:half], *self._ask("bucket_states")[half:]]
        return cast("list[Any]", first)


_OWN = frozenset(name for name in vars(Connection) if not name.startswith("_"))
_WHOLE = tuple(name for name in vars(Store) if not name.startswith("_") and name not in _OWN)
"""Whatever the protocol has, so that none is forgotten."""
