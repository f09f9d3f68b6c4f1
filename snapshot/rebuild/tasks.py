"""The tasks that a rebuild is cut into; each is done in one process, on connections of its own."""

from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import count
from typing import NamedTuple

import msgspec

from projections.comments.events import Event
from projections.comments.groups import Groups
from projections.comments.rows import InvalidRowError
from projections.database.database import Database
from projections.paging import pages
from projections.profile_key import HIGHEST_ID, ProfileKey, bucket_of
from projections.profiles.head import Head
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import ABSENT, HEAD, Save, Store, Write
from projections.watermark import Observation, observe, tail_is_running, time_of_reading
from snapshot.deletion_guard import PendingDeletions
from snapshot.files.check import FileCheck, check_files, matches_head, readable
from snapshot.files.folder import ProfileFolder
from snapshot.flush.batch import Flushed
from snapshot.flush.epochs import States
from snapshot.flush.flusher import Flusher
from snapshot.reconcile.comparison import ProfileComparison
from snapshot.reconcile.digests import StoredDigests, Sums, sum_rows
from snapshot.reconcile.findings import Finding, Kind, Repairs, differing_fields, finding_fields, kind_of
from snapshot.reconcile.reconcile import (
    PAGE,
    Part,
    PartComparison,
    Scope,
    read_part,
    recompute_inconsistent,
    remove_damaged,
)
from snapshot.reconcile.stored import Stored

_NO_DIGESTS = (-1, 0, 0)
"""Of a profile that the store does not have."""

_Heads = Mapping[ProfileKey, Head | None]


class Output(NamedTuple):
    """The folder that a rebuild writes to, and what writes there; a dry run has no flusher."""

    folder: ProfileFolder
    flusher: Flusher | None


class RebuildContext:
    """What every task of one run needs. Without a folder (a dry run before the first run) there is no output.

    `on_page` is called after each page of rows that was compared.
    """

    def __init__(
        self,
        projection: Projection,
        database: Database,
        scope: Scope,
        output: Output | None,
        on_page: Callable[[], object] = lambda: None,
    ) -> None:
        self.projection = projection
        self.store = projection.store
        self.database = database
        self.scope = scope
        self.output = output
        self.on_page = on_page
        self._pass_groups: tuple[int, Groups] | None = None

    def groups(self, pass_id: int) -> Groups:
        """The groups as they were read at the beginning of this pass."""
        if self._pass_groups is None or self._pass_groups[0] != pass_id:
            self._pass_groups = pass_id, self.database.groups().only(self.scope.group_slug)
        return self._pass_groups[1]

    def keys(self) -> list[ProfileKey]:
        """All stored profiles in scope."""
        return [key for key in self.store.profiles(0, HIGHEST_ID) if self.scope.covers(key)]


class PartResult(msgspec.Struct):
    """What comparing one part gave. `before` was observed of the tail before the registers were read; None: no tail.

    `stored` counts profiles that the store shows, `empty` are those without a row. `invalid_rows` says, by comment id,
    why a row was left out. `held` are events that have yet to be applied, as their pages remove something.
    """

    comments: int
    events: int
    stored: int
    findings: list[Finding]
    deletions: PendingDeletions
    empty: list[ProfileKey]
    invalid_rows: dict[int, str]
    before: Observation | None
    held: list[Event]


class InvalidRows(dict[int, str]):
    """Collects why rows are left out, by comment id."""

    def __call__(self, error: InvalidRowError) -> None:
        """Keep one."""
        self[error.row.comment_id] = str(error)


class HeadsResult(NamedTuple):
    """What some heads say: their digests, and which profiles' files differ from them."""

    digests: StoredDigests
    files: list[ProfileKey]


def read_heads(work: RebuildContext, keys: list[ProfileKey]) -> HeadsResult:
    """Read the heads of these profiles; where there is a folder, compare their files."""
    found = HeadsResult(StoredDigests(), [])
    folder = None if work.output is None else work.output.folder
    for key, (_, fields) in work.store.load(dict.fromkeys(keys, (HEAD,))).items():
        head = readable(fields.get(HEAD))
        found.digests.add(key, head)
        if folder is not None and not matches_head(folder, key, head):
            found.files.append(key)
    return found


class IdRange(NamedTuple):
    """Comments with ids in a closed range; `pass_id` tells one pass over all of them from another."""

    low: int
    high: int
    pass_id: int


def sum_ids(work: RebuildContext, ids: IdRange) -> Sums:
    """Sum up the rows with ids in this closed range."""
    invalid_rows = InvalidRows()
    found = sum_rows(work.database, ids.low, ids.high, work.groups(ids.pass_id), invalid_rows)
    return found._replace(invalid_rows=dict(invalid_rows))


def compare(work: RebuildContext, part: Part) -> PartResult:
    """Compare a part and save nothing; no fields are named."""
    return _Comparing(work, part).run()


def dry_run(work: RebuildContext, part: Part) -> PartResult:
    """Compare a part and save nothing; name the fields that a repair would change."""
    return _DryRun(work, part).run()


def repair(work: RebuildContext, part: Part) -> PartResult:
    """Compare a part, apply what differs, and recompute what does not follow from its registers."""
    return _repair(_ConfirmedRepair, work, part)


def repair_but_hold(work: RebuildContext, part: Part) -> PartResult:
    """Do the same, but hold each page that removes something: it is to be applied once that was judged."""
    return _repair(_Repair, work, part)


def apply(work: RebuildContext, events: list[Event]) -> None:
    """Apply what was held."""
    for page in pages(events, PAGE):
        work.projection.apply(page)
        work.on_page()


def _repair(kind: type["_Repair"], work: RebuildContext, part: Part) -> PartResult:
    result = kind(work, part).run()
    for key in _unlisted(work.store, part, result.findings):
        work.store.remove(key, work.store.load({key: ()})[key].version)
        kind(work, Part(key.user_id, key.user_id)).run()
    return result


def _unlisted(store: Store, part: Part, findings: Collection[Finding]) -> set[ProfileKey]:
    """Name the repaired profiles that the store's index doesn't list: no other reader would find them."""
    repaired = {one.key for one in findings if one.kind == Kind.MISSING}
    return repaired - set(store.profiles(part.first, part.last)) if repaired else repaired


class FlushOrder(NamedTuple):
    """Buckets to flush, as far as profiles were due at a time, in microseconds of the store's clock.

    `seen` is the most that the run saw of all buckets.
    """

    buckets: range
    due_until: int
    seen: States


def flush(work: RebuildContext, order: FlushOrder) -> Flushed:
    """Flush what was due by then. What traffic makes due meanwhile is left, as it may never end."""
    total = Flushed()
    if work.output is None or work.output.flusher is None:
        return total
    folder = work.output.folder.identity.id
    work.output.flusher.expect(order.seen)
    while True:
        flushed = work.output.flusher.flush(order.buckets)
        total += flushed
        due = work.store.next_due(folder)[order.buckets.start : order.buckets.stop]
        if flushed.claims == flushed.failed or not any(at is not None and at <= order.due_until for at in due):
            return total


def check_files_of(work: RebuildContext, keys: list[ProfileKey]) -> FileCheck:
    """Compare the files of these profiles with their heads."""
    return FileCheck([], []) if work.output is None else check_files(work.store, work.output.folder, keys)


class _Comparing:
    """One part: read, compare, and handle what differs."""

    def __init__(self, work: RebuildContext, part: Part) -> None:
        self.work = work
        self.held: list[Event] = []
        self._part = part

    def run(self) -> PartResult:
        work = self.work
        before = observe(work.store) if tail_is_running(work.store) else None
        invalid_rows, repairs, events = InvalidRows(), Repairs(), 0
        self.stored = read_part(work.store, self._part, work.scope)
        self.begin()
        compared = PartComparison(work.database, self._part, work.scope, self.stored, invalid_rows)
        self.comparison = compared.comparison
        for page in compared.pages():
            self.handle(page)
            events += len(page)
            if before is not None:
                repairs.add(page)
            work.on_page()
        compared.ended = time_of_reading(work.store, compared.ended)
        profiles = compared.comparison.profiles
        wrong = [key for key in profiles if profiles[key].differences or self.stored.inconsistent_fields.get(key)]
        heads = self.end(wrong)
        return PartResult(
            comments=compared.comments,
            events=events,
            stored=sum(head.count > 0 for head in self.stored.heads.values()),
            findings=_findings(self.stored, compared, heads, repairs),
            deletions=compared.comparison.pending_deletions(),
            empty=[key for key, profile in profiles.items() if not profile.rows.rows],
            invalid_rows=dict(invalid_rows),
            before=before,
            held=self.held,
        )

    def begin(self) -> None:
        """Registers were read."""

    def handle(self, page: list[Event]) -> None:
        """Something differs."""

    def end(self, _wrong: list[ProfileKey]) -> _Heads:
        """All was compared; gives the heads that these profiles have then."""
        return {}


class _DryRun(_Comparing):
    def __init__(self, work: RebuildContext, part: Part) -> None:
        super().__init__(work, part)
        self._kept: list[Event] = []

    def handle(self, page: list[Event]) -> None:
        self._kept += [one for one in page if ProfileKey(one.user_id, one.group_slug) in self.stored.registers]

    def end(self, wrong: list[ProfileKey]) -> _Heads:
        inconsistent = [key for key in wrong if self.stored.inconsistent_fields.get(key)]
        return repaired_heads(self.work.store, wrong, inconsistent, self._kept)


class _Repair(_Comparing):
    def __init__(self, work: RebuildContext, part: Part) -> None:
        super().__init__(work, part)
        self._known: set[ProfileKey] = set()
        self._removals = 0

    def begin(self) -> None:
        remove_damaged(self.work.store, self.stored)
        self._known.update(self.stored.registers)

    def handle(self, page: list[Event]) -> None:
        if self.removes():
            self.held += page
            return
        self.work.projection.apply(page, absent=lambda key: key not in self._known)
        self._known.update(ProfileKey(one.user_id, one.group_slug) for one in page)

    def removes(self) -> bool:
        """Whether the page that was just compared removes anything."""
        before, self._removals = self._removals, self.comparison.removals()
        return self._removals > before

    def end(self, wrong: list[ProfileKey]) -> _Heads:
        recompute_inconsistent(self.work.projection, self.stored)
        if self.held:
            return repaired_heads(self.work.store, wrong, (), self.held)
        views = self.work.projection.read_current(wrong) if wrong else {}
        return {key: one.head for key, one in views.items()}


class _ConfirmedRepair(_Repair):
    def removes(self) -> bool:
        return False


def _findings(stored: Stored, compared: PartComparison, heads: _Heads, repairs: Repairs) -> list[Finding]:
    comparison = compared.comparison
    found = [
        _finding(stored, key, profile, compared.ended, heads, repairs)
        for key, profile in comparison.profiles.items()
        if profile.differences or stored.inconsistent_fields.get(key)
    ]
    for key, counting in comparison.missing.items():
        damaged = key in stored.damaged
        kind = Kind.MISSING if counting and not damaged else Kind.DIFFERENT
        fields = ("damaged",) if damaged else () if counting else ("tombstones",)
        found.append(
            Finding(
                key, kind, fields, compared.ended, _NO_DIGESTS, certain=damaged, shown=False, repairs=repairs.of(key)
            )
        )
    return found


def _finding(  # noqa: PLR0913, PLR0917 - one profile, as read and compared
    stored: Stored, key: ProfileKey, profile: ProfileComparison, time: int, heads: _Heads, repairs: Repairs
) -> Finding:
    inconsistent = stored.inconsistent_fields.get(key, frozenset())
    visible = differing_fields(key, stored.heads[key], heads[key]) if key in heads else set[str]()
    return Finding(
        key,
        kind_of(profile),
        finding_fields(visible, inconsistent, profile),
        time,
        (profile.stored.digest, profile.rows.digest, profile.stored.revisions),
        certain=bool(inconsistent),
        shown=stored.heads[key].count > 0,
        repairs=repairs.of(key),
    )


def repaired_heads(
    store: Store, keys: Iterable[ProfileKey], inconsistent: Iterable[ProfileKey], events: Iterable[Event]
) -> dict[ProfileKey, Head | None]:
    """Give the heads that these profiles would have after the events and recomputing; the store is only read."""
    copies = MemoryStore(lambda: 0)
    tokens = (number.to_bytes(8, "big") for number in count(1))
    repaired = sorted(keys)
    for key in repaired:
        fields = dict(store.scan(key))
        if fields:
            copies.save([Save(bucket_of(key.user_id), [Write(key, ABSENT, next(tokens), fields, (), dirty=False)])])
    projection = Projection(copies, lambda: next(tokens))
    projection.apply(event for event in events if ProfileKey(event.user_id, event.group_slug) in set(repaired))
    for key in inconsistent:
        projection.recompute(key)
    return {key: view.head for key, view in projection.read_current(repaired).items()}
