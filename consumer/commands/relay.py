"""The entry point `snapshot-relay`."""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console

from consumer.commands.alive_option import AliveFile
from consumer.commands.tail_options import TailOptions
from consumer.commands.wait_option import Wait, opened
from consumer.kafka.topics import ensure_topics, event_ends
from consumer.process import alive_files
from consumer.process.limit import ProgressLimit
from consumer.process.liveness import Liveness, watched
from consumer.process.narration import Narration
from consumer.process.presence import Activity, Presence
from consumer.process.signals import handle_signals
from consumer.relay.event_producer import EventProducer
from consumer.relay.lookup import Lookup
from consumer.relay.relay import Relay
from consumer.tail.state import TailSettings
from projections.database.database import open_databases
from projections.errors import OperatorError
from projections.masking import mask
from projections.projection import Projection
from projections.remembered.analyses_seen import SeenAnywhere, SeenInStore
from projections.remembered.forgotten import BlockedAnywhere
from snapshot.cli.command import command
from snapshot.cli.options import DatabaseOptions, FileOptions, KafkaOptions, LastingMetricOptions, StoreOptions, folder
from snapshot.cli.resources import OpenStore, make_storage, open_metrics, open_store
from snapshot.files.marker import BlockedInMarker
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings
from snapshot.processes.spawn import raise_gc_thresholds
from snapshot.runtime import logs
from snapshot.runtime.metrics import Metrics
from snapshot.runtime.progress import progress_bar
from snapshot.runtime.stdio import print_line

log = structlog.get_logger()

_STEP_SECONDS = 0.5
_DELIVERY_SECONDS = 2.5
"""A send ends, acknowledged or not, before the lease does and before a supervisor kills the process."""
_DATABASE_TIMEOUT = 2.0
_STALLED_SECONDS = 30.0
_BATCH = 5_000
_PANEL = "Relay"


@dataclass(frozen=True)
class RelayOptions:
    """What the relay is to do."""

    backfill: Annotated[
        bool,
        typer.Option(
            "--backfill",
            help="Publish the whole history again; the first start always does.",
            rich_help_panel=_PANEL,
        ),
    ] = False
    until_caught_up: Annotated[
        bool,
        typer.Option("--until-caught-up", help="Publish what is there, and exit.", rich_help_panel=_PANEL),
    ] = False
    storage_dir: Annotated[
        Path,
        typer.Option(
            envvar="SNAPSHOT_STORAGE_DIR",
            parser=folder,
            metavar="PATH",
            help="Contains the embedded Redis, without REDIS_URL.",
            rich_help_panel="Files",
        ),
    ] = Path("storage")
    alive_file: AliveFile = None
    wait: Wait = False


def _relay(  # noqa: PLR0913, PLR0917 - each is a group of flags
    database: DatabaseOptions,
    store: StoreOptions,
    kafka: KafkaOptions,
    metrics: LastingMetricOptions,
    tail: TailOptions,
    options: RelayOptions,
) -> None:
    """Publish everything that changes in WhiteBalloon's database to Kafka; its user needs SELECT only."""
    logs.configure_from(os.environ, sys.stderr)
    raise_gc_thresholds(lasting=True)
    if kafka.settings is None:
        raise OperatorError(
            "KAFKA_BOOTSTRAP_SERVERS is not set: set it, or run snapshot-consumer alone, which then follows the "
            "database itself"
        )
    kafka_settings, tail_settings = kafka.settings, tail.settings(batch=_BATCH)
    wait = options.wait and not options.until_caught_up
    stopping = threading.Event()
    files = FileOptions(options.storage_dir)
    if options.alive_file is None:
        make_storage(files)
        alive_files.remove_left(options.storage_dir)
    alive = alive_files.alive_file(options.storage_dir, options.alive_file)
    liveness = Liveness(alive)
    with (
        handle_signals(alive) as signals,
        open_metrics(metrics) as opened_metrics,
        opened(lambda: open_store(store, files), wait=wait, alive=alive) as opened_store,
        opened(
            partial(
                _open_relay, database, kafka_settings, options, tail_settings, opened_store, liveness, opened_metrics
            ),
            wait=wait,
            alive=alive,
        ) as relay,
    ):
        signals.call(stopping.set)
        facts = {
            "database": mask(database.database_url),
            "kafka": kafka_settings.bootstrap_servers,
            "store": mask(store.redis_url) if store.redis_url else f"Redis in {options.storage_dir}",
        }
        published = _run(relay, opened_store, stopping, liveness, facts, until_caught_up=options.until_caught_up)
        print_line(f"{published} events published")


def _run(  # noqa: PLR0913 - what it runs on
    relay: Relay,
    opened: OpenStore,
    stopping: threading.Event,
    liveness: Liveness,
    facts: Mapping[str, str],
    *,
    until_caught_up: bool,
) -> int:
    published = 0

    def activity() -> Activity:
        troubles = [relay.trouble] if relay.trouble else []
        return Activity(events=published, troubles=troubles, blocked=dict(relay.blocked))

    limit = ProgressLimit()
    presence = Presence(opened.store, "snapshot-relay", activity)
    narration = Narration("snapshot-relay", lambda: {"published": published}, relay.caught_up)
    narration.begin(**facts)
    try:
        while not stopping.is_set():
            published += relay.step(_STEP_SECONDS)
            liveness.heartbeat()
            if relay.unavailable:
                opened.restart_embedded_redis()
            else:
                presence.renew()
                narration.step()
            if until_caught_up:
                if relay.caught_up():
                    break
                limit.check(relay.progress, relay.trouble)
    finally:
        if not relay.unavailable:
            presence.close()
        liveness.close()
        narration.end()
    return published


@contextmanager
def _open_relay(  # noqa: PLR0913, PLR0917 - the parts that it wires
    options: DatabaseOptions,
    kafka: KafkaSettings,
    relay_options: RelayOptions,
    settings: TailSettings,
    opened: OpenStore,
    liveness: Liveness,
    metrics: Metrics,
) -> Iterator[Relay]:
    for difference in ensure_topics(kafka).differences:
        log.warning("a topic is not configured as it should be", difference=difference)
    sender = EventProducer(Producer(kafka, delivery_timeout=_DELIVERY_SECONDS))
    urls = options.database_url, options.insights_database_url
    seen = SeenAnywhere(SeenInStore(lambda: opened.store), confirmed=settings.prune_all)
    profiles = FileOptions(relay_options.storage_dir).profiles
    blocked = BlockedAnywhere(lambda: opened.store, BlockedInMarker(profiles))
    with open_databases(*urls, timeout=_DATABASE_TIMEOUT, seen=seen, blocked=blocked) as database:
        relay = Relay(
            Projection(watched(opened.store, liveness.called)),
            watched(database, liveness.called),
            sender,
            Lookup(lambda: event_ends(kafka)),
            settings,
            backfill=relay_options.backfill,
            timeout=_STALLED_SECONDS if relay_options.until_caught_up else None,
            metrics=metrics,
            progress=lambda: progress_bar(Console(stderr=True)),
        )
        try:
            yield relay
        finally:
            relay.close()
            sender.close()


relay = command(_relay, "snapshot-relay")
