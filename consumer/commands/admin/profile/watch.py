"""`snapshot-admin watch`: announcements as they come, field by field against what the profile was before."""

import json
import time
from collections.abc import Iterator
from typing import Annotated

import msgspec
import typer

from consumer.views.changes import Change, lines
from consumer.views.seen_profiles import SeenProfiles
from projections.errors import OperatorError
from projections.profile_key import HIGHEST_ID
from projections.store.protocol import HEAD
from snapshot.announce import file as announced_file
from snapshot.announce.announcement import Announcement
from snapshot.cli.options import KafkaOptions
from snapshot.cli.read_only import Json, PlaceOptions, open_existing_store
from snapshot.cli.resources import ANNOUNCEMENTS
from snapshot.runtime.stdio import print_line
from snapshot.runtime.terminal import printable

_PAUSE = 0.2


def watch_command(
    place: PlaceOptions,
    kafka: KafkaOptions,
    count: Annotated[int | None, typer.Option("--count", min=1, help="End after so many changes.")] = None,
    as_json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Print announcements as they come, field by field against what the profile was before, until Ctrl-C.

    Example: snapshot-admin watch --json | jq .group_slug
    """
    settings = kafka.settings
    if settings is None:
        coming = announced_file.follow(place.storage_dir / ANNOUNCEMENTS)
    else:
        from consumer.kafka.announcements import follow  # noqa: PLC0415 - Kafka's client takes long to import

        coming = follow(settings)
    try:
        next(coming)  # from here on nothing is missed, and what comes twice is seen by its sequence
        with open_existing_store(place) as store:
            known = SeenProfiles(dict(store.load_range(0, HIGHEST_ID, HEAD)))
        _watch(coming, known, count, as_json=as_json)
    except OSError as error:
        raise OperatorError(f"the announcements can't be read ({error}): fix that and run again") from error


def _watch(coming: Iterator[Announcement | None], known: SeenProfiles, count: int | None, *, as_json: bool) -> None:
    for one in coming:
        if one is None:
            time.sleep(_PAUSE)
        elif (found := known.change(one)) is not None:
            going_on = _print(found, as_json=as_json)
            count = None if count is None else count - 1
            if count == 0 or not going_on:
                return


def _print(found: Change, *, as_json: bool) -> bool:
    """Whether standard output is still read."""
    if as_json:
        return print_line(json.dumps(msgspec.to_builtins(found)))
    return print_line("\n".join(map(printable, lines(found))))
