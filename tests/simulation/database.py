"""WhiteBalloon's two databases in memory: transactions that begin, commit late and roll back, and a clock of their own.

As on PostgreSQL an id is drawn when a row is inserted and seen when its transaction commits; with `one_writer`, as on
SQLite, writers take turns, the highest id that is free is given again, and there is no horizon.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from projections.comments.groups import KEY_PREFIX, TITLE_PREFIX, Groups
from projections.comments.rows import AnalysisRow, CommentRow

EPOCH = 1_700_000_000_000_000
"""Microseconds since 1970 when a history begins."""


class Analysis(NamedTuple):
    row: AnalysisRow
    run: str


@dataclass
class Tables:
    """Everything that is committed."""

    comments: dict[int, CommentRow] = field(default_factory=dict)
    analyses: dict[int, Analysis] = field(default_factory=dict)
    members: dict[tuple[int, str], str | None] = field(default_factory=dict)
    """By user and slug, the group's name."""
    titles: dict[int, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)

    def copy(self) -> "Tables":
        return Tables(dict(self.comments), dict(self.analyses), dict(self.members), dict(self.titles), dict(self.runs))

    def add(self, others: "Tables") -> None:
        """Put back what is missing, and all titles."""
        for name in ("comments", "analyses", "members"):
            mine, theirs = getattr(self, name), getattr(others, name)
            mine.update({key: value for key, value in theirs.items() if key not in mine})
        self.titles.update(others.titles)

    def groups(self) -> Groups:
        attributes = [(user, KEY_PREFIX + slug, name) for (user, slug), name in self.members.items()]
        return Groups.from_rows(attributes, self.titles.items())


Change = Callable[[Tables], None]


class Transaction:
    """Changes that become visible together, or never."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.changes: list[Change] = []


class WhiteBalloon:
    """The server. `committed` is called after each commit; `now` is the true time in microseconds."""

    def __init__(self, now: Callable[[], int], *, one_writer: bool) -> None:
        self.tables = Tables()
        self.one_writer = one_writer
        self.version = 0
        self.clock_offset = 0
        self.away_until = 0
        self.committed: Callable[[], None] = lambda: None
        self._now = now
        self._next_number = 100
        self._open: dict[int, Transaction] = {}
        self._next_id = 1
        self._sorted: tuple[int, list[CommentRow], list[AnalysisRow]] | None = None
        self._groups: tuple[int, Groups] | None = None

    def clock(self) -> int:
        return EPOCH + self._now() + self.clock_offset

    def true_clock(self) -> int:
        return EPOCH + self._now()

    @property
    def away(self) -> bool:
        return self._now() < self.away_until

    @property
    def busy(self) -> bool:
        """Whether any transaction is open."""
        return bool(self._open)

    # ------------------------------------------------------------------------------------------------------- writing

    def begin(self) -> Transaction | None:
        """None: another writer has the database, and only one can."""
        if self.one_writer and self._open:
            return None
        transaction = Transaction(self._next_number)
        self._next_number += 1
        self._open[transaction.number] = transaction
        return transaction

    def draw_id(self) -> int:
        """The id of a comment that is about to be inserted."""
        if self.one_writer:
            self._next_id = max(self.tables.comments, default=0) + 1
        self._next_id += 1
        return self._next_id - 1

    def commit(self, transaction: Transaction) -> None:
        del self._open[transaction.number]
        for change in transaction.changes:
            change(self.tables)
        self.version += 1
        self.committed()

    def roll_back(self, transaction: Transaction) -> None:
        del self._open[transaction.number]

    # ------------------------------------------------------------------------------------------------------- reading

    def horizon(self) -> tuple[int, int]:
        """All transactions below the first number have ended, none from the second on has begun."""
        return min(self._open, default=self._next_number), self._next_number

    def rows(self) -> tuple[list[CommentRow], list[AnalysisRow]]:
        """All comments and all analyses, ascending by id."""
        if self._sorted is None or self._sorted[0] != self.version:
            comments = [row for _, row in sorted(self.tables.comments.items())]
            analyses = [one.row for _, one in sorted(self.tables.analyses.items())]
            self._sorted = self.version, comments, analyses
        return self._sorted[1:]

    def groups(self) -> Groups:
        if self._groups is None or self._groups[0] != self.version:
            self._groups = self.version, self.tables.groups()
        return self._groups[1]


def title(name: str) -> str:
    return TITLE_PREFIX + name
