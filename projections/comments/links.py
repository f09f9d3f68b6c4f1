"""The links that a text names, and the one form under which the same link is counted.

Nothing here raises, whatever the text, and everything is linear in its length. Nothing is ever fetched.
"""

import re

_ENDS = (
    r"\s<>\"`"
    "\u201c-\u201e\u00ab\u00bb\u2039\u203a\u2026"  # typographic quotes, ellipsis
    "\u3000-\u3020\uff01\uff08\uff09\uff0c\uff0e\uff1a\uff1b\uff1f\uff02\uff07"  # CJK punctuation
    r"\x00-\x1f\x7f-\x9f"
    "\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffc"  # invisible
)
_NEXT_LINK = r",(?=[hH][tT][tT][pP][sS]?://)"
# What ends a link, or may end it; and whole runs of brackets, so that a run costs no more than one.
_STOP = re.compile(rf"[{_ENDS})\]}}]|{_NEXT_LINK}")
_STOPS = re.compile(rf"[{_ENDS}]|\)+|\]+|\}}+|{_NEXT_LINK}")
_OPENING = {")": "(", "]": "[", "}": "{"}
_TRAILING = ".,;:!?'\u2019"
_EMPHASIS = "*_~"

# A backslash ends the authority, as in every browser: https://example.org\@other leads to example.org.
_PARTS = re.compile(r"([hH][tT][tT][pP][sS]?)://([^/?#\\]*)([^?#]*)(?:\?([^#]*))?(?:#(.*))?", re.DOTALL)
# Host and what follows it; the first colon (after an IPv6 bracket) ends the host, so that a second reading agrees.
_HOST = re.compile(r"((?:\[[^\]]*\])?[^:]*)(.*)", re.DOTALL)
_CANONICAL = re.compile(r"https?://[a-z0-9.-]+/[^?#]*")
"""A canonical form without query or fragment, as most links have."""
_DEFAULT_PORTS = {"http": ("", "80"), "https": ("", "443")}
_NAMED = re.compile(r"[^\W_]")

# Tracking parameters, in any case: an UTM_SOURCE leads to no other page than an utm_source.
_TRACKING = re.compile(
    r"(?:utm_[^=]*|fbclid|gclid|dclid|msclkid|mc_cid|mc_eid|igshid|igsh|_hsenc|_hsmi)(?:=.*)?",
    re.DOTALL | re.IGNORECASE | re.ASCII,
)


def find(line: str) -> list[str]:
    """Every http and https URL in a text, as written, in order, each occurrence.

    White space, quotes, CJK punctuation and invisible characters end a link, and so do a comma before the next one and
    a closing bracket that it did not open itself: Markdown writes `[https://a.org](https://a.org)`, which is two.
    Trailing punctuation is not part of it, nor Markdown's emphasis where that began right before it. A host without
    a letter or digit, as in `https://...`, makes no link.

    >>> find("(see https://en.example.org/wiki/Foo_(bar)), or **https://a.org**, or https://...")
    ['https://en.example.org/wiki/Foo_(bar)', 'https://a.org']
    """
    found: list[str] = []
    end = 0
    while (colon := line.find("://", end)) >= 0:
        # What stands before the scheme does not matter: Chinese and Japanese put no space there, and WhiteBalloon
        # too counts the https in git+https.
        scheme = line[max(end, colon - 5) : colon].lower()
        length = 5 if scheme == "https" else 4 if scheme.endswith("http") else 0
        if not length:
            end = colon + 3
            continue
        end = _end(line, colon + 3)
        begin = colon - length
        before = line[begin - 1 : begin]
        url = line[begin:end].rstrip(_TRAILING + before if before and before in _EMPHASIS else _TRAILING)
        if _has_host(url, length + 3):
            found.append(url)
    return found


def _end(line: str, begin: int) -> int:
    """Where the link whose authority begins at `begin` ends."""
    stop = _STOP.search(line, begin)
    if stop is None:
        return len(line)
    here = stop.start()
    opening = _OPENING.get(line[here])
    return here if opening is None or line.find(opening, begin, here) < 0 else _end_balanced(line, begin)


def _end_balanced(line: str, begin: int) -> int:
    """The same for a link that closes a bracket which it opened."""
    counted = dict.fromkeys(_OPENING.values(), begin)
    unclosed = dict.fromkeys(_OPENING.values(), 0)
    for stop in _STOPS.finditer(line, begin):
        here = stop.start()
        opening = _OPENING.get(line[here])
        if opening is None:
            return here
        unclosed[opening] += line.count(opening, counted[opening], here) - (stop.end() - here)
        if unclosed[opening] < 0:
            return stop.end() + unclosed[opening]
        counted[opening] = here
    return len(line)


def _has_host(url: str, begin: int) -> bool:
    """Whether the host holds a letter or digit; the first character alone says so for almost every link."""
    return (url[begin : begin + 1].isalnum() and "@" not in url) or _NAMED.search(domain(url)) is not None


def canonical(url: str) -> str:
    """The form under which a link is counted; the canonical form of a canonical form is itself.

    >>> canonical("HTTPS://ann@Example.org:443?utm_source=x&id=1#top")
    'https://example.org/?id=1'
    >>> canonical("https://example.org/app?fbclid=x#/route")
    'https://example.org/app#/route'
    """
    parts = None if _CANONICAL.fullmatch(url) else _PARTS.fullmatch(url)
    if parts is None:
        return url
    scheme, authority, path, query, fragment = parts.groups()
    scheme = scheme.lower()
    host, port = _host(authority)
    if port and (port[1:].lstrip("0") or port[1:2]) in _DEFAULT_PORTS[scheme]:
        port = ""
    if not path.startswith(("/", "\\")):
        path = "/" + path
    if query:
        query = "&".join([item for item in query.split("&") if not _TRACKING.fullmatch(item)])
    route = fragment and ("/" in fragment or "!" in fragment)
    return f"{scheme}://{host}{port}{path}{'?' + query if query else ''}{'#' + fragment if route else ''}"


def domain(url: str) -> str:
    """The host of a link in lower case, `www.` and an IPv6 address's brackets included, without port; '' if none.

    >>> domain("https://www.Example.org:8443/a")
    'www.example.org'
    """
    scheme, _, rest = url.partition("://")
    authority = rest.partition("/")[0]
    if scheme in _DEFAULT_PORTS and authority.isascii() and authority.replace(".", "").replace("-", "").isalnum():
        return authority.lower()  # as nearly all are
    parts = _PARTS.match(url)
    return _host(parts[2])[0] if parts else ""


def _host(authority: str) -> tuple[str, str]:
    """The host in lower case, and the rest with its colon (the port, if it is one). User info is dropped."""
    named = _HOST.match(authority[authority.rfind("@") + 1 :])
    return (named[1].lower(), named[2]) if named else ("", "")
