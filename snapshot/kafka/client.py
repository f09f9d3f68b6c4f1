"""Clients of Kafka that connect at once or fail in one readable line, and a log that a person can read."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from kafka import errors
from kafka.net.compat import KafkaNetClient

from projections.errors import OperatorError
from snapshot.kafka import tls
from snapshot.kafka.settings import KafkaSettings, addresses
from snapshot.runtime.throttle import Throttle

MAX_MESSAGE_BYTES = 16 * 2**20
"""The largest message of the event topics: a body of 5 MB fits even where JSON has to escape much of it."""

_CONNECT_SECONDS = 10.0
_HANDSHAKE_SECONDS = 1.0
_REFUSED = (errors.SaslAuthenticationFailedError, errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError)
_log = logging.getLogger(__name__)
Client = TypeVar("Client")


def connect(
    make: Callable[..., Client],
    settings: KafkaSettings,
    *,
    seconds: float = _CONNECT_SECONDS,
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
    with _silence() as logged:
        try:
            with _closed_after(seconds + _HANDSHAKE_SECONDS, made):
                return make(**merged, kafka_client=network)
        except (errors.KafkaError, OSError, ValueError, AssertionError) as error:
            raise OperatorError(_why(settings, [*logged.errors, error])) from error


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


def probe(settings: KafkaSettings, seconds: float = 2.0) -> None:
    """See whether a port of any bootstrap server is open; OperatorError with the reason where none is.

    kafka-python would try again for as long as it may and then say neither what was wrong nor where.
    """
    reasons = []
    for address in addresses(settings.bootstrap_servers):
        try:
            socket.create_connection(address, seconds).close()
        except (OSError, UnicodeError) as error:  # the latter of a name that none can be: its labels are too long
            reasons.append(f"{address.host}:{address.port}: {getattr(error, 'strerror', None) or error}")
        else:
            return
    raise OperatorError(
        f"Kafka can't be reached ({'; '.join(reasons)}): start it, or correct "
        f"KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers}"
    )


def _why(settings: KafkaSettings, found: Sequence[BaseException]) -> str:
    error = found[-1]
    where = f"KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers}"
    protocol = f"KAFKA_SECURITY_PROTOCOL={settings.security_protocol}"
    if any(isinstance(one, _REFUSED) for one in found):
        return (
            f"Kafka at {settings.bootstrap_servers} refuses the user {settings.sasl_username!r}: correct "
            f"KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or KAFKA_SASL_MECHANISM={settings.sasl_mechanism}"
        )
    if isinstance(error, errors.KafkaTimeoutError | errors.KafkaConnectionError):
        if reason := tls.fault(settings):
            return f"Kafka can't be reached: {reason}"
        return f"{where} is open but doesn't answer as Kafka: correct it, or {protocol} and KAFKA_SSL_*"
    return f"{where}, {protocol}: {type(error).__name__}: {one_line(error)}"


def one_line(error: object) -> str:
    """Shorten an error's text to a log line: its first line, cut where it is long."""
    text = str(error).partition("\n")[0]
    return text if len(text) <= 300 else f"{text[:300]}..."  # noqa: PLR2004  what still reads as one line


# ------------------------------------------------------------------------------------------- kafka-python's own log


class _Relayed(logging.Handler):
    """Passes kafka-python's warnings on as single lines of ours, each kind once a minute.

    While a broker is unreachable it logs several errors a second, some with a traceback.
    """

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._throttle = Throttle(time.monotonic)

    def emit(self, record: logging.LogRecord) -> None:
        if self._throttle.passes(f"{record.name} {record.msg}"):
            _log.warning("kafka-python: %s", one_line(record.getMessage()))


def quieten() -> None:
    """Turn kafka-python's log into readable warnings; the same when called again."""
    theirs = logging.getLogger("kafka")
    if not any(isinstance(handler, _Relayed) for handler in theirs.handlers):
        theirs.addHandler(_Relayed())
        theirs.setLevel(logging.WARNING)
        theirs.propagate = False
        # It warns of its own slowness whenever a large answer is read on a busy machine.
        logging.getLogger("kafka.net.selector").setLevel(logging.ERROR)


class _Collected(logging.Handler):
    """Keeps the errors that kafka-python only logs: why a connection failed, while it tries again."""

    def __init__(self) -> None:
        super().__init__()
        self.errors: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        arguments = record.args if isinstance(record.args, tuple) else ()
        self.errors += [one for one in arguments if isinstance(one, BaseException)]


@contextmanager
def _silence() -> Iterator[_Collected]:
    """Say nothing while connecting: one error tells it all, at the end."""
    theirs = logging.getLogger("kafka")
    collected = _Collected()
    before, theirs.handlers = theirs.handlers, [collected]
    try:
        yield collected
    finally:
        theirs.handlers = before
