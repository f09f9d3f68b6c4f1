"""From rows to events: the whole present state of comments, and `gone` to the profiles that they left."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import structlog

from consumer.tail.rows.fingerprints import Fingerprint, RowFingerprints, fingerprint_of, ids_of
from consumer.tail.rows.revisions import Revisions
from projections.comments.events import CommentCreated, Event
from projections.comments.groups import Groups
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowError, events, insight
from projections.database.database import Database, analyses_of
from snapshot.runtime.logs import warn_invalid_row
from snapshot.runtime.metrics import Metrics

log = structlog.get_logger()

_NO_TIME = datetime(1970, 1, 1)  # noqa: DTZ001 - a comment that is gone counts nowhere, so its time is never looked at


class EventBuilder:
    """Says what rows mean, and remembers what it said.

    `groups` and `memory` together tell in which profiles each comment was published; so `groups` is only ever changed
    together with `gone` for whatever it takes away (`consumer.tail.changes.memberships`).
    """

    def __init__(
        self, database: Database, groups: Groups, memory: RowFingerprints, revisions: Revisions, metrics: Metrics
    ) -> None:
        self._database = database
        self._metrics = metrics
        self.groups = groups
        self.memory = memory
        self.revisions = revisions

    def build(
        self,
        rows: Sequence[CommentRow],
        analyses: Mapping[int, AnalysisRow] | None = None,
        *,
        joins_profile: bool = False,
        analysis_deleted: bool = False,
        empty_store: bool = False,
    ) -> list[Event]:
        """Give the present state of comments that were just read, for all their profiles.

        Without `analyses` they are read here. `joins_profile`: to some of these profiles the comments are new. An
        analysis that is no longer there is passed over unless `analysis_deleted` says that it was meant to go.
        `empty_store`: the store is new, so it has no labels of analyses that went.
        """
        if not rows:
            return []
        if analyses is None:
            analyses = analyses_of(self._database, list(rows))
        revision = self.revisions.next()
        unreadable: set[int] = set()

        def left_out(error: InvalidRowError) -> None:
            warn_invalid_row(error)
            self._metrics.count("signal_glaze.rows_unreadable")
            unreadable.add(error.row.comment_id)

        found = list(events(rows, analyses, self.groups, revision, left_out))
        known = self.memory.get(ids_of(rows))
        entries: dict[int, Fingerprint] = {}
        for row in rows:
            old, analysis = known.get(row.comment_id), analyses.get(row.comment_id)
            entry = fingerprint_of(row, analysis)
            if analysis is None and old is not None and not analysis_deleted:
                entry = entry._replace(analysis=old.analysis)
            if row.comment_id in unreadable:
                found += self._gone(row.comment_id, Fingerprint(*row[1:3], 0, 0), None, revision)
            elif entry.analysis == 0 and not empty_store and (joins_profile or self._may_have_labels(row, old)):
                slugs = self.groups.slugs(row.user_id, row.help_request_id)
                found += (insight(row, slug, None, revision) for slug in slugs)
            if old is not None:
                found += self._gone(row.comment_id, old, row, revision)
            entries[row.comment_id] = entry
        self.memory.put(entries)
        return found

    def removed_events(self, comment_ids: Sequence[int]) -> list[Event]:
        """Say that comments, which were just looked for in vain, are gone from all their profiles; forget them."""
        revision = self.revisions.next()
        known = self.memory.get(comment_ids)
        self.memory.forget(comment_ids)
        return [event for key, old in known.items() for event in self._gone(key, old, None, revision)]

    def _gone(self, comment_id: int, old: Fingerprint, row: CommentRow | None, revision: int) -> Iterator[Event]:
        """To the profiles that the comment was in and is not in any more."""
        here: tuple[str, ...] = ()
        if row is not None and row.user_id == old.user_id:
            here = self.groups.slugs(row.user_id, row.help_request_id)
        for slug in self.groups.slugs(old.user_id, old.help_request_id):
            if slug not in here:
                yield removed_event(comment_id, old.user_id, slug, old.help_request_id, revision)

    def _may_have_labels(self, row: CommentRow, old: Fingerprint | None) -> bool:
        """Whether a profile may hold labels for this comment, from an analysis that it no longer has.

        A comment with an id that was never seen can't. One that moved may have been there before.
        """
        if old is None:
            return row.comment_id <= self.memory.highest
        return bool(old.analysis) or (old.user_id, old.help_request_id) != (row.user_id, row.help_request_id)


def removed_event(comment_id: int, user_id: int, slug: str, help_request_id: int, revision: int) -> CommentCreated:
    """Say that a comment is no longer part of a profile."""
    return CommentCreated(
        comment_id=comment_id,
        user_id=user_id,
        group_slug=slug,
        help_request_id=help_request_id,
        body="",
        created_at=_NO_TIME,
        gone=True,
        revision=revision,
    )


def chunks(found: Sequence[Event], size: int) -> Iterable[Sequence[Event]]:
    """Divide events into batches of at most so many."""
    return (found[at : at + size] for at in range(0, len(found), size))
