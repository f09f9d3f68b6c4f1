"""Profiles as the store has them, read whole enough to be compared with their rows."""

from collections.abc import Collection, Mapping

import msgspec

from projections.codec import UNREADABLE, is_label, is_register, link_field, tag_field, unpack_head, unpack_label
from projections.comments.register import Register, fingerprint, unpack
from projections.paging import pages
from projections.profile_key import ProfileKey
from projections.profiles.fold import aggregate
from projections.profiles.head import Head
from projections.profiles.ranking import EarliestComments, LabelStats, Ranking
from projections.store.protocol import HEAD, Store

_ATTEMPTS = 3
_PAGE = 1_000

Registers = dict[ProfileKey, dict[int, bytes]]
"""Packed registers by comment id, those of one part of the users at a time."""


class Stored(msgspec.Struct):
    """What was read of some profiles.

    `heads` are as they were before the registers. `inconsistent_fields` names, for each profile that did not change
    while it was read, the aggregates that don't follow from its registers. `damaged` holds the versions of those that
    can't be read; they are in no other map.
    """

    registers: Registers = {}
    heads: dict[ProfileKey, Head] = {}
    inconsistent_fields: dict[ProfileKey, frozenset[str]] = {}
    damaged: dict[ProfileKey, bytes] = {}


def read_stored(store: Store, keys: Collection[ProfileKey], *, deep: bool) -> Stored:
    """Read heads and registers. Aggregates are checked where the digest is wrong and, with `deep`, everywhere.

    A profile that another process writes to during each attempt is not checked.
    """
    found = Stored()
    left = list(keys)
    for _ in range(_ATTEMPTS):
        left = [key for page in pages(left, _PAGE) for key in _read_page(store, page, found, deep=deep)]
        if not left:
            break
    return found


def _read_page(store: Store, keys: list[ProfileKey], found: Stored, *, deep: bool) -> list[ProfileKey]:
    """Read some profiles; gives those that changed meanwhile (they are read, but not checked)."""
    before = store.load(dict.fromkeys(keys, (HEAD,)))
    fields = {key: dict(store.scan(key)) for key in keys}
    after = store.load(dict.fromkeys(keys, ()))
    changed = [key for key in keys if before[key].version != after[key].version]
    for key in keys:
        try:
            _add(found, key, fields[key], before[key].fields.get(HEAD), check=key not in changed, deep=deep)
        except UNREADABLE:
            for known in (found.registers, found.heads, found.inconsistent_fields):
                known.pop(key, None)
            found.damaged[key] = after[key].version
    return changed


def _add(  # noqa: PLR0913 - one profile, as read
    found: Stored, key: ProfileKey, fields: dict[bytes, bytes], packed: bytes | None, *, check: bool, deep: bool
) -> None:
    head = Head() if packed is None else unpack_head(packed)
    registers = {int(name[1:]): value for name, value in fields.items() if is_register(name)}
    opened = {comment_id: unpack(value) for comment_id, value in registers.items()}
    if check:
        digest = sum(fingerprint(comment_id, register) for comment_id, register in opened.items())
        if deep or head.digest != (digest % 2**128).to_bytes(16, "big"):
            found.inconsistent_fields[key] = inconsistent_fields(fields, opened)
    found.heads[key] = head
    found.registers[key] = registers


def inconsistent_fields(fields: Mapping[bytes, bytes], registers: Mapping[int, Register]) -> frozenset[str]:
    """Name the parts of a profile that don't follow from its registers, those of the snapshot by its fields' names.

    What an open recompute flag covers (first appearances, rankings, times) is not compared: a reader recomputes it.

    `fields` holds the head and the records of all links and tags.
    """
    changes = aggregate(registers)
    head = unpack_head(fields[HEAD]) if HEAD in fields else Head()
    found = set(_differing_counts(head, changes.head))
    flagged = head.needs_recompute()
    if not flagged:
        found |= set(_differing_order(head, changes.head))
    expected = {link_field(url): label for url, label in changes.links.items()}
    expected.update((tag_field(name), label) for name, label in changes.tags.items())
    if not _records_fit({name: value for name, value in fields.items() if is_label(name)}, expected, flagged):
        found.add("label records")
    return frozenset(found)


def _differing_counts(head: Head, fresh: Head) -> list[str]:
    pairs = {
        "message_count": (head.count, fresh.count),
        "reaction_counts": (head.reactions, fresh.reactions),
        "attachment_counts": (head.attachments, fresh.attachments),
        "request_ids": (head.requests, fresh.requests),
        "digest": (head.digest, fresh.digest),
    }
    return [name for name, (stored, fresh) in pairs.items() if stored != fresh]


def _differing_order(head: Head, fresh: Head) -> list[str]:
    fits = {
        "first_seen_at": _begins(head.first, fresh.first),
        "last_seen_at": _begins(head.last, fresh.last),
        "top_links": _ranks(head.links, fresh.links),
        "top_tags": _ranks(head.tags, fresh.tags),
    }
    return [name for name, fit in fits.items() if not fit]


def _begins(stored: EarliestComments, fresh: EarliestComments) -> bool:
    """Whether the few that are kept are the first of all; an older head may keep fewer of them."""
    if stored.complete:
        return stored == fresh
    return stored.kept == fresh.kept[: len(stored.kept)] and bool(stored.kept) == bool(fresh.kept)


def _ranks(stored: Ranking, fresh: Ranking) -> bool:
    """Whether the leaders are the first of all, and the cutoff hides none that ranks above it."""
    if stored.cutoff is None:
        return stored == fresh
    if stored.leaders != fresh.leaders[: len(stored.leaders)]:
        return False
    hidden = fresh.leaders[len(stored.leaders) :]
    best = hidden[0][:4] if hidden else fresh.cutoff
    return best is None or stored.cutoff <= best


def _records_fit(stored: Mapping[bytes, bytes], expected: Mapping[bytes, LabelStats | None], flagged: bool) -> bool:  # noqa: FBT001 - private
    if stored.keys() != {name for name, label in expected.items() if label is not None}:
        return False
    try:
        return all(_record_fits(unpack_label(value), expected[name], flagged) for name, value in stored.items())
    except UNREADABLE:
        return False


def _record_fits(stored: LabelStats, fresh: LabelStats | None, flagged: bool) -> bool:  # noqa: FBT001 - private
    if fresh is None or stored.count != fresh.count:
        return False
    return (flagged and not stored.known()) or _begins(stored.first, fresh.first)
