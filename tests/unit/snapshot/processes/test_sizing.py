"""How many processes a command takes."""

import os

import pytest

from snapshot.processes.sizing import fitting


@pytest.mark.parametrize(
    ("cores", "useful", "members", "processes"),
    [
        (16, 100, 1_000, 4),
        (2, 100, 1_000, 2),
        (16, 3, 1_000, 3),
        (16, 0, 1_000, 1),
        (16, 100, 100_000, 3),
        (16, 100, 562_275, 1),
        (16, 100, 10_000_000, 1),
    ],
)
def test_cores_work_and_memory_bound_it(
    monkeypatch: pytest.MonkeyPatch, cores: int, useful: int, members: int, processes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    assert fitting(useful, members) == processes
