"""`snapshot-admin history`: what changed of a user's profiles and when, by the announcements that are still kept."""

from typing import Annotated

import typer

from consumer.views.change_history import History, changes_of
from consumer.views.changes import lines
from snapshot.cli.options import KafkaOptions
from snapshot.cli.read_only import Group, Json, PlaceOptions, User
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.runtime.terminal import Printer, show

_SHOWN = 20


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
    found = changes_of(kafka.settings, place.storage_dir / ANNOUNCEMENTS, user, group_slug)
    of = f"user {user}{'' if group_slug is None else f' in the group {group_slug}'}"
    show(found, lambda out: _print(out, found, of, limit), as_json=as_json)


def _print(out: Printer, found: History, of: str, limit: int) -> None:
    for one in found.changes[-limit:]:
        head, *rest = lines(one)
        out.line(head, "bold")
        for line in rest:
            out.line(line)
    if len(found.changes) > limit:
        out.line(f"{len(found.changes) - limit:,} earlier ones: --limit {len(found.changes)} prints them", "dim")
    if not found.changes:
        out.line(f"nothing is kept of {of}")
    out.line(f"{found.place} keeps {f'announcements since {found.since}' if found.since else 'no announcement'}", "dim")
