"""A rebuild: reconcile all users, or some, and report.

1 detect: who differs, and what repairing them would remove; nothing is saved;
2 the deletion guard;
3 repair: compare again those that differ, part by part, and apply the differences by the ordinary path; what removes
  something is applied last, once the guard has judged it again;
4 publish: flush, prune, compare the files;
5 judge: which of the differences were drift, which only lag;
6 verify: once the tail has read past what was repaired, compare it again. A comment that was created, repaired into its
  profile and deleted before the tail polled is one for which the tail will never send an event.
A dry run compares and judges, and changes no byte. Interrupted anywhere and run again, it ends the same.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.store.protocol import BucketState, reconciled
from projections.watermark import observe, tail_is_running
from snapshot.processes.spawn import Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.detect import Detection, DetectionResult
from snapshot.rebuild.guarded import GuardedRepair
from snapshot.rebuild.judge import Judgement
from snapshot.rebuild.publish import PublishStep
from snapshot.rebuild.report import Report, add_invalid_rows
from snapshot.rebuild.tasks import PartResult, RebuildContext
from snapshot.reconcile import notice
from snapshot.reconcile.reconcile import cut
from snapshot.runtime.progress import ProgressBar

_STEP_SECONDS = 0.5
LAG_SECONDS = 60.0


class Order(NamedTuple):
    """What is asked for. `users` None: all. `lag_seconds`: after them, what is open is undecided."""

    users: frozenset[int] | None
    dry_run: bool = False
    prune_all: bool = False
    lag_seconds: float = LAG_SECONDS


class Rebuild:
    """One run. `now` and `sleep` are in seconds."""

    def __init__(  # noqa: PLR0913 - its parts, and what tests replace
        self,
        work: RebuildContext,
        pool: Pool[RebuildContext],
        order: Order,
        bar: ProgressBar,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
        token: str | None = None,
    ) -> None:
        self._token = token
        self._work = work
        self._store = work.store
        self._pool = pool
        self._order = order
        self._bar = bar
        self._now = now
        self._sleep = sleep
        scope = work.scope
        self._report = Report(dry_run=order.dry_run, deep=scope.deep, group_slug=scope.group_slug, asked=order.users)
        self._judgement = Judgement(work, pool, self._report, dry_run=order.dry_run)
        self._unverified: set[int] = set()
        self._until = 0
        self._shown = 0
        output = work.output
        self._publishing = None if output is None else PublishStep(pool, work.store, output, bar, sleep)

    def run(self) -> Report:
        """Do all steps. Raises OperatorError, StoreUnavailableError, DatabaseUnavailableError."""
        began = self._now()
        self._refuse_unknown_users()
        if self._publishing is not None and not self._order.dry_run:
            self._publishing.begin()
        states = self._store.bucket_states()
        detection = Detection(self._work, self._pool, self._order.users, self._bar)
        detected = detection.detect()  # step 1
        self._report.comments += detected.comments
        self._report.fills = not detected.stored
        self._report.invalid_rows = detected.invalid_rows
        if detected.blocked is not None and not self._order.prune_all:  # step 2
            self._report.blocked = detected.blocked
        if self._order.dry_run or self._report.blocked is None:
            if self._publishing is not None and not self._order.dry_run:
                self._publishing.add_folder()
            repair = GuardedRepair(self._pool, None if self._order.prune_all else detection, self._give_notice)
            self._repair(repair, detection, detected)  # step 3
            if repair.blocked is None:
                self._recover(states)
                self._publish(detected)  # step 4
            deadline = self._now() + self._order.lag_seconds
            self._judge(deadline)  # step 5
            if not self._order.dry_run and repair.blocked is None:
                self._verify(repair, detection, deadline)  # step 6
            self._report.blocked = self._report.blocked or repair.blocked
            if repair.blocked is None:
                self._report.in_step = detected.stored - self._shown
        self._report.users = detected.members
        self._report.recovery = sum(
            state is not None and state.recovery is not None for state in self._store.bucket_states()
        )
        self._report.seconds = self._now() - began
        return self._report

    def _give_notice(self) -> None:
        notice.post(self._store, self._work.database.clock(), self._token, confirmed=self._order.prune_all)

    def _refuse_unknown_users(self) -> None:
        work = self._work
        for user in sorted(self._order.users or ()):
            if work.database.users_after(user - 1, 1) != [user] and not work.store.profiles(user, user):
                raise OperatorError(
                    f"user {user} has no comment, no membership of a group and no profile; "
                    "look the id up in WhiteBalloon's table users"
                )

    # ------------------------------------------------------------------------------------------------------- step 3

    def _repair(self, repair: GuardedRepair, detection: Detection, detected: DetectionResult) -> None:
        parts = [] if detected.users == frozenset() else list(cut(detection.ranges, detected.users))
        dry = self._order.dry_run
        self._bar.phase("comparing" if dry else "repairing", len(parts))
        for result in self._pool.map(tasks.dry_run, parts) if dry else repair.run(parts):
            self._take(result, detected)
            self._bar.advance()

    def _recover(self, before: list[BucketState | None]) -> None:
        """Where all was reconciled, record it in the buckets that wait for that, unless they were lost again."""
        if self._order.users is not None or self._work.scope.group_slug is not None or self._order.dry_run:
            return
        for bucket, (was, state) in enumerate(zip(before, self._store.bucket_states(), strict=True)):
            if was is not None and state is not None and (goal := reconciled(was, state)) is not None:
                self._store.recover(bucket, state, goal if goal.ends else None)

    def _take(self, result: PartResult, detected: DetectionResult) -> None:
        report = self._report
        report.comments += result.comments
        report.events += 0 if self._order.dry_run else result.events
        add_invalid_rows(report.invalid_rows, result.invalid_rows)
        detected.empty.update(result.empty)
        self._repaired(result)
        for finding in result.findings:
            self._shown += finding.shown
            self._judgement.add(finding, result.before, detected.sightings.get(finding.key))

    def _repaired(self, result: PartResult) -> None:
        """Record what has to be verified: what was found while a tail was running."""
        if result.before is not None:
            self._unverified.update(finding.key.user_id for finding in result.findings)
            self._until = max([self._until, *(finding.time for finding in result.findings)])

    # ------------------------------------------------------------------------------------------------------- step 4

    def _publish(self, detected: DetectionResult) -> None:
        publishing = self._publishing
        if publishing is None:
            return
        doubtful = self._keys() if self._order.users is not None else detected.files
        if self._order.dry_run:
            # What the file of a profile that differs should be is known after the repair only.
            def known(key: ProfileKey) -> bool:
                return self._ours(key) and not detected.suspects(key.user_id)

            keys = self._keys()
            wrong, blocked = publishing.inspect(
                list(filter(known, doubtful)), keys, known, prune_all=self._order.prune_all
            )
            self._report.judge_files(wrong)
            self._report.blocked = self._report.blocked or blocked
            return
        now = self._work.database.clock()
        prune_all = self._order.prune_all
        publishing.recover_lost()
        states = self._store.bucket_states()
        published = publishing.publish(doubtful, detected.empty, self._keys, self._ours, now, prune_all=prune_all)
        if self._order.users is None and published.blocked is None:
            publishing.record(states)
        self._report.judge_files(published.wrong)
        self._report.blocked = published.blocked
        self._report.written = published.flushed.written
        self._report.removed = published.flushed.removed
        self._report.announced = published.flushed.announced
        self._report.unchanged = published.flushed.unchanged
        self._report.pruned = published.pruned

    def _ours(self, key: ProfileKey) -> bool:
        """Whether this run is about this profile."""
        users = self._order.users
        return (users is None or key.user_id in users) and self._work.scope.covers(key)

    def _keys(self) -> list[ProfileKey]:
        """The stored profiles that this run is about."""
        users = self._order.users
        ranges = [(0, HIGHEST_ID)] if users is None else [(user, user) for user in sorted(users)]
        return [key for first, last in ranges for key in self._store.profiles(first, last) if self._ours(key)]

    # ------------------------------------------------------------------------------------------------- steps 5 and 6

    def _judge(self, deadline: float) -> None:
        self._bar.phase("telling lag from drift", None)
        while self._judgement.open and self._now() < deadline:
            self._judgement.judge_open()
            if self._judgement.open:
                self._sleep(_STEP_SECONDS)
        self._judgement.close()

    def _verify(self, repair: GuardedRepair, detection: Detection, deadline: float) -> None:
        repaired = False
        self._bar.phase("verifying", None)
        while self._unverified and not repair.blocked and self._now() < deadline and tail_is_running(self._store):
            if not observe(self._store).passed(self._until):
                self._sleep(_STEP_SECONDS)
                continue
            users, self._unverified = frozenset(self._unverified), set()
            for result in repair.run(cut(detection.ranges, users)):
                self._report.events += result.events
                self._repaired(result)
                repaired |= bool(result.findings)
        if repaired and self._publishing is not None:
            self._publishing.flush()
