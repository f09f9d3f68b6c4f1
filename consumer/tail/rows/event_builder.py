"""The one way from rows to events: the whole present state of comments, and their removal from profiles that they left.

In which profiles each comment was published is known from two things together: the groups that are in force, and the
fingerprints. Both change here only, with the events that follow from it.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import Enum, auto

from consumer.tail.rows.contribution import NO_CONTRIBUTION, contributions, counts, keep_tags
from consumer.tail.rows.fingerprints import UNPUBLISHED, Entry, Fingerprint, RowFingerprints, fingerprint_of, ids_of
from consumer.tail.rows.revisions import Revisions
from projections.comments.events import CommentCreated, Event, gone
from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowError, events, insight
from projections.database.database import Database, analyses_of
from projections.profile_key import ProfileKey
from snapshot.runtime.logs import warn_invalid_row
from snapshot.runtime.metrics import Metrics

Profiles = Mapping[ProfileKey, int]
"""Profiles that hold a comment, with the request that it was on there."""
_NOWHERE: Profiles = {}
_UNKNOWN: Mapping[int, Profiles] = {}


class NoAnalysis(Enum):
    """What it means that a comment has none."""

    UNCONFIRMED = auto()
    """If it had one, the tags stay until their removal is confirmed."""
    CONFIRMED = auto()
    """If it had one, its tags are removed."""
    UNKNOWN_BEFORE = auto()
    """As unconfirmed; but profiles in which the comment is new may have tags from earlier, and these are removed."""
    NEVER_ANALYSED = auto()
    """The store is new, so it has no tags."""


class EventBuilder:
    """Makes events of rows that were just read, and remembers what they were."""

    def __init__(
        self, database: Database, groups: Groups, fingerprints: RowFingerprints, revisions: Revisions, metrics: Metrics
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._groups = groups
        self.fingerprints = fingerprints
        self.revisions = revisions
        self.recent: set[int] = set()
        """Of what events were made since this was last cleared: see `place`."""
        self.unsettled: frozenset[int] = frozenset()
        """Users for whom the deletion guard keeps other groups in force than the database has."""

    @property
    def groups(self) -> Groups:
        """The groups that are in force: those by which the last events of each comment were made."""
        return self._groups

    def measure(self, groups: Groups) -> None:
        """Send how many memberships, as just read, match no request."""
        self._metrics.gauge("signal_glaze.memberships_unmatched", len(groups.unmatched()))

    def change_groups(
        self,
        groups: Groups,
        leaving: Iterable[tuple[int, ProfileKey]],
        arriving: Iterable[int],
        unsettled: Collection[int] = (),
    ) -> int:
        """Put these in force. The comments in `leaving` have to be `removed`, with the revision that this gives.

        Those in `arriving` have to be built. Until they are, no row is as it was published.
        """
        self.fingerprints.unpublish(arriving)
        revision = self.revisions.next()
        self._groups = groups
        self.unsettled = frozenset(unsettled)
        self.recent.update(place(comment_id, key) for comment_id, key in leaving)
        return revision

    def build(
        self,
        rows: Sequence[CommentRow],
        analyses: Mapping[int, AnalysisRow] | None = None,
        *,
        no_analysis: NoAnalysis = NoAnalysis.UNCONFIRMED,
        stored: Mapping[int, Profiles] = _UNKNOWN,
    ) -> list[Event]:
        """Give the present state of comments that were just read, for all their profiles.

        Without `analyses` they are read here. `stored` names profiles in which the store holds a comment, besides
        those that are known here.
        """
        if not rows:
            return []
        if analyses is None:
            analyses = analyses_of(self._database, list(rows))
        revision = self.revisions.next()
        invalid: set[int] = set()
        found = list(events(rows, analyses, self._groups, revision, lambda error: self._note_invalid(error, invalid)))
        contributed = contributions(rows, analyses, self._groups)
        known = self.fingerprints.entries(ids_of(rows))
        entries: dict[int, Entry] = {}
        for row in rows:
            comment_id = row.comment_id
            old, analysis = known.get(comment_id), analyses.get(comment_id)
            entry = Entry(fingerprint_of(row, analysis), contributed.get(comment_id, NO_CONTRIBUTION))
            if analysis is None and old is not None and no_analysis is not NoAnalysis.CONFIRMED:
                entry = _keep_analysis(entry, old)
            entries[comment_id] = entry
            tags_may_stay = entry.fingerprint.analysis == 0 and self._may_have_tags(row, old, no_analysis)
            elsewhere = comment_id in stored or (old is not None and old.fingerprint[:2] != entry.fingerprint[:2])
            if not tags_may_stay and not elsewhere and comment_id not in invalid:
                continue
            present = _NOWHERE if comment_id in invalid else self.profiles(row)
            if tags_may_stay:
                found += (insight(row, key.group_slug, None, revision) for key in present)
            before = {**self.profiles(row), **self._before(old), **stored.get(comment_id, _NOWHERE)}
            found += removed(comment_id, {key: before[key] for key in before.keys() - present}, revision)
        self.fingerprints.put(entries, known)
        self._note_recent(found)
        return found

    def build_removed(self, comment_ids: Sequence[int], stored: Mapping[int, Profiles] = _UNKNOWN) -> list[Event]:
        """Remove comments, which were just looked for in vain, from all their profiles; forget them."""
        revision = self.revisions.next()
        known = self.fingerprints.entries(comment_ids)
        self.fingerprints.forget(known)
        found: list[Event] = [
            event
            for comment_id in comment_ids
            for event in removed(
                comment_id, {**self._before(known.get(comment_id)), **stored.get(comment_id, _NOWHERE)}, revision
            )
        ]
        self._note_recent(found)
        return found

    def _note_recent(self, found: Iterable[Event]) -> None:
        self.recent.update(place(one.comment_id, ProfileKey(one.user_id, one.group_slug)) for one in found)

    def profiles_of(self, old: Entry) -> Profiles:
        """The profiles in which a comment counts, as it was published."""
        return self.profiles(old.fingerprint) if counts(old.contribution) else _NOWHERE

    def ended(self, row: CommentRow, old: Entry, contribution: int) -> list[ProfileKey]:
        """Name the profiles in which a comment counts, and would not with this row and contribution."""
        present = self.profiles(row) if counts(contribution) else _NOWHERE
        return [key for key in self.profiles_of(old) if key not in present]

    def _note_invalid(self, error: InvalidRowError, invalid: set[int]) -> None:
        warn_invalid_row(error)
        self._metrics.count("signal_glaze.rows_unreadable")
        invalid.add(error.row.comment_id)

    def _before(self, old: Entry | None) -> Profiles:
        """The profiles in which a comment was published, as far as that is remembered."""
        return _NOWHERE if old is None else self.profiles(old.fingerprint)

    def profiles(self, place: CommentRow | Fingerprint) -> Profiles:
        """The profiles that hold a comment, by the groups that are in force."""
        user, request = place.user_id, place.help_request_id
        return {ProfileKey(user, slug): request for slug in self._groups.slugs(user, request)}

    def _may_have_tags(self, row: CommentRow, old: Entry | None, no_analysis: NoAnalysis) -> bool:
        """Whether a profile may hold tags for this comment, from an analysis that it no longer has.

        A comment with an id that was never seen can't. One that moved may have been there before.
        """
        if no_analysis is NoAnalysis.NEVER_ANALYSED:
            return False
        if no_analysis is not NoAnalysis.UNCONFIRMED:
            return True
        if old is None:
            return row.comment_id <= self.fingerprints.highest
        moved = old.fingerprint[:2] != (row.user_id, row.help_request_id)
        return bool(old.fingerprint.analysis) or moved or old.fingerprint.comment == UNPUBLISHED


def _keep_analysis(entry: Entry, old: Entry) -> Entry:
    kept = entry.fingerprint._replace(analysis=old.fingerprint.analysis)
    return Entry(kept, keep_tags(entry.contribution, old.contribution))


def place(comment_id: int, key: ProfileKey) -> int:
    """A number for a comment in a profile; two may have the same, in this process only."""
    return hash((comment_id, key))


def removed(comment_id: int, profiles: Profiles, revision: int) -> Iterator[CommentCreated]:
    """Say to each of these profiles that a comment is no longer part of it."""
    for key in sorted(profiles):
        yield gone(comment_id, *key, profiles[key], revision)
