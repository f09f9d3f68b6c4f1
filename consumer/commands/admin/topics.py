"""`snapshot-admin topics`: create the topics that are missing, compare those that exist."""

from collections.abc import Iterator
from typing import Annotated

import typer

from consumer.kafka.topics import Topics, ensure_topics
from projections.errors import OperatorError
from snapshot.cli.options import KafkaOptions
from snapshot.cli.read_only import Json
from snapshot.runtime.stdio import print_line
from snapshot.runtime.terminal import show


def topics_command(
    kafka: KafkaOptions,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Partitions of the event topics.", show_default="6, or as they are"),
    ] = None,
    replication: Annotated[
        int | None,
        typer.Option(min=1, max=2**15 - 1, help="Replicas of each new topic.", show_default="the broker's own"),
    ] = None,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Create the topics that are missing; report how existing ones differ from what they should be (exit code 1)."""
    settings = kafka.settings
    if settings is None:
        raise OperatorError("KAFKA_BOOTSTRAP_SERVERS is not set: set it to host:port")
    found = ensure_topics(settings, partitions=partitions, replication=replication)
    show(found._asdict(), lambda _out: print_line("\n".join(_lines(found))), as_json=as_json)
    if found.differences:
        raise typer.Exit(1)


def _lines(found: Topics) -> Iterator[str]:
    yield from (f"created {name}" for name in found.created)
    yield from found.differences
    if found.differences:
        yield (
            "existing topics were left as they are: change settings with kafka-configs.sh --alter, add partitions "
            "with kafka-topics.sh --alter (they can't be reduced), replicas with kafka-reassign-partitions.sh"
        )
    elif not found.created:
        yield "all topics exist and are configured as they should be"
