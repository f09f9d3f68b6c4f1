"""The stores that every contract suite runs on."""

from collections.abc import Iterator

import pytest

from projections.store.protocol import Store
from support.stores import NOW, Bench, memory_bench, redis_bench


@pytest.fixture(params=["memory", "redis"])
def bench(request: pytest.FixtureRequest) -> Bench:
    return memory_bench() if request.param == "memory" else redis_bench(request.getfixturevalue("redis_url"))


@pytest.fixture
def store(bench: Bench) -> Iterator[Store]:
    """A store in which a change is due at once."""
    opened = bench.open(NOW)
    yield opened
    opened.close()
