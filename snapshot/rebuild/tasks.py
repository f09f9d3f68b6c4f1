"""The pieces that a rebuild is cut into; each is done in one process, on connections of its own."""

from collections.abc import Collection, Iterable, Mapping
from itertools import count
from typing import NamedTuple

import msgspec

from projections.comments.events import Event
from projections.comments.groups import Groups
from projections.comments.rows import InvalidRowError
from projections.database.database import Database
from projections.profile_key import ProfileKey, bucket_of
from projections.profiles.head import Head
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import ABSENT, HEAD, Save, Store, Write
from projections.watermark import Observation, observe, tail_is_running
from snapshot.deletion_guard import PendingDeletions
from snapshot.files.check import FileCheck, check_files, matches_head, readable
from snapshot.files.folder import ProfileFolder
from snapshot.flush.flusher import Flushed, Flusher
from snapshot.reconcile.digests import StoredDigests, Sums, sum_rows
from snapshot.reconcile.findings import Finding, Kind, Repairs, differing_fields, kind_of, named
from snapshot.reconcile.reconcile import Part, PartComparison, Scope, read_part, recompute_inconsistent, remove_damaged
from snapshot.reconcile.stored import Stored

_NOTHING = (-1, -1, -1)
"""Digests where the store has nothing to compare."""

_Shown = Mapping[ProfileKey, Head | None]


class Output(NamedTuple):
    """The folder that a rebuild writes to, and what writes there; a dry run has no flusher."""

    folder: ProfileFolder
    flusher: Flusher | None


class RebuildContext:
    """What every piece of one run needs. Without a folder (a dry run before the first run) there is no output."""

    def __init__(self, projection: Projection, database: Database, scope: Scope, output: Output | None) -> None:
        self.projection = projection
        self.store = projection.store
        self.database = database
        self.scope = scope
        self.output = output
        self._pass_groups: tuple[int, Groups] | None = None

    def groups(self, pass_id: int) -> Groups:
        """The groups as they were read at the beginning of this pass."""
        if self._pass_groups is None or self._pass_groups[0] != pass_id:
            self._pass_groups = pass_id, self.scope.groups(self.database.groups())
        return self._pass_groups[1]


class PartResult(msgspec.Struct):
    """What one part showed. `before` was observed of the tail before the registers were read; None: nobody tails.

    `stored` counts profiles that the store shows, `empty` are those without a row. `unreadable` says, by comment id,
    why a row was left out.
    """

    comments: int
    events: int
    stored: int
    findings: list[Finding]
    deletions: PendingDeletions
    empty: list[ProfileKey]
    unreadable: dict[int, str]
    before: Observation | None


class _Unreadable(dict[int, str]):
    def __call__(self, error: InvalidRowError) -> None:
        self[error.row.comment_id] = str(error)


class Heads(NamedTuple):
    """What some heads say: their digests, and which profiles' files are something else."""

    digests: StoredDigests
    files: list[ProfileKey]


def heads(work: RebuildContext, keys: list[ProfileKey]) -> Heads:
    """Read the heads of these profiles; where there is a folder, compare their files."""
    found = Heads(StoredDigests(), [])
    folder = None if work.output is None else work.output.folder
    for key, (_, fields) in work.store.load(dict.fromkeys(keys, (HEAD,))).items():
        head = readable(fields.get(HEAD))
        found.digests.add(key, head)
        if folder is not None and not matches_head(folder, key, head):
            found.files.append(key)
    return found


class IdRange(NamedTuple):
    """Comments with ids in a closed range; `look` tells one pass over all of them from another."""

    low: int
    high: int
    pass_id: int


def sums(work: RebuildContext, ids: IdRange) -> Sums:
    """Sum up the rows with ids in this closed range."""
    unreadable = _Unreadable()
    found = sum_rows(work.database, ids.low, ids.high, work.groups(ids.pass_id), unreadable)
    return found._replace(unreadable=dict(unreadable))


def look(work: RebuildContext, part: Part) -> PartResult:
    """Compare a part and save nothing; no fields are named."""
    return _Piece(work, part).run()


def dry_run(work: RebuildContext, part: Part) -> PartResult:
    """Compare a part and save nothing; name the fields that a repair would change."""
    return _DryRun(work, part).run()


def repair(work: RebuildContext, part: Part) -> PartResult:
    """Compare a part, and apply and mend what differs."""
    outcome = _Repair(work, part).run()
    for key in _unlisted(work.store, part, outcome.findings):
        again = Part(key.user_id, key.user_id)
        work.store.remove(key, work.store.load({key: ()})[key].version)
        _Repair(work, again).run()
    return outcome


def flush(work: RebuildContext, buckets: range) -> Flushed:
    """Flush these buckets until nothing of them is due, or nothing can be written."""
    total = Flushed()
    if work.output is None or work.output.flusher is None:
        return total
    while True:
        flushed = work.output.flusher.flush(buckets)
        total += flushed
        if flushed.claims == flushed.failed:
            return total


def check_files_of(work: RebuildContext, keys: list[ProfileKey]) -> FileCheck:
    """Compare the files of these profiles with their heads."""
    return FileCheck([], []) if work.output is None else check_files(work.store, work.output.folder, keys)


def _unlisted(store: Store, part: Part, findings: Collection[Finding]) -> set[ProfileKey]:
    """Name the repaired profiles that the store's index doesn't list: nobody would find them."""
    repaired = {one.key for one in findings if one.kind == Kind.MISSING}
    return repaired - set(store.profiles(part.first, part.last)) if repaired else repaired


class _Piece:
    """One part: read, compare, and see what becomes of it."""

    def __init__(self, work: RebuildContext, part: Part) -> None:
        self.work = work
        self._part = part

    def run(self) -> PartResult:
        work = self.work
        before = observe(work.store) if tail_is_running(work.store) else None
        unreadable, repairs, events = _Unreadable(), Repairs(), 0
        self.stored = read_part(work.store, self._part, work.scope)
        self.begin()
        compared = PartComparison(work.database, self._part, work.scope, self.stored, unreadable)
        for page in compared.pages():
            self.take(page)
            events += len(page)
            if before is not None:
                repairs.note(page)
        profiles = compared.comparison.profiles
        wrong = [key for key in profiles if profiles[key].differences or self.stored.inconsistent_fields.get(key)]
        shown = self.end(wrong)
        return PartResult(
            comments=compared.comments,
            events=events,
            stored=sum(head.count > 0 for head in self.stored.heads.values()),
            findings=_findings(self.stored, compared, shown, repairs),
            deletions=compared.comparison.pending_deletions(),
            empty=[key for key, profile in profiles.items() if not profile.rows.rows],
            unreadable=dict(unreadable),
            before=before,
        )

    def begin(self) -> None:
        """Registers were read."""

    def take(self, page: list[Event]) -> None:
        """Something differs."""

    def end(self, _wrong: list[ProfileKey]) -> _Shown:
        """All was compared; gives the heads that these profiles have then."""
        return {}


class _DryRun(_Piece):
    def __init__(self, work: RebuildContext, part: Part) -> None:
        super().__init__(work, part)
        self._kept: list[Event] = []

    def take(self, page: list[Event]) -> None:
        self._kept += [one for one in page if ProfileKey(one.user_id, one.group_slug) in self.stored.registers]

    def end(self, wrong: list[ProfileKey]) -> _Shown:
        inconsistent_fields = [key for key in wrong if self.stored.inconsistent_fields.get(key)]
        return dry_run_heads(self.work.store, wrong, inconsistent_fields, self._kept)


class _Repair(_Piece):
    def __init__(self, work: RebuildContext, part: Part) -> None:
        super().__init__(work, part)
        self._known: set[ProfileKey] = set()

    def begin(self) -> None:
        remove_damaged(self.work.store, self.stored)
        self._known.update(self.stored.registers)

    def take(self, page: list[Event]) -> None:
        self.work.projection.apply(page, absent=lambda key: key not in self._known)
        self._known.update(ProfileKey(one.user_id, one.group_slug) for one in page)

    def end(self, wrong: list[ProfileKey]) -> _Shown:
        recompute_inconsistent(self.work.projection, self.stored)
        shown = self.work.projection.read_current(wrong) if wrong else {}
        return {key: one.head for key, one in shown.items()}


def _findings(stored: Stored, compared: PartComparison, shown: _Shown, repairs: Repairs) -> list[Finding]:
    found = []
    comparison, time = compared.comparison, compared.ended
    for key, profile in comparison.profiles.items():
        inconsistent_fields = stored.inconsistent_fields.get(key, frozenset())
        if not (profile.differences or inconsistent_fields):
            continue
        visible = differing_fields(key, stored.heads[key], shown[key]) if key in shown else set[str]()
        found.append(
            Finding(
                key,
                kind_of(profile),
                named(visible, inconsistent_fields, profile),
                time,
                (profile.stored.digest, profile.rows.digest, profile.stored.revisions),
                certain=bool(inconsistent_fields),
                shown=stored.heads[key].count > 0,
                repairs=repairs.of(key),
            )
        )
    for key, counting in comparison.missing.items():
        kind = Kind.MISSING if counting and key not in stored.damaged else Kind.DIFFERENT
        fields = ("damaged",) if key in stored.damaged else () if counting else ("tombstones",)
        damaged = key in stored.damaged
        found.append(
            Finding(key, kind, fields, time, (-1, 0, 0), certain=damaged, shown=False, repairs=repairs.of(key))
        )
    return found


def dry_run_heads(
    store: Store, keys: Iterable[ProfileKey], inconsistent_fields: Iterable[ProfileKey], events: Iterable[Event]
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
    for key in inconsistent_fields:
        projection.recompute(key)
    return {key: shown.head for key, shown in projection.read_current(wanted).items()}
