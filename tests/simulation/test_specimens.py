import pytest
from simulation.runner import one
from simulation.specimens import SPECIMENS


@pytest.mark.parametrize(
    ("number", "seed"),
    [
        pytest.param(number, seed, marks=pytest.mark.xfail(strict=True, reason=f"issue 10, specimen {number}"))
        for number, specimen in SPECIMENS.items()
        for seed in specimen.seeds
    ],
)
def test_a_seed_that_met_the_fault(number: int, seed: int) -> None:
    assert one(seed, number).violation is None
