"""What a rebuild found and did: as a summary for people, and as one JSON object."""

from bisect import insort
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from snapshot.files.check import BadFile
from snapshot.reconcile.drift import Verdict
from snapshot.reconcile.findings import Finding

IN_STEP, DRIFT, COULD_NOT_RUN = 0, 1, 2
NAMED = 1_000
"""How many profiles and files a report names one by one."""
COUNTED = 100_000
"""How many invalid rows a report counts; if there are more, the rows are not at fault."""
_SHOWN = 10
_KEYS = (
    *("dry_run", "deep", "group_slug", "exit_code", "users", "profiles"),
    *("in_step", "missing", "orphaned", "different", "lag", "undecided"),
    *("fields", "findings", "files", "wrong_files"),
    *("written", "unchanged", "removed", "announced", "pruned", "events"),
    *("healing_buckets", "unreadable", "unreadable_comments", "held", "comments", "seconds", "comments_per_second"),
)
"""The keys of the JSON object, in its order: what others read, so they stay."""


class Report(msgspec.Struct, kw_only=True):
    """Counts are of profiles, except `users`, `comments` and `events` (both read and applied) and `files` (by fault).

    in_step, missing, orphaned, different, lag and undecided together are `profiles`: a difference that is lag or
    undecided is no drift. `fields` counts the different profiles by what differs. `blocked` says what the
    deletion guard blocked. `asked`: the users that the run is about, None for all. `fills`: the store showed none of
    these profiles.
    """

    dry_run: bool
    deep: bool
    group_slug: str | None
    asked: frozenset[int] | None = None
    fills: bool = False
    users: int = 0
    in_step: int = 0
    missing: int = 0
    orphaned: int = 0
    different: int = 0
    lag: int = 0
    undecided: int = 0
    fields: dict[str, int] = {}
    files: dict[str, int] = msgspec.field(default_factory=lambda: {"foreign": 0, "missing": 0, "stale": 0})
    written: int = 0
    unchanged: int = 0
    removed: int = 0
    announced: int = 0
    pruned: int = 0
    comments: int = 0
    events: int = 0
    recovery: int = 0
    seconds: float = 0.0
    blocked: str | None = None
    invalid_rows: dict[int, str] = {}
    named: list[tuple[int, str, str, tuple[str, ...], str]] = []
    named_files: list[tuple[str, str]] = []

    def judge(self, finding: Finding, verdict: Verdict) -> None:
        """Count a finding as what it was found to be."""
        if verdict is Verdict.LAG:
            self.lag += 1
            return
        key = finding.key
        insort(self.named, (key.user_id, key.group_slug, finding.kind.value, finding.fields, verdict.value))
        del self.named[NAMED:]  # the first ones in order, whichever process found them first
        if verdict is Verdict.UNDECIDED:
            self.undecided += 1
            return
        kind = finding.kind.value
        setattr(self, kind, getattr(self, kind) + 1)
        for field in finding.fields:
            self.fields[field] = self.fields.get(field, 0) + 1

    def judge_files(self, wrong: Iterable[BadFile]) -> None:
        """Count files that differ from their profiles."""
        for one in wrong:
            self.files[one.fault.value] += 1
            insort(self.named_files, (one.name, one.fault.value))
            del self.named_files[NAMED:]

    @property
    def profiles(self) -> int:
        """All profiles that were compared."""
        return self.in_step + self.missing + self.orphaned + self.different + self.lag + self.undecided

    @property
    def drift(self) -> int:
        """Profiles and files that differed from what the rows give."""
        return self.missing + self.orphaned + self.different + sum(self.files.values())

    @property
    def drifted(self) -> int:
        """The same without what filling an empty store adds, which is no drift; the exit code counts that, too."""
        return sum(self.files.values()) if self.fills and self.asked is None else self.drift

    @property
    def exit_code(self) -> int:
        """0 in step, 1 drift, 2 blocked by the deletion guard."""
        if self.blocked is not None:
            return COULD_NOT_RUN
        return DRIFT if self.drift else IN_STEP

    @property
    def rate(self) -> int:
        """Comments read in a second."""
        return round(self.comments / self.seconds) if self.seconds else 0

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, always with the same keys in the same order."""
        derived = {
            "fields": dict(sorted(self.fields.items())),
            "findings": [
                {"user_id": user, "group_slug": slug, "kind": kind, "fields": list(fields), "verdict": verdict}
                for user, slug, kind, fields, verdict in self.named
            ],
            "files": dict(sorted(self.files.items())),
            "wrong_files": [{"name": name, "fault": fault} for name, fault in self.named_files],
            "healing_buckets": self.recovery,
            "unreadable": [
                {"comment_id": number, "reason": self.invalid_rows[number]} for number in self.first_invalid()
            ],
            "unreadable_comments": len(self.invalid_rows),
            "held": self.blocked,
            "seconds": round(self.seconds, 3),
            "comments_per_second": self.rate,
        }
        return {key: derived[key] if key in derived else getattr(self, key) for key in _KEYS}

    def first_invalid(self) -> list[int]:
        """The first comments whose rows are invalid, as many as are named."""
        return sorted(self.invalid_rows)[:NAMED]


def add_invalid_rows(known: dict[int, str], found: Mapping[int, str]) -> None:
    """Add comments whose rows are invalid, with the reasons, up to the limit."""
    for comment_id in sorted(found):
        if len(known) < COUNTED:
            known[comment_id] = found[comment_id]


def show(report: Report, console: Console) -> None:
    """Print the summary."""
    console.print(_title(report), style="italic", highlight=False, soft_wrap=True, markup=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    table.add_column()
    for name, count, remark in _rows(report):
        table.add_row(name, f"{count:,}", remark)
    console.print(table)
    _show_named(report, console)
    for number in report.first_invalid()[:_SHOWN]:
        console.print(report.invalid_rows[number], highlight=False, soft_wrap=True, markup=False)
    pace = f"{report.comments:,} comments read in {report.seconds:.1f} s ({report.rate:,}/s)"
    console.print(f"{_outcome(report)}; {pace}", highlight=False, soft_wrap=True)


def _title(report: Report) -> str:
    scope = "all groups" if report.group_slug is None else f"group {report.group_slug}"
    if report.asked is not None:
        group = "" if report.group_slug is None else f", {scope}"
        named = ", ".join(map(str, sorted(report.asked)[:_SHOWN]))
        more = f" and {len(report.asked) - _SHOWN:,} more" if len(report.asked) > _SHOWN else ""
        scope = f"user{'s' if len(report.asked) > 1 else ''} {named}{more}{group}"
    return f"{scope}{', deep' if report.deep else ''}{', dry run: nothing was changed' if report.dry_run else ''}"


def _rows(report: Report) -> Iterable[tuple[str, int, str]]:
    if report.blocked is not None and not report.profiles:
        return  # the guard stopped it before anything was compared
    if report.blocked is None or report.in_step:  # stopped half way, it has not compared the others
        yield "profiles", report.profiles, ""
        yield "in step", report.in_step, ""
    yield "missing", report.missing, ""
    yield "orphaned", report.orphaned, ""
    yield "different", report.different, _counted(report.fields)
    if report.lag:
        yield "lag", report.lag, "events that arrived meanwhile"
    if report.undecided:
        yield "undecided", report.undecided, "lag or drift: the tail did not pass them in time"
    yield "wrong files", sum(report.files.values()), _counted(report.files)
    if not report.dry_run:
        yield "files written", report.written, f"{report.removed:,} removed, {report.announced:,} announced"
    if report.pruned:
        yield "pruned", report.pruned, "empty profiles removed from the store"
    if report.invalid_rows:
        more = ", or more" if len(report.invalid_rows) == COUNTED else ""
        yield "left out", len(report.invalid_rows), f"comments with invalid rows{more}"
    if report.recovery:
        yield "recovering", report.recovery, "of 64 buckets; the consumer writes their files once they have recovered"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()) if count)


def _show_named(report: Report, console: Console) -> None:
    lines = [
        f"  {user}:{slug}  {kind}{'' if verdict == Verdict.DRIFT.value else f' ({verdict})'}  {', '.join(fields)}"
        for user, slug, kind, fields, verdict in sorted(report.named)
    ]
    lines += [f"  {name}  {fault} file" for name, fault in sorted(report.named_files)]
    for line in lines[:_SHOWN]:
        console.print(line.rstrip(), highlight=False, soft_wrap=True, markup=False)
    found = report.drift + report.undecided
    if found > _SHOWN:
        names = f"names {NAMED:,} of each" if found > len(lines) else "names them"
        console.print(f"  and {found - _SHOWN:,} more; --json {names}", highlight=False)


def _outcome(report: Report) -> str:
    if report.blocked is not None:
        return "stopped before anything was removed"
    if not report.drift:
        return "in step" if not report.undecided else "no drift found"
    if report.fills and report.missing:
        return f"the store {'has none of these profiles' if report.dry_run else 'had none of these, and is filled'}"
    return "drift found" if report.dry_run else "drift found and repaired"
