"""`snapshot-admin history`: what changed of a user's profiles and when, by the announcements that are still kept."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from consumer.commands.admin.profile.changes import Change, change, lines, when
from projections.errors import OperatorError
from snapshot.announce import file as announced_file
from snapshot.announce.announcement import Announcement
from snapshot.cli.options import KafkaOptions
from snapshot.cli.read_only import Group, Json, PlaceOptions, User
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.kafka.settings import KafkaSettings
from snapshot.runtime.terminal import Printer, show
from snapshot.schema import flat

_SHOWN = 20


class History(msgspec.Struct, frozen=True):
    """What is kept: since when of anybody (null: nothing), and the changes of this user, the oldest first."""

    place: str
    since: str | None
    changes: list[Change]


def history_command(  # noqa: PLR0913, PLR0917 - each is an argument, a flag, or a group of flags
    user: User,
    place: PlaceOptions,
    kafka: KafkaOptions,
    group_slug: Group = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the last changes to print.")] = _SHOWN,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Say what changed of a user's profiles and when, by the announcements that are still kept.

    Example: snapshot-admin history 101

    On Kafka the topic is compacted: of older changes only the last of each profile stays.
    """
    settings = kafka.settings
    where = f"Kafka {settings.bootstrap_servers}" if settings else str(place.storage_dir / ANNOUNCEMENTS)
    kept = _kept(settings, place.storage_dir / ANNOUNCEMENTS, user)
    found = _history(where, kept, user, group_slug)
    show(found, lambda out: _print(out, found, user, limit), as_json=as_json)


def _kept(settings: KafkaSettings | None, path: Path, user_id: int) -> Iterator[Announcement]:
    if settings is not None:
        from consumer.kafka.announcements import kept  # noqa: PLC0415 - Kafka's client takes long to import

        return kept(settings)
    try:
        return iter(list(announced_file.kept(path, user_id)))
    except OSError as error:
        raise OperatorError(f"{path} can't be read ({error.strerror}): fix that and run again") from error


def _history(where: str, kept: Iterable[Announcement], user_id: int, slug: str | None) -> History:
    """One that was announced again, or late, is passed over, as whoever follows them does."""
    since: str | None = None
    changes: list[Change] = []
    before: dict[str, tuple[int, dict[str, str]]] = {}
    for one in kept:
        since = min(since or when(one), when(one))
        if one.user_id != user_id or slug not in {None, one.group_slug}:
            continue
        sequence, fields = before.get(one.group_slug, (0, None if one.previous_hash else {}))
        if one.sequence > sequence:
            changes.append(change(one, fields))
            before[one.group_slug] = one.sequence, flat(one.snapshot)
    return History(where, since, sorted(changes, key=lambda each: each.sequence))


def _print(out: Printer, found: History, user_id: int, limit: int) -> None:
    for one in found.changes[-limit:]:
        head, *rest = lines(one)
        out.line(head, "bold")
        for line in rest:
            out.line(line)
    if len(found.changes) > limit:
        out.line(f"{len(found.changes) - limit:,} earlier ones: --limit {len(found.changes)} prints them", "dim")
    if not found.changes:
        out.line(f"nothing is kept of user {user_id}")
    out.line(f"{found.place} keeps {f'announcements since {found.since}' if found.since else 'no announcement'}", "dim")
