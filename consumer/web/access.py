"""Who may look: which Host headers are ours, and the token, as a header or as the cookie that a login link gives."""

import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable, Iterable
from hashlib import sha256

from projections.errors import OperatorError

FEWEST_CHARACTERS = 20
LINK_SECONDS = 600
COOKIE_SECONDS = 30 * 86_400
COOKIE = "snapshot_admin"


class Access:
    """The rules of one server. `host` is what it listens on, `names` the further names under which it is known.

    On the loopback only names of the loopback are ours: else any page that is visited could have its own name
    resolve to it, and read along (DNS rebinding). Elsewhere all addresses are, since an address can't be made to
    resolve otherwise.
    """

    def __init__(
        self, host: str, token: str | None = None, names: Iterable[str] = (), now: Callable[[], float] = time.time
    ) -> None:
        self._names = {"localhost", host.casefold(), *(name.strip().casefold() for name in names)}
        self._loopback = is_loopback(host)
        self._token = token
        self._now = now
        self._used: dict[str, int] = {}
        if token is not None and (len(token) < FEWEST_CHARACTERS or not token.isascii() or not token.isprintable()):
            raise OperatorError(
                f"SNAPSHOT_WEB_TOKEN must have at least {FEWEST_CHARACTERS} printable ASCII characters: make one with "
                "`openssl rand -hex 32`"
            )
        if token is None and not self._loopback:
            raise OperatorError(
                f"listening on {host}, which others can reach, needs a token: set SNAPSHOT_WEB_TOKEN, such as what "
                "`openssl rand -hex 32` prints, or leave --host out"
            )

    @property
    def open(self) -> bool:
        """Whether nobody is asked for a token."""
        return self._token is None

    def allows_host(self, header: str) -> bool:
        """Whether a Host header names this server."""
        name, _, port = header.rpartition(":") if not header.endswith("]") else (header, "", "")
        name = (name if name and port.isdecimal() else header).casefold().removesuffix(".")
        if name in self._names:
            return True
        address = _address(name.removeprefix("[").removesuffix("]"))
        return address is not None and (address.is_loopback or not self._loopback)

    def admits(self, authorization: str, cookie: str) -> bool:
        """Whether a request with these two headers may see anything; all comparisons take constant time."""
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        by_token = hmac.compare_digest(_digest(given.strip()), _digest(self._token))
        return (scheme.casefold() == "bearer" and by_token) or self._holds("cookie", cookie)

    def login_code(self) -> str:
        """Make the code of a login link, good for one use within ten minutes; it does not tell the token."""
        return self._signed("link", LINK_SECONDS)

    def redeem(self, code: str) -> str | None:
        """Give a cookie for the code of a login link; None where it is not good, or no longer."""
        now = int(self._now())
        self._used = {used: until for used, until in self._used.items() if until > now}
        if self._token is None or code in self._used or not self._holds("link", code):
            return None
        self._used[code] = int(code.partition(".")[0])
        return self._signed("cookie", COOKIE_SECONDS)

    def _signed(self, purpose: str, seconds: int) -> str:
        text = f"{int(self._now()) + seconds}.{secrets.token_hex(8)}"
        return f"{text}.{self._signature(purpose, text)}"

    def _holds(self, purpose: str, signed: str) -> bool:
        text, _, signature = signed.rpartition(".")
        until = text.partition(".")[0]
        genuine = hmac.compare_digest(_digest(signature), _digest(self._signature(purpose, text)))
        return genuine and until.isdecimal() and int(until) > self._now()

    def _signature(self, purpose: str, text: str) -> str:
        return hmac.new((self._token or "").encode(), f"{purpose}:{text}".encode(), sha256).hexdigest()


def is_loopback(host: str) -> bool:
    """Whether nobody from outside can reach this address.

    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _digest(text: str) -> bytes:
    """Of equal length for all, so that the comparison does not tell the token's."""
    return sha256(text.encode(errors="replace")).digest()
