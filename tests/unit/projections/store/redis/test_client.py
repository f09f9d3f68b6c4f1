import socket
import threading

import pytest
import redis
from structlog.testing import capture_logs

from projections.errors import OperatorError
from projections.store.protocol import StoreUnavailableError
from projections.store.redis.client import check, connect
from projections.store.redis.scripts import ask


@pytest.mark.parametrize(
    "url",
    ["redis://host", "redis://host/", "redis://host:6379/7", "rediss://u:p@host/0?db=1", "unix:///run/redis.sock?db=2"],
)
def test_a_url_that_can_be_meant_is_taken(url: str) -> None:
    connect(url).close()


@pytest.mark.parametrize(
    "url",
    [
        "redis.example.org",
        "http://host",
        "redis://host:x/0",
        "redis://host/cache",
        "redis://host/0/1",
        "redis://h?a=1",
        "redis://h?decode_responses=true",
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_the_way_out(url: str) -> None:
    with pytest.raises(OperatorError, match="write redis://host:6379/0"):
        connect(url)


@pytest.mark.parametrize(
    "options",
    ["protocol=9", "retry=3", "retry_on_error=1", "socket_connect_timeout=-1", "event_dispatcher=x"],
)
def test_an_option_that_no_url_can_give_is_refused_at_the_latest_when_connecting(options: str) -> None:
    url = f"redis://127.0.0.1:1?{options}"

    def use() -> None:
        check(connect(url), url)

    with pytest.raises(OperatorError, match="REDIS_URL redis://"):
        use()


def test_what_answers_and_is_no_redis_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"redis://127.0.0.1:{server.getsockname()[1]}"
        client = connect(url)
        answering = threading.Thread(target=_answer_as_a_web_server, args=(server,))
        answering.start()
        with pytest.raises(OperatorError, match=f"what answers at {url} is no Redis"):
            check(client, url)
        answering.join()


def test_a_log_that_cannot_be_written_is_named_to_commands_that_only_look() -> None:
    class Full(redis.Redis):
        def info(self, *_: object, **_options: object) -> dict[str, object]:
            facts = {"redis_version": "7.0.15", "role": "master", "maxmemory_policy": "noeviction", "aof_enabled": 1}
            return {**facts, "aof_last_write_status": "err"}

    with capture_logs() as lines:
        check(Full(), "redis://host")
    assert [(line["log_level"], line["event"].partition(";")[2]) for line in lines] == [
        ("warning", " make room on its disk")
    ]


def test_garbage_between_answers_passes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        answering = threading.Thread(target=_answer_as_a_web_server, args=(server,))
        answering.start()
        with pytest.raises(StoreUnavailableError):
            ask(connect(f"redis://127.0.0.1:{server.getsockname()[1]}"), [("PING",)])
        answering.join()


def _answer_as_a_web_server(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
