"""What commands print for people: tables and colour on a terminal, lines of tab-separated cells when piped; or JSON.

All text of users is hostile: what would steer a terminal, or hide, is printed as its escape.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from shutil import get_terminal_size

import msgspec
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from snapshot.runtime.stdio import print_line, print_safely

_JOINER = "\u200d"
"""It is no character that people see, but joins emojis."""
_GAP = 2
_SLACK = 4
"""Terminals and rich differ in how wide some emojis are."""
_LEAST = 16
_DAY = 86_400


def printable(text: str) -> str:
    r"""The text on one line, what is not printable in it escaped.

    >>> printable("a\x1b[31m\nb\u202ec")
    'a\\x1b[31m\\nb\\u202ec'
    """
    return "".join(one if one.isprintable() or one == _JOINER else _escaped(one) for one in text)


def _escaped(one: str) -> str:
    return one.encode("unicode_escape").decode()


class Printer:
    """Prints lines and tables; all text in them is made printable here."""

    def __init__(self) -> None:
        self._console = None
        if sys.stdout.isatty():
            columns, lines = get_terminal_size()  # rich takes each dumb terminal for 80 wide
            self._console = Console(width=columns, height=lines, markup=False, emoji=False, highlight=False)

    @property
    def width(self) -> int:
        """Characters on a line; 0 where nobody sees it, so that pictures are left out."""
        return 0 if self._console is None else self._console.width

    def clear(self) -> None:
        """Begin at the top of the terminal again."""
        if self._console is not None:
            self._console.clear()

    def line(self, text: str = "", style: str | None = None) -> None:
        """Print a line; `style` is rich's."""
        if self._console is None:
            print(printable(text))  # noqa: T201 - standard output is what it is for
        else:
            self._console.print(printable(text), style=style)

    def table(
        self, columns: Sequence[str], rows: Iterable[Sequence[object]], styles: Sequence[str | None] = ()
    ) -> None:
        """Print a table; None is an empty cell. `styles`: each row's, or none.

        A column's name may begin with `>` (to the right), `*` (cut to what is left of the line) or `~` (folded).
        """
        cells = [["" if cell is None else printable(str(cell)) for cell in row] for row in rows]
        if self._console is None:
            for row in [[name.lstrip(">*~") for name in columns], *cells]:
                print("\t".join(row))  # noqa: T201 - standard output is what it is for
            return
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
        for name, width in zip(columns, _widths(columns, cells, self._console.width - _SLACK), strict=True):
            table.add_column(
                name.lstrip(">*~"),
                justify="right" if name.startswith(">") else "left",
                width=width,
                no_wrap=not name.startswith("~"),
                overflow="fold" if name.startswith("~") else "ellipsis",
            )
        for row, style in zip_longest(cells, styles):
            table.add_row(*row, style=style)
        self._console.print(table)


def _widths(columns: Sequence[str], cells: Sequence[Sequence[str]], line: int) -> list[int]:
    """Give each column its width; rich would make all of them narrower alike.

    Of several flexible ones, what is folded gets a third of the line and what is cut the rest; where that is not
    enough, both get narrower.
    """
    widths = [
        max(map(cell_len, column)) for column in zip([name.lstrip(">*~") for name in columns], *cells, strict=True)
    ]
    flexible = sum(name.startswith(("~", "*")) for name in columns)
    for mark, share in (("~", line // 3 if flexible > 1 else line), ("*", 0), ("~", 0)):
        for index, name in enumerate(columns):
            if name.startswith(mark):
                others = sum(widths) - widths[index] + _GAP * (len(columns) - 1)
                widths[index] = min(widths[index], share or max(line - others, _LEAST))
    return widths


def draw_bar(share: float, width: int = 20) -> str:
    """A bar for a share of one.

    >>> draw_bar(0.5, 8), draw_bar(0.01, 8)
    ('████', '▏')
    """
    whole, eighths = divmod(round(share * width * 8), 8)
    return f"{'█' * whole}{['', *'▏▎▍▌▋▊▉'][max(eighths, share > 0 and not whole)]}"


def sparkline(counts: Sequence[int]) -> str:
    """Draw one character for each count; nothing is blank.

    >>> sparkline([0, 1, 4, 8])
    ' ▁▄█'
    """
    highest = max(counts, default=0)
    return "".join(" ▁▂▃▄▅▆▇█"[max(count > 0, count * 8 // max(highest, 1))] for count in counts)


def span(seconds: float | None) -> str:
    """A span as people say it.

    >>> span(0.44), span(75), span(7300), span(None)
    ('0.4 s', '75 s', '2.0 h', 'unknown')
    """
    if seconds is None:
        return "unknown"
    if seconds < 10:  # noqa: PLR2004 - two digits are enough
        return f"{seconds:.1f} s"
    if seconds > 2 * _DAY:
        return f"{seconds / _DAY:.0f} d"
    return f"{seconds:.0f} s" if seconds < 3_600 else f"{seconds / 3_600:.1f} h"  # noqa: PLR2004 - an hour


def many(number: int, what: str) -> str:
    """So many of something.

    >>> many(1, "comment"), many(1200, "comment")
    ('1 comment', '1,200 comments')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def show(value: object, render: Callable[[Printer], object], *, as_json: bool) -> None:
    """Print a value as one JSON text, in ASCII, or have it rendered; standard output may be closed."""
    if as_json:
        print_line(json.dumps(msgspec.to_builtins(value, str_keys=True)))
    else:
        print_safely(lambda: render(Printer()))
