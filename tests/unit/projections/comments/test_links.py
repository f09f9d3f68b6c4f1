# ruff: noqa: RUF001 - links end at such characters
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projections.comments.links import canonical, domain, find

BITS = st.sampled_from(
    [
        *[
            "http://",
            "https://",
            "HTTP://",
            "hTTpS://",
            "://",
            "http\u017f://",
            "//",
            "www.",
            "example.org",
            "EXAMPLE.org",
        ],
        *[
            "[::1]",
            "[FE80::1%25en0]",
            "[",
            "]",
            "(",
            ")",
            "{",
            "}",
            ":80",
            ":443",
            ":0443",
            ":0",
            ":8080",
            ":",
            ":x",
            ":80:80",
        ],
        *["user:secret@", "@", "例え.テスト", "İ.org", "ΑΣ", "...", "…", "/", "\\", "/path", "/A%2fb", "?", "&", "&&"],
        *["utm_source=x", "UTM_a", "fbclid=1", "id=1", "=", "#", "#top", "#/route", "#!", "!", "'", ",", ";", "."],
        *[" ", "\t", "\r", "\n", "\x00", "\x85", "\u2028", "\ud800", "<", ">", '"', "`", "_", "-"],
        *["*", "~", "\u2019", "\u201d", "\u3002", "\u200b", ",http://", ",https://"],
    ]
)
ENDS = {*' <>"`\n', *"\u201c\u201d\u201e\u00ab\u00bb\u2039\u203a\u2026"} | {
    chr(code)
    for first, last in [
        *[(0xFF01, 0xFF02), (0xFF07, 0xFF09), (0xFF0C, 0xFF0C), (0xFF0E, 0xFF0E), (0xFF1A, 0xFF1B), (0xFF1F, 0xFF1F)],
        *[(0x3000, 0x3020), (0x00, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x61C, 0x61C), (0x180E, 0x180E)],
        *[(0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x2069), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFC)],
    ]
    for code in range(first, last + 1)
}
"""DESIGN.md's table."""
NASTY = st.lists(BITS | st.characters(), max_size=30).map("".join) | st.lists(BITS, max_size=8).map(
    lambda bits: "http://" + "".join(bits)
)


@given(NASTY)
@example("http://[::1]:80:80/?utm_source=x#/route")
@example("https://a?utm_a=1&&utm_b=2#/")
@example("http://a@b@C:0080")
def test_a_canonical_form_is_its_own(text: str) -> None:
    for url in [*find(text), text]:
        once = canonical(url)
        assert canonical(once) == once
        assert domain(once) == domain(url)


@given(NASTY)
def test_a_found_link_stands_in_the_text_in_order_with_a_host(text: str) -> None:
    position = 0
    for url in find(text):
        position = text.index(url, position) + len(url)
        assert domain(url)
        assert url[-1] not in ".,;:!?'\u2019"
        assert not set(url) & ENDS
        assert all(url.count(closing) <= url.count(opening) for opening, closing in ("()", "[]", "{}"))


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("no link", []),
        ("://", []),
        ("ftp://example.org", []),
        ("://x ftp://b.org https://a.org", ["https://a.org"]),
        ("x://http://a.org", ["http://a.org"]),
        ("xhttps://a.org/x", ["https://a.org/x"]),
        ("https://a.org and https://a.org", ["https://a.org", "https://a.org"]),
        ("See https://a.org/p. Or https://a.org/p, or https://a.org/p?", ["https://a.org/p"] * 3),
        (
            "(https://a.org/p) <https://a.org/p> \"https://a.org/p\" `https://a.org/p` 'https://a.org/p'",
            ["https://a.org/p"] * 5,
        ),
        ("https://en.example.org/wiki/Foo_(bar)", ["https://en.example.org/wiki/Foo_(bar)"]),
        ("(https://en.example.org/wiki/Foo_(bar)).", ["https://en.example.org/wiki/Foo_(bar)"]),
        ("https://a.org/((x))) https://a.org/()()]", ["https://a.org/((x))", "https://a.org/()()"]),
        ("https://a.org/((x)y)z) (https://a.org/(x)y)z", ["https://a.org/((x)y)z", "https://a.org/(x)y"]),
        ("[https://a.org](https://b.org)", ["https://a.org", "https://b.org"]),
        (
            "[a](https://a.org/x)'s, [b](https://b.org),[c](https://c.org)",
            ["https://a.org/x", "https://b.org", "https://c.org"],
        ),
        ("https://a.org/x!?...", ["https://a.org/x"]),
        ("https://a.org\rhttps://b.org\u2028https://c.org\xa0x", ["https://a.org", "https://b.org", "https://c.org"]),
        ("https://... and http://. and https://… and https://.../x", []),
        ("http:// https:///path http://:80/ http://user@/", []),
        ("http://[::1]:8080/v6 http://[]/", ["http://[::1]:8080/v6"]),
        ("看https://example.org这个 git+https://a.org", ["https://example.org这个", "https://a.org"]),
        ("http\u017f://example.org", []),
        ("HTTPS://EXAMPLE.org/P", ["HTTPS://EXAMPLE.org/P"]),
        ("https://web.archive.org/web/1/https://a.org/", ["https://web.archive.org/web/1/https://a.org/"]),
        ("https://user:secret@a.org/", ["https://user:secret@a.org/"]),
        ("https://a.org/x,https://b.org,HTTP://c.org", ["https://a.org/x", "https://b.org", "HTTP://c.org"]),
        ("https://a.org/x(,https://b.org)", ["https://a.org/x(", "https://b.org"]),
        ("https://a.org/1,2,http:/x", ["https://a.org/1,2,http:/x"]),
        ("*https://a.org/x* **https://a.org/x**, _https://a.org/x_.", ["https://a.org/x"] * 3),
        ("~~https://a.org/x~~ *https://a.org/x.* **https://a.org/x.**:", ["https://a.org/x"] * 3),
        (
            "https://a.org/x* https://a.org/x_ https://a.org/x~",
            ["https://a.org/x*", "https://a.org/x_", "https://a.org/x~"],
        ),
        ("*https://a.org/x_ _https://a.org/x*_", ["https://a.org/x_", "https://a.org/x*"]),
        ("_https://a.org/_x_y__", ["https://a.org/_x_y"]),
        ("“https://a.org” ‘https://a.org’ «https://a.org» „https://a.org“", ["https://a.org"] * 4),
        ("‹https://a.org› https://a.org… https://a.org/it’s", ["https://a.org", "https://a.org", "https://a.org/it’s"]),
        (
            "看https://a.org。（https://a.org/x），https://a.org、「https://a.org/y」",
            ["https://a.org", "https://a.org/x", "https://a.org", "https://a.org/y"],
        ),
        (
            "https://a.org/： https://a.org/； https://a.org/？ https://a.org/！ https://a.org/＂",
            ["https://a.org/"] * 5,
        ),
        ("https://a.org/x\u200bhttps://b.org⁠ https://a.org/x﻿", ["https://a.org/x", "https://b.org", "https://a.org/x"]),
    ],
)
def test_what_is_found(text: str, urls: list[str]) -> None:
    assert find(text) == urls


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("HTTPS://EXAMPLE.org/Path", "https://example.org/Path"),
        ("https://a.org", "https://a.org/"),
        ("https://a.org?q=1", "https://a.org/?q=1"),
        ("https://u:p@A.org:443/x", "https://a.org/x"),
        ("http://a.org:80", "http://a.org/"),
        ("http://a.org:", "http://a.org/"),
        ("http://a.org:080/", "http://a.org/"),
        ("http://a.org:0/", "http://a.org:0/"),
        ("http://a.org:443/", "http://a.org:443/"),
        ("https://a.org:8443/a?b=1", "https://a.org:8443/a?b=1"),
        ("http://a.org:x/", "http://a.org:x/"),
        ("http://a.org:X80/", "http://a.org:X80/"),
        ("http://[FE80::1]:80/", "http://[fe80::1]/"),
        ("https://a.org/p#one", "https://a.org/p"),
        ("https://a.org/p#", "https://a.org/p"),
        ("https://a.org/#narrow/stream/5", "https://a.org/#narrow/stream/5"),
        ("https://a.org/#!home", "https://a.org/#!home"),
        ("https://a.org/?utm_source=x&id=1&utm_medium=y", "https://a.org/?id=1"),
        ("https://a.org/?utm_source=x#/route", "https://a.org/#/route"),
        ("https://a.org/?b=2&a=1&fbclid=x&b=%2F", "https://a.org/?b=2&a=1&b=%2F"),
        (
            "https://a.org/?gclid=1&dclid=1&msclkid=1&mc_cid=1&mc_eid=1&igshid=1&igsh=1&_hsenc=1&_hsmi=1",
            "https://a.org/",
        ),
        ("https://a.org/?my_utm_source=x&gclids=1", "https://a.org/?my_utm_source=x&gclids=1"),
        ("https://a.org/a//b/../c?", "https://a.org/a//b/../c"),
        ("https://例え.テスト/パス", "https://例え.テスト/パス"),
        ("https://a.org/%7Eann", "https://a.org/%7Eann"),
        ("https://a.org\\@b.org", "https://a.org\\@b.org"),
        ("not a link", "not a link"),
    ],
)
def test_the_canonical_form(url: str, form: str) -> None:
    assert canonical(url) == form


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://www.A.org:8443/x", "www.a.org"),
        ("https://u@a.org", "a.org"),
        ("http://[::1]:80/", "[::1]"),
        ("https://a.org\\@b.org", "a.org"),
        ("no link", ""),
        ("ftp://a.org", ""),
    ],
)
def test_the_domain(url: str, host: str) -> None:
    assert domain(url) == host


@pytest.mark.parametrize("end", sorted(ENDS))
def test_a_link_ends_before_each_character_of_the_table(end: str) -> None:
    assert find(f"https://a.org/x{end}y") == ["https://a.org/x"]
    assert find(f"https://a.org/(x{end}y)") == ["https://a.org/(x"]


@pytest.mark.parametrize(
    "code", [0xA1, 0xB7, 0x2013, 0x2018, 0x2032, 0x2027, 0x3021, 0x3042, 0xFF00, 0xFF03, 0xFF0D, 0xFFFD]
)
def test_other_characters_are_part_of_a_link(code: int) -> None:
    assert find(f"https://a.org/x{chr(code)}y") == [f"https://a.org/x{chr(code)}y"]


MB5 = 5_000_000


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("(" * MB5, 0),
        ("http://" * (MB5 // 7), 1),
        ("http://a.org/" + "x" * MB5 + ")" * MB5, 1),
        ("http://a.org/" + "(" * (MB5 // 2) + ")" * (MB5 // 2), 1),
        ("http://a.org" + ".," * (MB5 // 2), 1),
        ("http://" + "a@" * (MB5 // 2), 0),
        ("http://a.org/?" + "&" * MB5, 1),
        ("http://" + "[" * MB5, 0),
        ("http://a)" * (MB5 // 9), MB5 // 9),
        ("http://a," * (MB5 // 9), MB5 // 9),
        ("*http://a" + "*" * MB5, 1),
    ],
    ids=[
        "open",
        "schemes",
        "closed",
        "nested",
        "punctuation",
        "users",
        "parameters",
        "ipv6",
        "cut",
        "commas",
        "emphasis",
    ],
)
def test_five_megabytes_are_read(text: str, count: int) -> None:
    # A rule that looks back over the text for every character would run into the suite's own time limit here.
    found = find(text)
    assert len(found) == count
    assert all(canonical(url) for url in set(found))
