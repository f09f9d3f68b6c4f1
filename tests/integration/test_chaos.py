"""Two short runs of the chaos suite; `make chaos` has the long ones."""

from pathlib import Path

import pytest

from chaos.lacking import lacking
from chaos.run import run
from chaos.traits import Mode
from snapshot.kafka.settings import LIBRDKAFKA
from support import services


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("mode", "seed"), [("kafka", 10), ("embedded", 3)])
def test_whatever_happens_all_profiles_are_right_in_the_end(mode: Mode, seed: int, tmp_path: Path) -> None:
    if (reason := lacking(mode)) is not None:
        services.missing(reason)
    outcome = run(seed, mode, 10.0, tmp_path, LIBRDKAFKA)
    assert outcome.failures == []
    assert outcome.recovery_seconds is not None
    assert outcome.faults
    assert outcome.changes
