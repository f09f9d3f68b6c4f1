"""Which real servers this test run uses: containers where Docker answers, else the machine's own programs.

SNAPSHOT_TEST_SERVERS=docker or =native decides otherwise. What is missing skips a test with the reason; under CI=true
it fails the test, as it does where a kind of server was asked for.
"""

import functools
import os
import shutil
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from support import kafka_broker, postgres_server


def missing(reason: str) -> NoReturn:
    """Skip, or fail where nothing may be missing."""
    if _forced() or os.environ.get("CI") == "true":
        pytest.fail(f"{reason} (CI=true or SNAPSHOT_TEST_SERVERS: nothing may be skipped)")
    pytest.skip(reason)


def kafka(folder: Path, settings: dict[str, str] | None = None) -> kafka_broker.Broker:
    """A broker of its own; `settings` are added to server.properties. The caller closes it."""
    no_docker = _docker_lacks(kafka_broker.IMAGE)
    if no_docker is None:
        return kafka_broker.DockerBroker(settings)
    if _forced() == "docker":
        missing(f"no Kafka: {no_docker}")
    return native_kafka(folder, settings)


def native_kafka(
    folder: Path, settings: dict[str, str] | None = None, guarded: dict[str, str] | None = None
) -> kafka_broker.NativeBroker:
    """A broker of its own on this machine, for what a container with one port can't do. The caller closes it."""
    lacking = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if lacking:
        missing(f"no Kafka without Docker; not on PATH: {', '.join(lacking)}")
    return kafka_broker.NativeBroker(folder, settings, guarded)


def postgres(folder: Path) -> postgres_server.Postgres:
    """A server of its own. The caller closes it."""
    no_docker = _docker_lacks(postgres_server.IMAGE)
    if no_docker is None:
        return postgres_server.DockerPostgres()
    lacking = [name for name in ("initdb", "postgres") if postgres_server.binary(name) is None]
    if _forced() == "docker" or lacking:
        missing(f"no PostgreSQL: {no_docker}; not found: {', '.join(lacking) or 'not asked for'}")
    return postgres_server.NativePostgres(folder)


def _forced() -> str | None:
    forced = os.environ.get("SNAPSHOT_TEST_SERVERS")
    if forced not in (None, "", "docker", "native"):
        pytest.fail(f"SNAPSHOT_TEST_SERVERS={forced!r}: say docker or native")
    return forced or None


@functools.cache
def _docker_lacks(image: str) -> str | None:
    """Why this image can't be run; None: it can."""
    if _forced() == "native":
        return "SNAPSHOT_TEST_SERVERS=native"
    if not _engine_listens():
        return "no Docker engine"
    import docker  # noqa: PLC0415  slow, and an engine is rare
    from docker.errors import DockerException, ImageNotFound  # noqa: PLC0415

    try:
        client: Any = docker.DockerClient.from_env(timeout=120)
        try:
            client.images.get(image)
        except ImageNotFound:
            client.images.pull(image)
        finally:
            client.close()
    except DockerException as error:
        return f"Docker can't run {image} ({str(error)[:200]})"
    return None


def _engine_listens() -> bool:
    """Whether something listens on the engine's unix socket; docker's library would leak the socket of a refusal."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    if not address.startswith("unix://"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address.removeprefix("unix://")) == 0
