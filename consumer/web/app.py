"""The application: which path leads where, and what becomes of errors."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio.to_thread
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from consumer.web import pages
from consumer.web.access import Access
from consumer.web.api import api
from consumer.web.guard import Guard
from consumer.web.live.connection import UNREACHABLE
from consumer.web.live.live import Live
from consumer.web.rendering import STATIC, failure, unreachable


class _Slug(Convertor[str]):
    """The rest of a path, line ends in it and at its end too: `path` takes a slug that ends with one for another."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("slug", _Slug())
_THREADS = 8
"""Requests that read at the same time; more wait, so that many of them are no load for WhiteBalloon's database."""
API: dict[str, Callable[[Request], object]] = {
    "/api/openapi.json": api.openapi,
    "/api/status": api.status,
    "/api/profiles": api.profiles,
    "/api/profiles/{user}/{slug:slug}": api.profile,
    "/api/changes": api.changes,
}
_PAGES = {
    "/": pages.status,
    "/profiles": pages.profiles,
    "/profile": pages.profile,
    "/why": pages.why,
    "/history": pages.change_history,
    "/compare": pages.sides,
    "/groups": pages.groups,
    "/changes": pages.changes,
}


def make_app(live: Live, access: Access) -> ASGIApp:
    """The application; it starts and stops what `live` runs."""

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        live.start()
        try:
            yield
        finally:
            live.stop()

    app = Starlette(
        routes=[
            *(Route(path, endpoint) for path, endpoint in {**_PAGES, **API}.items()),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={
            HTTPException: _refused,
            Exception: _bug,
            **dict.fromkeys(UNREACHABLE, _unreachable),
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.live = live
    return Guard(app, access)  # outermost, so that a bug's answer has its headers too


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 400
    text = str(error.detail) if isinstance(error, HTTPException) else str(error)
    return failure(request, status, f"there is no such page: {request.url.path[:100]}" if text == "Not Found" else text)


async def _unreachable(request: Request, error: Exception) -> Response:
    return unreachable(request, str(error))


async def _bug(request: Request, error: Exception) -> Response:
    text = f"this is a bug: {type(error).__name__}; the log of snapshot-admin serve has more"
    return failure(request, 500, text)
