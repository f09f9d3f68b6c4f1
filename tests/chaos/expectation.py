"""What must be true of the files and the announcements, whatever happened before."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from chaos.kafka_stand import CHANGED, EVENTS
from chaos.odd import left_out
from chaos.world import SCOPE, World
from support.kafka_topics import everything
from support.rebuilding import rows_of
from support.reference import reference_snapshots

Key = tuple[int, str]
Snapshots = dict[Key, Any]


class Announced(NamedTuple):
    """One announcement: whose, in which order downstream takes it, and the snapshot; None: it is gone."""

    key: Key
    sequence: int
    snapshot: Any


def expected(world: World) -> Snapshots:
    """A plain recount of the database, apart from the product's fold."""
    return dict(reference_snapshots(left_out(rows_of(world.database.wb))))


def files(folder: Path) -> Snapshots:
    """What the folder shows, by the key that each file itself gives; other people's files are not among them."""
    found = (_snapshot(path) for path in sorted(folder.glob("*.json")))
    return {(one["user_id"], one["group_slug"]): one for one in found if one is not None}


def profile_paths(folder: Path) -> list[Path]:
    """The files that `files` reads."""
    return [path for path in sorted(folder.glob("*.json")) if _snapshot(path) is not None]


def _snapshot(path: Path) -> Any:  # noqa: ANN401  JSON
    """A profile's file: one whose name is that of the key inside."""
    try:
        found = json.loads(path.read_bytes()) if path.is_file() and not path.is_symlink() else None
    except (ValueError, FileNotFoundError):
        return None
    if not isinstance(found, dict) or "top_tags" not in found:
        return None
    names = {f"{found['user_id']}.json", f"{found['user_id']}-{found['group_slug']}.json"}
    return found if path.name in names else None


def scoped(snapshots: Snapshots) -> Snapshots:
    return {key: one for key, one in snapshots.items() if key[1] == SCOPE}


def announced(world: World) -> list[Announced]:
    """All announcements, each key's in their order."""
    if world.kafka is None:
        lines = world.storage / "snapshot-changed.jsonl"
        return list(_from_lines(lines)) if lines.exists() else []
    return [_from_record(record) for record in everything(world.kafka.bootstrap, CHANGED)]


def _from_record(record: Any) -> Announced:  # noqa: ANN401  kafka-python has no types
    user_id, slug = record.key.decode().split(":", 1)
    if record.value is None:
        headers = {name: value.decode() for name, value in record.headers or ()}
        return Announced((int(user_id), slug), int(headers["ce_sequence"]), None)
    value = json.loads(record.value)
    return Announced((int(user_id), slug), value["sequence"], value["snapshot"])


def _from_lines(path: Path) -> Iterator[Announced]:
    for line in path.read_bytes().splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue  # torn by a kill in the middle of it
        yield Announced((value["user_id"], value["group_slug"]), value["sequence"], value["snapshot"])


def dead_letters(world: World) -> int:
    """How many there are: none of what the product itself sends is one."""
    if world.kafka is not None:
        return sum(world.kafka.ends(f"{topic}.dead" for topic in EVENTS).values())
    path = world.storage / "dead-letters.jsonl"
    return len(path.read_bytes().splitlines()) if path.exists() else 0


def differences(wanted: Mapping[Key, Any], found: Mapping[Key, Any], what: str) -> list[str]:
    """What is wrong, a line each: missing, too much, or the fields that differ."""
    lines = []
    for key in sorted(wanted.keys() | found.keys()):
        want, have = wanted.get(key), found.get(key)
        if want == have:
            continue
        name = f"{what} {key[0]}:{key[1]}"
        if have is None:
            lines.append(f"{name}: missing; should be {_short(want)}")
        elif want is None:
            lines.append(f"{name}: should not be there; is {_short(have)}")
        else:
            fields = [field for field in want if want[field] != have.get(field)]
            lines.append(
                f"{name}: " + "; ".join(f"{field} is {have.get(field)}, not {want[field]}" for field in fields)
            )
    return lines


def _short(snapshot: Any) -> str:  # noqa: ANN401  JSON
    return f"{snapshot['message_count']} comments, the last at {snapshot['last_seen_at']}"


def last_by_order(all_of_them: Iterable[Announced]) -> Snapshots:
    """What a compacted topic keeps."""
    last = {one.key: one.snapshot for one in all_of_them}
    return {key: snapshot for key, snapshot in last.items() if snapshot is not None}


def last_by_sequence(all_of_them: Iterable[Announced]) -> Snapshots:
    """What downstream has that ignores lower sequences."""
    last: dict[Key, Announced] = {}
    for one in all_of_them:
        before = last.get(one.key)
        if before is None or one.sequence >= before.sequence:
            last[one.key] = one
    return {key: one.snapshot for key, one in last.items() if one.snapshot is not None}
