"""The entry point `snapshot-consumer`."""

from typing import Annotated

import typer

from consumer.commands.alive_option import AliveFile
from consumer.commands.tail_options import TailOptions
from consumer.commands.wait_option import Wait, opened
from consumer.daemon.daemon import open_daemon
from consumer.daemon.nightly import nightly_rebuild
from consumer.daemon.settings import DaemonSettings, NightlySettings, Summary
from consumer.process import alive_files
from consumer.process.signals import handle_signals
from snapshot.cli.command import command
from snapshot.cli.options import (
    DatabaseOptions,
    FileOptions,
    KafkaOptions,
    LastingMetricOptions,
    NightlyOptions,
    StoreOptions,
    environment_of,
)
from snapshot.cli.resources import open_metrics
from snapshot.processes.spawn import raise_gc_thresholds
from snapshot.runtime.stdio import print_line

_PANEL = "Kafka"


def _consume(  # noqa: PLR0913, PLR0917 - each is a group of flags
    database: DatabaseOptions,
    files: FileOptions,
    store: StoreOptions,
    kafka: KafkaOptions,
    metrics: LastingMetricOptions,
    nightly: NightlyOptions,
    tail: TailOptions,
    group_id: Annotated[
        str,
        typer.Option("--kafka-group-id", envvar="KAFKA_GROUP_ID", help="The consumer group.", rich_help_panel=_PANEL),
    ] = "signal-identity-snapshotter",
    instance_id: Annotated[
        str | None,
        typer.Option(
            "--kafka-group-instance-id",
            envvar="KAFKA_GROUP_INSTANCE_ID",
            help="Makes the membership static; each process needs its own.",
            rich_help_panel=_PANEL,
        ),
    ] = None,
    alive_file: AliveFile = None,
    wait: Wait = False,  # noqa: FBT002 - a flag
    until_caught_up: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--until-caught-up", help="Process what is there, flush all that is due, and exit.")
    ] = False,
) -> None:
    """Keep every profile current: from each comment to its snapshot file within two seconds.

    Reads from Kafka where KAFKA_BOOTSTRAP_SERVERS is set, else straight from WhiteBalloon's database.
    """
    raise_gc_thresholds(lasting=True)
    nightly_settings = None
    if nightly.profile_signal_glaze:
        environment = environment_of(database, files, store, kafka, metrics)
        nightly_settings = NightlySettings(nightly.schedule, nightly_rebuild(files.profiles, environment))
    settings = DaemonSettings(
        database,
        files,
        store,
        kafka.settings,
        group_id,
        instance_id,
        until_caught_up,
        nightly_settings,
        tail.settings(),
        alive_file,
    )
    alive = alive_files.alive_file(files.storage_dir, alive_file)
    with handle_signals(alive) as signals:
        with (
            open_metrics(metrics) as opened_metrics,
            opened(lambda: open_daemon(settings, opened_metrics), wait=wait and not until_caught_up, alive=alive) as (
                daemon,
                restart_embedded_redis,
            ),
        ):
            signals.call(daemon.stop)
            summary = daemon.run(restart_embedded_redis, until_caught_up=until_caught_up)
        _print_summary(summary)


def _print_summary(summary: Summary) -> None:
    flushed = summary.flushed
    print_line(
        f"{summary.events} events applied; profiles: {flushed.written} written, {flushed.removed} removed, "
        f"{flushed.unchanged} unchanged; {flushed.announced} announced"
    )


consumer = command(_consume, "snapshot-consumer")
