"""Recovery of lost buckets: their users' rows are reconciled with the registers, by one process, under a lease."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import structlog

from consumer.positions import list_buckets
from consumer.process.liveness import watched
from projections.database.database import Database, DatabaseUnavailableError
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID, bucket_of
from projections.projection import Projection
from projections.store.protocol import BucketState, reconciled
from snapshot.deletion_guard import CONFIRM, blocked_message
from snapshot.processes.spawn import Inline
from snapshot.rebuild.detect import Detection
from snapshot.rebuild.guarded import GuardedRepair
from snapshot.rebuild.tasks import PartResult, RebuildContext
from snapshot.reconcile import notice
from snapshot.reconcile.reconcile import Scope, all_users, cut, user_ranges
from snapshot.runtime.progress import NoProgress
from snapshot.runtime.throttle import ThrottledWarning

log = structlog.get_logger()

_LEASE = "healing"
_LEASE_SECONDS = 15.0
_STEP_SECONDS = 1.0
_LONGEST_SECONDS = 30.0
"""Each attempt reads the database, and who is to confirm a removal, or to start a server, may take hours."""


class _LeaseLostError(Exception):
    """It took too long; the process that holds the lease now repeats it."""


class RecoveryWorker:
    """Reconciles buckets whose recovery asks for it, once they have reached the rest; `database` opens WhiteBalloon's.

    `known` gives states that were read a moment ago, if there are any: while none of them asks for it, none is read
    here. `prune_all` confirms what the deletion guard would block.
    """

    def __init__(  # noqa: PLR0913 - its parts, and what tests replace
        self,
        projection: Projection,
        database: Callable[[], AbstractContextManager[Database]],
        now: Callable[[], float],
        token: str | None = None,
        called: Callable[[], object] = lambda: None,
        *,
        known: Callable[[], Sequence[BucketState | None]] = tuple,
        prune_all: bool = False,
    ) -> None:
        self._prune_all = prune_all
        self._called = called
        self._known = known
        self.trouble: str | None = None
        """Why what was lost could not be reconciled at the last attempt, for the operator."""
        self.pages = 0
        """How many pages were read or reconciled."""
        self.failures = 0
        """How many attempts in a row failed."""
        self._now = now
        self._lost = frozenset[int]()
        """The buckets that asked for it at the last step."""
        self._retry_at = now()
        self._projection = projection
        self._store = projection.store
        self._database = database
        self._token = token or secrets.token_hex(8)
        self._warning = ThrottledWarning(
            "lost data can't be rebuilt yet; its profiles are not published until then", now, level="error"
        )

    def step(self) -> float:
        """Reconcile the buckets that ask for it; the seconds until the next step."""
        states = self._known()
        if not states or any(map(_may_be_reconciled, states)):
            states = self._store.bucket_states()
        lost = frozenset(bucket for bucket, state in enumerate(states) if _may_be_reconciled(state))
        if lost != self._lost:
            self._lost, self._retry_at, self.failures = lost, self._now(), 0
        if not any(map(_asks, states)):
            self._settle()  # a rebuild, or another process, may have done it
        elif lost and self._now() >= self._retry_at and self._store.lease(_LEASE, self._token, _LEASE_SECONDS):
            try:
                self._reconcile(lost)
            except (DatabaseUnavailableError, OperatorError) as error:
                self._retry_at = self._now() + min(_LONGEST_SECONDS, 2.0 ** min(self.failures, 5))
                self.trouble, self.failures = str(error), self.failures + 1
                self._warning.warn(str(error), buckets=list_buckets(lost))
            except _LeaseLostError:
                log.info("another process took over rebuilding lost data")
            else:
                self._settle()
            finally:
                self._store.release(_LEASE, self._token)
        return _STEP_SECONDS

    def _settle(self) -> None:
        self.trouble, self.failures = None, 0
        self._warning.resolved()

    def _reconcile(self, lost: frozenset[int]) -> None:
        if not self.failures:
            log.warning("rebuilding lost data from the database", buckets=list_buckets(lost))
        states = self._store.bucket_states()
        events = 0
        with self._database() as opened:
            for result in self._repair(watched(opened, self._renew), lost):
                events += result.events
                for reason in result.invalid_rows.values():
                    log.warning("invalid row", reason=reason)
        done = self._done(lost, states)
        if done:
            log.info("lost data rebuilt from the database", buckets=list_buckets(done), events=events)

    def _repair(self, database: Database, lost: frozenset[int]) -> Iterator[PartResult]:
        """Remove nothing where so much would be removed that the database itself looks half-restored."""
        keys = [key for key in self._store.profiles(0, HIGHEST_ID) if bucket_of(key.user_id) in lost]
        work = RebuildContext(self._projection, database, Scope(), None, self._renew)
        pool, stored = Inline(work), frozenset(key.user_id for key in keys)
        detection = Detection(work, pool, stored, NoProgress(), keys)
        if not self._prune_all:
            _refuse(detection.detect().blocked)
        repair = GuardedRepair(pool, None if self._prune_all else detection, lambda: self._give_notice(database))
        users = stored.union(user for user in all_users(database) if bucket_of(user) in lost)
        yield from repair.run(cut(user_ranges(database, 0, HIGHEST_ID), users))
        _refuse(repair.blocked)

    def _give_notice(self, database: Database) -> None:
        notice.post(self._store, database.clock(), self._token)

    def _done(self, lost: frozenset[int], before: list[BucketState | None]) -> list[int]:
        """Note it, except for buckets that were lost again; of which it was noted."""
        done = []
        for bucket, (was, state) in enumerate(zip(before, self._store.bucket_states(), strict=True)):
            if (
                bucket in lost
                and was is not None
                and state is not None
                and (goal := reconciled(was, state)) is not None
                and self._store.recover(bucket, state, goal)
            ):
                done.append(bucket)
        return done

    def _renew(self) -> None:
        self.pages += 1
        self._called()
        if not self._store.lease(_LEASE, self._token, _LEASE_SECONDS):
            raise _LeaseLostError


def _refuse(blocked: str | None) -> None:
    if blocked is not None:
        raise OperatorError(blocked_message(blocked, CONFIRM))


def _asks(state: BucketState | None) -> bool:
    return state is not None and state.recovery is not None and state.recovery.reconcile


def _may_be_reconciled(state: BucketState | None) -> bool:
    """Not before it has reached its ends: what is read again would bring back comments whose rows are gone."""
    goal = None if state is None else state.recovery
    return state is not None and goal is not None and goal.reconcile and bool(goal.ends) and state.reached(goal.ends)
