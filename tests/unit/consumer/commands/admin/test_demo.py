import io
from datetime import UTC, datetime

import pytest
from rich.console import Console

from consumer.commands.admin.demo import table
from snapshot.schema import LinkStat, SignalProfileSnapshot, TagStat

LINK = LinkStat(url="https://toolshed.example.net/", domain="toolshed.example.net", count=12)
TAG = TagStat(label="moving help", count=31)


def _profile(user_id: int, group: str) -> SignalProfileSnapshot:
    at = datetime(2024, 5, 29, tzinfo=UTC).replace(tzinfo=None)
    return SignalProfileSnapshot(
        user_id=user_id,
        group_slug=group,
        message_count=75,
        first_seen_at=at,
        last_seen_at=at,
        top_links=(LINK,),
        top_tags=(TAG,),
        reaction_counts={"🌱": 5, "🎉": 8, "👍": 2, "🙏": 1},
        attachment_counts={"audio": 1, "document": 3, "image": 2},
        request_ids=(3,),
    )


def _shown(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    profiles = [_profile(1, "elm-garden"), _profile(1, "harvard-st-commons"), _profile(2, "harvard-st-commons")]
    console.print(table(profiles, {1: "Juniper Vale", 2: "Clementine Fox"}, console))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_profiles_are_shown_whole_in_a_terminal_of(width: int) -> None:
    text = "\n".join(_shown(width))

    assert "…" not in text
    for part in ("Last seen", "29 May", "harvard-st-commons", "toolshed.example.net", "moving help", "×12", "×31"):
        assert part in text


def test_a_wide_terminal_has_room_for_reactions_and_files() -> None:
    assert "Reactions" not in _shown(80)[1]
    assert "Files" in _shown(120)[1]
