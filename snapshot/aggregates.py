"""Whether a profile's stored aggregates are what folding its registers gives. Pure.

What an open mend flag covers (first appearances, rankings, times) is not looked at: every reader mends it first.
"""

from collections.abc import Mapping

import msgspec

from projections.fields import is_label, link_field, tag_field
from projections.fold import aggregate
from projections.profile import Head, unpack_head, unpack_label
from projections.ranking import Extremes, Label, Ranking
from projections.register import Register
from projections.store import HEAD


def unfit(fields: Mapping[bytes, bytes], registers: Mapping[int, Register]) -> frozenset[str]:
    """Name the parts of a profile that don't follow from its registers, those of the snapshot by its fields' names.

    `fields` holds the head and the records of all links and tags.
    """
    changes = aggregate(registers)
    head = unpack_head(fields[HEAD]) if HEAD in fields else Head()
    found = set(_exact(head, changes.head))
    flagged = head.needs_mend()
    if not flagged:
        found |= set(_ordered(head, changes.head))
    expected = {link_field(url): label for url, label in changes.links.items()}
    expected.update((tag_field(name), label) for name, label in changes.tags.items())
    if not _records_fit({name: value for name, value in fields.items() if is_label(name)}, expected, flagged):
        found.add("label records")
    return frozenset(found)


def _exact(head: Head, right: Head) -> list[str]:
    pairs = {
        "message_count": (head.count, right.count),
        "reaction_counts": (head.reactions, right.reactions),
        "attachment_counts": (head.attachments, right.attachments),
        "request_ids": (head.requests, right.requests),
        "digest": (head.digest, right.digest),
    }
    return [name for name, (stored, fresh) in pairs.items() if stored != fresh]


def _ordered(head: Head, right: Head) -> list[str]:
    fits = {
        "first_seen_at": _begins(head.first, right.first),
        "last_seen_at": _begins(head.last, right.last),
        "top_links": _ranks(head.links, right.links),
        "top_tags": _ranks(head.tags, right.tags),
    }
    return [name for name, fit in fits.items() if not fit]


def _begins(stored: Extremes, fresh: Extremes) -> bool:
    """Whether the few that are kept are the first of all; an older head may keep fewer of them."""
    if stored.complete:
        return stored == fresh
    return stored.kept == fresh.kept[: len(stored.kept)] and bool(stored.kept) == bool(fresh.kept)


def _ranks(stored: Ranking, fresh: Ranking) -> bool:
    """Whether the leaders are the first of all, and the bar hides none that ranks above it."""
    if stored.bar is None:
        return stored == fresh
    if stored.leaders != fresh.leaders[: len(stored.leaders)]:
        return False
    hidden = fresh.leaders[len(stored.leaders) :]
    best = hidden[0][:4] if hidden else fresh.bar
    return best is None or stored.bar <= best


def _records_fit(stored: Mapping[bytes, bytes], expected: Mapping[bytes, Label | None], flagged: bool) -> bool:  # noqa: FBT001 - private
    if stored.keys() != {name for name, label in expected.items() if label is not None}:
        return False
    try:
        return all(_record_fits(unpack_label(value), expected[name], flagged) for name, value in stored.items())
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _record_fits(stored: Label, fresh: Label | None, flagged: bool) -> bool:  # noqa: FBT001 - private
    if fresh is None or stored.count != fresh.count:
        return False
    return (flagged and not stored.known()) or _begins(stored.first, fresh.first)
