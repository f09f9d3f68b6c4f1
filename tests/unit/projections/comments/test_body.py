import pytest
from hypothesis import given
from hypothesis import strategies as st

from projections.comments.body import BodyContent, attachment_kind, read

LINES = st.sampled_from(
    [
        "",
        "text",
        "> ",
        ">",
        "(Reactions: ",
        "[attachments: ",
        "Ann 👍",
        "a.png",
        ",",
        ")",
        "]",
        "https://a.org",
        "\n",
        "\r\n",
    ]
)


def test_nothing_in_a_plain_body() -> None:
    for body in ("", "hello", "two\nlines", "a (b) [c]", ">", "(no text)"):
        assert read(body) == BodyContent()


def test_links_are_counted_by_canonical_form_with_the_position_of_the_first() -> None:
    body = "https://b.org https://A.org\nhttps://a.org/ https://b.org/?utm_source=x https://c.org"
    assert read(body).links == (("https://b.org/", 0, 2), ("https://a.org/", 1, 2), ("https://c.org/", 4, 1))


@pytest.mark.parametrize(
    ("body", "reactions"),
    [
        ("(Reactions: Ann 👍, Bob 👍, Cy ❤️)", {"👍": 2, "❤️": 1}),
        ("text\n  (rEACTIONS: Zed 🎯)  \r\nmore", {"🎯": 1}),
        ("(Reactions: Li, Xin 👍, Smith, Jr. (he/him) ❤️, Cy )", {"Li": 1, "👍": 1, "Smith": 1, "❤️": 1, "Cy": 1}),
        ("(Reactions: Ann 👍, , ,)", {"👍": 1}),
        ("(Reactions:)", {}),
        ("(Reactions: Ann 👍) and more", {}),
        ("see (Reactions: Ann 👍)", {}),
        ("> (Reactions: Ann 👍)", {}),
        (" > (Reactions: Ann 👍)", {}),
        ("(Reactions: Ann 👍,\nBob 👍)", {}),
        ("(Reactions: Ann 👍)\n(Reactions: Bob 👍)", {"👍": 2}),
        ("(Reaction\u017f: Ann 👍)", {}),
    ],
)
def test_reactions(body: str, reactions: dict[str, int]) -> None:
    assert read(body).reactions == tuple(sorted(reactions.items()))


def test_attachments_are_counted_by_kind() -> None:
    body = "two\n\n[Attachments: photo one.PNG, photo,two.jpeg, a.docx, , clip.webm, note.m4a]\n(Reactions: Ann 👍)"
    assert read(body) == BodyContent(
        reactions=(("👍", 1),),
        attachments=(("audio", 1), ("document", 1), ("image", 2), ("other", 1), ("video", 1)),
    )
    body = "[attachments: a.png, b.pdf]\n\n[attachments: c.png]"
    assert read(body).attachments == (("document", 1), ("image", 2))
    assert read("> [attachments: a.png]\nx [attachments: a.png]").attachments == ()
    for alone in ("[attachments: a.png]", "[Attachments: a.png]", "[ATTACHMENTS: a.png]"):
        assert read(alone).attachments == (("image", 1),)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("image", "a.png a.jpg a.jpeg a.gif a.webp a.HEIC a.svg a.tiff a.b.avif"),
        ("video", "a.mp4 a.mov a.avi a.webm a.mkv a.3gp a.m4v"),
        ("audio", "a.m4a a.mp3 a.ogg a.opus a.aac a.wav a.flac"),
        ("document", "a.pdf a.doc a.docx a.odt a.xlsx a.csv a.txt a.pptx a.epub a.md"),
        ("video", "None.quicktime a.3gpp a.3GPP2 a.x-matroska a.x-msvideo a.x-m4v a.mp2t"),
        ("audio", "2024-05-01-12-00_None.x-m4a a.x-wav a.vnd.wave a.x-flac a.x-aac a.b.x-aac"),
        ("image", "a.svg+xml a.x-icon a.vnd.microsoft.icon"),
        ("document", "a.msword a.plain a.rtf a.epub+zip a.vnd.ms-excel a.vnd.ms-powerpoint a.plain.PDF"),
        ("document", " ".join(f"a.vnd.oasis.opendocument.{kind}" for kind in ("text", "spreadsheet", "presentation"))),
        ("document", "a.vnd.openxmlformats-officedocument.wordprocessingml.document"),
        ("document", "a.vnd.openxmlformats-officedocument.spreadsheetml.sheet"),
        ("document", "a.vnd.openxmlformats-officedocument.presentationml.presentation"),
        (
            "other",
            "plain vnd.wave.gz xvnd.openxmlformats-officedocument.presentationml.presentationx a.microsoft.icon .",
        ),
        ("other", "." * 100_000 + "x"),
        ("other", "a.zip a a. a.tar.gz a.exe a.lean a.json a.bin png"),
    ],
)
def test_kinds_of_attachments(kind: str, names: str) -> None:
    assert {name: attachment_kind(name) for name in names.split()} == dict.fromkeys(names.split(), kind)


def test_quoted_lines_count_for_nothing() -> None:
    body = "> https://q.org\n>https://q.org\n > https://own.org\nmine > https://mine.org\n\n> [attachments: a.png]"
    assert read(body).links == (("https://own.org/", 0, 1), ("https://mine.org/", 1, 1))


def test_a_quotation_needs_not_come_first() -> None:
    assert read("mine https://mine.org\n> https://q.org").links == (("https://mine.org/", 0, 1),)


def test_lines_end_at_a_line_feed_only() -> None:
    assert read("a\r> https://a.org").links == (("https://a.org/", 0, 1),)
    assert read("> a\r\u2028\x85\x0bhttps://a.org") == BodyContent()


def test_a_line_of_reactions_or_attachments_names_no_links() -> None:
    body = "(Reactions: https://r.org 👍)\n[attachments: https://a.org/x.png]\nhttps://own.org"
    assert read(body) == BodyContent((("https://own.org/", 0, 1),), (("👍", 1),), (("image", 1),))
    assert read("(Reactions: none) https://own.org").links == (("https://own.org/", 0, 1),)


@given(st.lists(LINES | st.text(), max_size=20).map("".join))
def test_any_body_is_read_and_quotations_change_nothing(body: str) -> None:
    message = read(body)
    assert message == read("\n".join(line for line in body.split("\n") if not line.startswith(">")))
    assert list(message.reactions) == sorted(message.reactions)
    assert list(message.attachments) == sorted(message.attachments)
    positions = [position for _, position, _ in message.links]
    assert positions == sorted(set(positions))
    assert len({url for url, _, _ in message.links}) == len(positions)
