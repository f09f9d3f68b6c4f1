import pytest

from projections.errors import OperatorError
from projections.store.redis.client import connect


@pytest.mark.parametrize(
    "url",
    ["redis://host", "redis://host/", "redis://host:6379/7", "rediss://u:p@host/0?db=1", "unix:///run/redis.sock?db=2"],
)
def test_a_url_that_can_be_meant_is_taken(url: str) -> None:
    connect(url).close()


@pytest.mark.parametrize(
    "url",
    [
        "redis.example.org",
        "http://host",
        "redis://host:x/0",
        "redis://host/cache",
        "redis://host/0/1",
        "redis://h?a=1",
        "redis://h?decode_responses=true",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(OperatorError, match="write redis://host:6379/0"):
        connect(url)
