"""`snapshot-admin serve` as a process: its lines, its stream of changes, servers that are away, its end."""

import json
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from support import page as page_
from support.commands import run
from support.page import Page, Served
from support.redis_server import RedisServer

TOKEN = "correct horse battery staple"  # noqa: S105 - a test's


@pytest.fixture
def page(tmp_path: Path) -> Page:
    return page_.create(tmp_path)


def changes(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ids and contents of the changes that come."""
    last = ""
    for line in lines:
        if line.startswith("id: "):
            last = line[4:]
        elif line.startswith("data: "):
            yield last, json.loads(line[6:])


def test_changes_come_and_go_on_after_the_last_one_that_was_had(page: Page, tmp_path: Path) -> None:
    with Served(page, tmp_path / "log") as served:
        served.says("/changes", "comment-created 5")
        hostile = served.client.get(f"/api/profiles/{page.ann}/{quote(page_.SLUG, safe='')}")
        assert hostile.json()["group_slug"] == page_.SLUG
        assert served.client.get(f"/api/profiles/{page.ann}/{quote(page_.SLUG[:-2], safe='')}").status_code == 404
        with (
            served.client.stream("GET", "/api/changes") as gone,
            served.client.stream("GET", "/api/changes") as stream,
        ):
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = stream.iter_lines()
            assert next(lines) == "retry: 2000"
            next(gone.iter_lines())
            gone.close()
            page.comment()
            page.catch_up()
            first, change = next(changes(lines))
            assert (change["user_id"], change["cause"][:16]) == (page.ben, "comment-created ")
            assert {"field": "message_count", "before": "1", "after": "2"} in change["fields"]
        page.comment()
        page.catch_up()
    with (
        Served(page, tmp_path / "again") as served,
        served.client.stream("GET", "/api/changes", headers={"last-event-id": first}) as stream,
    ):
        later = {"field": "message_count", "before": "2", "after": "3"}
        assert any(later in change["fields"] for _, change in changes(stream.iter_lines()))
        served.started.process.send_signal(signal.SIGINT)
        assert served.started.process.wait(60) == 0
        said = served.started.said().splitlines()
        assert said[1:] == ["stopped"]


def test_a_store_that_is_away_comes_back_by_itself(page: Page, own_redis: RedisServer, tmp_path: Path) -> None:
    page = page._replace(env={**page.env, "REDIS_URL": own_redis.tcp_url})
    page.catch_up()
    with Served(page, tmp_path / "log") as served:
        served.says("/", "no consumer is at work")
        own_redis.kill()
        served.says("/", "no Redis answers at")
        answer = served.client.get("/api/profiles/2/elm")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert answer.json()["error"].startswith("no Redis answers at")
        assert "It is tried again every five seconds" in served.client.get("/profiles").text
        own_redis.start()
        served.says("/api/profiles/2/elm", "message_count")
        served.says("/", "no consumer is at work")
        aside = tmp_path / "aside"
        shutil.move(tmp_path / "data", aside)
        served.says("/groups", "app.db", 503)
        served.says("/", "app.db")
        shutil.move(aside, tmp_path / "data")
        served.says("/groups", "Hostile")


def test_a_store_that_is_not_there_yet_is_waited_for(page: Page, tmp_path: Path) -> None:
    away = tmp_path / "away"
    shutil.move(page.storage, away)
    with Served(page, tmp_path / "log") as served:
        served.says("/", "there is no store in")
        assert served.client.get("/profiles").status_code == 503
        shutil.move(away, page.storage)
        served.says("/profiles", "3 profiles")


def test_a_token_opens_the_page_to_others(page: Page, tmp_path: Path) -> None:
    with Served(page, tmp_path / "log", SNAPSHOT_WEB_TOKEN=TOKEN) as served:
        assert served.client.get("/").status_code == 401
        port = str(served.client.base_url.port)
        printed = run(
            "snapshot-admin", "serve", "--login-link", "--port", port, env={**page.env, "SNAPSHOT_WEB_TOKEN": TOKEN}
        )
        (link,) = printed.stdout.splitlines()
        assert TOKEN not in link
        assert served.client.get(link, follow_redirects=True).status_code == 200
        assert served.client.get("/api/profiles").status_code == 200
        said = served.started.said()
        assert TOKEN not in said
        assert "code=" not in said
        assert said.count("\n") == 1, "requests leave no line in the log"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--host", "0.0.0.0"], "listening on 0.0.0.0, which others can reach, needs a token"),  # noqa: S104 - refused
        (
            ["--host", "nowhere.invalid", "--token", TOKEN],
            "--host nowhere.invalid (SNAPSHOT_WEB_HOST) can",
        ),
        (["--host", "203.0.113.7", "--token", TOKEN], "can't listen on 203.0.113.7 port 8780 ("),
        (["--token", "short"], "SNAPSHOT_WEB_TOKEN must have at least 20"),
        (["--port", "70000"], "70000"),
        (["--login-link"], "no token is set, so the page asks for none: open http://127.0.0.1:8780, or set SNAPSHOT_W"),
        (["--login-link", "--name", "a.example"], "asks for none: open https://a.example, or set SNAPSHOT_WEB_TOKEN"),
        (["--kafka-bootstrap-servers", "nonsense"], "nonsense"),
    ],
)
def test_what_can_t_be_served_is_one_line(words: list[str], text: str, tmp_path: Path) -> None:
    ended = run("snapshot-admin", "serve", *words, env={"SNAPSHOT_STORAGE_DIR": str(tmp_path)})
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert text in ended.stderr


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run("snapshot-admin", "serve", "--port", str(port), env={"SNAPSHOT_STORAGE_DIR": str(tmp_path)})
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert f"can't listen on 127.0.0.1 port {port} (Address already in use): choose others with" in ended.stderr


def test_without_the_extra_it_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *more: None if name == 'uvicorn' else find(name, *more)\n"
    )
    env = {"SNAPSHOT_STORAGE_DIR": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    ended = run("snapshot-admin", "serve", env=env)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)
    assert "serve needs uvicorn: run `pip install" in ended.stderr
