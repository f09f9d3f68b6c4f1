import pytest
from simulation.runner import one
from simulation.specimens import LATER, SPECIMENS


@pytest.mark.parametrize(
    ("number", "seed"), [(number, seed) for number, specimen in SPECIMENS.items() for seed in specimen.seeds]
)
def test_a_seed_that_met_the_fault(number: int, seed: int) -> None:
    assert one(seed, number).violation is None


@pytest.mark.parametrize("seed", LATER)
def test_a_seed_that_met_a_fault_later(seed: int) -> None:
    assert one(seed, None).violation is None
