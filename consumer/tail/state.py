"""What the tail keeps in its document in the store, and how it may be tuned."""

from collections.abc import Sequence

import msgspec

from consumer.tail.changes.gaps import MissingIds
from projections.decoding import JsonDecoder
from projections.watermark import Watermark

POLL_RESERVE = 1_000_000
"""How far ahead, in microseconds, the places of polls are reserved: the document is written about once a second."""
RESERVE = 5_000_000
"""How far ahead, in microseconds, revisions are reserved: no more than the lease lasts, so that they don't run away
from the clock when holders die one after the other."""


class TailSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, rows and events.

    A sweep round begins at least `sweep_interval` after the last one began, and only if anything was committed since.
    `prune_all` confirms deletions that the guard would block.
    """

    poll_interval: float = 0.5
    sweep_interval: float = 5.0
    sweep_rows_per_second: int = 40_000
    page: int = 2_000
    batch: int = 5_000
    lease: float = 5.0
    prune_all: bool = False


class TailState(Watermark, kw_only=True):
    """The tail's whole document: the watermark, and where a successor goes on.

    `position` is the number up to which everything was acknowledged, `ceiling` the highest revision or number that may
    have been handed out. `comment_head` and `analysis_head` are the highest keys that were read, `highest` the highest
    comment id ever seen. `backfilled` is the user up to whom the history was published. `read_until` is `swept_until`
    where some deletions are blocked: all rows were read, and the rest was handed on.
    """

    position: int = 0
    ceiling: int = 0
    comment_head: int = 0
    analysis_head: int = 0
    highest: int = 0
    comment_gaps: Sequence[MissingIds] = ()
    analysis_gaps: Sequence[MissingIds] = ()
    backfilled: int = -1
    read_until: int = 0


_encode = msgspec.json.Encoder(order="deterministic").encode
decode = JsonDecoder(TailState).decode


def encode(state: TailState) -> bytes:
    """Write the document; the same state always gives the same bytes."""
    return _encode(state)
