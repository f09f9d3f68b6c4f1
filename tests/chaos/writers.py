"""Those who write to WhiteBalloon's database while the product follows it."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

from sqlalchemy.exc import DBAPIError

from chaos import odd
from support.changes import Changes
from support.whiteballoon import WhiteBalloon

_NUMBER = 2
_ODD = 0.03
"""One change in so many is an odd value, where there are any."""


class Writers:
    """Two writers, each a thread with random changes of its own; they rest while `resting`."""

    def __init__(self, wb: WhiteBalloon, seed: int, pause: float, *, odd_values: bool) -> None:
        self.failed = 0
        """Changes that the database refused: it was locked."""
        self.crashed: list[BaseException] = []
        self._wb = wb
        self._odd = _ODD if odd_values else 0.0
        self._oddities = 0
        self._pause = pause
        self._stopping = threading.Event()
        self._turns = [threading.Lock() for _ in range(_NUMBER)]
        self._changes = [Changes(wb, f"{seed}-{number}", swarm=True) for number in range(_NUMBER)]
        self._threads = [
            threading.Thread(target=self._work, args=(number, Random(f"{seed}-{number}")))  # noqa: S311  no secret
            for number in range(_NUMBER)
        ]

    @property
    def made(self) -> Counter[str]:
        """How many changes of each kind."""
        oddities = Counter({"odd value": self._oddities} if self._oddities else {})
        return sum((one.made for one in self._changes), oddities)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Nobody writes meanwhile."""
        self.rest()
        try:
            yield
        finally:
            self.go_on()

    def rest(self) -> None:
        for turn, changes in zip(self._turns, self._changes, strict=True):
            turn.acquire()
            changes.close()

    def go_on(self) -> None:
        for turn in self._turns:
            turn.release()

    def _change(self, changes: Changes, dice: Random) -> None:
        if dice.random() < self._odd:
            odd.disturb(self._wb, dice)
            self._oddities += 1
        else:
            changes.step()

    def _work(self, number: int, dice: Random) -> None:
        changes = self._changes[number]
        try:
            while not self._stopping.wait(dice.uniform(0, 2 * self._pause)):
                with self._turns[number]:
                    try:
                        self._change(changes, dice)
                    except DBAPIError:
                        self.failed += 1
        except BaseException as error:
            self.crashed.append(error)
            raise
        finally:
            changes.close()
