"""A question that may take long, asked beside the work: a broker that hangs must not hold up what can be published."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Lookup(Generic[T]):
    """Asks in a thread, when it is called. Used by one thread."""

    def __init__(self, ask: Callable[[], T]) -> None:
        self._ask = ask
        self._answer: Future[T] | None = None

    def __call__(self) -> T | None:
        """None until the answer is there; then the answer, or what was raised. The next call asks again."""
        if self._answer is None:
            self._answer = Future()
            Thread(target=self._work, args=(self._answer,), daemon=True).start()
        if not self._answer.done():
            return None
        answer, self._answer = self._answer, None
        return answer.result()

    def _work(self, answer: Future[T]) -> None:
        try:
            answer.set_result(self._ask())
        except BaseException as error:  # noqa: BLE001 - the caller's to handle
            answer.set_exception(error)
