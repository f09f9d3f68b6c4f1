"""The entry point `snapshot-admin`: what an operator looks at and sets up."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from consumer.commands.demo import demo
from consumer.kafka.topics import ensure_topics
from projections.errors import OperatorError
from snapshot.cli.command import run
from snapshot.cli.options import KafkaOptions, with_options
from snapshot.runtime import logs

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Look at the snapshotter and set it up.",
)


@app.command("demo")
def _demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's database and files lie; made anew each time.")] = Path(
        "demo"
    ),
) -> None:
    """Make a small database, show its profiles, add a comment and show the one profile that changes."""
    logs.configure(sys.stderr, level="warning")  # the demo says itself what happens
    demo(folder, Console())


def _topics(
    kafka: KafkaOptions,
    partitions: Annotated[
        int | None, typer.Option(min=1, help="Partitions of the event topics.", show_default="6, or as they are")
    ] = None,
    replication: Annotated[
        int | None, typer.Option(min=1, help="Replicas of each new topic.", show_default="the broker's own")
    ] = None,
) -> None:
    """Make the topics that are missing, and say where existing ones are not as they should be (exit code 1)."""
    settings = kafka.settings
    if settings is None:
        raise OperatorError("no Kafka is named: set KAFKA_BOOTSTRAP_SERVERS=host:port")
    found = ensure_topics(settings, partitions=partitions, replication=replication)
    for name in found.made:
        typer.echo(f"made {name}")
    for difference in found.differences:
        typer.echo(difference)
    if found.differences:
        typer.echo(
            "what exists was left as it is: settings are changed with kafka-configs.sh --alter, more partitions come "
            "with kafka-topics.sh --alter (fewer never), replicas with kafka-reassign-partitions.sh"
        )
        raise typer.Exit(1)
    if not found.made:
        typer.echo("all topics are there, and as they should be")


app.command("topics")(with_options(_topics))


def admin() -> None:
    """Run `snapshot-admin`."""
    run(app)
