"""A small, lifelike WhiteBalloon in two SQLite files, for `make demo` and for whoever wants to look around.

Everything in it is invented, and follows from the seed alone.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import URL, Connection, MetaData, Table, create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from projections.comments.groups import KEY_PREFIX, TITLE_PREFIX
from projections.errors import OperatorError
from projections.whiteballoon import (
    INSIGHTS,
    MAIN,
    comment_llm_analyses,
    comment_llm_runs,
    help_requests,
    request_comments,
    user_attributes,
    users,
)

Rows = list[dict[str, Any]]
TableRows = list[tuple[Table, Rows]]

MAIN_FILE = "app.db"
INSIGHTS_FILE = "comment_llm_insights.db"

GROUPS = {"harvard-st-commons": "HarvardStCommons", "elm-garden": "Elm Garden"}
"""Slug and name of each group; the first is the one that most is said in. Their requests are numbered from 1."""

PEOPLE = (
    "Juniper Vale", "Marlow Finch", "Odette Rook", "Bram Sorrel", "Isla Quill", "Teodor Ash",
    "Wren Halloway", "Pascal Reed", "Nadia Thorne", "Ezra Loam", "Clementine Fox", "Soren Pike",
)  # fmt: skip
GARDENERS = (2, 5, 13)
"""Who is in the second group: Marlow and Isla, who are in both, and one who is in no other."""
NEWCOMER = "Hazel Birch"
VISITOR = "Basil Drummond"
"""Writes in the group's request, and is no member: none of it counts."""

_SHARES = (30, 24, 18, 14, 10, 8, 6, 5, 4, 3, 2, 2, 6, 3)
"""How much each of them writes, newcomer and visitor last."""

START = datetime(2024, 5, 3, 8, 15)  # noqa: DTZ001 - WhiteBalloon stores UTC without a zone
RUN = "demo-run"
MODEL = "dice"

_REMARKS = (
    "Does anybody have a ladder I could borrow on Saturday?", "Thank you all for yesterday, it was lovely.",
    "The porch light is fixed, at last.", "I can bring chairs, and a table if someone carries it with me.",
    "Parcel for number 14 is with me.", "Who has the key to the tool shed?", "Count me in!",
    "Running ten minutes late, start without me.", "There is soup left, come by with a pot.",
    "Street cleaning is tomorrow, mind your cars.", "The cat is back. She was in the bike room all along.",
    "Could someone water my tomatoes next week?", "Meeting notes are up.", "Happy to help, after six.",
)  # fmt: skip
_LINKS = (
    "https://partiful.com/e/porchfest-2024", "https://partiful.com/e/porchfest-2024?utm_source=signal&utm_medium=chat",
    "https://www.cambridgema.gov/services/streetcleaning", "HTTPS://Docs.Example.org/notes/may#agenda",
    "https://docs.example.org/notes/may", "http://toolshed.example.net:80", "https://toolshed.example.net/loan?id=7&item=ladder",
    "https://maps.example.com/#/route/harvard-st", "https://photos.example.com/album/spring?fbclid=IwAR0x",
    "https://en.wikipedia.org/wiki/Quince_(fruit)",
)  # fmt: skip
_LINKED = ("Here: {}", "All the details are at {}.", "See {}, it says it better than I do", "({})", "{}\nWorth a read!")
_EMOJI = ("👍", "❤️", "😂", "🎉", "🙏", "🌱")
_FILES = ("porch.jpg", "IMG_2041.HEIC", "plan.pdf", "cat.mp4", "hello.m4a", "chairs.png", "rota.xlsx", "flyer")
_RESOURCES = ("ladder", "tools", "childcare", "garden space", "soup", "bike repair")
_REQUESTS = ("ride", "moving help", "plant sitting", "spare key")
_TOPICS = ("porchfest", "street", "garden", "pets", "thanks")


def create(directory: Path, seed: int = 1, comments: int = 320) -> tuple[str, str]:
    """Make the two databases in this folder, in place of earlier ones; the same seed gives the same rows.

    Returns the values of DATABASE_URL and INSIGHTS_DATABASE_URL.
    """
    directory.mkdir(parents=True, exist_ok=True)
    main, insights = rows(seed, comments)
    _write(directory / MAIN_FILE, MAIN, main)
    _write(directory / INSIGHTS_FILE, INSIGHTS, insights)
    return urls(directory)


def rows(seed: int = 1, comments: int = 320) -> tuple[TableRows, TableRows]:
    """The rows of each table of the two databases, in an order that foreign keys allow."""
    random = Random(seed)  # noqa: S311 - a demonstration's dice
    history = [_comment(random, number) for number in range(1, comments + 1)]
    return [*_people(), *_requests(), (request_comments, history)], _insights(random, history)


def new_comment(random: Random, number: int, created_at: datetime) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """One more comment, of this id, as a member of the community would write it; and its analysis, if it gets one."""
    comment = _comment(random, number) | {"created_at": created_at, "deleted_at": None}
    return comment, _labels(random, comment, created_at)


def urls(directory: Path) -> tuple[str, str]:
    """DATABASE_URL and INSIGHTS_DATABASE_URL of the databases in this folder."""
    return _url(directory / MAIN_FILE).render_as_string(), _url(directory / INSIGHTS_FILE).render_as_string()


def add_comment(directory: Path, user_id: int, body: str, created_at: datetime, tags: Sequence[str] = ()) -> int:
    """Write one more comment in the first group, with an analysis where there are tags; returns its id.

    `created_at` is UTC, without a zone.
    """
    row = {"user_id": user_id, "help_request_id": 1, "body": body, "created_at": created_at}
    with _writing(directory / MAIN_FILE) as connection:
        key = connection.execute(request_comments.insert().values(row)).inserted_primary_key
        comment_id = int(key[0]) if key else 0
    if tags:
        analysis = _analysis(comment_id, 1, created_at, tags=json.dumps(list(tags)))
        with _writing(directory / INSIGHTS_FILE) as connection:
            connection.execute(comment_llm_analyses.insert(), analysis)
    return comment_id


def _people() -> TableRows:
    names = [*PEOPLE, NEWCOMER, VISITOR]
    people = [
        {"id": number, "username": name.lower().replace(" ", "."), "is_admin": False, "created_at": START}
        for number, name in enumerate(names, 1)
    ]
    first, second = GROUPS
    memberships = [(number, first) for number in range(1, len(PEOPLE) + 1)] + [(number, second) for number in GARDENERS]
    attributes = [
        {"user_id": number, "key": key, "value": value, "created_at": START, "updated_at": START}
        for number, slug in memberships
        for key, value in (
            (f"signal_member_key:{slug}", names[number - 1].lower().replace(" ", "-")),
            (f"signal_display_name:{slug}", names[number - 1]),
            (f"{KEY_PREFIX}{slug}", GROUPS[slug]),
        )
    ]
    return [(users, people), (user_attributes, attributes)]


def _requests() -> TableRows:
    titles = [TITLE_PREFIX + name for name in GROUPS.values()] + ["Looking for a desk"]
    return [
        (
            help_requests,
            [
                {"id": number, "title": title, "created_at": START, "updated_at": START}
                for number, title in enumerate(titles, 1)
            ],
        )
    ]


def _comment(random: Random, number: int) -> dict[str, Any]:
    """One comment; some people say much and others little, the third of every hundred was deleted."""
    user_id = random.choices(range(1, len(_SHARES) + 1), _SHARES)[0]
    in_garden = user_id in GARDENERS and random.random() < 0.3  # noqa: PLR2004 - a taste
    if user_id == GARDENERS[-1]:
        in_garden = True
    created_at = START + timedelta(hours=number * 2, milliseconds=random.randrange(7_000_000))
    return {
        "id": number,
        "user_id": user_id,
        "help_request_id": 2 if in_garden else 1,
        "body": _body(random),
        "created_at": created_at,
        "deleted_at": created_at + timedelta(minutes=4) if number % 100 == 3 else None,  # noqa: PLR2004 - as said above
    }


def _body(random: Random) -> str:
    """A body as the Signal importer writes it: quotation, text, attachments, reactions; not always all of them."""
    text = random.choice(_REMARKS)
    if _one_in(random, 3):
        text += " " + random.choice(_LINKED).format(random.choice(_LINKS))
    if _one_in(random, 25):
        text += f" And {_LINKS[0]} again, since someone asked: {_LINKS[0]}"
    quotation = f"> {random.choice(_REMARKS)} {random.choice(_LINKS)}\n\n" if _one_in(random, 8) else ""
    files = f"\n\n[attachments: {_listed(random, _FILES, 2)}]" if _one_in(random, 7) else ""
    fans = [f"{random.choice(PEOPLE)} {random.choice(_EMOJI)}" for _ in range(random.randint(1, 4))]
    reactions = f"\n\n(Reactions: {', '.join(fans)})" if _one_in(random, 4) else ""
    return quotation + text + files + reactions


def _insights(random: Random, history: Rows) -> TableRows:
    """What a language model said of the comments, and the run in which it did."""
    labels = (_labels(random, comment, START) for comment in history)
    analyses = [analysis for analysis in labels if analysis is not None]
    run = {
        "run_id": RUN,
        "snapshot_label": "demo",
        "provider": "none",
        "model": MODEL,
        "started_at": START.isoformat(),
        "completed_batches": 1,
        "total_batches": 1,
    }
    return [(comment_llm_runs, [run]), (comment_llm_analyses, analyses)]


def _labels(random: Random, comment: dict[str, Any], at: datetime) -> dict[str, Any] | None:
    """A language model's labels for seven comments of ten, as JSON or with commas."""
    if random.random() >= 0.7:  # noqa: PLR2004 - as said above
        return None
    spellings: tuple[Callable[[list[str]], str], ...] = (json.dumps, ", ".join)
    spell = random.choice(spellings)
    labels = {
        "resource_tags": spell(_some(random, _RESOURCES, 1)),
        "request_tags": spell(_some(random, _REQUESTS, 1)),
        "tags": spell(_some(random, _TOPICS, 2)),
    }
    return _analysis(comment["id"], comment["help_request_id"], at, **labels)


def _analysis(comment_id: int, help_request_id: int, at: datetime, **labels: str | None) -> dict[str, Any]:
    columns: Mapping[str, str | None] = {"resource_tags": None, "request_tags": None, "tags": None} | labels
    return {
        "comment_id": comment_id,
        "run_id": RUN,
        "help_request_id": help_request_id,
        "recorded_at": at.isoformat(),
        **columns,
    }


def _one_in(random: Random, number: int) -> bool:
    return random.randrange(number) == 0


def _some(random: Random, choices: Sequence[str], most: int) -> list[str]:
    return random.sample(choices, random.randint(0, most))


def _listed(random: Random, choices: Sequence[str], most: int) -> str:
    return ", ".join(random.sample(choices, random.randint(1, most)))


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def _write(path: Path, metadata: MetaData, tables: TableRows) -> None:
    for old in (path, *(path.with_name(path.name + end) for end in ("-journal", "-wal", "-shm"))):
        old.unlink(missing_ok=True)

    with _writing(path) as connection:
        metadata.create_all(connection)
        for table, rows in tables:
            connection.execute(table.insert(), rows)


@contextmanager
def _writing(path: Path) -> Iterator[Connection]:
    try:
        with create_engine(_url(path), poolclass=NullPool).begin() as connection:
            yield connection
    except OperationalError as error:  # a full disk, say
        raise OperatorError(f"{path} can't be written ({error.orig}); make room there, or choose --folder") from error
