"""A real Apache Kafka for tests: one KRaft broker, in a container or as a process of Maven Central's jars."""

import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from kafka import KafkaAdminClient

from support.process import Process, ServerStartError, free_port, wait_until

VERSION = "4.1.0"
IMAGE = f"apache/kafka:{VERSION}"
CLUSTER = "4L6g3nShT-eMCtK--X86sw"  # any id of that shape, written to a new broker's log folder
POM = Path(__file__).with_name("kafka.pom.xml")
JARS = Path(__file__).parents[2] / ".cache" / f"kafka-{VERSION}"
LOGGING = Path(__file__).with_name("kafka.log4j2.yaml")


class Broker(Protocol):
    """What a test may do to a broker; a stopped or killed one starts again on the same port and data."""

    bootstrap: str

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None: ...


def properties(listeners: str, advertised: str, controller: str) -> dict[str, str]:
    """The broker's settings: controller and broker in one, one replica of everything, no topic made by accident."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": listeners,
        "advertised.listeners": advertised,
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@{controller}",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "broker.session.timeout.ms": "2000",  # so that a killed broker may register again soon
        "broker.heartbeat.interval.ms": "500",
        "auto.create.topics.enable": "false",
        "message.max.bytes": "10000000",
    }


class NativeBroker:
    """`kafka.Kafka` under Java, in `folder`; `guarded`: where else it listens, by security protocol.

    It may take `patience` seconds to start."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        guarded: Mapping[str, str] | None = None,
        *,
        port: int | None = None,
        patience: float = 60.0,
    ) -> None:
        port, controller = port or free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        self._folder = folder
        self._patience = patience
        self._config = folder / "server.properties"
        self._process: Process | None = None
        listeners = {"PLAINTEXT": self.bootstrap, **(guarded or {})}
        advertised = ",".join(f"{protocol}://{address}" for protocol, address in listeners.items())
        lines = properties(f"{advertised},CONTROLLER://127.0.0.1:{controller}", advertised, f"127.0.0.1:{controller}")
        protocols = ",".join(f"{protocol}:{protocol}" for protocol in listeners)
        lines["listener.security.protocol.map"] = f"{protocols},CONTROLLER:PLAINTEXT"
        lines |= {"log.dirs": str(folder / "logs"), **(settings or {})}
        self._config.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        self._format()
        self.start()

    @property
    def pid(self) -> int:
        assert self._process is not None, "the broker was never started"
        return self._process.pid

    def launch(self) -> Process:
        """Start it where it does not run, without waiting until it answers."""
        if self._process is not None and self._process.running:
            return self._process
        command = [*_java("-Xmx512m", "-Xms128m"), "kafka.Kafka", self._config]
        self._process = Process(command, self._folder / "kafka.log", cwd=self._folder)
        return self._process

    def start(self) -> None:
        self.launch().wait_ready(lambda: answers(self.bootstrap), "Apache Kafka", self._patience)

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    close = kill  # its data go too: no need to wait for an orderly end

    def pause(self) -> None:
        """It accepts connections and says nothing."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)

    def _format(self) -> None:
        command = [*_java(), "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", self._config]
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServerStartError(f"Kafka's StorageTool format: {done.stdout}{done.stderr}")


class DockerBroker:
    """The official image, on a free port that is the same within, where the broker calls itself by it, and without."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415  slow, and only needed with Docker

        port = free_port()
        self.bootstrap = f"127.0.0.1:{port}"
        lines = properties(
            f"PLAINTEXT://:{port},CONTROLLER://:9093", f"PLAINTEXT://{self.bootstrap}", "localhost:9093"
        ) | dict(settings or {})
        environment = {f"KAFKA_{name.upper().replace('.', '_')}": value for name, value in lines.items()}
        self._container = (
            DockerContainer(IMAGE).with_bind_ports(port, port).with_envs(CLUSTER_ID=CLUSTER, **environment)
        )
        self._container.start()
        try:
            self._wait()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        self._inner().start()
        self._wait()

    def stop(self) -> None:
        self._inner().stop()

    def kill(self) -> None:
        self._inner().kill()

    def pause(self) -> None:
        self._inner().pause()

    def resume(self) -> None:
        self._inner().unpause()

    def close(self) -> None:
        self._container.stop()
        self._container.get_docker_client().client.close()

    def _inner(self) -> Any:  # noqa: ANN401  docker's own library has no types
        return self._container.get_wrapped_container()

    def _wait(self) -> None:
        wait_until(lambda: answers(self.bootstrap), "Apache Kafka in Docker")


def listens(bootstrap: str) -> bool:
    """Whether the port is open. Not asked through kafka-python: its clients leak a thread when they can't connect."""
    host, port = bootstrap.split(":")
    try:
        socket.create_connection((host, int(port)), 1).close()
    except OSError:
        return False
    return True


def answers(bootstrap: str) -> bool:
    """Whether the broker serves metadata, a moment after its port is open."""
    if not listens(bootstrap):
        return False
    with KafkaAdminClient(bootstrap_servers=bootstrap) as client:
        return bool(client.describe_cluster()["brokers"])


def empty(bootstrap: str) -> None:
    """Delete all groups and all topics that are not Kafka's own, and wait until both are gone."""
    with KafkaAdminClient(bootstrap_servers=bootstrap) as client:
        wait_until(lambda: _delete_groups(client), "every consumer group of the last test to end", 50)
        wait_until(lambda: _delete_topics(client), "every topic of the last test to be deleted", 20)


def _delete_groups(client: KafkaAdminClient) -> bool:
    groups = [group["group_id"] for group in client.list_groups()]
    if groups:
        client.delete_groups(groups)  # refuses one that has members still: asked again
    return not groups


def _delete_topics(client: KafkaAdminClient) -> bool:
    topics = [name for name in client.list_topics() if not name.startswith("__")]
    if topics:
        client.delete_topics(topics, raise_errors=False)
    return not topics


def _java(*options: str) -> list[str | Path]:
    fetch_jars()
    return [
        "java",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # starts sooner, and the test machine's cores are few
        *options,
        f"-Dlog4j2.configurationFile={LOGGING}",
        "-cp",
        f"{JARS}/*",
    ]


def fetch_jars() -> None:
    """Copy Kafka's jars from Maven Central into the checkout's cache, once."""
    if JARS.is_dir():
        return
    partial = JARS.with_name(f"{JARS.name}.{free_port()}")  # two test runs may start at once
    command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={partial}"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        raise ServerStartError(f"mvn could not fetch Apache Kafka {VERSION}: {(done.stdout + done.stderr)[-1500:]}")
    try:
        partial.rename(JARS)
    except OSError:  # the other run was first
        if not JARS.is_dir():
            raise
