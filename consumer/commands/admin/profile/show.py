"""`snapshot-admin show`: a card of one profile."""

from collections.abc import Mapping
from typing import Any

from consumer.views.card import Card, read_card
from snapshot.cli.read_only import (
    Group,
    Json,
    PlaceOptions,
    User,
    open_existing_folder,
    open_existing_store,
    profile_of,
)
from snapshot.runtime.terminal import Printer, draw_bar, many, show, sparkline

_LINE = 60


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
        key = profile_of(place, store, user, group_slug)
        card = read_card(store, folder, key)
    show(card, lambda out: _print(out, card), as_json=as_json)


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
    out.line(
        f"{many(snapshot['message_count'], 'comment')} counted, {card.deleted:,} deleted or gone; requests {requests}"
    )
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
