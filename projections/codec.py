"""The fields of a profile in the store: `h` the head, `c<comment id>` a register, `l<url>` a link, `t<label>` a tag."""

from collections.abc import Iterable, Mapping

import msgspec

from projections.comments import register as registers_
from projections.comments.register import Register
from projections.profiles.head import Head
from projections.profiles.ranking import LabelStats


def register_field(comment_id: int) -> bytes:
    """Where a comment's register lies.

    >>> register_field(17)
    b'c17'
    """
    return b"c%d" % comment_id


def link_field(url: str) -> bytes:
    """Where a link's record lies."""
    return b"l" + url.encode()


def tag_field(label: str) -> bytes:
    """Where a tag's record lies."""
    return b"t" + label.encode()


def is_register(field: bytes) -> bool:
    """Whether a register lies there."""
    return field[:1] == b"c"


def is_link(field: bytes) -> bool:
    """Whether a link's record lies there."""
    return field[:1] == b"l"


def is_label(field: bytes) -> bool:
    """Whether the record of a link or a tag lies there."""
    return field[:1] in (b"l", b"t")


def read_registers(fields: Iterable[tuple[bytes, bytes]]) -> dict[int, Register]:
    """Read the registers among these fields, by comment id."""
    return {int(name[1:]): registers_.unpack(value) for name, value in fields if is_register(name)}


def pack_labels(links: Mapping[str, LabelStats], tags: Mapping[str, LabelStats]) -> dict[bytes, bytes]:
    """Pack the records of links and tags."""
    packed = {link_field(url): pack_label(label) for url, label in links.items()}
    packed.update((tag_field(name), pack_label(label)) for name, label in tags.items())
    return packed


_encode = msgspec.msgpack.Encoder().encode


UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What reading damaged bytes raises: nested deeply, they take Python's stack."""

unpack_head = msgspec.msgpack.Decoder(Head).decode


unpack_label = msgspec.msgpack.Decoder(LabelStats).decode


def pack_head(head: Head) -> bytes:
    """The head as the store keeps it."""
    return _encode(head)


def pack_label(label: LabelStats) -> bytes:
    """A link's or tag's record as the store keeps it."""
    return _encode(label)
