"""How far consumers have to be until they have everything that was handed out."""

from collections.abc import Mapping


def at_most(positions: Mapping[str, int], ends: Mapping[str, int]) -> dict[str, int]:
    """Bring positions (`topic/number`) down to where the topics end: one made anew begins at 0, with other partitions.

    >>> at_most({"a/0": 20, "a/1": 20, "b/0": 3}, {"a/0": 5, "b/0": 9})
    {'a/0': 5, 'b/0': 3}
    """
    return {name: min(position, ends[name]) for name, position in positions.items() if name in ends}


class Reached:
    """Positions of one term: what the holders before had acknowledged, and what this one has.

    Without care for topics that were made anew, nobody would ever be told to have come that far.
    """

    def __init__(self, before: Mapping[str, int]) -> None:
        self._before = {name: end for name, end in before.items() if not name.startswith("tail/")}

    def ends_are(self, ends: Mapping[str, int]) -> None:
        """Take in where the topics end; 0 may be left out."""
        self._before = at_most(self._before, ends)

    def positions(self, acknowledged: Mapping[str, int]) -> dict[str, int]:
        """Give them all; `acknowledged` is after this term's own."""
        anew = {_topic(name) for name, end in acknowledged.items() if end < self._before.get(name, 0)}
        self._before = {name: end for name, end in self._before.items() if _topic(name) not in anew}
        return {**self._before, **acknowledged}


def _topic(name: str) -> str:
    return name.rpartition("/")[0]
