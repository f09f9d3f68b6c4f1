"""What we send to Redis is what redis-py would send."""

from typing import Any

import pytest
from redis.connection import HiredisRespSerializer

from projections.store.redis.client import Packer

COMMANDS: list[tuple[str | bytes | int | float, ...]] = [
    ("PING",),
    ("CONFIG GET", "maxmemory-policy"),
    (b"SCRIPT LOAD", b"return 1"),
    ("HSET", "sis:{b1}:p:1:ünï 🦁", b"c1", b"\x00\xff", b"", 17, 2**62, 0.5),
    ("EVALSHA", "0" * 40, 1, "key", *range(2_000)),
]


@pytest.mark.parametrize("command", COMMANDS, ids=[str(command[0]) for command in COMMANDS])
def test_a_command_is_packed_as_redis_py_packs_it(command: tuple[str | bytes, ...]) -> None:
    theirs: Any = HiredisRespSerializer()
    assert b"".join(Packer.pack(*command)) == b"".join(theirs.pack(*command))
