import pytest
from simulation.runner import one
from simulation.specimens import LATER, SPECIMENS


@pytest.mark.parametrize(
    ("number", "seed"), [(number, seed) for number, specimen in SPECIMENS.items() for seed in specimen.seeds]
)
def test_a_seed_that_met_the_fault(number: int, seed: int) -> None:
    assert one(seed, number).violation is None


@pytest.mark.parametrize(("number", "seed"), [(number, seed) for number, seeds in LATER.items() for seed in seeds])
def test_a_seed_that_met_a_fault_later(number: int | None, seed: int) -> None:
    assert one(seed, number).violation is None
