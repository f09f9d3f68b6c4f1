"""The store compared with the rows, over and over; what differs is read again and published in the ordinary way.

A pass: 1 wait until the store holds what was published by then; 2 the digests of all profiles; 3 the registers of the
users who differ; 4 what would disappear by that, all taken together, if the deletion guard lets it. The first pass is
a part of the start: it finds what changed while no tail ran. What a later one finds is drift.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import structlog

from consumer.tail.changes.blocked_deletions import Counts, DeletionGuard, Deletions, published
from consumer.tail.changes.memberships import affected_users
from consumer.tail.rows.event_builder import EventBuilder, NoAnalysis, place
from consumer.tail.verify.closer_look import Difference, Present, differences
from consumer.tail.verify.digests import DigestPass
from projections.comments.events import MAX_CLOCK_SKEW, Event
from projections.comments.register import counts, has_row, unpack
from projections.database.database import Database
from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.projection import Projection
from projections.store.protocol import ABSENT
from snapshot.deletion_guard import PendingDeletions, Totals
from snapshot.reconcile import notice
from snapshot.reconcile.reconcile import FEW, Part, Scope, cut, read_part, recompute_inconsistent, remove_damaged
from snapshot.reconcile.stored import Registers, Stored
from snapshot.runtime.metrics import Metrics

log = structlog.get_logger()

_COMMENTS_A_RANGE = 5_000
_PAGE = 5_000
"""As many as a page of rows has: a user's comments are divided as seldom as can be, and shown together."""
_PROFILES_PER_SECOND = 350
"""Of a later pass, however busy the machine: under a hundredth of a processor, Redis' part included."""
_LOOK_IDLE = 9
_WAITING_SECONDS = 0.5
_NAMED = 10


class Consumers(Protocol):
    """Who brings what is published into the store. `in_process`: whatever a turn gave is in it before the next."""

    in_process: bool

    def begin_pass(self, *, first: bool) -> None:
        """From now on, `ready` is about what was published by now; `first`: whoever published it."""
        ...

    def ready(self) -> bool | None:
        """Whether the store holds it; None: give the first pass up."""
        ...


class InProcess:
    """The caller of the tail applies what it gets."""

    in_process = True

    def begin_pass(self, *, first: bool) -> None:
        """Nothing is in flight."""

    def ready(self) -> bool:
        """At any time."""
        return True


class StoreCheck:
    """Passes over all profiles, `interval` seconds apart. The first one is a stage of the start: `done` is its end.

    `verified`: the last pass left nothing out. Without a `first_pass`, there is nothing that the start has to find.
    """

    def __init__(  # noqa: PLR0913 - the parts that the owner wires
        self,
        projection: Projection,
        database: Database,
        builder: EventBuilder,
        guard: DeletionGuard,
        consumers: Consumers,
        *,
        first_pass: bool,
        interval: float,
        metrics: Metrics,
        now: Callable[[], float],
    ) -> None:
        self._projection = projection
        self._database = database
        self._builder = builder
        self._guard = guard
        self._consumers = consumers
        self._interval = interval
        self._metrics = metrics
        self._now = now
        self._pages: Iterator[list[Event] | None] | None = None
        self._notices: tuple[bytes | None, bytes | None] = None, None
        """Of the last rebuild, as this pass and the one before it began."""
        self._rest = 0.0
        self._idle = 0
        self.done = self.verified = not first_pass
        self.due_at = now()
        """When, by `now`, the next turn is due."""

    def turn(self) -> list[Event] | None:
        """Do a piece of the pass; None while it waits or rests."""
        began = self._now()
        if began < self.due_at:
            return None
        self._pages = self._pages or self._pass(began, first=not self.done)
        try:
            found = next(self._pages, None)
        except BaseException:
            self._pages = None  # from the start: what was published is in step by then
            raise
        if self.done:
            self.due_at = max(self.due_at, self._now() + self._rest + self._idle * (self._now() - began))
        return found

    def _pass(self, began: float, *, first: bool) -> Iterator[list[Event] | None]:
        self._first, self._complete = first, True
        self._last = self._builder.revisions.last  # what differs may raise it
        self._notices = self._notices[1], notice.read(self._projection.store)
        self._own, self._drifted = set[int](), set[ProfileKey]()
        self._builder.recent.clear()
        self._consumers.begin_pass(first=first)
        while not (ready := self._consumers.ready()) or (self._recovering() and not first):  # step 1
            if first and ready is None:
                break
            if not first:
                self.due_at = self._now() + _WAITING_SECONDS  # else whoever turns the tail would turn it without a rest
            yield None
        else:
            yield from self._compare()
            self.verified = self._complete
        self.done, self._pages = True, None
        self.due_at = began + self._interval

    def _recovering(self) -> bool:
        """Whether a bucket was lost: then the daemon brings it back from the rows."""
        return any(state is not None and state.recovery is not None for state in self._projection.store.bucket_states())

    def _compare(self) -> Iterator[list[Event] | None]:
        self._idle = 0
        quick = DigestPass(self._projection.store, self._builder)
        for profiles in quick.steps():  # step 2
            self._rest = profiles / _PROFILES_PER_SECOND
            yield [] if self._first else None  # a start is work; a later pass makes way for whatever else is due
        self._rest, self._idle = 0.0, _LOOK_IDLE
        self._deletions, self._before = Deletions(), Counts(Counter(), Counter())
        self._put_off: list[Difference] = []
        users = frozenset(quick.users - self._builder.unsettled)
        ranges = [(0, HIGHEST_ID)] if len(users) <= FEW else self._database.user_ranges(_COMMENTS_A_RANGE)
        for part in cut(ranges, users):  # step 3
            yield from self._look(part)
        yield from self._remove(quick.totals)  # step 4

    # ------------------------------------------------------------------------------------------------------- step 3

    def _look(self, part: Part) -> Iterator[list[Event] | None]:
        stored = read_part(self._projection.store, part, Scope())
        while not self._polled(part):  # a rebuild may have written by groups that a poll has yet to read
            self.due_at = self._now() + _WAITING_SECONDS
            yield None
            stored = read_part(self._projection.store, part, Scope())
        remove_damaged(self._projection.store, stored)
        self._remove_unlisted(part, stored)
        self._count(stored.registers)
        for found in differences(self._database, part, stored.registers, self._builder):
            for page in pages(found, _PAGE):
                yield self._publish(page)
        self._report({key for key, fields in stored.inconsistent_fields.items() if fields})
        recompute_inconsistent(self._projection, stored)

    def _polled(self, part: Part) -> bool:
        """Whether the database's groups are those that a poll read, as far as they are about users of this part."""
        builder = self._builder
        return not any(
            part.asks(user) for user in affected_users(builder.groups, self._database.groups()) - builder.unsettled
        )

    def _remove_unlisted(self, part: Part, stored: Stored) -> None:
        """Make room for profiles that the store's index does not list: no flusher would find them."""
        store, members = self._projection.store, self._builder.groups.members
        keys = {ProfileKey(user, slug) for user in part.users or () for slug in members.get(user, ())}
        unlisted = keys - stored.registers.keys() - stored.damaged.keys()
        for key, (version, _) in store.load(dict.fromkeys(unlisted, ())).items():
            if version != ABSENT and key not in store.profiles(key.user_id, key.user_id):  # it is not just new
                store.remove(key, version)

    def _count(self, registers: Registers) -> None:
        for key, mine in registers.items():
            counted = [register for register in map(unpack, mine.values()) if counts(register)]
            self._before.comments[key] = len(counted)
            self._before.tagged[key] = sum(bool(register.labels) for register in counted)

    def _publish(self, page: Sequence[Difference]) -> list[Event]:
        """Publish what takes nothing away; put the rest off. What is left to others is judged with the rest."""
        present = Present(self._database, self._builder, (one.comment_id for one in page))
        taken = {one[:2] for one in page if self._takes_away(one, present)}
        left, in_flight = self._left_to_others(page, present), self._in_flight()
        mine = self._not_ahead(
            [one for one in page if one.comment_id not in left and place(one.comment_id, one.key) not in in_flight]
        )
        put_off = [one for one in mine if one[:2] in taken]
        ready = [one for one in mine if one[:2] not in taken]
        self._put_off += put_off
        stale_tags = {one.comment_id for one in ready if one.register.labels and not present.has_tags(one)}
        stale_tags -= {one.comment_id for one in put_off}
        return [
            *self._build(present, [one for one in ready if one.comment_id not in stale_tags], NoAnalysis.UNCONFIRMED),
            *self._build(present, [one for one in ready if one.comment_id in stale_tags], NoAnalysis.CONFIRMED),
        ]

    def _left_to_others(self, page: Sequence[Difference], present: Present) -> set[int]:
        """Comments that polling or the sweep are about to publish; also where a row is as it was when they look.

        Not those that the store holds where the tail knows nothing of them: nobody else would say that they left.
        """
        unseen = present.unseen()
        left = unseen - {one.comment_id for one in page if has_row(one.register) and not present.is_known(one)}
        self._builder.fingerprints.unpublish(left)
        return left

    def _in_flight(self) -> set[int]:
        """Comments of which the store need not hold everything yet, as `place` numbers them in their profiles."""
        return set() if self._consumers.in_process else self._published_since()

    def _published_since(self) -> set[int]:
        """What else was published in this pass: perhaps after the registers were read, which a part's rows are not."""
        return self._builder.recent - self._own

    def _not_ahead(self, found: list[Difference]) -> list[Difference]:
        """Leave out what consumers would refuse: above a register that is far ahead of the clock."""
        if self._consumers.in_process or not found:
            return found
        latest = self._database.clock() + MAX_CLOCK_SKEW
        for one in found:
            if one.revision > latest:
                self._complete = False
                log.error(
                    "a comment's register is ahead of the clock, so the relay cannot repair it; snapshot-rebuild can",
                    comment_id=one.comment_id,
                    user_id=one.key.user_id,
                    seconds=(one.revision - latest + MAX_CLOCK_SKEW) // 1_000_000,
                )
        return [one for one in found if one.revision <= latest]

    def _takes_away(self, one: Difference, present: Present) -> bool:
        tagged, stays = bool(one.register.labels), present.counts(one)
        if not one.counted:
            if stays:
                self._deletions.add(one.key)
            return False
        if not stays:
            self._deletions.delete(one.key, present.cause(one), tagged=tagged)
            return True
        if tagged and not present.has_tags(one):
            self._deletions.untag(one.key)
            return True
        return False

    def _build(self, present: Present, found: Sequence[Difference], no_analysis: NoAnalysis) -> list[Event]:
        if not found:
            return []
        # What is ahead of the clock refused what was published since: it was written before the clock was set back.
        latest = max(self._database.clock(), self._last)
        late = self._published_since()
        self._report(
            {
                one.key
                for one in found
                if one.revision <= latest and not one.unknown and place(one.comment_id, one.key) not in late
            }
        )
        self._builder.revisions.saw(max(one.revision for one in found))
        stored: dict[int, dict[ProfileKey, int]] = {one.comment_id: {} for one in found}
        for one in found:
            if one.register.comment is not None and has_row(one.register):
                stored[one.comment_id][one.key] = one.register.comment.help_request_id
        rows = [present.rows[key] for key in stored if key in present.rows]
        gone = [key for key in stored if key not in present.rows]
        events = self._builder.build(rows, present.analyses, no_analysis=no_analysis, stored=stored)
        events += self._builder.build_removed(gone, stored)
        self._own.update(place(one.comment_id, ProfileKey(one.user_id, one.group_slug)) for one in events)
        return events

    def _report(self, profiles: set[ProfileKey]) -> None:
        drifted = profiles - self._drifted
        if drifted and not self._first:
            self._drifted |= drifted
            if notice.read(self._projection.store) != self._notices[0]:
                log.info("a rebuild saw what no poll has seen; reading it again", profiles=len(drifted))
                return
            self._metrics.count("signal_glaze.drift", len(drifted))
            log.warning(
                "drift: profiles differ from the database, and no event explains it; repairing them",
                profiles=len(drifted),
                first=[f"{key.user_id}:{key.group_slug}" for key in sorted(drifted)[:_NAMED]],
            )

    # ------------------------------------------------------------------------------------------------------- step 4

    def _remove(self, totals: Totals) -> Iterator[list[Event]]:
        pending = self._deletions.pending(self._before) if self._put_off else PendingDeletions()
        if pending.worth_asking():
            tags = published(self._builder.fingerprints, self._builder.groups).tagged.total()
            totals.tagged = tags + pending.untagged
        if self._guard.blocks("store", pending, totals, beside="sweep"):
            self._complete = False
            return
        for page in pages(self._put_off, _PAGE):
            present = Present(self._database, self._builder, (one.comment_id for one in page))
            unseen = self._left_to_others(page, present)
            yield self._build(present, [one for one in page if one.comment_id not in unseen], NoAnalysis.CONFIRMED)
