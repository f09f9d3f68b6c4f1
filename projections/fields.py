"""The fields of a profile in the store: `h` the head, `c<comment id>` a register, `l<url>` a link, `t<label>` a tag."""

from collections.abc import Iterable, Mapping

from projections import register as registers_
from projections.profile import pack_label
from projections.ranking import Label
from projections.register import Register


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


def pack_labels(links: Mapping[str, Label], tags: Mapping[str, Label]) -> dict[bytes, bytes]:
    """Pack the records of links and tags."""
    packed = {link_field(url): pack_label(label) for url, label in links.items()}
    packed.update((tag_field(name), pack_label(label)) for name, label in tags.items())
    return packed
