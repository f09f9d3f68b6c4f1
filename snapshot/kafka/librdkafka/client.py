"""Clients of librdkafka that connect at once or fail in one readable line, and a log that a person can read."""

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message

from projections.errors import OperatorError
from snapshot.kafka.connection import (
    CLIENT_ID,
    CONNECT_SECONDS,
    ReadableLog,
    no_answer,
    one_line,
    probe,
    refuses_user,
    unforeseen,
)
from snapshot.kafka.settings import KafkaSettings

_SLICE = 0.2
"""Seconds for which a refusal may wait until it is seen."""
_REFUSED = (
    KafkaError._AUTHENTICATION,  # noqa: SLF001 - a name of librdkafka's
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
    KafkaError.ILLEGAL_SASL_STATE,
)
_log = logging.getLogger("librdkafka")
_readable = ReadableLog("librdkafka")
Client = TypeVar("Client")

COMMON: dict[str, str | int | bool] = {
    "client.id": CLIENT_ID,
    "log_level": 4,  # warnings and worse
    "log.thread.name": False,
    "log.connection.close": False,
    "reconnect.backoff.max.ms": 2000,
    "socket.connection.setup.timeout.ms": 10_000,
    "enable.metrics.push": False,
    "topic.metadata.refresh.interval.ms": 60_000,
}
"""For every client; why these, and why the others are left as they are, says docs/operations/kafka.md."""


def connect(
    make: Callable[..., Client],
    settings: KafkaSettings,
    options: Mapping[str, Any],
    *,
    seconds: float = CONNECT_SECONDS,
    said: Callable[[Message], object] = lambda _: None,
) -> Client:
    """Make a client of confluent-kafka (`Consumer`, `Producer`, `AdminClient`) and see it connected.

    `said` gets what a consumer says meanwhile in place of messages: it says that once only. Raises OperatorError within
    about so many seconds where no broker answers or where it refuses us.
    """
    settings.check()
    probe(settings, seconds / 5)
    heard = _Heard()
    given = {**settings.librdkafka_options(), **COMMON, **options, "error_cb": heard.error}
    try:
        client = make(given, logger=heard)
    except (KafkaException, ValueError, TypeError) as error:  # files of certificates are read here
        raise no_answer(settings, otherwise=unforeseen(settings, "librdkafka", text_of(error))) from error
    _wait(client, settings, heard, time.monotonic() + seconds, said)
    heard.connected()
    return client


def _wait(
    client: Any,  # noqa: ANN401 - all kinds
    settings: KafkaSettings,
    heard: "_Heard",
    deadline: float,
    said: Callable[[Message], object],
) -> None:
    while True:
        try:
            client.list_topics(timeout=_SLICE)
        except KafkaException as error:
            _hand_over(client, settings, said)
            if heard.refusal is not None:
                raise OperatorError(refuses_user(settings)) from error
            if time.monotonic() >= deadline:
                raise no_answer(settings) from error
        else:
            _hand_over(client, settings, said)
            return


def _hand_over(client: Any, settings: KafkaSettings, said: Callable[[Message], object]) -> None:  # noqa: ANN401 - all
    """Let a client say its errors and its log, which it does only when it is polled; one that is fatal it raises."""
    try:
        if isinstance(found := client.poll(0), Message):
            said(found)
    except KafkaException as error:
        raise OperatorError(
            f"Kafka at {settings.bootstrap_servers} refuses this client ({text_of(error)}): "
            "grant this user what docs/operations/security.md lists"
        ) from error


class _Heard:
    """What a client says: of its errors, whether one is a refusal; its log, once it is connected."""

    def __init__(self) -> None:
        self.refusal: KafkaError | None = None
        self._connecting = True

    def error(self, error: KafkaError) -> None:
        """Note an error that is about no message; it is in the log too."""
        if error.code() in _REFUSED:
            self.refusal = error

    def log(self, level: int, text: str, *facts: object) -> None:
        """Do as a `logging.Logger` does."""
        if not self._connecting:
            _log.log(level, text, *facts)

    def connected(self) -> None:
        """From now on, pass the log on."""
        self._connecting = False
        _log.addHandler(_readable)  # once, however often
        _log.setLevel(logging.WARNING)
        _log.propagate = False


def text_of(error: BaseException | KafkaError) -> str:
    """Give the name and the text of an error of librdkafka's, in one line."""
    found = error.args[0] if isinstance(error, KafkaException) and error.args else error
    return one_line(f"{found.name()}: {found.str()}" if isinstance(found, KafkaError) else repr(found))
