"""JSON from elsewhere: whatever is wrong with it is one kind of error, the same on every Python."""

import re
from itertools import accumulate
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

MAX_DEPTH = 100
"""JSON nested deeper is refused. The parsers' own limits differ between Pythons, and move with the caller's stack."""

_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")


class DecodingError(msgspec.DecodeError):
    """Bytes that are not what they should be; the text says why."""


class JsonDecoder(Generic[T]):
    """msgspec's decoder for one type, for foreign bytes: it raises DecodingError, and nothing else."""

    def __init__(self, kind: type[T]) -> None:
        self._decode = msgspec.json.Decoder(kind).decode

    def decode(self, text: bytes | str) -> T:
        """Read one document. Raises DecodingError."""
        if too_deep(text):
            raise DecodingError(f"it is nested deeper than {MAX_DEPTH} levels")
        try:
            return self._decode(text)
        except (msgspec.DecodeError, ValueError, OverflowError) as error:
            raise DecodingError(str(error)) from error


def too_deep(text: bytes | str) -> bool:
    """Whether lists and objects are nested deeper than MAX_DEPTH; brackets within strings don't count.

    >>> too_deep("[" * 100 + "]" * 100), too_deep(b"[" * 101 + b"]" * 101), too_deep('["' + "[" * 101 + '"]')
    (False, True, False)
    """
    many = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if many <= MAX_DEPTH:
        return False
    characters = text.decode("latin-1") if isinstance(text, bytes) else text
    brackets = _BRACKET.findall(_STRING.sub("", characters))
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0) > MAX_DEPTH
