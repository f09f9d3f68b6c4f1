"""Who may look at the page: Host headers, the token, login links."""

import pytest

from consumer.web.access import COOKIE_SECONDS, LINK_SECONDS, Access
from projections.errors import OperatorError

TOKEN = "correct horse battery staple"  # noqa: S105 - a test's


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("header", "ours"),
    [
        ("127.0.0.1:8780", True),
        ("127.0.0.1", True),
        ("LOCALHOST:99", True),
        ("localhost.", True),
        ("[::1]:8780", True),
        ("[::1]", True),
        ("page.example.org:443", True),
        ("evil.example", False),
        ("evil.example:8780", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.1.1", False),
        ("localhost:8780@evil.example", False),
        ("localhost:8780:8780", False),
        (":8780", False),
        ("", False),
    ],
)
def test_on_the_loopback_only_its_names_are_ours(header: str, ours: bool) -> None:
    assert Access("127.0.0.1", names=["Page.example.org"]).allows_host(header) is ours


def test_elsewhere_addresses_are_and_names_are_not() -> None:
    access = Access("0.0.0.0", TOKEN)  # noqa: S104 - what is tested
    assert access.allows_host("10.1.2.3:8780")
    assert access.allows_host("[fe80::1]:8780")
    assert not access.allows_host("evil.example")


def test_the_token_is_needed_off_the_loopback_and_is_no_short_one() -> None:
    for host in ("0.0.0.0", "::", "10.0.0.1", "host.example"):  # noqa: S104 - what is tested
        with pytest.raises(OperatorError, match="needs a token: set SNAPSHOT_WEB_TOKEN"):
            Access(host)
    for token in ("short", "ü" * 30, "a" * 30 + "\n"):
        with pytest.raises(OperatorError, match="SNAPSHOT_WEB_TOKEN must have at least 20"):
            Access("127.0.0.1", token)


def test_the_token_admits_and_nothing_like_it() -> None:
    access = Access("127.0.0.1", TOKEN)
    assert access.admits(f"Bearer {TOKEN}", "")
    assert access.admits(f"bearer  {TOKEN} ", "")
    for wrong in ("", TOKEN, f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer ü"):
        assert not access.admits(wrong, "")
    assert not access.admits("", TOKEN)


def test_a_login_link_is_good_once_and_for_ten_minutes() -> None:
    clock = Clock()
    access = Access("127.0.0.1", TOKEN, now=clock)
    code = access.login_code()
    assert TOKEN not in code
    cookie = access.redeem(code)
    assert cookie is not None
    assert access.admits("", cookie)
    assert access.redeem(code) is None
    assert not access.admits("", code), "a link is no cookie"
    assert access.redeem(cookie) is None
    late = access.login_code()
    clock.now += LINK_SECONDS + 1
    assert access.redeem(late) is None
    assert access.redeem(code) is None
    assert Access("127.0.0.1", TOKEN, now=clock).admits("", cookie), "it outlives a restart"
    assert not Access("127.0.0.1", TOKEN[::-1], now=clock).admits("", cookie), "and not another token"
    clock.now += COOKIE_SECONDS
    assert not access.admits("", cookie)


@pytest.mark.parametrize("place", range(3))
def test_no_part_of_a_cookie_can_be_changed(place: int) -> None:
    access = Access("127.0.0.1", TOKEN)
    cookie = access.redeem(access.login_code())
    assert cookie is not None
    parts = cookie.split(".")
    parts[place] = "9" + parts[place][1:] if parts[place][0] != "9" else "8" + parts[place][1:]
    assert not access.admits("", ".".join(parts))
    assert Access("127.0.0.1").redeem(cookie) is None
