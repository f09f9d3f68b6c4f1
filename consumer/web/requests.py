"""What is read from a request: whose profile, how many, which number. What is none of these is refused."""

import re

from starlette.exceptions import HTTPException
from starlette.requests import Request

from consumer.web.live.live import Live
from projections.comments.explain import Counted
from projections.profile_key import HIGHEST_ID, ProfileKey

_DIGITS = re.compile(r"[0-9]{1,19}")


def live_of(request: Request) -> Live:
    """What the page keeps while it runs."""
    found: Live = request.app.state.live
    return found


def key_of(user: str, slug: str) -> ProfileKey:
    """The profile that is named; 404 where none can have that name."""
    user_id = int(user) if _DIGITS.fullmatch(user) else 0
    if not (1 <= user_id <= HIGHEST_ID and slug):
        raise HTTPException(404, f"there is no profile of user {user[:20]!r} in group {slug[:100]!r}")
    return ProfileKey(user_id, slug)


def no_profile(key: ProfileKey) -> str:
    """What is said where there is none."""
    return f"there is no profile of user {key.user_id} in group {key.group_slug[:100]!r}"


def asked_key(request: Request) -> ProfileKey:
    """The profile that a page's query names."""
    return key_of(request.query_params.get("user", ""), request.query_params.get("group", ""))


def asked_number(request: Request, name: str, default: int, most: int) -> int:
    """A number of the query, 1 to `most`; 400 for another one."""
    text = request.query_params.get(name) or str(default)
    number = int(text) if _DIGITS.fullmatch(text) else 0
    if not 1 <= number <= most:
        raise HTTPException(400, f"{name} is {text[:20]!r}, and must be a number from 1 to {most:,}")
    return number


def asked_kind(request: Request) -> Counted:
    """Which number is to be explained; 400 for what is none."""
    text = request.query_params.get("number", "")
    try:
        return Counted(text)
    except ValueError:
        raise HTTPException(400, f"number is {text[:20]!r}, and must be one of {', '.join(Counted)}") from None
