"""What the tail last knew of every comment: where it was, fingerprints of its rows, and what it contributes.

What has no key of its own (deletions, edits, moves) is seen by reading all rows again and comparing them with this.
48 bytes a comment.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple, TypeVar

from consumer.tail.rows.contribution import NO_CONTRIBUTION, digest_part
from projections.comments.rows import AnalysisRow, CommentRow

_BLOCK_BITS = 10
"""Bits of an id within its block."""
_WIDTH = 4
_FEW = 100
UNPUBLISHED = -1
"""In place of a row's hash: it has to be published, whatever it is. No object has this hash."""
T = TypeVar("T")


class Fingerprint(NamedTuple):
    """Where a comment was, and hashes of its row and of its analysis (0: none). This process' own."""

    user_id: int
    help_request_id: int
    comment: int
    analysis: int


def fingerprint_of(row: CommentRow, analysis: AnalysisRow | None) -> Fingerprint:
    """Reduce a comment's rows to what is remembered of them."""
    content = hash((row.body, row.created_at, row.deleted_at))
    return Fingerprint(row.user_id, row.help_request_id, content, analysis_hash(analysis))


def analysis_hash(analysis: AnalysisRow | None) -> int:
    """Give an analysis' hash; 0 only where there is none."""
    return 0 if analysis is None else hash(analysis[1:]) or 1


class Entry(NamedTuple):
    """Everything that is remembered of one comment."""

    fingerprint: Fingerprint
    contribution: int = NO_CONTRIBUTION


class Differences(NamedTuple):
    """Ids, ascending: of rows that are not as remembered or not known at all, and of comments without a row."""

    changed: list[int]
    missing: list[int]


class Columns(NamedTuple):
    """Some remembered comments, column by column, ascending by id."""

    ids: "array[int]"
    users: "array[int]"
    requests: "array[int]"
    contributions: "array[int]"


class _Block:
    """Entries of 1,024 ids, ascending; their fingerprints lie together, so that they are compared in one step."""

    __slots__ = ("contributions", "fingerprints", "ids")

    def __init__(self, entries: Mapping[int, Entry]) -> None:
        self.ids = array("q", entries)
        self.fingerprints = _packed(entry.fingerprint for entry in entries.values())
        self.contributions = array("Q", [entry.contribution for entry in entries.values()])

    def get(self, comment_id: int) -> Entry | None:
        """Look one up."""
        at = bisect_left(self.ids, comment_id)
        return self.at(at) if at < len(self.ids) and self.ids[at] == comment_id else None

    def at(self, at: int) -> Entry:
        """The entry in this place."""
        start = at * _WIDTH
        return Entry(Fingerprint(*self.fingerprints[start : start + _WIDTH]), self.contributions[at])

    def insert(self, comment_id: int, entry: Entry, *, known: bool) -> None:
        """Put an entry in its place."""
        at = bisect_left(self.ids, comment_id)
        self.fingerprints[at * _WIDTH : (at + known) * _WIDTH] = array("q", entry.fingerprint)
        if known:
            self.contributions[at] = entry.contribution
        else:
            self.ids.insert(at, comment_id)
            self.contributions.insert(at, entry.contribution)

    def entries(self) -> dict[int, Entry]:
        """Give all, ascending."""
        return {comment_id: self.at(at) for at, comment_id in enumerate(self.ids)}


class RowFingerprints:
    """All remembered comments, packed in blocks. `highest` is the highest id that was ever seen.

    `sums` gives, for each (user, request), the sum of what its comments contribute to digests.
    """

    def __init__(self, highest: int = 0) -> None:
        self._blocks: dict[int, _Block] = {}
        self._order: list[int] | None = []
        self._count = 0
        self.sums: dict[tuple[int, int], int] = {}
        self.highest = highest

    def __len__(self) -> int:
        return self._count

    def entries(self, comment_ids: Iterable[int]) -> dict[int, Entry]:
        """Look up those of these comments that are remembered."""
        found = {}
        for comment_id in comment_ids:
            block = self._blocks.get(comment_id >> _BLOCK_BITS)
            entry = block.get(comment_id) if block is not None else None
            if entry is not None:
                found[comment_id] = entry
        return found

    def get(self, comment_ids: Iterable[int]) -> dict[int, Fingerprint]:
        """Look up their fingerprints."""
        return {comment_id: entry.fingerprint for comment_id, entry in self.entries(comment_ids).items()}

    def put(self, entries: Mapping[int, Entry], known: Mapping[int, Entry] | None = None) -> None:
        """Remember these, in place of what was known of them, which is looked up unless it is given."""
        if known is None:
            known = self.entries(entries)
        self._add(known, -1)
        self._add(entries, 1)
        for number, part in _by_block(entries).items():
            block = self._blocks.get(number)
            if block is None or len(part) >= _FEW:
                self._replace(number, {**({} if block is None else block.entries()), **part})
            else:  # users' comments are scattered over all blocks, a few in each
                for comment_id, entry in part.items():
                    block.insert(comment_id, entry, known=comment_id in known)
        self._count += len(entries) - len(known)
        self.highest = max(self.highest, *entries) if entries else self.highest

    def unpublish(self, comment_ids: Iterable[int]) -> None:
        """Take those of these that are remembered for changed, until they are put again."""
        known = self.entries(comment_ids)
        self.put({key: Entry(old._replace(comment=UNPUBLISHED), mine) for key, (old, mine) in known.items()})

    def fill(self, entries: Mapping[int, Entry]) -> None:
        """Remember those of which nothing is known."""
        known = self.entries(entries)
        self.put({comment_id: entry for comment_id, entry in entries.items() if comment_id not in known}, {})

    def forget(self, comment_ids: Iterable[int]) -> None:
        """Remember these no longer."""
        known = self.entries(comment_ids)
        self._add(known, -1)
        self._count -= len(known)
        for number, part in _by_block(known).items():
            left = self._blocks[number].entries()
            self._replace(number, {comment_id: one for comment_id, one in left.items() if comment_id not in part})

    def compare(self, above: int, high: int, fingerprints: Mapping[int, Fingerprint]) -> Differences:
        """Compare with all rows whose ids are in (above, high]; these ascend."""
        changed: list[int] = []
        missing: list[int] = []
        parts = _by_block(fingerprints)
        for number in sorted(parts.keys() | self._between(above, high)):
            part = parts.get(number, {})
            block = self._blocks.get(number)
            if block is not None and array("q", part) == block.ids and _packed(part.values()) == block.fingerprints:
                continue
            known = {} if block is None else block.entries()
            changed += [key for key, one in part.items() if key not in known or known[key].fingerprint != one]
            missing += [key for key in known if above < key <= high and key not in part]
        return Differences(changed, missing)

    def columns(self) -> Iterator[Columns]:
        """Give everything, a block at a time, in no order of blocks."""
        for block in self._blocks.values():
            packed = block.fingerprints
            yield Columns(block.ids, packed[0::_WIDTH], packed[1::_WIDTH], block.contributions)

    def _between(self, above: int, high: int) -> list[int]:
        if self._order is None:
            self._order = sorted(self._blocks)
        first = bisect_left(self._order, (above + 1) >> _BLOCK_BITS)
        last = bisect_left(self._order, (high >> _BLOCK_BITS) + 1)
        return self._order[first:last]

    def _replace(self, number: int, entries: Mapping[int, Entry]) -> None:
        before = self._blocks.pop(number, None)
        if entries:
            self._blocks[number] = _Block(dict(sorted(entries.items())))
        if (before is None) == bool(entries):
            self._order = None

    def _add(self, entries: Mapping[int, Entry], sign: int) -> None:
        for fingerprint, contribution in entries.values():
            if contribution:
                place = fingerprint[:2]
                total = self.sums.get(place, 0) + sign * digest_part(contribution)
                if total:
                    self.sums[place] = total
                else:
                    self.sums.pop(place, None)


def _by_block(entries: Mapping[int, T]) -> dict[int, dict[int, T]]:
    blocks: dict[int, dict[int, T]] = {}
    for comment_id, entry in entries.items():
        blocks.setdefault(comment_id >> _BLOCK_BITS, {})[comment_id] = entry
    return blocks


def _packed(fingerprints: Iterable[Fingerprint]) -> "array[int]":
    return array("q", chain.from_iterable(fingerprints))


def ids_of(rows: Collection[CommentRow]) -> list[int]:
    """Name the comments of some rows."""
    return [row.comment_id for row in rows]
