"""A profile's head: its aggregates in one packed document, all that a snapshot is built from."""

import msgspec

from projections.profiles.ranking import EarliestComments, Ranking


class Head(msgspec.Struct, array_like=True, gc=False):
    """The aggregates over all registers of a profile that count.

    `first` holds the earliest comments, `last` the latest with both numbers negated. `requests` counts comments for
    each help request. `digest` is the sum modulo 2^128 of the registers' fingerprints, 16 bytes. `recompute` says that
    some of this is not known until all registers are read again; `recomputer` is the token of the recompute that runs,
    `touched` the comments that changed since it began. `cause` is the event that last changed the content: (topic,
    comment id).
    """

    count: int = 0
    first: EarliestComments = msgspec.field(default_factory=EarliestComments)
    last: EarliestComments = msgspec.field(default_factory=EarliestComments)
    reactions: dict[str, int] = {}
    attachments: dict[str, int] = {}
    requests: dict[int, int] = {}
    links: Ranking = msgspec.field(default_factory=Ranking)
    tags: Ranking = msgspec.field(default_factory=Ranking)
    digest: bytes = bytes(16)
    recompute: bool = False
    recomputer: str = ""
    touched: list[int] = []
    cause: tuple[str, int] = ("", 0)

    def needs_recompute(self) -> bool:
        """Whether the published lists or times may be wrong until the registers are read again."""
        return self.recompute or self.links.too_short() or self.tags.too_short()
