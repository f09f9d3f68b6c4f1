"""Clients of kafka-python that connect at once or fail in one readable line, and a log that a person can read."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kafka import errors
from kafka.net.compat import KafkaNetClient

from projections.errors import OperatorError
from snapshot.kafka.connection import CONNECT_SECONDS, ReadableLog, no_answer, probe, refuses_user, unforeseen
from snapshot.kafka.settings import KafkaSettings

_HANDSHAKE_SECONDS = 1.0
_REFUSED = (errors.SaslAuthenticationFailedError, errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)
Client = TypeVar("Client")


def connect(
    make: Callable[..., Client],
    settings: KafkaSettings,
    *,
    seconds: float = CONNECT_SECONDS,
    **options: Any,  # noqa: ANN401
) -> Client:
    """Make a client of kafka-python (`KafkaConsumer`, `KafkaProducer`, `KafkaAdminClient`) and see it connected.

    Raises OperatorError within about so many seconds where no broker answers or where it refuses us.
    """
    settings.check()
    quieten()
    probe(settings, seconds / 5)
    made: list[KafkaNetClient] = []

    def network(**configuration: Any) -> KafkaNetClient:  # noqa: ANN401  kafka-python's own options, passed on
        made.append(KafkaNetClient(**configuration))
        return made[-1]

    merged = settings.options() | {"bootstrap_timeout_ms": int(seconds * 1000)} | options
    with _log.collect() as logged:
        try:
            with _closed_after(seconds + _HANDSHAKE_SECONDS, made):
                return make(**merged, kafka_client=network)
        except (errors.KafkaError, OSError, ValueError, AssertionError) as error:
            raise _why(settings, [*logged, error]) from error


@contextmanager
def _closed_after(seconds: float, clients: Sequence[KafkaNetClient]) -> Iterator[None]:
    """Close the clients when the block fails or takes too long, never by two threads at once.

    kafka-python 3.0.12 leaves its thread and sockets behind when it can't connect, and waits for a TLS handshake
    without end.
    """

    def close() -> None:
        for client in clients:
            with suppress(Exception):  # it may raise of what it was doing; nobody waits for that any more
                client.close()

    timer = threading.Timer(seconds, close)
    timer.daemon = True
    timer.start()
    try:
        yield
    except BaseException:
        timer.cancel()
        timer.join()
        close()
        raise
    timer.cancel()


def _why(settings: KafkaSettings, found: Sequence[BaseException]) -> OperatorError:
    error = found[-1]
    if any(isinstance(one, _REFUSED) for one in found):
        return OperatorError(refuses_user(settings))
    if isinstance(error, errors.KafkaTimeoutError | errors.KafkaConnectionError):
        return no_answer(settings)
    return OperatorError(unforeseen(settings, type(error).__name__, error))


# ------------------------------------------------------------------------------------------- kafka-python's own log


class _Log(ReadableLog):
    """Readable warnings; silent while a client connects, whose one error tells it all at the end.

    Several threads may connect at once: each has a list of its own.
    """

    def __init__(self) -> None:
        super().__init__("kafka-python")
        self._collecting: dict[object, list[BaseException]] = {}

    @contextmanager
    def collect(self) -> Iterator[list[BaseException]]:
        """Collect the errors that kafka-python only logs: why a connection failed, while it tries again."""
        key, found = object(), list[BaseException]()
        self._collecting[key] = found
        try:
            yield found
        finally:
            del self._collecting[key]

    def emit(self, record: logging.LogRecord) -> None:
        collecting = list(self._collecting.values())
        arguments = record.args if isinstance(record.args, tuple) else ()
        for found in collecting:
            found += [one for one in arguments if isinstance(one, BaseException)]
        if not collecting:
            super().emit(record)


_log = _Log()


def quieten() -> None:
    """Turn kafka-python's log into readable warnings; the same when called again."""
    theirs = logging.getLogger("kafka")
    theirs.addHandler(_log)  # once, however often
    theirs.setLevel(logging.WARNING)
    theirs.propagate = False
    # It warns of its own slowness whenever a large answer is read on a busy machine.
    logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)
