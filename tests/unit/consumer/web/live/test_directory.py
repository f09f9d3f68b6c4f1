"""The index of profiles: what is found, and when it is read again."""

from contextlib import nullcontext
from datetime import datetime

from consumer.web.live.connection import StoreConnection
from consumer.web.live.directory import Directory
from projections.comments.events import CommentCreated
from projections.projection import Projection
from projections.store.memory import MemoryStore
from projections.store.protocol import InitialPositions
from support.stores import Clock


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def comment(number: int, user_id: int, slug: str, body: str) -> CommentCreated:
    at = datetime(2024, 1, number)  # noqa: DTZ001 - UTC without a zone
    return CommentCreated(
        comment_id=number,
        user_id=user_id,
        group_slug=slug,
        help_request_id=1,
        body=body,
        created_at=at,
        revision=number,
    )


def test_it_finds_by_words_and_by_the_beginning_of_an_id() -> None:
    store, seconds = MemoryStore(Clock(), 0.0), Seconds()
    store.initialize(InitialPositions({}, {}, "1"))
    projection = Projection(store)
    projection.apply(
        [
            comment(1, 33, "elm", "see https://Example.org/Soup"),
            comment(2, 33, "oak", "hello"),
            comment(3, 331, "elm", "(Reactions: Ann 👍)"),
            comment(4, 5, "elm", "33"),
            comment(5, 5, "elm", "again"),
        ]
    )
    connection = StoreConnection(lambda: nullcontext(store))
    connection.ensure()
    directory = Directory(connection, seconds)

    def found(query: str = "", group: str | None = None) -> list[tuple[int, str]]:
        return [(one.key.user_id, one.key.group_slug) for one in directory.find(query, group)]

    assert found() == [(5, "elm"), (33, "elm"), (33, "oak"), (331, "elm")]
    assert found("33") == [(33, "elm"), (33, "oak"), (331, "elm")]
    assert found("33", "oak") == [(33, "oak")]
    assert found("SOUP elm") == [(33, "elm")]
    assert found("👍") == [(331, "elm")]
    assert found("soup 5") == []
    assert directory.groups() == ["elm", "oak"]
    (five,) = directory.find("5")
    assert (five.comments, five.first_seen_at.day, five.last_seen_at.day) == (2, 4, 5)

    projection.apply([comment(6, 6, "elm", "new")])
    assert found("6") == [], "a moment ago it was read"
    seconds.now += 10
    assert found("6") == [(6, "elm")]
