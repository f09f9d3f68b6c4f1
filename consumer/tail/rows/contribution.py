"""What a comment adds to the profiles in which it counts, in one number of 64 bits.

The upper 62 bits are the end of its register's fingerprint: summed up modulo 2^62 they can be compared with the end of
a stored profile's digest. Two bits tell whether the comment counts, and whether it has tags.
"""

from collections.abc import Iterable, Mapping

from projections.comments.groups import Groups
from projections.comments.register import LIVE, content_fingerprint
from projections.comments.rows import AnalysisRow, CommentRow, InvalidRowError, register_halves

CONTENT_BITS = 62
_CONTENT = 2**CONTENT_BITS - 1
_TAGGED, _COUNTS = 2, 1
NO_CONTRIBUTION = 0
"""Of a comment that no profile holds, or whose row is invalid."""


def contributions(rows: Iterable[CommentRow], analyses: Mapping[int, AnalysisRow], groups: Groups) -> dict[int, int]:
    """Give the contributions of those of these comments that profiles hold, by id."""
    return {
        row.comment_id: (content_fingerprint(row.comment_id, half, tags) & _CONTENT) << 2
        | (_TAGGED if tags else 0)
        | (_COUNTS if half.state == LIVE else 0)
        for row, _, half, tags in register_halves(rows, analyses, groups, _ignore)
    }


def counts(contribution: int) -> bool:
    """Whether the comment counts: it is valid, not deleted, and in a group."""
    return bool(contribution & _COUNTS)


def has_tags(contribution: int) -> bool:
    """Whether the comment counts and has tags."""
    return contribution & 3 == _TAGGED | _COUNTS


def keep_tags(contribution: int, before: int) -> int:
    """Let the comment have tags if it had some before."""
    return contribution | before & _TAGGED


def digest_part(contribution: int) -> int:
    """What is summed up."""
    return contribution >> 2


def in_step(total: int, digest: int) -> bool:
    """Whether a sum of parts equals a stored digest, as far as both are known."""
    return not (total - digest) & _CONTENT


def _ignore(_error: InvalidRowError) -> None:
    """It is logged where events are made of the row."""
