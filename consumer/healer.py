"""Healing lost buckets: their users' rows are reconciled with the registers, by one process, under a lease."""

import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec
import structlog

from projections.buckets import bucket_of
from projections.database import Database, DatabaseUnavailable
from projections.errors import OperatorError
from projections.projection import Projection
from projections.store import Mark
from snapshot.reconcile import repairs

log = structlog.get_logger()

_LEASE = "healing"
_LEASE_SECONDS = 15.0
_PAUSE = 1.0
_COMPLAINT_SECONDS = 60.0
_HIGHEST = 2**63 - 1


class Healer:
    """Looks for buckets whose healing asks for a reconcile; `database` opens WhiteBalloon's database."""

    def __init__(
        self,
        projection: Projection,
        database: Callable[[], AbstractContextManager[Database]],
        now: Callable[[], float],
    ) -> None:
        self._projection = projection
        self._store = projection.store
        self._database = database
        self._now = now
        self._token = secrets.token_hex(8)
        self._complained_at = -_COMPLAINT_SECONDS

    def step(self) -> float:
        """Reconcile what asks for it; the seconds until the next look."""
        lost = {bucket: mark for bucket, mark in enumerate(self._store.marks()) if mark is not None and _asks(mark)}
        if lost and self._store.lease(_LEASE, self._token, _LEASE_SECONDS):
            try:
                self._reconcile(lost)
            except (DatabaseUnavailable, OperatorError) as error:
                self._complain(str(error), sorted(lost))
            finally:
                self._store.release(_LEASE, self._token)
        return _PAUSE

    def _reconcile(self, lost: dict[int, Mark]) -> None:
        log.warning("reconciling what was lost with the database", buckets=sorted(lost))
        with self._database() as database:
            pages = repairs(self._projection, database, 0, _HIGHEST, only=lambda user: bucket_of(user) in lost)
            events = 0
            for page in pages:
                self._projection.apply(page)
                events += len(page)
                if not self._store.lease(_LEASE, self._token, _LEASE_SECONDS):
                    return  # it took too long; whoever has the lease does it again
        for bucket, mark in lost.items():
            if mark.healing is not None:
                self._store.heal(bucket, mark.epoch, msgspec.structs.replace(mark.healing, reconcile=False))
        log.info("reconciled", buckets=sorted(lost), events=events)

    def _complain(self, reason: str, buckets: list[int]) -> None:
        if self._now() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = self._now()
            log.error(
                "can't reconcile what was lost; its profiles are not written until it can",
                reason=reason,
                buckets=buckets,
            )


def _asks(mark: Mark) -> bool:
    return mark.healing is not None and mark.healing.reconcile
