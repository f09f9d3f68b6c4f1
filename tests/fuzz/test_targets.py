"""Each target for a moment, with the seeds first: `make fuzz` runs them for hours."""

import pytest
from hypothesis import HealthCheck, given, settings

from fuzz.__main__ import targets
from fuzz.random_inputs import inputs

TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_break_no_promise(name: str) -> None:
    for seed in TARGETS[name].seeds:
        TARGETS[name].check(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_random_inputs_break_no_promise(name: str) -> None:
    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(inputs(TARGETS[name]))
    def check(data: bytes) -> None:
        TARGETS[name].check(data)

    check()
