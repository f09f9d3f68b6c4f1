import pytest
from simulation.runner import one
from simulation.specimens import SPECIMENS


@pytest.mark.parametrize(
    ("number", "seed"), [(number, seed) for number, specimen in SPECIMENS.items() for seed in specimen.seeds]
)
def test_a_seed_that_met_the_fault(number: int, seed: int) -> None:
    assert one(seed, number).violation is None
