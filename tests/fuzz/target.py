"""A target: what is done with any bytes, and what they are made of where they are not random."""

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Target(NamedTuple):
    """`check` raises for bytes that break a promise. `tokens` are pieces that matter, `seeds` whole inputs.

    `linear`: its time may grow with the length of the input, and no faster.
    """

    check: Callable[[bytes], object]
    tokens: Sequence[str]
    seeds: Sequence[bytes] = (b"",)
    linear: bool = True


def text_of(data: bytes) -> str:
    """Any bytes as text that UTF-8 can write."""
    return data.decode("utf-8", "replace")


class Choices:
    """Values of any kind that SQLite may give, chosen by the next bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """The next byte; 0 after the last one."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def blob(self) -> bytes:
        """The next few bytes, or many."""
        size = self.byte()
        begin, self._at = self._at, self._at + (size if size < 255 else 4096)
        return self._data[begin : self._at]

    def text(self) -> str:
        return text_of(self.blob())

    def optional(self) -> str | None:
        return None if self.byte() == 0 else self.text()

    def value(self, likely: object) -> object:
        """Mostly the likely value."""
        match self.byte() % 12:
            case 0:
                return None
            case 1:
                return int.from_bytes(self.blob(), "big", signed=True)
            case 2:
                return (float("nan"), float("inf"), -0.5, 1e300)[self.byte() % 4]
            case 3:
                return self.blob()
            case 4 | 5 | 6:
                return self.text()
            case _:
                return likely
