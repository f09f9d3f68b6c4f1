"""The labels of one analysis, and the list columns that they come from."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import msgspec

from projections.decoding import too_deep


def labels(resource_tags: Iterable[str], request_tags: Iterable[str], tags: Iterable[str]) -> tuple[str, ...]:
    """The labels of one analysis in order of appearance: trimmed, none empty, each once; case matters.

    >>> labels(["housing", "Food"], [" housing "], ["food", ""])
    ('housing', 'Food', 'food')
    """
    every = (*resource_tags, *request_tags, *tags)
    return tuple(dict.fromkeys([label for tag in every if (label := tag.strip())])) if every else ()


def list_column(text: str | None) -> tuple[str, ...]:
    """Read one of the analysis' list columns.

    A JSON list gives its strings, other JSON nothing, nor does text that only begins like a list or an object;
    anything else is split at commas. Trimmed, none empty.

    >>> list_column('["a", 1, " b "]'), list_column("a, b"), list_column('"a"'), list_column("[a")
    (('a', 'b'), ('a', 'b'), (), ())
    """
    if not text or text == "[]":
        return ()
    try:
        return _trimmed(_STRINGS(text))
    except (msgspec.DecodeError, UnicodeEncodeError):
        return _trimmed(_non_list_column(text.strip()))


_STRINGS: Callable[[str], list[str]] = msgspec.json.Decoder(list[str]).decode


_SURROGATE = re.compile("[\ud800-\udfff]")


def _non_list_column(text: str) -> list[str]:
    """The items of a column that is not simply a list of strings."""
    like_json = text.startswith(("[", "{"))
    if like_json and too_deep(text):
        return []
    try:
        value = _JSON.decode(text)
    except ValueError:
        return [] if like_json else _whole(text).split(",")
    return [_whole(item) for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# Whole numbers as floats: Python refuses to read an int of over 4,300 digits, and no number is a label anyway.
_JSON: Any = json.JSONDecoder(parse_constant=_refuse, parse_int=float)


def _whole(text: str) -> str:
    r"""Without halves of surrogate pairs, which JSON can spell (`"\ud83d"`) and neither Kafka nor Redis can carry."""
    return _SURROGATE.sub("\ufffd", text)


def _items(text: str) -> tuple[str, ...]:
    return _trimmed(text.split(","))


def _trimmed(items: Sequence[str]) -> tuple[str, ...]:
    return tuple([item for raw in items if (item := raw.strip())])
