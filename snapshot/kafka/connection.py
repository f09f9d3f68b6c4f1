"""What both clients share when they connect: is anything there, and what is said where it is not Kafka, or refuses."""

import logging
import socket
import time

from projections.errors import OperatorError, UnreachableError
from snapshot.kafka import tls
from snapshot.kafka.settings import KafkaSettings, addresses
from snapshot.runtime.throttle import Throttle

CLIENT_ID = "signal-identity-snapshotter"
CONNECT_SECONDS = 10.0
"""A command says within about so long that Kafka can't be reached."""
_log = logging.getLogger(__name__)


def probe(settings: KafkaSettings, seconds: float = 2.0) -> None:
    """See whether a port of any bootstrap server is open; UnreachableError with the reason where none is.

    The clients would try again for as long as they may and then say neither what was wrong nor where.
    """
    reasons = []
    for address in addresses(settings.bootstrap_servers):
        try:
            socket.create_connection(address, seconds).close()
        except (OSError, UnicodeError) as error:  # the latter of a name that none can be: its labels are too long
            reasons.append(f"{address.host}:{address.port}: {getattr(error, 'strerror', None) or error}")
        else:
            return
    raise UnreachableError(
        f"Kafka can't be reached ({'; '.join(reasons)}): start it, or correct "
        f"KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers}"
    )


def refuses_user(settings: KafkaSettings) -> str:
    """Say that the user, the password or the mechanism is wrong."""
    return (
        f"Kafka at {settings.bootstrap_servers} refuses the user {settings.sasl_username!r}: correct "
        f"KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD or KAFKA_SASL_MECHANISM={settings.sasl_mechanism}"
    )


def no_answer(settings: KafkaSettings, otherwise: str | None = None) -> OperatorError:
    """Why a port that is open gives no answer, as far as that can be found out; `otherwise`: what is said else.

    Nothing tells a broker that hangs from what is none, so waiting may help.
    """
    if reason := tls.fault(settings):
        return OperatorError(f"Kafka can't be reached: {reason}")
    if otherwise is not None:
        return OperatorError(otherwise)
    where, protocol = _where(settings), _protocol(settings)
    return UnreachableError(
        f"{where} is open but doesn't answer as Kafka: restart a broker that hangs, or correct it, or {protocol} and "
        "KAFKA_SSL_*"
    )


def unforeseen(settings: KafkaSettings, kind: str, text: object) -> str:
    """Say what a client said, and which settings it may be about."""
    return f"{_where(settings)}, {_protocol(settings)}: {kind}: {one_line(text)}"


def _where(settings: KafkaSettings) -> str:
    return f"KAFKA_BOOTSTRAP_SERVERS={settings.bootstrap_servers}"


def _protocol(settings: KafkaSettings) -> str:
    return f"KAFKA_SECURITY_PROTOCOL={settings.security_protocol}"


def one_line(error: object) -> str:
    """Shorten an error's text to a log line: its first line, cut where it is long."""
    text = str(error).partition("\n")[0]
    return text if len(text) <= 300 else f"{text[:300]}..."  # noqa: PLR2004  what still reads as one line


class ReadableLog(logging.Handler):
    """Passes a client's warnings on as single lines of ours, each kind once a minute.

    While a broker is unreachable it logs several errors a second, some with a traceback.
    """

    def __init__(self, client: str) -> None:
        super().__init__(logging.WARNING)
        self._client = client
        self._throttle = Throttle(time.monotonic)

    def emit(self, record: logging.LogRecord) -> None:
        """Log it in one line, unless one of its kind was logged a moment ago."""
        if self._throttle.passes(_kind(record)):
            _log.warning("%s: %s", self._client, one_line(record.getMessage()))


def _kind(record: logging.LogRecord) -> str:
    """kafka-python's texts name the kind; librdkafka has one text, `%s [%s] %s`, whose first argument does."""
    named = isinstance(record.args, tuple) and record.msg.startswith("%s [%s]")
    return f"{record.name} {record.msg} {record.args[0] if named else ''}"  # type: ignore[index]
