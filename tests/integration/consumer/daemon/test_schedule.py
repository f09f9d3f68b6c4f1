"""The nightly run on a real Redis, with real processes to kill."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from consumer.daemon.schedule import NIGHTLY, Nightly, Schedule
from projections.store.redis.client import connect
from projections.store.redis.store import RedisStore

EVERY_MINUTE = "* * * * *"
LEASE = 1.0

RUNNER = """
import sys, time
from projections.store.redis.client import connect
from projections.store.redis.store import RedisStore
from consumer.daemon.schedule import Nightly, Schedule

def run(stopping):
    print("running", flush=True)
    stopping.wait()

nightly = Nightly(RedisStore(connect(sys.argv[1])), Schedule("* * * * *"), run, lease=float(sys.argv[2]))
while True:
    nightly.tick()
    time.sleep(0.05)
"""


@pytest.fixture
def store(redis_url: str) -> Iterator[RedisStore]:
    made = RedisStore(connect(redis_url))
    assert made.lease(NIGHTLY, "yesterday", 10)
    assert made.put_document(NIGHTLY, "yesterday", b'{"done":1}')
    made.release(NIGHTLY, "yesterday")
    yield made
    made.close()


def test_a_runner_killed_with_its_process_is_replaced(store: RedisStore, redis_url: str) -> None:
    runner = subprocess.Popen([sys.executable, "-c", RUNNER, redis_url, str(LEASE)], stdout=subprocess.PIPE, text=True)
    try:
        assert runner.stdout is not None
        assert "running\n" in iter(runner.stdout.readline, "")
        began: list[float] = []
        nightly = Nightly(store, Schedule(EVERY_MINUTE), lambda _: began.append(time.monotonic()), lease=LEASE)
        until = time.monotonic() + 2 * LEASE
        while time.monotonic() < until:
            nightly.tick()
            time.sleep(0.05)
        assert began == [], "the lease is renewed while its holder lives"
    finally:
        runner.kill()
        runner.wait()
        if runner.stdout is not None:
            runner.stdout.close()
    deadline = time.monotonic() + 30
    while not began:
        assert time.monotonic() < deadline
        nightly.tick()
        time.sleep(0.05)
    assert nightly.wait(10)
    assert store.document(NIGHTLY) != b'{"done":1}'


def test_of_many_daemons_one_runs(store: RedisStore) -> None:
    began: list[str] = []
    together = threading.Barrier(6)

    def daemon(name: str) -> None:
        nightly = Nightly(store, Schedule("5 4 * * *"), lambda _: began.append(name))
        together.wait()
        for _ in range(20):
            nightly.tick()
        assert nightly.wait(10)

    threads = [threading.Thread(target=daemon, args=(str(number),)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(began) == 1
