"""A comment's text on one short line, about the place that matters."""

_BEFORE, _LONGEST = 24, 160


def excerpt(body: str, value: str = "") -> str:
    r"""The text from a little before the value, where it holds that, without runs of white space.

    >>> excerpt("a   line\nand https://example.org", "nowhere")
    'a line and https://example.org'
    >>> excerpt("x" * 40 + " here", "here")
    '…xxxxxxxxxxxxxxxxxxxxxxx here'
    """
    text = " ".join(body.split())
    begin = max(0, text.casefold().find(value.casefold()) - _BEFORE) if value else 0
    end = begin + _LONGEST
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"
