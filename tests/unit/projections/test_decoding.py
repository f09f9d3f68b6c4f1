import json
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections import codec
from projections.comments.events import COMMENT_CREATED, InvalidEventError, decode
from projections.comments.labels import list_column
from projections.decoding import MAX_DEPTH, DecodingError, JsonDecoder, too_deep
from projections.profiles.head import Head
from projections.watermark import Watermark
from snapshot.schema import parse_file

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('[]{}"\\,: a\n'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text('[]{}"\\ a'), inner, max_size=4),
)


def nested(levels: int, inner: str = "") -> str:
    """Lists in lists; `levels` of them."""
    return "[" * levels + inner + "]" * levels


def depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


@given(JSON, st.integers(1, 12))
def test_the_depth_is_that_of_lists_and_objects(value: Any, limit: int) -> None:  # noqa: ANN401 - any JSON
    text = nested(MAX_DEPTH - limit, json.dumps(value))
    assert too_deep(text) is too_deep(text.encode()) is (depth(value) > limit)


@given(st.text('[]{}"\\'))
def test_no_text_is_too_odd_for_it(text: str) -> None:
    assert too_deep(text) is too_deep(text.encode())
    assert not too_deep(text[:MAX_DEPTH])


@pytest.mark.parametrize("text", ['\\"' * 200_000, '"' * 200_001, '"\\' * 200_000, '"]' * 200_000])
def test_long_texts_take_no_longer_than_they_are(text: str) -> None:
    """Hours, if the end of a string were sought again from every quotation mark."""
    assert not too_deep("[" * MAX_DEPTH + text + "{" * MAX_DEPTH)


EVENT = (
    '{"comment_id":1,"user_id":2,"group_slug":"g","help_request_id":1,"body":"x","created_at":"2024-05-01T00:00:00",'
    '"revision":3'
)


def event(levels: int) -> None:
    decode(COMMENT_CREATED, f'{EVENT},"more":{nested(levels - 1)}}}'.encode())


def document(levels: int) -> None:
    JsonDecoder(Watermark).decode(f'{{"swept_until":1,"more":{nested(levels - 1)}}}')


@pytest.mark.parametrize(("read", "refused"), [(event, InvalidEventError), (document, DecodingError)])
@pytest.mark.parametrize("limit", [700, 1_000, 1_000_000])
def test_what_is_nested_too_deeply_is_refused_whatever_the_limit_of_this_python(
    read: Callable[[int], None], refused: type[Exception], limit: int
) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(limit)
    try:
        read(MAX_DEPTH)
        for levels in (MAX_DEPTH + 1, 1_000, 100_000):
            with pytest.raises(refused, match="nested deeper than 100 levels"):
                read(levels)
    finally:
        sys.setrecursionlimit(before)


def test_a_list_column_nested_too_deeply_has_no_items() -> None:
    assert list_column(f'["kept", {nested(MAX_DEPTH - 1)}]') == ("kept",)
    assert list_column(f'["kept", {nested(MAX_DEPTH)}]') == ()
    assert list_column(f'["kept", {"[], " * 300} 1]') == ("kept",)


@pytest.mark.parametrize("levels", [MAX_DEPTH + 1, 100_000])
def test_a_file_nested_too_deeply_is_no_snapshot(levels: int) -> None:
    with pytest.raises(ValueError, match="not a signal profile snapshot"):
        parse_file(nested(levels).encode())


@pytest.mark.parametrize(
    "text", ["", "[", "\xff", '"\ud83d"', '{"swept_until": 1e999}', '{"swept_until": %s}' % ("9" * 5_000), "nul\0"]
)
def test_whatever_is_wrong_is_one_error(text: str) -> None:
    for given_text in (text, text.encode("utf-8", "surrogatepass"), text.encode("utf-16", "surrogatepass")):
        with pytest.raises(DecodingError):
            JsonDecoder(Watermark).decode(given_text)


def test_a_damaged_head_raises_what_its_readers_expect() -> None:
    fields = msgspec.msgpack.encode(Head())
    longer = b"\xdc\x00\x20" + fields[1:] + b"\x91" * 200_000  # more fields than there are, the first of them deep
    for packed in (longer, fields[:-1], b"\xc1", b""):
        with pytest.raises(codec.UNREADABLE):
            codec.unpack_head(packed)
