"""A copy of some profiles in memory, to see what applying events would make of them."""

from collections.abc import Iterable
from itertools import count

from projections.buckets import bucket_of
from projections.events import Event
from projections.memory_store import MemoryStore
from projections.profile import Head, ProfileKey
from projections.projection import Projection
from projections.store import ABSENT, Save, Store, Write


def rehearse(
    store: Store, keys: Iterable[ProfileKey], unfit: Iterable[ProfileKey], events: Iterable[Event]
) -> dict[ProfileKey, Head | None]:
    """Give the heads that these profiles would have after the events and the mending; the store is only read."""
    copies = MemoryStore(lambda: 0)
    tokens = (number.to_bytes(8, "big") for number in count(1))
    wanted = sorted(keys)
    for key in wanted:
        fields = dict(store.scan(key))
        if fields:
            copies.save([Save(bucket_of(key.user_id), [Write(key, ABSENT, next(tokens), fields, (), dirty=False)])])
    projection = Projection(copies, lambda: next(tokens))
    projection.apply(event for event in events if ProfileKey(event.user_id, event.group_slug) in set(wanted))
    for key in unfit:
        projection.mend(key)
    return {key: shown.head for key, shown in projection.shown(wanted).items()}
