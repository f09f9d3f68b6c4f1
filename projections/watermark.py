"""How far the tail of the database has come: what tells lag from drift.

The tail's whole state is a document in the store (`document(TAIL)`), written under the lease of the same name.
"""

from collections.abc import Mapping

import msgspec

TAIL = "tail"
"""Name of the lease that the working tail holds, relay or embedded, and of its document."""


class Watermark(msgspec.Struct, kw_only=True):
    """The part of the tail's document that others read; unknown fields are the tail's own.

    Times are microseconds of the database's clock. Everything committed before `polled_until` that polling sees, and
    everything at all committed before `swept_until`, has been handed on; consumers have it once they hold `positions`
    (partition -> position).
    """

    polled_until: int = 0
    swept_until: int = 0
    positions: Mapping[str, int] = {}
