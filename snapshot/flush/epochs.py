"""What a folder knows of its store: for each bucket the latest state that its files were written from.

It is kept in the folder, with whether all files of the bucket were compared in that epoch. So a crash leaves no epoch
out, and a store that was lost, or fell back, is noticed by whoever uses both: where no process ran meanwhile, or where
only another one had seen what was lost. Nothing is ever taken back from it: a store may be lost again at any moment.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

import msgspec
import structlog

from projections.decoding import JsonDecoder
from projections.profile_key import BUCKETS, ProfileKey
from projections.projection import RULES_VERSION
from projections.store.protocol import BucketState, InitialPositions, RecoveryGoal, Store
from projections.store.rollback import StatesRead, find_rollback
from snapshot.files.atomic import replace
from snapshot.files.folder import NO_FILE, ProfileFolder

log = structlog.get_logger()

EPOCHS = ".signal-profiles-epochs"
"""The file in the folder that says for each bucket which instance, epoch and count of writes the folder has seen."""

States = Sequence[BucketState | None]
Announced = Mapping[ProfileKey, str | None]
"""What downstream has, by the announcements that are kept: hashes, NO_FILE for an end, None where that depends."""
_decode = JsonDecoder(dict[int, str]).decode
_SPELLED = re.compile(r"([^:]*)(?::([0-9]{1,18})(?::([0-9]{1,18})(:compare)?)?)?")


class LatestState(NamedTuple):
    """The latest state that a bucket's files were written from; `in_step`: they were compared in its epoch."""

    state: BucketState
    in_step: bool


class FolderEpochs:
    """The record in one folder; it is read each time it is asked, as several processes may flush there."""

    def __init__(self, folder: ProfileFolder) -> None:
        self._folder = folder
        self.seen: States = ()
        """The most that a run saw since it began; what it read may come from a store that held so much."""

    def known(self) -> Mapping[int, LatestState]:
        """Of each bucket what was seen. Nothing where the file is missing or damaged."""
        try:
            return _read(self._folder.disk.read(f"{self._folder.path}/{EPOCHS}"))
        except (OSError, msgspec.DecodeError):
            return {}  # then all are compared

    def pending(self, states: States) -> list[int]:
        """The buckets that are in another epoch than the folder is in step with."""
        known = self.known()
        return [
            bucket
            for bucket, state in enumerate(states)
            if state is not None and not ((seen := known.get(bucket)) and seen.in_step and _same(seen.state, state))
        ]

    def record(self, states: States, *, announced: bool = True) -> None:
        """The folder is in step with these epochs. What it has seen more of is kept, and is a loss. Raises OSError.

        Not `announced`: what is announced was not compared, so one that was raised is not in step yet.
        """
        known = self.known()
        compared = {
            bucket: _compared(known.get(bucket), state, in_step=announced or not state.epoch)
            for bucket, state in _given(states)
        }
        self._write({**known, **compared})

    def note_writes(self, states: States, *, flush: bool) -> None:
        """Files are about to say what these states stand for: a store that holds less fell back. Raises OSError.

        A folder gets its record before its first snapshot, so that whoever starts meanwhile meets none without the
        other. One with snapshots and no record gets none: `compare` tells by them what it was written from.
        """
        known = self.known()
        if not known and not self._has_snapshots():
            higher = {bucket: LatestState(state, in_step=False) for bucket, state in _given(states)}
        else:
            higher = {
                bucket: LatestState(state, seen.in_step and _same(seen.state, state))
                for bucket, state in _given(states)
                if (seen := known.get(bucket)) is not None and _is_higher(state, seen.state)
            }
        if higher:
            self._write({**known, **higher}, flush=flush)

    def expected(self) -> Mapping[int, LatestState]:
        """Of each bucket the most that was seen, by the folder or by the run."""
        known = self.known()
        seen = {
            bucket: LatestState(state, in_step=False)
            for bucket, state in _given(self.seen)
            if bucket not in known or _is_higher(state, known[bucket].state)
        }
        return {**known, **seen}

    def expect(self, states: States) -> None:
        """A run saw these: a bucket that holds less from now on fell back, whatever the folder says of it."""
        before = self.seen or (None,) * len(states)
        self.seen = [
            new if old is None or (new is not None and _is_higher(new, old)) else old
            for old, new in zip(before, states, strict=True)
        ]

    def compare(
        self, read: Callable[[], StatesRead], *, by_files: bool = False, announced: Callable[[], Announced] = dict
    ) -> StatesRead:
        """Read the states; buckets that are less than what the folder was written from rolled back, too.

        The folder is read first: what another process notes meanwhile is no loss. `by_files`: snapshots in a folder
        without a record (`wb` wrote them, or an older version) count as well; they are looked for before the record,
        without which another process writes none. Where there are none either, and the store is new, `announced` tells
        whether another had announced anything: its profiles may have ended since. May raise OperatorError.
        """
        written = by_files and self._has_snapshots()
        known = self.expected()
        states, rolled_back = read()
        if self.seen:
            self.expect(states)
        if known or written:
            return StatesRead(states, {**rolled_back, **_losses(known, states)})
        new = [bucket for bucket, state in enumerate(states) if state is None]
        if new and self._has_shown(announced()):
            rolled_back = {**rolled_back, **dict.fromkeys(new, "profiles are announced, and the store is new")}
        return StatesRead(states, rolled_back)

    def _has_snapshots(self) -> bool:
        return any(self._folder.owned(name) is not None for name in self._folder.names())

    def _has_shown(self, announced: Announced) -> bool:
        slug = self._folder.identity.group_slug
        return any(found != NO_FILE and slug in (None, key.group_slug) for key, found in announced.items())

    def _write(self, known: Mapping[int, LatestState], *, flush: bool = True) -> None:
        content = msgspec.json.encode({bucket: _spell(seen) for bucket, seen in known.items()}) + b"\n"
        with suppress(OSError):
            if self._folder.disk.read(f"{self._folder.path}/{EPOCHS}") == content:
                return
        replace(self._folder.path / EPOCHS, content, flush=flush, disk=self._folder.disk)


class LossCheck(NamedTuple):
    """The states of all buckets as they were read, and how many epochs were raised since."""

    states: States
    raised: int


def recover_lost(
    epochs: FolderEpochs, store: Store, *, by_files: bool = False, announced: Callable[[], Announced] = dict
) -> LossCheck:
    """Raise the epochs of the buckets that lost what the folder was written from.

    So nothing of them is shown before they are reconciled with the database. To be called before anything is flushed,
    and then now and again. Raises StoreUnavailableError, and OperatorError where `announced` does.
    """
    states, lost = epochs.compare(lambda: StatesRead(store.bucket_states(), {}), by_files=by_files, announced=announced)
    known = epochs.expected() if lost else {}
    raised = {
        bucket: reason
        for bucket, reason in lost.items()
        if _raise_epoch(store, bucket, states[bucket], reason, known[bucket].state.epoch if bucket in known else 0)
    }
    if raised:
        log.error(
            "the store is not what the folder was written from; rebuilding it; affected profiles are not published "
            "until then",
            buckets=len(raised),
            reasons=sorted(set(raised.values()))[:4],
        )
    return LossCheck(states, len(raised))


def _raise_epoch(store: Store, bucket: int, state: BucketState | None, reason: str, above: int) -> bool:
    """False: another process just did. A recovery that was under way has still to reach its ends."""
    seen, rules = (None, RULES_VERSION) if state is None else (state.epoch, state.rules_version)
    ends = {} if state is None or state.recovery is None else state.recovery.ends
    goal = RecoveryGoal(ends, reconcile=True, reason=reason)
    return store.raise_epoch(bucket, seen, goal, InitialPositions({}, {}, rules), above)


def spell_epoch(state: BucketState | None) -> str:
    """The instance and the epoch."""
    return "" if state is None else f"{state.instance_id}:{state.epoch}"


def complete(states: States, buckets: Collection[int]) -> bool:
    """Whether these buckets hold the whole history: what was lost is reconciled with the database in a recovery."""
    return all((state := states[bucket]) is None or state.recovery is None for bucket in buckets)


def _losses(known: Mapping[int, LatestState], states: States) -> dict[int, str]:
    if not known:
        reason = "the folder has snapshots, and does not say of which store"
        return {bucket: reason for bucket, state in enumerate(states) if state is None or not state.epoch}
    found = {bucket: find_rollback(seen.state, states[bucket]) for bucket, seen in known.items()}
    return {bucket: reason for bucket, reason in found.items() if reason is not None}


def _given(states: States) -> list[tuple[int, BucketState]]:
    return [(bucket, state) for bucket, state in enumerate(states) if state is not None]


def _same(seen: BucketState, state: BucketState) -> bool:
    """Whether they are in the same epoch."""
    return spell_epoch(seen) == spell_epoch(state)


def _is_higher(state: BucketState, seen: BucketState) -> bool:
    return find_rollback(seen, state) is None and (state.epoch, state.writes) > (seen.epoch, seen.writes)


def _compared(seen: LatestState | None, state: BucketState, *, in_step: bool) -> LatestState:
    """What is known once the files were compared in this state; what fell back within its epoch is a loss still."""
    before = seen is not None and seen.in_step and _same(seen.state, state)
    if seen is None or find_rollback(seen.state, state) is None:
        return LatestState(state, in_step or before)
    return seen._replace(in_step=seen.in_step or (in_step and _same(seen.state, state)))


def _spell(seen: LatestState) -> str:
    return f"{spell_epoch(seen.state)}:{seen.state.writes}{'' if seen.in_step else ':compare'}"


@lru_cache(8)  # it is read with each batch, and seldom another
def _read(content: bytes) -> Mapping[int, LatestState]:
    return {bucket: _parse(text) for bucket, text in _decode(content).items() if 0 <= bucket < BUCKETS}


def _parse(text: str) -> LatestState:
    """What `_spell` wrote; a record of an older version has no count, a damaged one no number."""
    instance_id, epoch, writes, compare = _SPELLED.match(text).groups("0")  # type: ignore[union-attr]  # it matches anything
    return LatestState(BucketState(instance_id, int(epoch), "", int(writes), {}, {}, None), in_step=compare == "0")
