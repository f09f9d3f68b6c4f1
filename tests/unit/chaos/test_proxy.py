"""The proxy between the product and its servers."""

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from chaos.proxy import Proxy


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65_536):
            self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ("127.0.0.1", int(server.server_address[1]))
        server.shutdown()


@pytest.fixture
def proxy(echo: tuple[str, int]) -> Iterator[Proxy]:
    made = Proxy(echo, "1")
    yield made
    made.close()


def asked(connection: socket.socket, question: bytes) -> bytes:
    connection.sendall(question)
    answer = b""
    while len(answer) < len(question) and (data := connection.recv(65_536)):
        answer += data
    return answer


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), 10)


def test_bytes_go_both_ways_and_the_servers_answer_is_cut_in_the_middle_once_only(proxy: Proxy) -> None:
    question = bytes(range(256)) * 4
    with connected(proxy) as one:
        assert asked(one, question) == question
        proxy.cut_replies(1)
        answer = asked(one, question)
        assert len(answer) < len(question)
        assert question.startswith(answer)
    with connected(proxy) as another:
        assert asked(another, question) == question


def test_a_frozen_connection_goes_on_where_it_stood(proxy: Proxy) -> None:
    with connected(proxy) as one:
        assert asked(one, b"before") == b"before"
        proxy.freeze()
        one.settimeout(0.3)
        with pytest.raises(TimeoutError):
            asked(one, b"meanwhile")
        one.settimeout(10)
        proxy.thaw()
        assert one.recv(100) == b"meanwhile"


def test_nobody_is_there_or_another_server(proxy: Proxy, echo: tuple[str, int]) -> None:
    with connected(proxy) as one:
        assert asked(one, b"x") == b"x"
        proxy.lead_to(None)
        assert one.recv(1) == b""
    with connected(proxy) as refused:
        assert refused.recv(1) == b""
    proxy.lead_to(echo)
    with connected(proxy) as again:
        assert asked(again, b"x") == b"x"
