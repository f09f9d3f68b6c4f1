"""The quick look: the digests of all stored profiles against the sums of what the tail has published."""

from collections.abc import Iterable, Iterator

from consumer.tail.rows.contribution import in_step
from consumer.tail.rows.event_builder import EventBuilder
from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.store.protocol import HEAD, Store
from snapshot.deletion_guard import Totals
from snapshot.reconcile.digests import DAMAGED, unpack_digest

_USERS = 4_000


class DigestPass:
    """One pass over all profiles. `users` are those one of whose profiles differs, `totals` count what is stored."""

    def __init__(self, store: Store, builder: EventBuilder) -> None:
        self._store = store
        self._builder = builder
        self.users: set[int] = set()
        self.totals = Totals()

    def steps(self) -> Iterator[int]:
        """Compare the profiles of some users at each step; how many those were."""
        published = {user for user, _ in self._builder.fingerprints.sums}
        first = 0
        for users in pages(sorted(published | self._builder.groups.members.keys()), _USERS):
            yield self._compare(first, users[-1], users)
            first = users[-1] + 1
        yield self._compare(first, HIGHEST_ID, ())

    def _compare(self, first: int, last: int, published: Iterable[int]) -> int:
        sums = dict(self._sums(published))
        heads = list(self._store.load_range(first, last, HEAD))
        for key, packed in heads:
            digest = DAMAGED
            if (head := unpack_digest(packed)) is not None:
                digest = int.from_bytes(head.digest, "big")
                self.totals.profiles += head.count > 0
                self.totals.comments += max(head.count, 0)
            if not in_step(sums.pop(key, 0), digest):
                self.users.add(key.user_id)
        self.users.update(key.user_id for key, total in sums.items() if not in_step(total, 0))
        return len(heads)

    def _sums(self, users: Iterable[int]) -> Iterator[tuple[ProfileKey, int]]:
        groups, sums = self._builder.groups, self._builder.fingerprints.sums
        for user in users:
            for slug, name in groups.members.get(user, {}).items():
                requests = groups.requests.get(name, ())
                yield ProfileKey(user, slug), sum(sums.get((user, request), 0) for request in requests)
