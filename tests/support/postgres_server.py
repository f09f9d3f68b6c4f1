"""A real PostgreSQL for tests: a container, or `initdb` and `postgres` of this machine."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Protocol

import psycopg

from support.process import Process, ServerStartError, free_port, wait_until

IMAGE = "postgres:17-alpine"


class Postgres(Protocol):
    """Where to connect as a superuser, without the database's name."""

    url: str

    def close(self) -> None: ...


class NativePostgres:
    """A server in a folder of its own under the system's temporary one; root runs it as another user."""

    def __init__(self, folder: Path) -> None:
        self._user = _unprivileged_user()
        self._folder = folder
        port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{port}"
        if self._user:
            shutil.chown(folder, self._user)
        self._initdb()
        address = ("-p", str(port), "-h", "127.0.0.1", "-k", folder)
        command: list[str | Path] = [binary("postgres") or "postgres", "-D", folder / "data", *address]
        for setting in ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "max_connections=200"):
            command += ["-c", setting]
        self._process = Process(command, folder / "postgres.log", user=self._user, cwd=folder)
        self._process.wait_ready(lambda: answers(self.url), "postgres")

    def close(self) -> None:
        self._process.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _initdb(self) -> None:
        options = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(
            [str(binary("initdb")), "-D", str(self._folder / "data"), *options],
            capture_output=True,
            text=True,
            check=False,
            user=self._user,
            cwd=self._folder,
        )
        if done.returncode:
            raise ServerStartError(f"initdb: {done.stdout}{done.stderr}")


class DockerPostgres:
    """The official image."""

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415  slow, and only needed with Docker

        self._container = DockerContainer(IMAGE).with_exposed_ports(5432).with_env("POSTGRES_PASSWORD", "postgres")
        self._container.start()
        try:
            address = f"{self._container.get_container_host_ip()}:{self._container.get_exposed_port(5432)}"
            self.url = f"postgresql://postgres:postgres@{address}"
            wait_until(lambda: answers(self.url), "PostgreSQL in Docker")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._container.stop()
        self._container.get_docker_client().client.close()


def answers(server_url: str) -> bool:
    """Whether it takes connections over TCP; the image's own first server, for its setup, doesn't."""
    try:
        psycopg.connect(f"{server_url}/postgres").close()
    except psycopg.OperationalError:
        return False
    return True


def binary(name: str) -> Path | None:
    """A program of PostgreSQL: on PATH, else the newest where Debian and Ubuntu keep them."""
    if found := shutil.which(name):
        return Path(found)
    kept = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    return kept[-1] if kept else None


def _unprivileged_user() -> str | None:
    """PostgreSQL refuses to run as root. None: we aren't root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
