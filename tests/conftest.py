"""Real servers for tests. Each starts when a first test asks for it and ends with the run."""

import gzip
import itertools
import json
import logging
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings

from snapshot.kafka.settings import CLIENTS
from snapshot.processes import interrupts
from support import kafka_broker, oracle_folder, services
from support.redis_server import RedisServer

Rows = dict[str, dict[str, Any]]

# On CI the same examples every time: a change is judged by what it changes. Elsewhere new ones with every run.
# No example is refused for its time: the machine may be busy.
_COMMON = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _COMMON, derandomize=True)
settings.register_profile("here", _COMMON)
# The same for `make mutants`, and no shrinking: it is enough to know that a test fails.
settings.register_profile("mutants", _COMMON, derandomize=True, phases=[Phase.explicit, Phase.generate])
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Most mutants die of a quick test of their own module, some run for ever."""
    if config.getoption("hypothesis_profile", None) == "mutants":
        for item in items:
            item.add_marker(pytest.mark.timeout(60))
        module = os.environ.get("MUTANT_UNDER_TEST", "").partition(".x")[0].rpartition(".")[2]
        items.sort(key=lambda item: getattr(getattr(item, "function", None), "is_hypothesis_test", False))
        items.sort(key=lambda item: item.path.stem != f"test_{module}")


# A shell's background job is started with SIGINT ignored, and so would be every command that a test interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A command that was run in this process would leave its log to the next test, with a stream that is closed."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level


@pytest.fixture(autouse=True)
def _no_signal_was_raised() -> None:
    """Within a second of the signal of another test in this process, one would do nothing."""
    interrupts.note_lost()


@pytest.fixture(autouse=True)
def _no_client_is_left_open() -> Iterator[None]:
    """One of kafka-python's that a test leaves open logs in the tests after it, and is a member of their groups."""
    before = set(threading.enumerate())
    yield
    new = [one for one in threading.enumerate() if one.name.startswith("kafka-io-") and one not in before]
    for thread in new:
        thread.join(10)
    assert [thread.name for thread in new if thread.is_alive()] == []


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Callable[[str], Path]]:
    """Makes private folders with short paths: a unix socket's path has 107 bytes, pytest's tmp_path may use them up."""
    made: list[Path] = []

    def make(name: str) -> Path:
        made.append(Path(tempfile.mkdtemp(prefix=f"sis-{name}-")))
        return made[-1]

    yield make
    for folder in made:
        shutil.rmtree(folder, ignore_errors=True)


# ---------------------------------------------------------------------------------------------------------- Redis


@pytest.fixture(scope="session")
def redis_server(short_folder: Callable[[str], Path]) -> Iterator[RedisServer]:
    """The run's Redis. Its data are not clean: a test asks for `redis_url`."""
    server = RedisServer(short_folder("redis"))
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """URL of the run's Redis, emptied."""
    redis_server.empty()
    return redis_server.url


@pytest.fixture
def own_redis(short_folder: Callable[[str], Path]) -> Iterator[RedisServer]:
    """A Redis for this test alone, which may stop and kill it."""
    server = RedisServer(short_folder("own-redis"))
    yield server
    server.kill()


# ---------------------------------------------------------------------------------------------------------- Kafka


@pytest.fixture(scope="session")
def kafka_bootstrap(short_folder: Callable[[str], Path]) -> Iterator[str]:
    """`host:port` of the run's Kafka. It holds what earlier tests left: a test asks for `fresh_kafka`."""
    broker = services.kafka(short_folder("kafka"))
    yield broker.bootstrap
    broker.close()


@pytest.fixture
def fresh_kafka(kafka_bootstrap: str) -> str:
    """`host:port` of the run's Kafka, without topics and groups. No topic is made by producing to it."""
    kafka_broker.empty(kafka_bootstrap)
    return kafka_bootstrap


@pytest.fixture(params=CLIENTS)
def kafka_client(request: pytest.FixtureRequest) -> str:
    """Each client of Kafka: what asks for this is shown on both."""
    name: str = request.param
    return name


@pytest.fixture
def own_kafka(short_folder: Callable[[str], Path]) -> Iterator[kafka_broker.Broker]:
    """A Kafka for this test alone, which may stop, kill and start it."""
    broker = services.kafka(short_folder("own-kafka"))
    yield broker
    broker.close()


# ----------------------------------------------------------------------------------------------------- PostgreSQL


@pytest.fixture(scope="session")
def postgres_server_url(short_folder: Callable[[str], Path]) -> Iterator[str]:
    """The run's PostgreSQL, without a database's name; the user is a superuser."""
    server = services.postgres(short_folder("postgres"))
    yield server.url
    server.close()


_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_server_url: str) -> Iterator[str]:
    """SQLAlchemy's URL of a new, empty database."""
    name = f"test_{next(_numbers)}"
    _statement(postgres_server_url, f"CREATE DATABASE {name} TEMPLATE template0")
    yield f"{postgres_server_url}/{name}".replace("postgresql://", "postgresql+psycopg://")
    _statement(postgres_server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _statement(server_url: str, text: str) -> None:
    with psycopg.connect(f"{server_url}/postgres", autocommit=True) as connection:
        connection.execute(text.encode())


# --------------------------------------------------------------------------------------------------------- oracle


@pytest.fixture(scope="session")
def oracle_dir() -> Path:
    """Where the oracle is."""
    found = oracle_folder.find()
    if found is None or not (found / "oracle.py").is_file():
        services.missing(f"no oracle: neither ORACLE_DIR ({os.environ.get('ORACLE_DIR')}) nor ../shared/oracle has it")
    return found


@pytest.fixture(scope="session")
def oracle_rows(oracle_dir: Path) -> Rows:
    """Table name -> {"columns": names, "rows": values}; wb_schema.md says what they mean. Shared: don't change it."""
    rows: Rows = _unpacked(oracle_dir / "wb_rows.json.gz")
    return rows


@pytest.fixture(scope="session")
def oracle_expected(oracle_dir: Path) -> list[dict[str, Any]]:
    """{user_id, group_slug, fields, snapshot, snapshot_hash} of each of the 1,504 profiles. Shared: don't change it."""
    expected: list[dict[str, Any]] = _unpacked(oracle_dir / "expected_profiles.json.gz")
    return expected


def _unpacked(path: Path) -> Any:  # noqa: ANN401  JSON
    return json.loads(gzip.decompress(path.read_bytes()))


@pytest.fixture(scope="session")
def _oracle_loaded(oracle_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oracle")
    oracle_folder.program(oracle_dir).load(folder, oracle_dir / "wb_rows.json.gz")
    return folder


@pytest.fixture
def oracle_databases(_oracle_loaded: Path, tmp_path: Path) -> Path:
    """This test's own folder with `app.db` and `comment_llm_insights.db`."""
    folder = tmp_path / "oracle"
    shutil.copytree(_oracle_loaded, folder)
    return folder


@pytest.fixture
def oracle_compare(oracle_dir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], None]:
    """`oracle_compare(folder)` fails with the first differences when a profile's file is missing, too much or wrong."""

    def compare(folder: Path) -> None:
        capsys.readouterr()
        code = oracle_folder.program(oracle_dir).compare(folder, oracle_dir / "expected_profiles.json.gz")
        said = capsys.readouterr().out
        assert code == 0, said

    return compare
