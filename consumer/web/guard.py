"""What every request passes: the Host header, the method, the token; and the headers of every response."""

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consumer.web.access import COOKIE, COOKIE_SECONDS, Access
from consumer.web.rendering import failure

_METHODS = ("GET", "HEAD")
STATIC_PATH = "/static/"
"""What anybody may have: it makes a page look like one."""
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_LOG_IN = (
    "a token is needed: run `snapshot-admin serve --login-link` with the same SNAPSHOT_WEB_TOKEN and open what it "
    "prints, or send the token as `Authorization: Bearer`"
)


class Guard:
    """Refuses what is not for us before anything else sees it."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # Starlette closes what is no HTTP
            return

        request = Request(scope)

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault(
                    "Cache-Control", "no-cache" if request.url.path.startswith("/static/") else "no-store"
                )
            await send(message)

        await (self._answer(request) or self._app)(scope, receive, secured)

    def _answer(self, request: Request) -> Response | None:
        """What is answered here; None: the request goes on."""
        headers, path = request.headers, request.url.path
        if not self._access.allows_host(headers.get("host", "")):
            return failure(request, 400, "this Host is not ours: name it with --name (SNAPSHOT_WEB_NAMES)")
        if request.method not in _METHODS:
            return failure(request, 405, "this page only reads: GET and HEAD", headers={"Allow": ", ".join(_METHODS)})
        if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
            return failure(request, 403, "another site may link to this page, and load nothing of it")
        if path == "/login":
            return self._log_in(request)
        open_to_all = path.startswith(STATIC_PATH)
        if open_to_all or self._access.admits(headers.get("authorization", ""), request.cookies.get(COOKIE, "")):
            return None
        return failure(request, 401, _LOG_IN, headers={"WWW-Authenticate": "Bearer"})

    def _log_in(self, request: Request) -> Response:
        """A login link is used up by opening it, not by a look at its headers."""
        if self._access.open:
            return RedirectResponse("/", 303)
        cookie = self._access.redeem(request.query_params.get("code", "")) if request.method == "GET" else None
        if cookie is None:
            return failure(request, 401, f"this login link was used, or is too old; {_LOG_IN}")
        response = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie(
            COOKIE, cookie, max_age=COOKIE_SECONDS, httponly=True, samesite="lax", secure=secure, path="/"
        )
        return response
