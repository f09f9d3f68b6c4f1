"""Inputs without guidance: a target's tokens and seeds, cut and joined by Hypothesis."""

import time
import traceback

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.target import Target

_ROUND = 2_000


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Bytes that hold what matters to the target."""
    tokens = st.sampled_from([token.encode("utf-8", "replace") for token in target.tokens])
    seeds = st.sampled_from(list(target.seeds))
    cut = st.builds(lambda seed, begin, end: seed[begin : end or None], seeds, st.integers(0, 40), st.integers(0, 200))
    piece = st.one_of(tokens, cut, st.binary(max_size=8), st.text(max_size=8).map(str.encode))
    return st.one_of(seeds, st.lists(piece, max_size=40).map(b"".join))


def search(target: Target, seconds: float) -> tuple[int, str | None]:
    """Try random inputs for so long: how many, and the traceback of the first that breaks a promise."""
    tried = 0

    @settings(max_examples=_ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(target))
    def one_round(data: bytes) -> None:
        nonlocal tried
        tried += 1
        target.check(data)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            one_round()
        except Exception:  # noqa: BLE001 - whatever a target raises is what is looked for
            return tried, traceback.format_exc()
    return tried, None
