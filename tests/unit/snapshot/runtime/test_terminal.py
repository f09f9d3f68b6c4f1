"""What commands print: made safe for terminals, tables that fit, plain where it is piped."""

import json
import os
import re
import sys
from io import StringIO

import pytest
from rich.cells import cell_len

from snapshot.runtime.terminal import Printer, show, sparkline

HOSTILE = "\x1b]0;owned\x07 [bold]x[/bold] :smile:\u202e\x9b31m\r\n\u2066"
SAFE = r"\x1b]0;owned\x07 [bold]x[/bold] :smile:\u202e\x9b31m\r\n\u2066"
COLUMNS = [">id", "~why", "*text"]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("width", "term"), [(100, "xterm"), (160, "xterm"), (160, "dumb")])
def test_a_terminal_gets_nothing_that_steers_it_and_lines_that_fit(
    width: int, term: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tty = Terminal()
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(os, "get_terminal_size", lambda *_: os.terminal_size((width, 40)))
    monkeypatch.setattr(sys, "stdout", tty)
    printer = Printer()
    printer.line(HOSTILE)
    printer.table(COLUMNS, [(1, "because " * 20, "long " * 60), (23, None, HOSTILE)])
    said = re.sub(r"\x1b\[[\d;]*m", "", tty.getvalue())  # rich's own styles
    lines = said.splitlines()
    assert lines[0] == SAFE
    assert lines[1].split() == ["id", "why", "text"]
    assert max(map(cell_len, lines)) <= printer.width == width
    assert "because because" in lines[2]
    assert lines[2].rstrip().endswith("…")
    assert SAFE[:40] in lines[-1]
    assert not any(one in said for one in "\x1b\x07\u202e\x9b\r\u2066")


def test_piped_it_is_cells_between_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer()
    assert printer.width == 0
    printer.table(COLUMNS, [(1, "a\tb", None), (2, "long " * 60, "x")])
    assert capsys.readouterr().out == f"id\twhy\ttext\n1\ta\\tb\t\n2\t{'long ' * 60}\tx\n"


def test_json_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    show({"text": HOSTILE, "number": {1: 2}}, lambda _: None, as_json=True)
    said = capsys.readouterr().out
    assert said.isascii()
    assert json.loads(said) == {"text": HOSTILE, "number": {"1": 2}}


def test_a_small_count_is_seen_beside_a_large_one() -> None:
    assert sparkline([1, 0, 1000]) == "▁ █"
