"""A rebuild: reconcile everybody, or some users, and report.

1 survey: who differs, and what repairing them would end; nothing is saved;
2 the brake;
3 repair: compare again those that differ, part by part, and apply the differences by the ordinary path;
4 publish: flush, prune, compare the files;
5 judge: what of the differences was drift, what only lag;
6 verify: once the tail has seen what was repaired, compare it again. A comment that was made, repaired into its profile
  and removed before the tail looked is one that the tail will never speak of.
A dry run looks and judges, and changes no byte. Interrupted anywhere and run again, it ends the same.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.store.protocol import BucketState
from projections.watermark import Observation, covered, observe, tail_is_running
from snapshot.processes.spawn import Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.detect import Detection, DetectionResult
from snapshot.rebuild.publish import PublishStep
from snapshot.rebuild.report import Report, leave_out
from snapshot.rebuild.tasks import PartResult, RebuildContext
from snapshot.reconcile import notice
from snapshot.reconcile.drift import Verdict, at_once, later
from snapshot.reconcile.findings import Finding
from snapshot.reconcile.reconcile import cut, user_ranges
from snapshot.runtime.progress import ProgressBar

_STEP_SECONDS = 0.5
LAG_SECONDS = 60.0
_UNDECIDED_AT_MOST = 50_000


class Order(NamedTuple):
    """What is asked for. `users` None: everybody. `lag_seconds`: how long to wait until lag is told from drift."""

    users: frozenset[int] | None
    dry_run: bool = False
    prune_all: bool = False
    lag_seconds: float = LAG_SECONDS


class _Open(NamedTuple):
    """A finding that isn't judged yet, and what was observed of the tail before it was made."""

    finding: Finding
    before: Observation


class Rebuild:
    """One run. `now` and `sleep` are in seconds."""

    def __init__(  # noqa: PLR0913 - its parts, and what tests replace
        self,
        work: RebuildContext,
        pool: Pool[RebuildContext],
        order: Order,
        meter: ProgressBar,
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
        self._meter = meter
        self._now = now
        self._sleep = sleep
        self._report = Report(dry_run=order.dry_run, deep=work.scope.deep, group_slug=work.scope.group_slug)
        self._open: list[_Open] = []
        self._unverified: set[int] = set()
        self._until = 0
        self._shown = 0
        output = work.output
        self._publication = None if output is None else PublishStep(pool, work.store, output, meter, sleep)

    def run(self) -> Report:
        """Do all steps. Raises OperatorError, StoreUnavailableError, DatabaseUnavailableError."""
        began = self._now()
        self._refuse_strangers()
        states = self._store.bucket_states()
        surveyor = Detection(self._work, self._pool, self._order.users, self._meter)
        survey = surveyor.detect()  # step 1
        self._report.comments += survey.comments
        self._report.unreadable = survey.unreadable
        if survey.blocked is not None and not self._order.prune_all:  # step 2
            self._report.blocked = survey.blocked
        if self._order.dry_run or self._report.blocked is None:
            if self._publication is not None and not self._order.dry_run:
                self._publication.add_folder()
            self._repair(surveyor, survey, states)  # step 3
            if self._report.events:
                notice.post(self._store, self._work.database.clock(), self._token)
            self._publish(survey)  # step 4
            deadline = self._now() + self._order.lag_seconds
            self._judge(deadline)  # step 5
            if not self._order.dry_run:
                self._verify(surveyor, deadline)  # step 6
        self._report.users = survey.members
        self._report.in_step = survey.stored - self._shown
        self._report.recovery = sum(
            state is not None and state.recovery is not None for state in self._store.bucket_states()
        )
        self._report.seconds = self._now() - began
        return self._report

    def _refuse_strangers(self) -> None:
        work = self._work
        for user in sorted(self._order.users or ()):
            if work.database.users_after(user - 1, 1) != [user] and not work.store.profiles(user, user):
                raise OperatorError(
                    f"user {user} has no comment, no membership of a group and no profile; "
                    "look the id up in WhiteBalloon's table users"
                )

    # ------------------------------------------------------------------------------------------------------- step 3

    def _repair(self, surveyor: Detection, survey: DetectionResult, states: list[BucketState | None]) -> None:
        parts = [] if survey.users == frozenset() else list(cut(surveyor.ranges, survey.users))
        task = tasks.dry_run if self._order.dry_run else tasks.repair
        self._meter.phase("comparing" if self._order.dry_run else "repairing", len(parts))
        for outcome in self._pool.map(task, parts):
            self._take(outcome, survey)
            self._meter.advance()
        if self._order.users is None and self._work.scope.group_slug is None and not self._order.dry_run:
            self._heal(states)

    def _heal(self, before: list[BucketState | None]) -> None:
        """Everything was reconciled: note it in the buckets that wait for that, unless they were lost again."""
        for bucket, (was, state) in enumerate(zip(before, self._store.bucket_states(), strict=True)):
            if was is not None and state is not None and state.recovery is not None and state.recovery.reconcile:
                self._store.recover(bucket, was.epoch, msgspec.structs.replace(state.recovery, reconcile=False))

    def _take(self, outcome: PartResult, survey: DetectionResult) -> None:
        report = self._report
        report.comments += outcome.comments
        report.events += 0 if self._order.dry_run else outcome.events
        leave_out(report.unreadable, outcome.unreadable)
        survey.empty.update(outcome.empty)
        self._repaired(outcome)
        for finding in outcome.findings:
            self._shown += finding.shown
            verdict = at_once(finding, outcome.before, survey.looks.get(finding.key))
            if verdict is None and outcome.before is not None and len(self._open) < _UNDECIDED_AT_MOST:
                self._open.append(_Open(finding, outcome.before))
            else:
                report.judge(finding, verdict or Verdict.UNDECIDED)

    def _repaired(self, outcome: PartResult) -> None:
        """Note what has to be verified: what was found while somebody tailed the database."""
        if outcome.before is not None:
            self._unverified.update(finding.key.user_id for finding in outcome.findings)
            self._until = max([self._until, *(finding.time for finding in outcome.findings)])

    # ------------------------------------------------------------------------------------------------------- step 4

    def _publish(self, survey: DetectionResult) -> None:
        publication = self._publication
        if publication is None:
            return
        looked_at = self._keys() if self._order.users is not None else survey.files
        if self._order.dry_run:
            # What the file of a profile that differs should be is known after the repair only.
            def known(key: ProfileKey) -> bool:
                return self._ours(key) and not survey.suspects(key.user_id)

            doubtful, keys = list(filter(known, looked_at)), self._keys()
            wrong, blocked = publication.inspect(doubtful, keys, known, prune_all=self._order.prune_all)
            self._report.judge_files(wrong)
            self._report.blocked = self._report.blocked or blocked
            return
        now = self._work.database.clock()
        prune_all = self._order.prune_all
        published = publication.publish(looked_at, survey.empty, self._keys, self._ours, now, prune_all=prune_all)
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
        """The stored profiles that this run looks after."""
        users = self._order.users
        ranges = [(0, HIGHEST_ID)] if users is None else [(user, user) for user in sorted(users)]
        return [key for first, last in ranges for key in self._store.profiles(first, last) if self._ours(key)]

    # ------------------------------------------------------------------------------------------------------- step 5

    def _judge(self, deadline: float) -> None:
        while self._open and self._now() < deadline:
            self._meter.phase("telling lag from drift", None)
            self._open = self._looked_again() if self._order.dry_run else self._followed()
            if self._open:
                self._sleep(_STEP_SECONDS)
        for finding, _ in self._open:
            self._report.judge(finding, Verdict.UNDECIDED)

    def _followed(self) -> list[_Open]:
        """Judge what was repaired by what happened since; what stays open."""
        present, left, drifted = observe(self._store), list[_Open](), list[Finding]()
        for one in self._open:
            verdict = later(self._store, one.finding, one.before, present)
            if verdict is None:
                left.append(one)
            elif verdict == Verdict.DRIFT:
                drifted.append(one.finding)
            else:
                self._report.judge(one.finding, verdict)
        ended = self._ended(drifted)
        for finding in drifted:
            self._report.judge(finding, Verdict.LAG if finding.key in ended else Verdict.DRIFT)
        return left

    def _ended(self, findings: list[Finding]) -> set[ProfileKey]:
        """Name those of which nothing that was repaired still stands in the rows.

        A row that came and went between two looks of the tail is nothing that it missed.
        """
        ended = set()
        repaired = {one.key: {repair.comment_id for repair in one.repairs} for one in findings}
        ranges = user_ranges(self._work.database, 0, HIGHEST_ID) if findings else []
        for outcome in self._pool.map(tasks.look, cut(ranges, frozenset(key.user_id for key in repaired))):
            for finding in outcome.findings:
                mine = repaired.get(finding.key)
                if mine and mine <= {repair.comment_id for repair in finding.repairs}:
                    ended.add(finding.key)
        return ended

    def _looked_again(self) -> list[_Open]:
        """Look again at what the tail has passed since: drift is still there, and just so; what stays open."""
        present = observe(self._store)
        ripe = {
            one.finding.key: one.finding for one in self._open if covered(present, one.finding.key, one.finding.time)
        }
        left = [one for one in self._open if one.finding.key not in ripe]
        ranges = user_ranges(self._work.database, 0, HIGHEST_ID)
        for outcome in self._pool.map(tasks.look, cut(ranges, frozenset(key.user_id for key in ripe))):
            for finding in outcome.findings:
                before = ripe.get(finding.key)
                if before is None:
                    continue
                if finding.digests == before.digests:
                    self._report.judge(before, Verdict.DRIFT)
                    del ripe[finding.key]
                elif outcome.before is not None:
                    left.append(_Open(finding._replace(fields=before.fields), outcome.before))
                    del ripe[finding.key]
        for finding in ripe.values():
            self._report.judge(finding, Verdict.LAG)
        return left

    # ------------------------------------------------------------------------------------------------------- step 6

    def _verify(self, surveyor: Detection, deadline: float) -> None:
        again = False
        self._meter.phase("verifying", None)
        while self._unverified and self._now() < deadline and tail_is_running(self._store):
            if not observe(self._store).passed(self._until):
                self._sleep(_STEP_SECONDS)
                continue
            users, self._unverified = frozenset(self._unverified), set()
            for outcome in self._pool.map(tasks.repair, cut(surveyor.ranges, users)):
                self._report.events += outcome.events
                self._repaired(outcome)
                again |= bool(outcome.findings)
        if again and self._publication is not None:
            self._publication.flush()
