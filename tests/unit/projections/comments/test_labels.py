import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.comments.labels import labels, list_column


def test_labels_stand_once_each_in_order() -> None:
    assert labels(["zeta", " Shared "], ["Shared", ""], ["shared", "zeta", "  "]) == ("zeta", "Shared", "shared")
    assert labels((), (), ()) == ()


@pytest.mark.parametrize(
    ("text", "items"),
    [
        (None, ()),
        ("", ()),
        ("  ", ()),
        ("[]", ()),
        ('["a", "b"]', ("a", "b")),
        (' ["a", " b ", "", "a"] ', ("a", "b", "a")),
        ('["a", 1, null, ["x"], {"y": 1}, true, 1.5, "b"]', ("a", "b")),
        ('"solo"', ()),
        ("17", ()),
        ("true", ()),
        ("null", ()),
        ('{"a": 1}', ()),
        ('["broken", "list"', ()),
        ("[broken", ()),
        (" [broken", ()),
        ("{broken", ()),
        ('["line\nbreak"]', ()),
        ("[NaN]", ()),
        ("NaN", ("NaN",)),
        ("Infinity, -Infinity", ("Infinity", "-Infinity")),
        ("zeta, eta ,,theta", ("zeta", "eta", "theta")),
        ("a [b], c", ("a [b]", "c")),
        ('"a", "b"', ('"a"', '"b"')),
        ("1" * 5000, ()),
        ('["a", ' + "1" * 5000 + "]", ("a",)),
        ('["\\ud83d\\udc4d"]', ("👍",)),
        ('["\\ud83d"]', ("\ufffd",)),
        ("a\ud83d,b", ("a\ufffd", "b")),
        ('["[", "' + "[" * 1000 + '"]', ("[", "[" * 1000)),
        ("[" * 100_000, ()),
        ('["a",' + "[" * 100_000 + "]" * 100_000 + "]", ()),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_list_columns(text: str | None, items: tuple[str, ...]) -> None:
    assert list_column(text) == items


@given(st.text() | st.lists(st.sampled_from([*'[]{}",:\\ a1', "\\ud800", "null", "NaN"])).map("".join))
def test_any_column_is_read_and_its_items_can_travel(text: str) -> None:
    for item in list_column(text):
        assert item == item.strip() != ""
        item.encode()
