"""How a bucket's state spells the folders that its changes are due in: `<id>=<slug, or *>;` for each."""

from collections.abc import Sequence
from urllib.parse import quote, unquote

from projections.store.protocol import Folder


def spell_id(folder: Folder) -> str:
    """The id, percent-encoded: neither `=` nor `;` is in it."""
    return quote(folder.id, safe="")


def spell(folder: Folder) -> str:
    """The whole entry.

    >>> spell(Folder("17ab", None)), spell(Folder("17ab", "a;b=*"))
    ('17ab=*;', '17ab=a%3Bb%3D%2A;')
    """
    return f"{spell_id(folder)}={'*' if folder.group_slug is None else quote(folder.group_slug, safe='')};"


def parse(text: str) -> list[Folder]:
    """The folders in the order of their entries.

    >>> parse("17ab=a%3Bb%3D%2A;")
    [Folder(id='17ab', group_slug='a;b=*')]
    """
    pairs = (entry.partition("=") for entry in text.split(";") if entry)
    return [Folder(unquote(name), None if slug == "*" else unquote(slug)) for name, _, slug in pairs]


def due_in(folders: Sequence[Folder], group_slug: str) -> str:
    """For each folder 1 where a group's profiles belong there, else 0.

    >>> due_in([Folder("17ab", None), Folder("2c", "other")], "lions")
    '10'
    """
    return "".join("1" if folder.group_slug in (None, group_slug) else "0" for folder in folders)
