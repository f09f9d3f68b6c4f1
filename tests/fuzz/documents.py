"""Targets: what is read from disk and from the store (names, snapshots, markers, notes, lines, the tail's document)."""

import json
import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import msgspec

from consumer.commands.admin.dead_letters import event_of
from consumer.daemon.schedule import NIGHTLY
from consumer.dead_letters.dead_letters import DeadLetter
from consumer.dead_letters.file import FileDeadLetters, as_record
from consumer.dead_letters.kafka import read_message
from consumer.source import Invalid
from consumer.tail.lease import TailLease
from fuzz.target import Choices, Target, text_of
from projections.codec import unpack_head, unpack_label
from projections.comments import register
from projections.comments.events import InvalidEventError
from projections.errors import OperatorError
from projections.profile_key import BUCKETS, HIGHEST_ID, ProfileKey
from projections.projection import RULES_VERSION
from projections.store.memory import MemoryStore
from projections.store.protocol import Folder, InitialPositions
from projections.watermark import TAIL, observe
from snapshot.files.folder import ProfileFolder, open_folder
from snapshot.files.jsonl import append_lines
from snapshot.files.marker import MARKER, read_marker
from snapshot.files.ownership import file_name, key_of, owned, user_of
from snapshot.flush.epochs import EPOCHS, FolderEpochs, recover_lost
from snapshot.flush.scrub import Scrub
from snapshot.flush.unannounced import NOTES, UnannouncedJournal
from snapshot.schema import parse_file

_PLACE = Path(tempfile.mkdtemp(prefix="sis-fuzz-"))
_JSON = ("[", "]", "{", "}", '"', ",", ":", "\\ud83d", "null", "true", "NaN", "1.0", "1", "9" * 5000, "[" * 3000)
_SNAPSHOT = b"""{"attachment_counts": {"image": 1}, "first_seen_at": "2024-05-01T12:00:00", "group_slug": "g",
"last_seen_at": "2024-06-02T08:30:15.250000", "message_count": 7, "reaction_counts": {"+1": 5}, "request_ids": [3, 11],
"top_links": [{"count": 3, "domain": "a.org", "url": "https://a.org/"}], "top_tags": [{"count": 4, "label": "x"}],
"user_id": 42}"""
_FIELDS = tuple(
    f'"{name}":' for name in ("id", "group_slug", "done", "position", "positions", "comment_gaps", "user_id", "count")
)
_NOW = datetime(2026, 1, 2, tzinfo=UTC)
_LINE = json.dumps(as_record(DeadLetter(Invalid("t", 0, 1, b"\xff", b"v", [("h", b"\xfe")], "e"), "now"))).encode()
_LETTER = (
    '"topic":',
    '"partition":',
    '"offset":',
    '"headers":[',
    '"error":',
    '"time":',
    '"key":null',
    '"value":null',
    "\n",
)

_LETTERS = (
    _LINE,
    _LINE.replace(b'"t"', b'["t"]'),
    _LINE.replace(b'"e"', b'"\\ud800"'),
    b"\x01" + b"9" * 5000,
)


def _folder(slug: str | None = None) -> ProfileFolder:
    return ProfileFolder(_PLACE, Folder("id", slug))


def _put(name: str, data: bytes) -> None:
    (_PLACE / name).parent.mkdir(exist_ok=True)
    (_PLACE / name).write_bytes(data)


def read_snapshot(data: bytes) -> None:
    """A file: a snapshot that is the same after it was written and read, or ValueError."""
    try:
        snapshot = parse_file(data)
    except ValueError:
        return
    assert parse_file(snapshot.file_bytes()) == snapshot
    assert parse_file(snapshot.file_bytes()).snapshot_hash == snapshot.snapshot_hash


def name_slug(data: bytes) -> None:
    """Any slug: a short and harmless name, which leads back to its profile."""
    slug = text_of(data)
    if not slug:
        return
    key = ProfileKey(7, slug)
    name = file_name(key, None)
    assert len(name) <= 200, name
    assert name.isascii()
    assert not name.startswith(".")
    assert "/" not in name
    assert "~" in name or key_of(name, None) == key


def read_name(data: bytes) -> None:
    """Any name in a folder of any scope: no profile's, or that of the profile whose file has this name."""
    slug = ("g", None)[len(data) % 2]
    name = os.fsdecode(data.replace(b"/", b"").replace(b"\0", b"")) + ".json"
    key = key_of(name, slug)
    assert key is None or (file_name(key, slug) == name and user_of(name) == key.user_id and key.user_id <= HIGHEST_ID)
    assert owned(_SNAPSHOT, name, slug) is None or user_of(name) == 42


def read_folder(data: bytes) -> None:
    """A marker: a folder opens, or OperatorError."""
    _put(MARKER, data)
    with mock.patch("os.fsync"), suppress(OperatorError):
        open_folder(_PLACE, None).close()
    with suppress(OperatorError):
        assert read_marker(_PLACE).id is not None


def read_notes(data: bytes) -> None:
    """A note of the journal: whatever it holds, it is no error."""
    _put(f"{NOTES}/0123456789abcdef", data)
    journal = UnannouncedJournal(_PLACE)
    assert (ProfileKey(1, "g") in journal) in {True, False}
    with mock.patch("os.fsync"):
        journal.record("fedcba9876543210", [ProfileKey(1, "g")])
        assert ProfileKey(1, "g") in journal


def read_epochs(data: bytes) -> None:
    """The epochs that a folder is in step with: whatever the file holds, it is no error."""
    _put(EPOCHS, data)
    store = MemoryStore(lambda: 0)
    store.initialize(InitialPositions({}, {}, RULES_VERSION))
    assert recover_lost(FolderEpochs(_folder()), store, by_files=True).raised <= BUCKETS
    Scrub(store, _folder()).pending_buckets()


def read_letters(data: bytes) -> None:
    """Dead letters, in a file or on Kafka: each is passed over, or can be named, shown, kept again and replayed."""
    _put("letters", data)
    one = Choices(data)
    header = f"dead-letter-{('topic', 'partition', 'offset', 'error', 'time', 'truncated')[one.byte() % 6]}"
    kept = Invalid("comment-created.dead", 0, 1, None, data, [(header, data[1:])], "")
    for letter in (*FileDeadLetters(_PLACE / "letters", lambda: _NOW).letters(), read_message(kept)):
        line = json.dumps(as_record(letter)).encode()
        _put("again", line)
        assert [*FileDeadLetters(_PLACE / "again", lambda: _NOW).letters()] == [letter]
        assert json.dumps(as_record(letter), ensure_ascii=False).encode()
        assert letter.id.encode()
        with suppress(InvalidEventError):
            event_of(letter)


def add_lines(data: bytes) -> None:
    """Lines appended to any file: what was there stays, and the lines are whole."""
    _put("lines", data)
    with mock.patch("os.fsync"):
        append_lines(_PLACE / "lines", [b"one", b"two"])
    torn = b"\n" if data and not data.endswith(b"\n") else b""
    assert (_PLACE / "lines").read_bytes() == data + torn + b"one\ntwo\n"


def read_documents(data: bytes) -> None:
    """The documents of the store: read, or OperatorError."""
    store = MemoryStore(lambda: 0)
    for name in (TAIL, NIGHTLY):
        store.lease(name, "token", 60)
        store.put_document(name, "token", data)
    with suppress(OperatorError):
        observe(store)
    with suppress(OperatorError):
        TailLease(store, "token", 5, lambda: 0).load()


def unpack(data: bytes) -> None:
    """Packed fields of a profile: read, or DecodeError, which every reader expects."""
    for one in (unpack_head, unpack_label, register.unpack):
        with suppress(msgspec.DecodeError):
            one(data)


DOCUMENTS = {
    "snapshot": Target(read_snapshot, (*_JSON, *_FIELDS), (_SNAPSHOT,)),
    "slug": Target(name_slug, (".", "/", "~", "%", "-", "\0", "é", "👍", "A", "a" * 200)),
    "name": Target(
        read_name, ("7", "-", "%2E", "%", "~", "٣", "²", "9" * 19, ".", "g"), (b"7-g", b"42", b"9999999999999999999-g")
    ),
    "marker": Target(
        read_folder,
        (*_JSON, *_FIELDS),
        (b'{"id":"0123456789abcdef","group_slug":null}\n', b'{"id":"\xb6","group_slug":null}'),
        linear=False,
    ),
    "notes": Target(read_notes, _JSON, (b'[[1,"g"]]',), linear=False),
    "epochs": Target(
        read_epochs, (*_JSON, '"0":', '"a:0"'), (b'{"0":"a:0"}', b'{"0":"a:' + b"9" * 5000 + b'"}'), linear=False
    ),
    "letters": Target(
        read_letters,
        (*_JSON, *_LETTER),
        _LETTERS,
        linear=False,
    ),
    "lines": Target(add_lines, ("\n", "a", "{"), linear=False),
    "document": Target(read_documents, (*_JSON, *_FIELDS), (b'{"position":1,"comment_gaps":[]}', b'{"done":1}')),
    "packed": Target(unpack, ("\x91", "\xdd\xff", "\x80", "\xc0"), (b"\x90", b"\x93\x01\x90\xc3")),
}
