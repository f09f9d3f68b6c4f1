"""What the tail last knew of every comment: where it was and a fingerprint of its rows, 40 bytes each.

What has no key of its own (deletions, edits, moves) is seen by reading all rows again and comparing them with this.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from projections.comments.rows import AnalysisRow, CommentRow

_BLOCK = 10
"""Bits of an id within its block."""
_WIDTH = 5
_FEW = 100
_LOWEST = -(2**63)


class Fingerprint(NamedTuple):
    """Where a comment was, and fingerprints of its row and of its analysis (0: none). This process' own."""

    user_id: int
    help_request_id: int
    comment: int
    analysis: int


def fingerprint_of(row: CommentRow, analysis: AnalysisRow | None) -> Fingerprint:
    """Reduce a comment's rows to what is remembered of them."""
    content = hash((row.body, row.created_at, row.deleted_at))
    return Fingerprint(row.user_id, row.help_request_id, content, analysis_print(analysis))


def analysis_print(analysis: AnalysisRow | None) -> int:
    """Give an analysis' fingerprint; 0 only where there is none."""
    return 0 if analysis is None else hash(analysis[1:]) or 1


class Differences(NamedTuple):
    """Ids, ascending: of rows that are not as remembered or not known at all, and of comments without a row."""

    changed: list[int]
    missing: list[int]


class Columns(NamedTuple):
    """Some remembered comments, column by column, ascending by id."""

    ids: "array[int]"
    users: "array[int]"
    requests: "array[int]"
    analyses: "array[int]"


class RowFingerprints:
    """All remembered comments, packed in blocks of 1,024 ids. `highest` is the highest id that was ever seen."""

    def __init__(self, highest: int = 0) -> None:
        self._blocks: dict[int, array[int]] = {}
        self._order: list[int] | None = []
        self._count = 0
        self.highest = highest

    def __len__(self) -> int:
        return self._count

    def get(self, comment_ids: Iterable[int]) -> dict[int, Fingerprint]:
        """Look up those of these comments that are remembered."""
        found = {}
        for comment_id in comment_ids:
            block = self._blocks.get(comment_id >> _BLOCK)
            if block is not None:
                at = _place(block, comment_id)
                if at < len(block) and block[at] == comment_id:
                    found[comment_id] = Fingerprint(*block[at + 1 : at + _WIDTH])
        return found

    def put(self, entries: Mapping[int, Fingerprint]) -> None:
        """Remember these, in place of what was known of them."""
        for number, part in _by_block(entries).items():
            if len(part) < _FEW and number in self._blocks:
                self._insert(self._blocks[number], part)
            else:
                self._replace(number, {**self._unpacked(number), **part})

    def fill(self, entries: Mapping[int, Fingerprint]) -> None:
        """Remember those of which nothing is known."""
        for number, part in _by_block(entries).items():
            self._replace(number, {**part, **self._unpacked(number)})

    def forget(self, comment_ids: Iterable[int]) -> None:
        """Remember these no longer."""
        for number, part in _by_block(self.get(comment_ids)).items():
            self._replace(number, {key: one for key, one in self._unpacked(number).items() if key not in part})

    def compare(self, above: int, high: int, entries: Mapping[int, Fingerprint]) -> Differences:
        """Compare with all rows whose ids are in (above, high]; entries ascend."""
        changed: list[int] = []
        missing: list[int] = []
        parts = _by_block(entries)
        for number in sorted(parts.keys() | self._between(above, high)):
            part = parts.get(number, {})
            if number in self._blocks and _pack(part) == self._blocks[number]:
                continue
            known = self._unpacked(number)
            changed += [key for key, one in part.items() if known.get(key) != one]
            missing += [key for key in known if above < key <= high and key not in part]
        return Differences(changed, missing)

    def columns(self) -> Iterator[Columns]:
        """Give everything, a block at a time, in no order of blocks."""
        for block in self._blocks.values():
            yield Columns(block[0::_WIDTH], block[1::_WIDTH], block[2::_WIDTH], block[4::_WIDTH])

    def _between(self, above: int, high: int) -> list[int]:
        if self._order is None:
            self._order = sorted(self._blocks)
        first = bisect_left(self._order, max(above + 1, _LOWEST) >> _BLOCK)
        last = bisect_left(self._order, (high >> _BLOCK) + 1)
        return self._order[first:last]

    def _unpacked(self, number: int) -> dict[int, Fingerprint]:
        block = self._blocks.get(number)
        if block is None:
            return {}
        return {
            block[at]: Fingerprint(block[at + 1], block[at + 2], block[at + 3], block[at + 4])
            for at in range(0, len(block), _WIDTH)
        }

    def _insert(self, block: "array[int]", entries: Mapping[int, Fingerprint]) -> None:
        """Change a block in place: users' comments are scattered over all blocks, a few in each."""
        for comment_id, entry in entries.items():
            at = _place(block, comment_id)
            there = at < len(block) and block[at] == comment_id
            block[at : at + _WIDTH * there] = array("q", (comment_id, *entry))
            self._count += not there
        self.highest = max(self.highest, *entries)

    def _replace(self, number: int, entries: Mapping[int, Fingerprint]) -> None:
        before = self._blocks.pop(number, None)
        self._count += len(entries) - (0 if before is None else len(before) // _WIDTH)
        if entries:
            self._blocks[number] = _pack(dict(sorted(entries.items())))
            self.highest = max(self.highest, *entries)
        if (before is None) == bool(entries):
            self._order = None


def _place(block: "array[int]", comment_id: int) -> int:
    return bisect_left(range(0, len(block), _WIDTH), comment_id, key=block.__getitem__) * _WIDTH


def _by_block(entries: Mapping[int, Fingerprint]) -> dict[int, dict[int, Fingerprint]]:
    blocks: dict[int, dict[int, Fingerprint]] = {}
    for comment_id, entry in entries.items():
        blocks.setdefault(comment_id >> _BLOCK, {})[comment_id] = entry
    return blocks


def _pack(entries: Mapping[int, Fingerprint]) -> "array[int]":
    return array("q", [value for comment_id, entry in entries.items() for value in (comment_id, *entry)])


def counts(memory: RowFingerprints) -> tuple[int, int]:
    """Count the comments remembered, and those of them that have an analysis."""
    return len(memory), sum(len(part.analyses) - part.analyses.count(0) for part in memory.columns())


def ids_of(rows: Collection[CommentRow]) -> list[int]:
    """Name the comments of some rows."""
    return [row.comment_id for row in rows]
