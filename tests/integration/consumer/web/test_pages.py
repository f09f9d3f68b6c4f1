"""The pages: what they say, of hostile texts too, and what they refuse."""

import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from consumer.web.access import Access
from consumer.web.app import make_app
from consumer.web.live.directory import Directory
from consumer.web.live.live import Live
from consumer.web.rendering import link
from support.commands import run
from support.page import SCRIPT, SLUG, Page, create

TOKEN = "correct horse battery staple"  # noqa: S105 - a test's


class Elements(HTMLParser):
    """All that a page's markup holds."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def links(self) -> list[str]:
        return [found for tag, attrs in self.tags if tag == "a" and (found := attrs["href"]) is not None]


def checked(client: TestClient, path: str) -> str:
    """A page's text, after all that must hold of every page."""
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    text = answer.text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", text), "nothing that hides or turns text"
    assert len(text) < 100_000, "a huge word is cut"
    for tag, attrs in Elements(text).tags:
        assert tag not in {"style", "img", "iframe", "b", "i"}
        assert not [name for name in attrs if name.startswith("on") or name == "style"]
        for name in ("src", "href", "action"):
            assert (attrs.get(name) or "/").startswith(("/", "#")), "nothing from outside"
        assert tag != "script" or attrs.get("src") == "/static/page.js"
    return text


def pages(page: Page) -> Iterator[str]:
    of_profile = [
        html.unescape(link(path, user=page.ann, group=SLUG)) for path in ("/profile", "/history", "/compare", "/why")
    ]
    yield from ("/", "/profiles", "/groups", "/changes", *of_profile[:3], f"{of_profile[3]}&number=count")


def test_every_page_and_every_link_within_it(page: Page, client: TestClient) -> None:
    found = {each for path in pages(page) for each in Elements(checked(client, path)).links()}
    whys = [one for one in found if one.startswith("/why?")]
    assert {re.search(r"number=(\w+)", one)[1] for one in whys} == {"count", "link", "tag", "reaction", "attachment"}  # type: ignore[index]
    for path in found - {"#main", "/api/openapi.json"}:
        text = checked(client, path)
        if path in whys:
            assert "the store says" not in text, "the number that is explained is the store's"


def test_a_hostile_text_is_shown_as_text(page: Page, client: TestClient) -> None:
    card = checked(client, html.unescape(link("/profile", user=page.ann, group=SLUG)))
    assert html.escape(SCRIPT).replace("&#x27;", "&#39;") in card
    assert "\\x00\\u202eend" in card
    assert "(40,000 characters)" in card
    assert "\\u202e\\nx</bdi>" in card
    assert '<span class="mark good">in step</span>' in card
    why = checked(
        client, html.unescape(link("/why", user=page.ann, group=SLUG, number="link", value="https://a.org/x?a=1&b="))
    )
    assert "quoted" in why
    assert "deleted 2024" in why


def test_profiles_are_searched_ordered_and_paged(page: Page, client: TestClient) -> None:
    assert ">3 profiles." in checked(client, "/profiles")
    assert ">2 profiles with" in checked(client, f"/profiles?q={page.ben}")
    assert ">1 profile with" in checked(client, "/profiles?q=FOOD")
    assert ">1 profile with" in checked(client, f"/profiles?q={page.ben}&group=elm&sort=last")
    assert ">0 profiles with" in checked(client, "/profiles?q=%3Cscript%3E%00nowhere")
    for wrong in ("sort=x", "page=0", "page=x", "page=99999999999999999999"):
        assert client.get(f"/profiles?{wrong}").status_code == 400


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        ("/nowhere", 404, "there is no such page: /nowhere"),
        ("/profile?user=1&group=nowhere", 404, "there is no profile of user 1 in group"),
        ("/profile", 404, "there is no profile of user"),
        (f"/profile?user={'9' * 6_000}&group=elm", 404, "there is no profile"),
        ("/profile?user=-1&group=elm", 404, "there is no profile"),
        ("/why?user=2&group=elm&number=x", 400, "must be one of link, tag"),
        ("/why?user=2&group=elm&number=tag", 400, "tag takes a value"),
        ("/why?user=2&group=elm&number=link&value=a", 400, "is no link"),
        ("/why?user=2&group=elm&number=tag&digest=ab", 404, "no longer has this tag"),
        ("/why?user=2&group=elm&number=count&limit=0", 400, "must be a number from 1 to 5,000"),
        ("/static/../app.py", 404, ""),
        ("/static/..%2fapp.py", 404, ""),
        ("/login?code=whatever", 303, ""),
    ],
)
def test_what_is_not_there_or_can_t_be_asked(client: TestClient, path: str, code: int, text: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, text in html.unescape(answer.text)) == (code, True)
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"])
@pytest.mark.parametrize("path", ["/", "/api/profiles", "/static/page.css", "/login", "/nowhere"])
def test_it_only_reads(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path) if method != "get" else client.request("CONNECT", path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_head_is_get_without_a_body(page: Page, client: TestClient) -> None:
    for path in pages(page):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_every_answer_has_the_headers(client: TestClient) -> None:
    for path in ("/", "/static/page.js", "/api/profiles", "/nowhere", "/api/nowhere"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_a_bug_is_one_line_and_has_the_headers(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError(SCRIPT)

    monkeypatch.setattr(Directory, "find", fail)
    app = make_app(Live(page.sources()), Access("127.0.0.1"))
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        for path in ("/profiles", "/api/profiles"):
            answer = client.get(path)
            assert answer.status_code == 500
            assert "this is a bug: ValueError; the log of snapshot-admin serve has more" in answer.text
            assert "Traceback" not in answer.text
            assert SCRIPT not in answer.text
            assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def test_another_host_is_refused_everywhere(client: TestClient) -> None:
    for path in ("/", "/static/page.css", "/api/profiles", "/login"):
        answer = client.get(path, headers={"host": "evil.example:8780"})
        assert answer.status_code == 400
        assert "this Host is not ours" in answer.text


def test_another_site_may_link_to_it_and_load_nothing(client: TestClient) -> None:
    link_from = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/profiles", headers=link_from).status_code == 200
    for mode in ("no-cors", "cors", "same-origin"):
        assert client.get("/api/profiles", headers={**link_from, "sec-fetch-mode": mode}).status_code == 403
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
    assert client.get("/api/profiles", headers=own).status_code == 200


def test_with_a_token_nothing_is_shown_without_it(page: Page) -> None:
    access = Access("0.0.0.0", TOKEN)  # noqa: S104 - what is tested
    app = make_app(Live(page.sources()), access)
    with TestClient(app, base_url="http://10.1.2.3", follow_redirects=False) as client:
        for path in ("/", "/profiles", "/api/profiles", "/api/openapi.json", "/nowhere"):
            refused = client.get(path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/api/profiles").json()["error"].startswith("a token is needed")
        assert client.get("/static/page.css").status_code == 200
        assert client.get("/", headers={"authorization": f"Bearer {TOKEN}"}).status_code == 200
        way = f"/login?code={access.login_code()}"
        assert client.head(way).status_code == 401, "a look at it does not use it up"
        entered = client.get(way)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        cookie = entered.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert TOKEN not in cookie
        assert client.get("/api/profiles").status_code == 200
        again = client.get(way)
        assert (again.status_code, "this login link was used, or is too old" in again.text) == (401, True)
        client.cookies.clear()
        forged = cookie.partition(";")[0] + "x"
        assert client.get("/", headers={"cookie": forged}).status_code == 401


def test_of_a_user_who_is_blocked_it_says_so(tmp_path: Path) -> None:
    page = create(tmp_path)
    assert run("snapshot-admin", "forget", str(page.ben), "--force", env=page.env).returncode == 0
    app = make_app(Live(page.sources()), Access("127.0.0.1"))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for path in (f"/profile?user={page.ben}&group=elm", f"/api/profiles/{page.ben}/elm"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert f"user {page.ben} is blocked by `forget --force`" in answer.text
