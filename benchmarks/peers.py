"""The peers that fold the same events: jobs of `shared/peers/harness`, run from there, each with what it needs.

Kafka Streams is built by Maven; Bytewax and Quix Streams come from PyPI into an environment of their own below
`.cache/`. What can't be had is left out, with the reason.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

from benchmarks.whiteballoon import FOLDER, ROOT
from projections.comments.events import COMMENT_CREATED, INSIGHT_CREATED

HARNESS = Path(os.environ.get("PEERS_DIR", ROOT.parent / "shared" / "peers" / "harness"))
_KAFKA_STREAMS = FOLDER / "kafka-streams"
_ENVIRONMENT = ROOT / ".cache" / "peers"
_PACKAGES = ("bytewax[kafka]", "quixstreams", "msgspec")


class MissingPeerError(Exception):
    """A peer that can't be measured here; the text says why."""


class Job(NamedTuple):
    """How a peer's job is started, in a state folder of its own; it announces to the topic `OUT` and never ends."""

    words: list[str]
    environment: Mapping[str, str]


Prepare = Callable[[Path, str], Job]


def kafka_streams(state: Path, out: str) -> Job:
    """The Java job, write-behind, one thread. Raises MissingPeerError."""
    pom = _in_harness("ks/pom.xml")
    if shutil.which("mvn") is None:
        raise MissingPeerError("Maven is not installed")
    built = _KAFKA_STREAMS
    libs = built / "libs"
    if not (built / "Job.class").exists():
        copy = ("dependency:copy-dependencies", f"-DoutputDirectory={libs}", "-DincludeScope=runtime")
        _ready("mvn", "-q", "-B", "-f", pom, *copy)
        _ready("javac", "-cp", f"{libs}/*", "-d", built, _in_harness("ks/Job.java"))
    memory = ("-Xms1g", "-Xmx1g", "-XX:+UseParallelGC")
    words = ["java", *memory, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{built}:{libs}/*", "Job"]
    return Job(words, _variables(state, out) | {"WB": "1", "THREADS": "1"})


def bytewax(state: Path, out: str) -> Job:
    """One worker, recovery on. Raises MissingPeerError."""
    python = _python("bytewax")
    _in_harness("bytewax_job.py")
    recovery = state / "recovery"
    recovery.mkdir()
    _ready(python, "-m", "bytewax.recovery", recovery, "4")
    words = [str(python), "-m", "bytewax.run", "bytewax_job:flow", "-r", str(recovery), "-s", "1", "-b", "0", "-w1"]
    return Job(words, _variables(state, out))


def quix_streams(state: Path, out: str) -> Job:
    """With RocksDB, at least once. Raises MissingPeerError."""
    words = [str(_python("quixstreams")), str(_in_harness("quix_job.py"))]
    return Job(words, _variables(state, out))


PEERS: Mapping[str, Prepare] = {
    "Kafka Streams, write-behind": kafka_streams,
    "Bytewax": bytewax,
    "Quix Streams": quix_streams,
}


def installed() -> dict[str, str]:
    """The versions of the peers that are there."""
    folders = [str(path) for path in _ENVIRONMENT.glob("lib/*/site-packages")]
    found = {one.name: one.version for one in distributions(path=folders) if one.name in ("bytewax", "quixstreams")}
    for jar in _KAFKA_STREAMS.glob("libs/kafka-streams-[0-9]*.jar"):
        found["Kafka Streams"] = jar.stem.removeprefix("kafka-streams-")
    return found


def _variables(state: Path, out: str) -> dict[str, str]:
    ours = {
        "RUN": out,
        "C": COMMENT_CREATED,
        "I": INSIGHT_CREATED,
        "OUT": out,
        "DIR": str(state),
        "FIRST": f"{state}/first",
    }
    return {**os.environ, **ours, "PYTHONPATH": str(HARNESS), "PYTHONDONTWRITEBYTECODE": "1"}


def _in_harness(name: str) -> Path:
    if not (HARNESS / name).exists():
        raise MissingPeerError(f"there is no {HARNESS / name}: set PEERS_DIR to the folder of the peers' harness")
    return HARNESS / name


def _python(package: str) -> Path:
    """The interpreter of the peers' environment, which is made once."""
    python = _ENVIRONMENT / "bin" / "python"
    if not python.exists():
        _ready(sys.executable, "-m", "venv", _ENVIRONMENT)
    if subprocess.run([python, "-c", f"import {package}, msgspec"], capture_output=True, check=False).returncode:  # noqa: S603 - ours
        _ready(python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", *_PACKAGES)
    return python


def _ready(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603 - as named
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["nothing"]
        raise MissingPeerError(f"{' '.join(map(str, words[:4]))} ended with {done.returncode}: {said[-1]}")
