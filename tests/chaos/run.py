"""One run: a world, its faults, the verdict."""

import shutil
import tempfile
from pathlib import Path

import msgspec

from chaos.schedule import Schedule
from chaos.traits import Mode
from chaos.verdict import Verdict
from chaos.world import World
from snapshot.kafka.settings import KAFKA_PYTHON


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a run."""

    seed: int
    mode: Mode
    client: str = KAFKA_PYTHON
    """Of Kafka; results that do not say it are older than the second one."""
    seconds: float
    failures: list[str]
    changes: dict[str, int]
    faults: dict[str, int]
    recovery_seconds: float | None
    confirmed: bool
    refused_starts: int
    kept: str | None
    """The folder with logs, databases and the timeline of a run that failed."""


def run(seed: int, mode: Mode, seconds: float, keep_in: Path, client: str = KAFKA_PYTHON) -> Outcome:
    """Run a seed; what a failing one leaves behind is kept in a folder of `keep_in`."""
    folder = Path(tempfile.mkdtemp(prefix="sis-chaos-"))  # short: a unix socket's path has 107 bytes
    folder.chmod(0o755)  # PostgreSQL runs as another user
    world = World(folder, seed, mode, client)
    verdict: Verdict | None = None
    kept: Path | None = None
    failures: list[str] = []
    try:
        world.begin()
        Schedule(world).run(seconds)
        world.writers.stop()
        world.timeline.note("faults over", changes=world.writers.made.total(), refused=world.writers.failed)
        verdict = Verdict(world)
        verdict.reach()
        failures = verdict.failures
        if failures:
            (folder / "failures.txt").write_text("\n".join(failures) + "\n")
            kept = keep_in / f"{mode}-{client}-{seed}"
            world.keep(kept)
    except Exception:
        world.keep(keep_in / f"{mode}-{client}-{seed}")
        raise
    finally:
        world.close()
        shutil.rmtree(folder, ignore_errors=True)
    counts = world.timeline.counts
    return Outcome(
        seed=seed,
        mode=mode,
        client=client,
        seconds=seconds,
        failures=failures,
        changes=dict(world.writers.made),
        faults={name.removeprefix("fault: "): n for name, n in sorted(counts.items()) if name.startswith("fault: ")},
        recovery_seconds=verdict.recovery_seconds,
        confirmed=verdict.confirmations > 0,
        refused_starts=sum(process.refused for process in world.processes),
        kept=None if kept is None else str(kept),
    )
