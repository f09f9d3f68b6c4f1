"""Templates and errors. Whatever a template shows is escaped, and what would hide or turn text is made visible."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from consumer.web.json_response import JsonResponse
from projections import __version__
from projections.masking import mask_urls
from snapshot.runtime.terminal import printable, span

STATIC = Path(__file__).parent / "static"
_LONGEST = 300
_LONGEST_QUERY = 4_000


def render(request: Request, template: str, code: int = 200, **values: object) -> Response:
    """Make a page; `values` are what its template names."""
    text = _environment().get_template(template).render(path=request.url.path, version=__version__, **values)
    return Response(text.encode(errors="replace"), code, media_type="text/html; charset=utf-8")


def failure(request: Request, status: int, text: str, headers: Mapping[str, str] | None = None) -> Response:
    """Say in one line what is wrong: on the API as JSON, else as a page."""
    line = mask_urls(" ".join(text.split()))
    if request.url.path.startswith("/api/"):
        response: Response = JsonResponse({"error": line}, status)
    else:
        response = render(request, "error.html", status, status=status, reason=line)
    response.headers.update(headers or {})
    return response


def unreachable(request: Request, text: str) -> Response:
    """Say that something can't be had at present, and that it may be tried again."""
    return failure(request, 503, text, {"Retry-After": "5"})


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": "{:,}".format,
        "span": span,
        "moment": _moment,
        "second": _second,
        "short": shortened,
    }
    environment.globals |= {"link": link}
    return environment


def _visible(value: object) -> object:
    """What is no markup of ours is text of a stranger, or may hold some."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def link(path: str, **query: Any) -> Markup:  # noqa: ANN401 - whatever can be written
    """A link within the page; the slug of a group stands in its query, as a path could not hold each of them.

    >>> link("/profile", user=3, group="a/b&c", page=None)
    Markup('/profile?user=3&amp;group=a%2Fb%26c')
    """
    given = {name: value for name, value in query.items() if value not in {None, ""}}
    text = urlencode(given, errors="replace")
    return Markup.escape(f"{path}?{text}" if text and len(text) <= _LONGEST_QUERY else path)


def shortened(text: str) -> str:
    """The beginning of a text that is too long to be looked at, and how long it is."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _moment(text: object) -> str:
    """A time (UTC) to the minute."""
    return str(text)[:16].replace("T", " ")


def _second(text: object) -> str:
    """A time (UTC) to the second."""
    return str(text)[:19].replace("T", " ")
