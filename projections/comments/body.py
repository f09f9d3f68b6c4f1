"""What one comment's body and analysis say: links, reactions, attachments, labels."""

import re
from typing import NamedTuple

from projections.comments import links
from projections.comments.labels import _items


class BodyContent(NamedTuple):
    """What one body contributes to a profile.

    links: (canonical URL, position, occurrences) in order of first appearance; the position is the index of its first
    occurrence among all links of the body. reactions: (emoji, count), attachments: (kind, count), sorted by key.
    """

    links: tuple[tuple[str, int, int], ...] = ()
    reactions: tuple[tuple[str, int], ...] = ()
    attachments: tuple[tuple[str, int], ...] = ()


_NOTHING = BodyContent()
_REACTIONS = "(reactions:"
_ATTACHMENTS = "[attachments:"
_QUOTATION = re.compile(r"^>[^\n]*", re.MULTILINE)


def read(body: str) -> BodyContent:
    r"""Read a body; quoted lines count for nothing.

    >>> read("> https://quoted.org\nhttps://a.org\n(Reactions: Ann 👍, Bob 👍)\n[attachments: a.png]")
    BodyContent(links=(('https://a.org/', 0, 1),), reactions=(('👍', 2),), attachments=(('image', 1),))
    """
    marked = _may_be_marked(body)
    if not marked and "://" not in body:
        return _NOTHING
    text = _QUOTATION.sub("", body) if body.startswith(">") or "\n>" in body else body
    return _marked(text) if marked else BodyContent(_links(text))


def _may_be_marked(body: str) -> bool:
    """Whether some line may be one of reactions or attachments; most bodies have no bracket at all."""
    return ("(" in body and ("(r" in body or "(R" in body)) or ("[" in body and ("[a" in body or "[A" in body))


def _marked(text: str) -> BodyContent:
    """Read a body that may hold lines of reactions or attachments; such a line is no text and names no links."""
    reactions: list[str] = []
    kinds: list[str] = []
    rest: list[str] = []
    for line in text.split("\n"):
        trimmed = line.strip()
        first = trimmed[:1]
        if first == "(" and (inner := _inside(trimmed, _REACTIONS, ")")) is not None:
            reactions += [entry.split()[-1] for entry in _items(inner)]
        elif first == "[" and (inner := _inside(trimmed, _ATTACHMENTS, "]")) is not None:
            kinds += map(attachment_kind, _items(inner))
        else:
            rest.append(line)
    return BodyContent(_links("\n".join(rest)) if "://" in text else (), _counted(reactions), _counted(kinds))


def _counted(items: list[str]) -> tuple[tuple[str, int], ...]:
    counts: dict[str, int] = {}
    for item in items:
        counts[item] = counts.get(item, 0) + 1
    return tuple(sorted(counts.items()))


def _inside(line: str, opening: str, closing: str) -> str | None:
    """What stands between the two, if they enclose the whole line."""
    if line.endswith(closing) and line[: len(opening)].lower() == opening:
        return line[len(opening) : -1]
    return None


# What people call a picture, a video, a recording, a document; the endings are those that phones, cameras, office
# programs and chat clients write, and the MIME subtypes that Signal exporters write where there is no file name.
# Programs, archives, data and code are none of these.
_ENDINGS = {
    "image": """
        png jpg jpeg gif webp
        jpe jfif apng avif heic heif hif bmp dib tif tiff svg svgz ico jxl jp2 psd xcf ai eps
        raw dng cr2 cr3 nef arw orf raf rw2 pef
        svg+xml x-icon vnd.microsoft.icon
    """,
    "video": """
        mp4 mov avi
        m4v mkv webm mpg mpeg mpe m2v wmv asf flv f4v ogv 3gp 3g2 mts m2ts vob qt divx mxf
        quicktime 3gpp 3gpp2 x-matroska x-msvideo x-m4v mp2t
    """,
    "audio": """
        mp3 m4a m4b aac wav wave flac ogg oga opus wma amr aif aiff aifc caf mid midi mka weba ac3 ape 3ga
        x-m4a x-wav vnd.wave x-flac x-aac
    """,
    "document": """
        pdf doc docx
        docm dot dotx odt ott fodt rtf txt text md markdown rst tex pages wpd wps epub mobi azw azw3 djvu ps xps oxps
        xls xlsx xlsm xlsb xlt xltx ods fods csv tsv numbers ppt pptx pptm pps ppsx pot potx odp fodp key odg vsd vsdx
        htm html xhtml mht mhtml log gdoc gsheet gslides
        msword plain rtf epub+zip vnd.ms-excel vnd.ms-powerpoint
        vnd.oasis.opendocument.text vnd.oasis.opendocument.spreadsheet vnd.oasis.opendocument.presentation
        vnd.openxmlformats-officedocument.wordprocessingml.document
        vnd.openxmlformats-officedocument.spreadsheetml.sheet
        vnd.openxmlformats-officedocument.presentationml.presentation
    """,
}
_KIND_OF = {ending: kind for kind, endings in _ENDINGS.items() for ending in endings.split()}
KINDS = frozenset({*_ENDINGS, "other"})
"""The kinds of attachments."""
_LONGEST = max(map(len, _KIND_OF))


def attachment_kind(name: str) -> str:
    """The kind of a file by its longest known ending, in any case: image, video, audio, document or other.

    >>> [attachment_kind(name) for name in ("IMG_1.HEIC", "None.vnd.wave", "archive.tar.gz", "notes")]
    ['image', 'audio', 'other', 'other']
    """
    _, *endings = name[-_LONGEST - 1 :].lower().split(".")
    for index in range(len(endings)):
        if kind := _KIND_OF.get(".".join(endings[index:])):
            return kind
    return "other"


def _links(text: str) -> tuple[tuple[str, int, int], ...]:
    found = links.find(text)
    if not found:
        return ()
    if len(found) == 1:
        return ((links.canonical(found[0]), 0, 1),)
    forms = {url: links.canonical(url) for url in found}
    counts: dict[str, list[int]] = {}
    for position, url in enumerate(found):
        counts.setdefault(forms[url], [position, 0])[1] += 1
    return tuple((url, first, count) for url, (first, count) in counts.items())
