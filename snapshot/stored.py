"""Profiles as the store has them, read whole enough to be compared with their rows."""

from collections.abc import Collection, Iterator
from itertools import islice

import msgspec

from projections.fields import is_register
from projections.profile import Head, ProfileKey, unpack_head
from projections.register import fingerprint, unpack
from projections.store import HEAD, Store
from snapshot.aggregates import unfit

_ATTEMPTS = 3
_PAGE = 1_000

Registers = dict[ProfileKey, dict[int, bytes]]
"""Packed registers by comment id, those of one part of the users at a time."""


class Stored(msgspec.Struct):
    """What was read of some profiles.

    `heads` are as they were before the registers. `unfit` names, for each profile that did not change while it was
    read, the aggregates that don't follow from its registers. `damaged` holds the versions of those that can't be
    read; they are in no other map.
    """

    registers: Registers = {}
    heads: dict[ProfileKey, Head] = {}
    unfit: dict[ProfileKey, frozenset[str]] = {}
    damaged: dict[ProfileKey, bytes] = {}


def read_stored(store: Store, keys: Collection[ProfileKey], *, deep: bool) -> Stored:
    """Read heads and registers. Aggregates are checked where the digest is wrong and, with `deep`, everywhere.

    A profile that others write to at each attempt is not checked.
    """
    found = Stored()
    left = list(keys)
    for _ in range(_ATTEMPTS):
        left = [key for page in _pages(left) for key in _read_page(store, page, found, deep=deep)]
        if not left:
            break
    return found


def _pages(keys: list[ProfileKey]) -> Iterator[list[ProfileKey]]:
    left = iter(keys)
    while page := list(islice(left, _PAGE)):
        yield page


def _read_page(store: Store, keys: list[ProfileKey], found: Stored, *, deep: bool) -> list[ProfileKey]:
    """Read some profiles; name those that changed meanwhile (they are read all the same, only not checked)."""
    before = store.load(dict.fromkeys(keys, (HEAD,)))
    fields = {key: dict(store.scan(key)) for key in keys}
    after = store.load(dict.fromkeys(keys, ()))
    restless = [key for key in keys if before[key].version != after[key].version]
    for key in keys:
        try:
            _take(found, key, fields[key], before[key].fields.get(HEAD), check=key not in restless, deep=deep)
        except (msgspec.DecodeError, ValueError):
            for known in (found.registers, found.heads, found.unfit):
                known.pop(key, None)
            found.damaged[key] = after[key].version
    return restless


def _take(  # noqa: PLR0913 - one profile, as read
    found: Stored, key: ProfileKey, fields: dict[bytes, bytes], packed: bytes | None, *, check: bool, deep: bool
) -> None:
    head = Head() if packed is None else unpack_head(packed)
    registers = {int(name[1:]): value for name, value in fields.items() if is_register(name)}
    opened = {comment_id: unpack(value) for comment_id, value in registers.items()}
    if check:
        digest = sum(fingerprint(comment_id, register) for comment_id, register in opened.items())
        if deep or head.digest != (digest % 2**128).to_bytes(16, "big"):
            found.unfit[key] = unfit(fields, opened)
    found.heads[key] = head
    found.registers[key] = registers
