"""The closer look at some users: register by register against their rows. It makes no events: it says what differs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from consumer.tail.rows.contribution import NO_CONTRIBUTION, contributions, counts, has_tags
from consumer.tail.rows.event_builder import EventBuilder
from consumer.tail.rows.fingerprints import Fingerprint, fingerprint_of
from projections.comments import register as registers_
from projections.comments.register import EMPTY_REGISTER, Register, has_row, unpack
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowError, register_halves
from projections.database.database import Database, analyses_of
from projections.profile_key import ProfileKey
from snapshot.deletion_guard import Cause, cause_of
from snapshot.reconcile.reconcile import Part, rows_of
from snapshot.reconcile.stored import Registers


class Difference(NamedTuple):
    """A comment whose register in one profile is not what its row gives; `unknown`: it is, and the tail missed that."""

    comment_id: int
    key: ProfileKey
    register: Register
    unknown: bool = False

    @property
    def revision(self) -> int:
        """The higher one of its halves'."""
        return max(self.register.comment_revision, self.register.insight_revision)

    @property
    def counted(self) -> bool:
        """Whether it counts in the store."""
        return registers_.counts(self.register)


def differences(
    database: Database, part: Part, registers: Registers, builder: EventBuilder
) -> Iterator[list[Difference]]:
    """Compare the registers of a part of the users, which are used up, with the rows of these users.

    What agrees, though the tail knows nothing of it there, is named, too: nobody would say that it left. A row that
    polling or the sweep has yet to see is published by them even if it is as before when they look.
    """
    for rows in rows_of(database, part):
        analyses = analyses_of(database, rows)
        known = builder.fingerprints.get(row.comment_id for row in rows)
        found = list(_of_rows(registers, rows, analyses, known, builder))
        builder.fingerprints.unpublish(
            row.comment_id
            for row in rows
            if (old := known.get(row.comment_id)) and old != fingerprint_of(row, analyses.get(row.comment_id))
        )
        yield found
    yield [
        Difference(comment_id, key, register)
        for key, mine in registers.items()
        for comment_id, packed in mine.items()
        if has_row(register := unpack(packed))
    ]


def _of_rows(
    registers: Registers,
    rows: list[CommentRow],
    analyses: Mapping[int, AnalysisRow],
    known: Mapping[int, Fingerprint],
    builder: EventBuilder,
) -> Iterator[Difference]:
    for row, slugs, half, tags in register_halves(rows, analyses, builder.groups, _ignore):
        for slug in slugs:
            key = ProfileKey(row.user_id, slug)
            packed = registers.get(key, {}).pop(row.comment_id, None)
            old = EMPTY_REGISTER if packed is None else unpack(packed)
            if old.comment != half or old.labels != tags:
                yield Difference(row.comment_id, key, old)
            elif has_row(old) and not _is_in(key, known.get(row.comment_id), builder):
                yield Difference(row.comment_id, key, old, unknown=True)


def _is_in(key: ProfileKey, seen: Fingerprint | None, builder: EventBuilder) -> bool:
    """Whether that puts a comment into this profile."""
    return seen is not None and key in builder.profiles(seen)


def _ignore(_error: InvalidRowError) -> None:
    """It is logged where events are made of the row."""


class Present:
    """The rows of some comments, read again by their ids: what has to be published is made of these."""

    def __init__(self, database: Database, builder: EventBuilder, comment_ids: Iterable[int]) -> None:
        self._builder = builder
        self.ids = sorted(set(comment_ids))
        self.rows = {row.comment_id: row for row in database.comments_by_ids(self.ids)} if self.ids else {}
        self.analyses = analyses_of(database, list(self.rows.values())) if self.rows else {}
        self._contributions = contributions(self.rows.values(), self.analyses, builder.groups)

    def unseen(self) -> set[int]:
        """Name those that are not as the tail remembers them: polling or the sweep is about to publish them."""
        known = self._builder.fingerprints.get(self.ids)
        rows = {key: fingerprint_of(row, self.analyses.get(key)) for key, row in self.rows.items()}
        return {key for key in self.ids if known.get(key) != rows.get(key)}

    def is_known(self, one: Difference) -> bool:
        """Whether the comment is in that profile by what the tail remembers."""
        return _is_in(one.key, self._builder.fingerprints.get([one.comment_id]).get(one.comment_id), self._builder)

    def cause(self, one: Difference) -> Cause | None:
        """Say why a comment leaves a profile, if an act other than its deletion or move explains it."""
        row = self.rows.get(one.comment_id)
        if row is None or row.user_id != one.key.user_id or one.register.comment is None:
            return None
        cause = cause_of(one.key, row.help_request_id, self._builder.groups)
        moved = one.register.comment.help_request_id != row.help_request_id
        return None if moved and cause is not None and cause.kind == "request" else cause

    def counts(self, one: Difference) -> bool:
        """Whether the comment counts in that profile by its row."""
        row = self.rows.get(one.comment_id)
        return row is not None and one.key in self._builder.profiles(row) and counts(self._contribution(one))

    def has_tags(self, one: Difference) -> bool:
        """Whether it has tags there."""
        return self.counts(one) and has_tags(self._contribution(one))

    def _contribution(self, one: Difference) -> int:
        return self._contributions.get(one.comment_id, NO_CONTRIBUTION)
