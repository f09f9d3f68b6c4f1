"""`snapshot-admin dead-letters`: list, show, replay and drop the messages that were no events."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from consumer.dead_letters.dead_letters import DeadLetter, KeptDeadLetters
from consumer.dead_letters.file import FILE_NAME, FileDeadLetters, as_record
from consumer.kafka.dead_letters import KeptOnKafka
from projections.comments.events import TOPICS, Event, InvalidEventError, decode, reject_future_revision
from projections.errors import OperatorError
from projections.projection import Projection
from snapshot.cli.options import FileOptions, KafkaOptions, StoreOptions, with_options
from snapshot.cli.read_only import Json
from snapshot.cli.resources import open_store, refuse_missing_store
from snapshot.kafka.messages import Message
from snapshot.kafka.producer import Producer
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.stdio import print_line
from snapshot.runtime.terminal import show

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Messages that were no events: list, show, replay, drop them.",
)

_DELIVERY_SECONDS = 30.0
_IDS_HELP = "topic/partition/offset, as `list` and the log name them."
_Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help=_IDS_HELP)]
_All = Annotated[bool, typer.Option("--all", help="All of them.")]


def list_command(files: FileOptions, kafka: KafkaOptions, as_json: Json = False) -> None:  # noqa: FBT002 - a flag
    """List the dead letters: where each came from, when it was kept, and why it is no event."""
    found = [{"id": one.id, "time": one.time, "error": one.message.error} for one in _distinct(_kept(files, kafka))]
    lines = ["  ".join(one.values()) for one in found] or ["no dead letters"]
    # Other programs may put anything into their headers.
    printable = ["".join(each if each.isprintable() else " " for each in line) for line in lines]
    show(found, lambda _out: print_line("\n".join(printable)), as_json=as_json)


def show_command(
    files: FileOptions,
    kafka: KafkaOptions,
    ids: _Ids = None,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show dead letters whole, as JSON: one after the other, or with --json a list of them on one line."""
    found = [as_record(one) for one in _chosen(_kept(files, kafka), ids, everything=False)]
    texts = [json.dumps(one, indent=2, ensure_ascii=False) for one in found]
    show(found, lambda _out: print_line("\n".join(texts)), as_json=as_json)


def replay_command(  # noqa: PLR0913, PLR0917 - each is a flag, or a group of flags
    files: FileOptions,
    kafka: KafkaOptions,
    store: StoreOptions,
    ids: _Ids = None,
    everything: _All = False,  # noqa: FBT002 - a flag
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Consume dead letters again that are events by now, after what refused them was fixed; the others stay.

    Safe to repeat: an event that was applied before changes nothing. Exit code 1 where some are no events still.
    """
    events: list[Event] = []
    letters: list[DeadLetter] = []
    refused: list[dict[str, str]] = []
    for one in _chosen(_kept(files, kafka), ids, everything=everything):
        try:
            events.append(event_of(one))
            letters.append(one)
        except InvalidEventError as error:
            refused.append({"id": one.id, "error": str(error)})
    if kafka.settings is not None:
        _publish(kafka.settings, letters)
    elif events:
        refuse_missing_store(store.redis_url, files.storage_dir)
        with open_store(store, files) as opened:
            Projection(opened.store).apply(events)
    lines = [
        *(f"{one['id']} is still no event: {one['error']}" for one in refused),
        f"{len(letters)} replayed, {len(refused)} are still no events; remove what was replayed with `drop`",
    ]
    done = {"replayed": len(letters), "refused": refused}
    show(done, lambda _out: print_line("\n".join(lines)), as_json=as_json)
    if refused:
        raise typer.Exit(1)


def drop_command(
    files: FileOptions,
    kafka: KafkaOptions,
    ids: _Ids = None,
    everything: _All = False,  # noqa: FBT002 - a flag
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Remove dead letters for good."""
    kept = _kept(files, kafka)
    chosen = {one.id for one in _chosen(kept, ids, everything=everything)}
    kept.drop(lambda one: one.id in chosen)
    show({"dropped": len(chosen)}, lambda _out: print_line(f"{len(chosen)} dropped"), as_json=as_json)


def _kept(files: FileOptions, kafka: KafkaOptions) -> KeptDeadLetters:
    settings = kafka.settings
    if settings is not None:
        return KeptOnKafka(settings)
    return FileDeadLetters(files.storage_dir / FILE_NAME, lambda: datetime.now(UTC), files.disk.file_mode)


def _distinct(kept: KeptDeadLetters) -> list[DeadLetter]:
    """One that was kept twice, by a crash between it and the commit, comes once."""
    return list({(one.id, one.message.value): one for one in kept.letters()}.values())


def _chosen(kept: KeptDeadLetters, ids: Sequence[str] | None, *, everything: bool) -> list[DeadLetter]:
    if not ids and not everything:
        raise OperatorError("name dead letters as `snapshot-admin dead-letters list` does, topic/partition/offset")
    found = [one for one in _distinct(kept) if everything or one.id in (ids or ())]
    missing = set(ids or ()) - {one.id for one in found}
    if missing:
        raise OperatorError(
            f"there is no dead letter {', '.join(sorted(missing))}: see `snapshot-admin dead-letters list`"
        )
    return found


def event_of(one: DeadLetter) -> Event:
    """Read the event that a dead letter is by now. Raises InvalidEventError where it still is none."""
    if one.truncated is not None:
        raise InvalidEventError(f"only a part of its {one.truncated} bytes was kept")
    if one.message.topic not in TOPICS:
        raise InvalidEventError(f"{one.message.topic} is no topic of events")
    return reject_future_revision(decode(one.message.topic, one.message.value), time.time_ns() // 1_000)


def _publish(settings: KafkaSettings, letters: Sequence[DeadLetter]) -> None:
    if not letters:
        return
    messages = [
        Message(one.message.topic, one.message.key, one.message.value, list(one.message.headers)) for one in letters
    ]
    producer = Producer(settings, delivery_timeout=_DELIVERY_SECONDS)
    try:
        failed = [error for error in producer.send(messages) if error is not None]
    finally:
        producer.close()
    if failed:
        raise OperatorError(
            f"{len(failed)} of {len(messages)} were not acknowledged by Kafka ({failed[0]}): run it again"
        )


_COMMANDS: dict[str, Callable[..., None]] = {
    "list": list_command,
    "show": show_command,
    "replay": replay_command,
    "drop": drop_command,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(with_options(_command))
