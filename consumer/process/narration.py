"""What a process that runs all the time says in its log: what it runs on, how far it is, what it did."""

import importlib.metadata
import time
from collections.abc import Callable, Mapping

import structlog

log = structlog.get_logger()

Figures = Mapping[str, int]
"""What was done since the start, by name."""

_ASKED_SECONDS = 1.0
_CATCHING_UP_SECONDS = 10.0
_SECONDS = 300.0


class Narration:
    """Says it for one process. `figures` and `caught_up` are asked now and then; `now` is a monotonic clock in seconds.

    `caught_up`: whether everything that was there when it was first asked is done.
    """

    def __init__(
        self,
        program: str,
        figures: Callable[[], Figures],
        caught_up: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._program = program
        self._figures = figures
        self._is_caught_up = caught_up
        self._now = now
        self._began = self._said_at = self._asked_at = now()
        self._said: Figures = {}
        self._caught_up = False

    def begin(self, **facts: str | None) -> None:
        """Say what it runs on."""
        version = importlib.metadata.version("signal-identity-snapshotter")
        given = {name: fact for name, fact in facts.items() if fact}
        log.info("started", program=self._program, version=version, **given)

    def step(self) -> None:
        """Say how far it is, if it is time; cheap."""
        now = self._now()
        if self._caught_up:
            if now - self._said_at >= _SECONDS:
                self._say("in the last five minutes", self._since())
            return
        if now - self._asked_at >= _ASKED_SECONDS:
            self._asked_at = now
            self._caught_up = self._is_caught_up()
        if self._caught_up:
            self._say("caught up", self._figures(), seconds=round(now - self._began, 1))
        elif now - self._said_at >= _CATCHING_UP_SECONDS:
            self._say("catching up", self._figures() if any(self._since().values()) else {})

    def end(self) -> None:
        """Say what it did in all."""
        log.info("ended", program=self._program, seconds=round(self._now() - self._began, 1), **self._figures())

    def _since(self) -> Figures:
        return {name: number - self._said.get(name, 0) for name, number in self._figures().items()}

    def _say(self, event: str, figures: Figures, **more: float) -> None:
        """Nothing, where nothing happened."""
        self._said_at, self._said = self._now(), self._figures()
        done = {name: number for name, number in figures.items() if number}
        if done or more:
            log.info(event, **done, **more)
