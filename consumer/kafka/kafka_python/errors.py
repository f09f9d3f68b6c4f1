"""What kafka-python's errors mean to the caller and to the operator."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kafka import errors

from consumer.kafka.member import refused
from projections.errors import OperatorError
from snapshot.kafka.connection import one_line

_KINDS = {
    errors.FencedInstanceIdError: "FENCED_INSTANCE_ID",
    errors.InvalidGroupIdError: "INVALID_GROUP_ID",
    errors.AuthorizationError: "AUTHORIZATION_FAILED",
    errors.SaslAuthenticationFailedError: "SASL_AUTHENTICATION_FAILED",
}


@contextmanager
def as_kafka_error() -> Iterator[None]:
    """Turn whatever kafka-python raises in this block into a KafkaError.

    Nothing says what it may raise: its I/O thread hands on what ended it, asserts and decoders raise what they like.
    """
    try:
        yield
    except (errors.KafkaError, OperatorError):
        raise
    except Exception as error:
        raise errors.KafkaError(f"{type(error).__name__}: {error}") from error


def out_of_range(error: errors.KafkaError) -> Sequence[Any]:
    """Name the partitions (kafka-python's) that an error says have lost their position; none for other errors."""
    if isinstance(error, errors.OffsetOutOfRangeError):
        return list(error.args[0])
    if isinstance(error, errors.LogTruncationError):
        return list(error.divergent_offsets)
    return []


def for_operator(error: errors.KafkaError, group_id: str, instance_id: str | None) -> OperatorError | None:
    """What the operator has to fix where neither waiting nor a new connection helps; None for other errors."""
    if isinstance(error, errors.UnsupportedCodecError):
        return OperatorError(
            f"Kafka's messages are compressed ({one_line(error)}): pip install 'kafka-python[snappy,lz4,zstd]'"
        )
    kind = next((name for known, name in _KINDS.items() if isinstance(error, known)), "")
    return refused(kind, f"{type(error).__name__}: {one_line(error)}", group_id, instance_id)
