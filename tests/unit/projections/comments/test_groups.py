import itertools
from collections.abc import Mapping
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.comments.groups import Groups, membership


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("signal_import_group:elm", "Elm St", ("elm", "Elm St")),
        ("signal_import_group:elm", "  Elm St\t\n", ("elm", "Elm St")),
        ("signal_import_group:elm", None, ("elm", "elm")),
        ("signal_import_group:elm", " ", ("elm", "elm")),
        ("signal_import_group:a:b:c", "Elm St", ("a:b:c", "Elm St")),
        ("signal_import_group:", "Elm St", None),
        ("signal-import-group:elm", "Elm St", None),
        ("SIGNAL_IMPORT_GROUP:elm", "Elm St", None),
        (" signal_import_group:elm", "Elm St", None),
        ("signal_import_source", "signal_group_seed", None),
    ],
)
def test_only_the_exact_key_is_a_membership(key: str, value: str | None, expected: tuple[str, str] | None) -> None:
    assert membership(key, value) == expected


ELM = [(7, "signal_import_group:elm", "Elm St")]


@pytest.mark.parametrize(
    "title", ["[signal] Elm St", "[Signal]Elm St", " [Signal] Elm St", "Elm St", "[Signal] ", None]
)
def test_another_title_is_no_request_of_the_group(title: str | None) -> None:
    assert Groups.from_rows(ELM, [(1, title)]).slugs(7, 1) == ()


@pytest.mark.parametrize("title", ["[Signal]  Elm St", "[Signal] Elm St ", "[Signal] \tElm St\u3000\n"])
@pytest.mark.parametrize("value", ["Elm St", " Elm St", "Elm St\n"])
def test_a_group_s_name_is_trimmed_on_both_sides(title: str, value: str) -> None:
    assert Groups.from_rows([(7, "signal_import_group:elm", value)], [(1, title)]).slugs(7, 1) == ("elm",)


@pytest.mark.parametrize("value", [None, "", " "])
def test_where_it_has_no_name_the_slug_is_trimmed_to_one(value: str | None) -> None:
    groups = Groups.from_rows([(7, "signal_import_group: elm ", value)], [(1, "[Signal] elm")])
    assert groups.slugs(7, 1) == (" elm ",)


def test_a_group_has_all_requests_of_its_title() -> None:
    groups = Groups.from_rows(ELM, [(1, "[Signal] Elm St"), (2, "other"), (3, "[Signal] Elm St")])
    assert [groups.slugs(7, request) for request in (1, 2, 3)] == [("elm",), (), ("elm",)]
    assert groups.requests == {"Elm St": {1, 3}}


def test_a_comment_counts_in_each_group_of_that_name() -> None:
    rows = [(7, "signal_import_group:zoo", "Elm St"), (8, "signal_import_group:elm", "Elm St"), *ELM]
    groups = Groups.from_rows(rows, [(1, "[Signal] Elm St")])
    assert groups.slugs(7, 1) == ("elm", "zoo")
    assert groups.slugs(8, 1) == ("elm",)
    assert groups.slugs(9, 1) == ()


def test_groups_are_equal_when_their_rows_say_the_same() -> None:
    requests = [(1, "[Signal] Elm St")]
    again = Groups.from_rows([*ELM, (9, "theme", "dark")], [*requests, (2, None)])
    assert Groups.from_rows(ELM, requests) == again
    assert Groups.from_rows([], requests) != again


@pytest.mark.parametrize("slug", [None, "elm", "zoo", "oak"])
def test_one_group_alone_is_as_it_is_among_all(slug: str | None) -> None:
    rows = [(7, "signal_import_group:zoo", "Zoo"), (8, "signal_import_group:zoo", "Elm St"), *ELM]
    groups = Groups.from_rows(rows, [(1, "[Signal] Elm St"), (2, "[Signal] Zoo")])
    only = groups.only(slug)
    for user, request in itertools.product((7, 8, 9), (1, 2, 3)):
        expected = [each for each in groups.slugs(user, request) if slug in (None, each)]
        assert only.slugs(user, request) == tuple(expected)
    assert set(only.members) == {user for user, names in groups.members.items() if slug is None or slug in names}


def test_blocked_users_are_in_no_group_and_stay_blocked_in_one_group_alone() -> None:
    rows = [(user, "signal_import_group:elm", "Elm St") for user in (7, 8, 9)]
    groups = Groups.from_rows(rows, [(1, "[Signal] Elm St")])
    without = groups.without(frozenset([7, 9]))
    assert [without.slugs(user, 1) for user in (7, 8, 9)] == [(), ("elm",), ()]
    assert set(without.members) == {8}
    assert without.blocked == without.only("elm").blocked == {7, 9}
    assert groups.without(frozenset()) == groups


def test_memberships_that_match_no_request_are_listed() -> None:
    rows = [(user, f"signal_import_group:{slug}", slug.title()) for user, slug in ((8, "oak"), (7, "oak"), (7, "ash"))]
    groups = Groups.from_rows([*rows, *ELM], [(1, "[Signal] Elm St"), (2, "Oak")])
    assert groups.unmatched() == [(7, "ash"), (7, "oak"), (8, "oak")]


def test_what_a_set_of_memberships_shows_is_worked_out_once_however_many_have_it() -> None:
    mapping, requests = MagicMock(wraps={"elm": "Elm St"}), MagicMock(wraps={"Elm St": frozenset([1])})
    groups = Groups(
        dict.fromkeys(range(100), mapping) | {user: {"elm": "Elm St"} for user in range(100, 200)}, requests
    )
    assert all(groups.slugs(user, 1) == ("elm",) for user in range(200))
    assert (mapping.items.call_count, requests.get.call_count) == (1, 1)


SLUGS = st.sampled_from("abc")
NAMES = st.sampled_from(["A", "B", "C", "D"])


@given(
    st.dictionaries(st.integers(0, 5), st.dictionaries(SLUGS, NAMES)),
    st.dictionaries(NAMES, st.frozensets(st.integers(0, 5))),
)
def test_slugs_are_what_memberships_and_titles_say(
    members: Mapping[int, Mapping[str, str]], requests: Mapping[str, frozenset[int]]
) -> None:
    groups = Groups(members, requests)
    for user in range(6):
        for request in range(6):
            named = members.get(user, {}).items()
            expected = sorted(slug for slug, name in named if request in requests.get(name, frozenset()))
            assert groups.slugs(user, request) == tuple(expected)
