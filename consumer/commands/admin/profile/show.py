"""`snapshot-admin show`: a card of one profile."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from projections.comments.register import LIVE, Register, counts
from snapshot.build import build
from snapshot.cli.read_only import (
    Group,
    Json,
    PlaceOptions,
    User,
    open_existing_folder,
    open_existing_store,
    profile_of,
    read_profile,
    stored_slugs,
)
from snapshot.files.folder import NO_FILE
from snapshot.runtime.terminal import Printer, draw_bar, show, sparkline

_LINE = 60
_MONTHS = 12


class Card(msgspec.Struct, frozen=True):
    """One profile: its snapshot, comments by month, those that are deleted, and whether its file is the snapshot's."""

    user_id: int
    group_slug: str
    snapshot_hash: str | None
    file: str
    snapshot: dict[str, Any] | None
    months: dict[str, int]
    deleted: int


def show_command(
    user: User,
    place: PlaceOptions,
    group_slug: Group = None,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show a profile as the store has it: counts, leading links and tags, reactions, when its user was active.

    Example: snapshot-admin show 101 --group-slug elm-street
    """
    with open_existing_store(place) as store, open_existing_folder(place) as folder:
        key = profile_of(user, group_slug, stored_slugs(store, user))
        head, registers = read_profile(store, key)
        snapshot = build(key, head)
        digest = None if snapshot is None else snapshot.snapshot_hash
        due = folder.identity.group_slug in {None, key.group_slug} and store.pending(folder.identity.id, [key])[0]
        on_disk = folder.hash_on_disk(key)
    card = Card(
        *key,
        digest,
        "in step" if on_disk == (digest or NO_FILE) else "due" if due else "differs",
        None if snapshot is None else snapshot.to_dict(),
        _months(registers),
        sum(not counts(one) for one in registers.values() if one.comment is not None),
    )
    show(card, lambda out: _print(out, card), as_json=as_json)


def _months(registers: Mapping[int, Register]) -> dict[str, int]:
    """Count the comments of each month from the first to the last."""
    times = [one.comment.created_at for one in registers.values() if one.comment and one.comment.state == LIVE]
    if not times:
        return {}
    found = Counter((when.year, when.month) for when in (datetime.fromtimestamp(one / 1e6, UTC) for one in times))
    (year, month), last = min(found), max(found)
    months = {}
    while (year, month) <= last:
        months[f"{year}-{month:02}"] = found[year, month]
        year, month = (year + 1, 1) if month == _MONTHS else (year, month + 1)
    return months


def _print(out: Printer, card: Card) -> None:
    out.line(f"user {card.user_id} in {card.group_slug}", "bold")
    if (snapshot := card.snapshot) is None:
        out.line("no comment counts, so there is no snapshot")
    else:
        _print_snapshot(out, snapshot, card)
    out.line()
    out.line(f"file {card.file}, hash {card.snapshot_hash or 'none'}", "dim" if card.file == "in step" else "yellow")


def _print_snapshot(out: Printer, snapshot: Mapping[str, Any], card: Card) -> None:
    requests = ", ".join(map(str, snapshot["request_ids"]))
    out.line(f"{snapshot['message_count']:,} comments count, {card.deleted:,} are deleted or gone; requests {requests}")
    out.line(f"first {_time(snapshot['first_seen_at'])}, last {_time(snapshot['last_seen_at'])} (UTC)")
    first, last = min(card.months), max(card.months)
    best = max(card.months, key=lambda month: card.months[month])
    picture = f" {sparkline(_periods(list(card.months.values())))} " if out.width else " to "
    out.line(f"{first}{picture}{last}, the most in {best}: {card.months[best]:,}")
    for name, what in (("top_links", "url"), ("top_tags", "label")):
        _bars(out, what, {one[what]: one["count"] for one in snapshot[name]})
    for name in ("reaction_counts", "attachment_counts"):
        if items := sorted(snapshot[name].items(), key=lambda one: -one[1]):
            out.line()
            out.line(f"{name.partition('_')[0]}s  {'  '.join(f'{what} {count}' for what, count in items)}")


def _time(text: str) -> str:
    return text[:16].replace("T", " ")


def _periods(counts: list[int]) -> list[int]:
    """Add neighbouring months up until they fit on a line."""
    size = -(-len(counts) // _LINE)
    return [sum(counts[start : start + size]) for start in range(0, len(counts), size)]


def _bars(out: Printer, name: str, items: Mapping[str, int]) -> None:
    if items:
        most, pictured = max(items.values()), bool(out.width)
        out.line()
        out.table(
            [">count", *[""] * pictured, f"*{name}"],
            [(count, *[draw_bar(count / most)] * pictured, what) for what, count in items.items()],
        )
