"""All that one run consists of: servers, databases, folders, the product's processes, and those who write."""

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from chaos import clocks, strangers
from chaos.database_stand import DatabaseStand, PostgresStand, SQLiteStand
from chaos.kafka_stand import KafkaStand
from chaos.redis_stand import GivenRedis, PrivateRedis, RedisStand
from chaos.supervisor import Job, Supervised
from chaos.timeline import Timeline
from chaos.traits import Mode, traits
from chaos.writers import Writers
from support.changes import people
from support.commands import environment

SCOPE = "elm"
_DISK = "32m"
_PEOPLE = 40
_CALM_SECONDS = 20.0
"""So long after a fault something may still refuse to start because of it."""


class World:
    """`look` is to be called several times a second, by the thread that does everything else."""

    def __init__(self, folder: Path, seed: int, mode: Mode, client: str) -> None:
        self.folder = folder
        self.seed = seed
        self.client = client
        self.traits = traits(seed, mode)
        self.random = random.Random(f"faults-{seed}")  # noqa: S311  no secret is made of it
        self.timeline = Timeline(folder / "timeline.jsonl")
        self.troubles: set[object] = set()
        """The faults of servers, disks and databases that are in force."""
        self.failures: list[str] = []
        self.jobs: list[Job] = []
        self.processes: list[Supervised] = []
        self.strangers: strangers.Check = list
        self._closing: list[Callable[[], object]] = []
        self._calm_at = 0.0
        self.storage = self._folder("storage")
        self.disk = self.storage if self.traits.small_storage else self.folder / "disk"
        """Where a full disk is felt."""
        self.disk.mkdir(exist_ok=True)
        self.profiles = self.disk / "profiles"
        self.scoped = self._folder("scoped")
        self.logs = self._folder("logs")

    # ---------------------------------------------------------------------------------------------------- its beginning

    def begin(self) -> None:
        """Start the servers, fill the database, start the processes and the writers."""
        self.timeline.note("begin", seed=self.seed, client=self.client, **self.traits._asdict())
        if self.traits.small_disk:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", self.disk], check=True)
            self._closing.append(lambda: subprocess.run(["umount", "-l", self.disk], check=False))
        self.profiles.mkdir()
        self.database = self._database()
        self._closing.append(self.database.close)
        self.redis = self._redis()
        self._closing.append(self.redis.close)
        self.kafka = KafkaStand(self._folder, f"kafka-{self.seed}") if self.traits.mode == "kafka" else None
        if self.kafka is not None:
            self._closing.append(self.kafka.close)
        if self.traits.strangers:
            self.strangers = strangers.plant(self.profiles, self.scoped, self._folder("elsewhere"))
        people(self.database.wb, _PEOPLE)
        self.writers = Writers(self.database.wb, self.seed, pause=0.06, odd_values=self.traits.odd)
        self._closing.append(self.writers.stop)
        self.clock = clocks.Clock(self._folder("clock")) if self.traits.clocks else None
        self.processes = self._processes()
        self.writers.start()

    def close(self) -> None:
        """End everything that was begun, in the opposite order."""
        for process in self.processes:
            process.resume()
            process.kill(down=float("inf"))
        for job in self.jobs:
            job.kill()
        while self._closing:
            self._closing.pop()()

    def _folder(self, name: str) -> Path:
        """Give a new folder; the second of a name has a number."""
        path = self.folder / name
        number = 2
        while path.exists():
            path = self.folder / f"{name}{number}"
            number += 1
        path.mkdir(mode=0o755)
        return path

    def _database(self) -> DatabaseStand:
        if self.traits.postgres:
            return PostgresStand(self._folder("postgres"), f"database-{self.seed}")
        return SQLiteStand(self.folder / "wb", wal=self.traits.wal)

    def _redis(self) -> RedisStand:
        if self.traits.given_redis:
            return GivenRedis(self._folder, f"redis-{self.seed}")
        return PrivateRedis(self.storage)

    def _processes(self) -> list[Supervised]:
        found = [self._process("consumer-1", "snapshot-consumer", self.storage)]
        second = self.storage if self.kafka is None else self._folder("storage")
        found.append(self._process("consumer-2", "snapshot-consumer", second))
        if self.traits.scoped:
            third = self.storage if self.kafka is None else self._folder("storage")
            scope = {"SNAPSHOT_OUTPUT_DIR": str(self.scoped), "GROUP_SLUG": SCOPE}
            found.append(self._process("consumer-scoped", "snapshot-consumer", third, scope))
        if self.kafka is not None:
            found += [self._process(f"relay-{n}", "snapshot-relay", self._folder("storage")) for n in (1, 2)]
        return found

    def _process(self, name: str, program: str, storage: Path, more: Mapping[str, str] | None = None) -> Supervised:
        words = [program, "--interval", "0.2", "--sweep-interval", "1"]
        words += ["--prune-all"] if self.traits.confirmed else []
        env = {**self.env(storage), **(more or {})}
        own = None if self.kafka is None else storage  # without a broker they share one
        return Supervised(name, words, env, self.logs / f"{name}.log", self.timeline, own)

    def env(self, storage: Path | None = None) -> dict[str, str]:
        """What a command of the product gets; `storage`: another host's folder."""
        settings = {
            "DATABASE_URL": self.database.main_url,
            "INSIGHTS_DATABASE_URL": self.database.insights_url,
            "SNAPSHOT_STORAGE_DIR": str(storage or self.storage),
            "SNAPSHOT_OUTPUT_DIR": str(self.profiles),
            "SNAPSHOT_LOG_FORMAT": "json",
            "PYTHONFAULTHANDLER": "1",  # so that SIGABRT shows where a process hangs
        }
        if self.redis.url is not None:
            settings["REDIS_URL"] = self.redis.url
        if self.kafka is not None:
            settings |= {"KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap, "KAFKA_CLIENT": self.client}
        if self.clock is not None:
            settings |= self.clock.environment
        if self.traits.nightly:
            settings |= {"PROFILE_SIGNAL_GLAZE": "1", "SNAPSHOT_SCHEDULE": "* * * * *"}
        return environment(**settings)

    # ---------------------------------------------------------------------------------------------------- as it goes on

    @property
    def trouble(self) -> bool:
        """Whether a server, a disk or the database is out of order, or was a moment ago."""
        if self.troubles:
            self._calm_at = time.monotonic() + _CALM_SECONDS
        return time.monotonic() < self._calm_at

    def look(self) -> None:
        """Let the supervisor do its work, and judge what ended."""
        trouble = self.trouble
        for process in self.processes:
            process.look(trouble=trouble)
        for job in self.jobs:
            job.look(trouble=trouble)

    def wait(self, seconds: float) -> None:
        """Look after the processes for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.look()
            time.sleep(0.05)

    def wait_until(self, there: Callable[[], bool], what: str, seconds: float = 180.0) -> None:
        """Look after the processes until this is so."""
        deadline = time.monotonic() + seconds
        while not there():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {seconds:g} s")
            self.wait(0.2)

    def run(self, name: str, words: list[str], env: Mapping[str, str] | None = None) -> Job:
        """Start a command of the product that ends by itself."""
        job = Job(name, words, {**self.env(), **(env or {})}, self.logs / f"{name}-{len(self.jobs)}.log", self.timeline)
        self.jobs.append(job)
        return job

    def keep(self, folder: Path) -> None:
        """Copy all that this run left behind, for whoever looks for the cause."""
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.folder, folder, symlinks=True, ignore=_special, ignore_dangling_symlinks=True)


def _special(folder: str, names: list[str]) -> list[str]:
    """Sockets can't be copied."""
    return [name for name in names if (Path(folder) / name).is_socket()]
