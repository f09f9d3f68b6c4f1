"""Several users of one store, interleaved at every call: a schedule says whose call comes next."""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from projections.profile_key import ProfileKey
from projections.store.protocol import Loaded, Save, Store
from support.stores import Passing

Program = Callable[[Store], object]


class TooManyCallsError(AssertionError):
    """The programs did not end within the calls that they were given."""


class _StoppedError(BaseException):
    """Ends a program's thread; no `except Exception` may hold it."""


class _Runner:
    """One program in a thread that stops before each of its store calls."""

    def __init__(self, program: Program, store: Store) -> None:
        self.error: BaseException | None = None
        self.ended = False
        self._go = threading.Semaphore(0)
        self._still = threading.Semaphore(0)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, args=(program, _Halting(store, self.halt).as_store()))
        self._thread.start()
        self._still.acquire()

    def _run(self, program: Program, store: Store) -> None:
        try:
            program(store)
        except _StoppedError:
            pass
        except BaseException as error:  # noqa: BLE001  the test's thread raises it again
            self.error = error
        finally:
            self.ended = True
            self._still.release()

    def halt(self) -> None:
        self._still.release()
        self._go.acquire()
        if self._stopped:
            raise _StoppedError

    def step(self) -> None:
        """Let it make one call, up to the next."""
        self._go.release()
        self._still.acquire()

    def stop(self) -> None:
        self._stopped = True
        while not self.ended:
            self.step()
        self._thread.join()


def run(store: Store, programs: Sequence[Program], choose: Callable[[int], int], most_calls: int = 5_000) -> int:
    """Run the programs until the first has ended and the others where they are to stop; give the number of calls.

    `choose(n)` gives whose call comes next among the n programs that have not ended.
    """
    runners: list[_Runner] = []
    calls = 0
    try:
        runners.extend(_Runner(program, store) for program in programs)
        while alive := [runner for runner in runners if not runner.ended]:
            calls += 1
            if calls > most_calls:
                raise TooManyCallsError(f"{len(alive)} of {len(programs)} programs still run after {most_calls} calls")
            alive[choose(len(alive))].step()
    finally:
        for runner in runners:
            runner.stop()
    for runner in runners:
        if runner.error is not None:
            raise runner.error
    return calls


class _Halting(Passing):
    """A store that stops before each call that the projection makes, and between the fields of a scan."""

    def __init__(self, store: Store, halt: Callable[[], None]) -> None:
        super().__init__(store)
        self._halt = halt

    def load(self, wanted: Mapping[ProfileKey, Collection[bytes]]) -> dict[ProfileKey, Loaded]:
        self._halt()
        return super().load(wanted)

    def save(self, saves: Sequence[Save]) -> list[list[ProfileKey]]:
        self._halt()
        return super().save(saves)

    def scan(self, key: ProfileKey) -> Iterator[tuple[bytes, bytes]]:
        self._halt()
        for number, field in enumerate(super().scan(key)):
            if number % 8 == 7:
                self._halt()
            yield field
