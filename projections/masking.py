"""URLs without their passwords, for messages, logs and the run log. The one place that hides them."""

import re
from urllib.parse import unquote

_URL = re.compile(r"(?<![a-z0-9+.-])[a-z0-9+.-]+://\S*[^\s.,:;!?)\]}'\"]", re.IGNORECASE)
"""From the start of a word, so that it takes linear time, and without the punctuation of the sentence around it."""
_PARAMETER = re.compile(r"([?&;][^=&;?]*)=")
_SECRET = re.compile(r"pass|pwd|secret|token|user|credential", re.IGNORECASE)
_ODD_COLON = re.compile(r":(?!\d*(?:[,/?#]|$))")
"""A colon with something else than a port behind it: perhaps a password without a host."""


def mask(url: str) -> str:
    """The URL without passwords, in its user part and in its query; it need not be a valid one.

    >>> mask("redis://ann:secret@host:6379/0?db=1&ssl_password=secret")
    'redis://ann:***@host:6379/0?db=1&ssl_password=***'
    >>> mask("redis://secret@host"), mask("redis://host:secret")
    ('redis://***@host', 'redis://***')
    """
    scheme, separator, rest = url.partition("://") if "://" in url else ("", "", url)
    user_part, at, place = rest.rpartition("@")  # an unquoted password may hold any character, an @ too
    if not at and not place.startswith("/") and _ODD_COLON.search(re.sub(r"\[[^]]*\]", "", place)):
        return f"{scheme}{separator}***"
    user, colon, _ = user_part.partition(":")
    kept = f"{user}:***@" if colon else "***@" if at else ""
    return f"{scheme}{separator}{kept}{'&'.join(map(_masked, place.split('&')))}"


def mask_urls(text: str) -> str:
    """The text with every URL in it masked.

    >>> mask_urls("no Redis answers at redis://:secret@host:6379/0: start it")
    'no Redis answers at redis://:***@host:6379/0: start it'
    """
    return _URL.sub(lambda found: mask(found[0]), text)


def _masked(part: str) -> str:
    """One part of a query: `;` and `#` divide it for some clients, and are of the password for others."""
    for found in _PARAMETER.finditer(f"&{part}"):
        if _SECRET.search(unquote(found[1])):
            return f"{part[: found.end() - 1]}***"
    return part
