"""Which of a rebuild's findings are drift, and which only lag: what can't be decided at once stays open for a while."""

from typing import NamedTuple

from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.watermark import Observation, covered, observe
from snapshot.processes.spawn import Pool
from snapshot.rebuild import tasks
from snapshot.rebuild.report import Report
from snapshot.rebuild.tasks import PartResult, RebuildContext
from snapshot.reconcile.drift import Sighting, Verdict, judge_at_once, judge_later, missed
from snapshot.reconcile.findings import Finding
from snapshot.reconcile.reconcile import cut, user_ranges

_MAX_OPEN = 50_000


class _Open(NamedTuple):
    """A finding that isn't judged yet, and what was observed of the tail before it was made."""

    finding: Finding
    before: Observation


class Judgement:
    """Judges the findings of one run into its report."""

    def __init__(self, work: RebuildContext, pool: Pool[RebuildContext], report: Report, *, dry_run: bool) -> None:
        self._work = work
        self._pool = pool
        self._report = report
        self._dry_run = dry_run
        self.open: list[_Open] = []
        """Findings that can't be judged yet."""

    def add(self, finding: Finding, before: Observation | None, earlier: Sighting | None) -> None:
        """Judge a finding at once, or keep it open; the arguments are those of `judge_at_once`."""
        verdict = judge_at_once(finding, before, earlier)
        if verdict is None and before is not None and len(self.open) < _MAX_OPEN:
            self.open.append(_Open(finding, before))
        else:
            self._report.judge(finding, verdict or Verdict.UNDECIDED)

    def judge_open(self) -> None:
        """Judge what the tail has passed meanwhile."""
        self.open = self._compare_again() if self._dry_run else self._judge_repairs()

    def close(self) -> None:
        """What is still open is undecided."""
        for finding, _ in self.open:
            self._report.judge(finding, Verdict.UNDECIDED)

    def _judge_repairs(self) -> list[_Open]:
        """Judge what was repaired by what happened since; gives what stays open."""
        present, left, drifted = observe(self._work.store), list[_Open](), list[Finding]()
        for one in self.open:
            verdict = judge_later(self._work.store, one.finding, one.before, present)
            if verdict is None:
                left.append(one)
            elif verdict == Verdict.DRIFT:
                drifted.append(one.finding)
            else:
                self._report.judge(one.finding, verdict)
        came_and_went = self._came_and_went(drifted)
        for finding in drifted:
            self._report.judge(finding, Verdict.LAG if finding.key in came_and_went else Verdict.DRIFT)
        return left

    def _came_and_went(self, findings: list[Finding]) -> set[ProfileKey]:
        """Name those of which nothing that was repaired is in the rows any more.

        A row that came and went between two polls of the tail is nothing that it missed.
        """
        repaired = {one.key: {repair.comment_id for repair in one.repairs} for one in findings}
        return {
            finding.key
            for result in self._compare({key.user_id for key in repaired})
            for finding in result.findings
            if (mine := repaired.get(finding.key)) and mine <= {repair.comment_id for repair in finding.repairs}
        }

    def _compare_again(self) -> list[_Open]:
        """Compare again what the tail has passed since: what is still the same is drift; gives what stays open."""
        present = observe(self._work.store)
        passed = {
            one.finding.key: one.finding for one in self.open if covered(present, one.finding.key, one.finding.time)
        }
        left = [one for one in self.open if one.finding.key not in passed]
        for result in self._compare({key.user_id for key in passed}):
            for finding in result.findings:
                before = passed.get(finding.key)
                if before is None:
                    continue
                if finding.digests == before.digests:
                    self._report.judge(before, missed(finding))
                    del passed[finding.key]
                elif result.before is not None:
                    left.append(_Open(finding._replace(fields=before.fields), result.before))
                    del passed[finding.key]
        for finding in passed.values():
            self._report.judge(finding, Verdict.LAG)
        return left

    def _compare(self, users: set[int]) -> list[PartResult]:
        ranges = user_ranges(self._work.database, 0, HIGHEST_ID) if users else []
        return list(self._pool.map(tasks.compare, cut(ranges, frozenset(users))))
