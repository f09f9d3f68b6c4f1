"""What a page shows of strangers' texts: escaped, visible, and no longer than can be read."""

from starlette.requests import Request

from consumer.web.rendering import failure, link, shortened


def request(path: str = "/") -> Request:
    headers = [(b"host", b"localhost")]
    return Request({"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers})


def test_a_hostile_text_is_escaped_and_made_visible() -> None:
    text = "<script>alert('x')</script>\0\u202e\"\x1b\ud800 redis://ann:secret@host"
    page = bytes(failure(request(), 404, text).body).decode()
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;\\x00\\u202e&#34;\\x1b\\ud800 redis://ann:***@host" in page
    assert "secret" not in page


def test_the_api_says_it_as_json() -> None:
    answer = failure(request("/api/x"), 503, "a\nb \ud800", {"Retry-After": "5"})
    assert (answer.status_code, answer.body) == (503, b'{"error": "a b \\ud800"}')
    assert answer.headers["retry-after"] == "5"


def test_links() -> None:
    assert link("/why", value="a&b=<c>\0\ud800") == "/why?value=a%26b%3D%3Cc%3E%00%3F"
    assert link("/why", value="x" * 10_000) == "/why", "what no server takes is no link"


def test_a_huge_word_is_cut() -> None:
    assert shortened("x" * 300) == "x" * 300
    assert shortened("x" * 5_000) == f"{'x' * 300}… (5,000 characters)"
