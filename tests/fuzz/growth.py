"""Whether a target's time grows faster than its input: inputs of repeated tokens, doubled."""

import random
import time
from collections.abc import Iterator

from fuzz.target import Target

_MEASURABLE = 0.01
_LONGEST = 1 << 21
_RATIO = 3.0
"""Twice the input takes twice the time; four times, where it is quadratic."""
_TRIALS = 4


def inputs(target: Target, source: random.Random) -> Iterator[tuple[bytes, bytes, bytes]]:
    """What stands before, what is repeated, what stands after."""
    tokens = [token.encode("utf-8", "replace") for token in target.tokens] + [bytes([source.randrange(256)])]
    while True:
        parts = [b"".join(source.choices(tokens, k=source.randrange(low, 4))) for low in (0, 1, 0)]
        yield parts[0], parts[1][:64] or b"a", parts[2]


def too_fast(target: Target, before: bytes, unit: bytes, after: bytes) -> float | None:
    """By how much the time grows when the input is doubled, where that is too much; None where it isn't.

    Each size is measured several times, in the processor's time of this process: what else runs here adds to single
    measurements only.
    """

    def seconds(times: int) -> float:
        data = before + unit * times + after
        begin = time.process_time()
        target.check(data)
        return time.process_time() - begin

    times = 16
    while seconds(times) < _MEASURABLE:
        times *= 2
        if times * len(unit) > _LONGEST:
            return None
    ratios = []
    for _ in range(_TRIALS):
        ratios.append(seconds(2 * times) / max(min(seconds(times) for _ in range(2)), 1e-6))
        if ratios[-1] < _RATIO:
            return None
    return min(ratios)
