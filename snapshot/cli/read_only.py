"""What commands share that only look: their options, and the store, the folder and the database opened for that."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from projections.codec import UNREADABLE, read_registers, unpack_head
from projections.comments.register import Register
from projections.database.protocol import Database
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID, ProfileKey
from projections.profiles.fold import aggregate
from projections.profiles.head import Head
from projections.remembered.forgotten import BlockedAnywhere
from projections.store.protocol import HEAD, Store
from projections.store.redis.store import RedisStore
from snapshot.build import build
from snapshot.cli.options import DatabaseOptions, FileOptions, OutputDir, RedisUrl, StorageDir, StoreOptions
from snapshot.cli.resources import open_store, refuse_missing_store
from snapshot.files.folder import ProfileFolder
from snapshot.files.marker import BlockedInMarker, SeenInMarker, find_marker
from snapshot.flush.failures import named
from snapshot.schema import SignalProfileSnapshot

User = Annotated[int, typer.Argument(min=1, max=HIGHEST_ID, metavar="USER", help="The user's id.", show_default=False)]
Group = Annotated[
    str | None,
    typer.Option("--group-slug", envvar="GROUP_SLUG", help="Which of the user's groups.", show_default="the only one"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@dataclass(frozen=True)
class PlaceOptions:
    """Where the files and the store are that are only looked at."""

    storage_dir: StorageDir = Path("storage")
    output_dir: OutputDir = None
    redis_url: RedisUrl = None

    @property
    def files(self) -> FileOptions:
        """The same as options of a command that writes."""
        return FileOptions(self.storage_dir, self.output_dir)


@contextmanager
def open_existing_store(place: PlaceOptions) -> Iterator[RedisStore]:
    """Open the store; unlike what works with it, nothing that only looks makes one. Raises OperatorError."""
    refuse_missing_store(place.redis_url, place.storage_dir)
    with open_store(StoreOptions(place.redis_url), place.files) as opened:
        yield opened.store


@contextmanager
def open_existing_folder(place: PlaceOptions) -> Iterator[ProfileFolder]:
    """Open the folder of profiles, whatever its scope. Raises OperatorError where there is none, or a damaged one."""
    files = place.files
    identity = find_marker(files.profiles, files.disk)
    if identity is None:
        raise OperatorError(
            f"{files.profiles} is no folder of profiles: set SNAPSHOT_OUTPUT_DIR or SNAPSHOT_STORAGE_DIR as for "
            "the consumer"
        )
    folder = ProfileFolder(files.profiles, identity, files.disk)
    try:
        yield folder
    finally:
        folder.close()


@contextmanager
def open_database(options: DatabaseOptions, place: PlaceOptions, store: Store) -> Iterator[Database]:
    """Open the databases as the consumer reads them: users who are blocked are in no group. Raises OperatorError."""
    # SQLAlchemy takes a third of a second to import, and most of what only looks needs none.
    from projections.database.database import open_databases  # noqa: PLC0415
    from projections.remembered.analyses_seen import SeenAnywhere, SeenInStore  # noqa: PLC0415

    files = place.files
    seen = SeenAnywhere(SeenInMarker(files.profiles), SeenInStore(lambda: store), read_only=True)
    blocked = _blocked(place, store)
    urls = options.database_url, options.insights_database_url
    with open_databases(*urls, seen=seen, blocked=blocked) as database:
        yield database


def _blocked(place: PlaceOptions, store: Store) -> BlockedAnywhere:
    return BlockedAnywhere(lambda: store, BlockedInMarker(place.files.profiles), read_only=True)


def block_of(place: PlaceOptions, store: Store, user_id: int) -> str | None:
    """What is said of a user who is blocked, of whom nothing is shown; None of anybody else."""
    if user_id not in _blocked(place, store).get():
        return None
    return f"user {user_id} is blocked by `forget --force`: `snapshot-admin forget {user_id} --undo` ends that"


def profile_of(
    place: PlaceOptions, store: Store, user_id: int, given: str | None, groups: Iterable[str] = ()
) -> ProfileKey:
    """Give the profile that is meant: in the given group, else in the only one among these and the store's.

    Raises OperatorError where that names none, or several.
    """
    slugs = sorted({*groups, *(key.group_slug for key in store.profiles(user_id, user_id))})
    if not slugs and (block := block_of(place, store, user_id)) is not None:
        raise OperatorError(block)
    if given is not None and given not in slugs:
        raise OperatorError(
            f"user {user_id} has no profile in the group {given!r}; theirs are: {', '.join(slugs) or 'none'}"
        )
    if given is None and len(slugs) != 1:
        raise OperatorError(
            f"user {user_id} is in several groups ({', '.join(slugs)}): name one with --group-slug"
            if slugs
            else f"user {user_id} has no profile and is in no group"
        )
    return ProfileKey(user_id, slugs[0] if given is None else given)


@contextmanager
def damage_of(key: ProfileKey) -> Iterator[None]:
    """Raise OperatorError where what the block reads of a stored profile is damaged."""
    try:
        yield
    except UNREADABLE as error:
        raise OperatorError(
            f"the profile {named(key)} in the store can't be read ({error}): fix it with "
            f"`snapshot-rebuild --user {key.user_id}`"
        ) from error


class StoredProfile(NamedTuple):
    """A profile as the store has it; `head` is recomputed where it has to be, but not in the store."""

    head: Head | None
    registers: dict[int, Register]


def read_profile(store: Store, key: ProfileKey) -> StoredProfile:
    """Read a profile whole. Raises OperatorError where it is damaged."""
    with damage_of(key):
        packed = store.load({key: (HEAD,)})[key].fields.get(HEAD)
        registers = read_registers(store.scan(key))
        head = None if packed is None else unpack_head(packed)
    if head is not None and head.needs_recompute():
        head = aggregate(registers).head
    return StoredProfile(head, registers)


def read_snapshot(store: Store, key: ProfileKey) -> SignalProfileSnapshot | None:
    """Read a profile's snapshot; only one that has to be recomputed is read whole. Raises as `read_profile` does."""
    with damage_of(key):
        packed = store.load({key: (HEAD,)})[key].fields.get(HEAD)
        head = None if packed is None else unpack_head(packed)
    if head is not None and head.needs_recompute():
        head = read_profile(store, key).head
    return build(key, head)
