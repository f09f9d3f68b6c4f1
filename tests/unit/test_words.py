"""One word for one thing: the words that were replaced stand nowhere, in no name and in nothing that people read.

docs/glossary.md has the words that replaced them. Names on disk, on the wire and in Redis stay as they are.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("projections", "snapshot", "consumer")
CODE = (*PRODUCT, "tests", "benchmarks", "examples")

OLD_WORDS = re.compile(
    r"(un)?told|witness(es)?|fallen|strays?|astray|nobodys|somebodys?|anew|(un)?mend(s|ed|ing|ings|er|ers)?|rehears\w*"
    r"|heal(s|ed|ing|er|ers)?|(new)?born|brakes?|complaints?|surveyors?|nometer|heedless|revived?|buried|nudge"
    r"|regroup(s|ed|ing)?|storeless|remade"
)
"""A part of a name, `snake_case` or `CamelCase`, that is one of these is an old word."""

OLD_PRODUCT_WORDS = re.compile(
    r"strangers?|resting|beats?|patience|departures|arrivals|meter|pristine|births?|bears?|doubts?|timely|caution|grave"
    r"|surveys?|inspections?|publications?|unfit|oddly|followers"
)
"""The same where tests may use the plain English word."""

OLD_NAMES = """
    Shown shown bar LEADERS SHOWN Extremes carry enter close_ note Label contents _contents _odd_column
    history Reading reading LEAD faults DatabaseUnavailable tables Mark Origin HoleError _GapError Gap Witness
    fell_back MEANING hold held holding Endings Ended unexplained foreign strange lies NOTHING Round Ending
    again LeftError UnsafeError Caution Untold audit right WrongFile content Surveyor rehearse Work
    pieces Ids noted Publication Wanted _said _elsewhere tailed Complaint say over Meter NoMeter streams told settle_
    opening Opening figures alive Stopping Flushing Rebuilding go_away come_back away Absence kafka_inside joined_
    least_poll longest_pause Publisher entering vanished Memory Remembered remember tally Regrouping Departures Arrivals
    lost keeping concerned Dated _is_news Whole Resting Filling Verification Stage SecondLook Session Followers
    Reached at_most _EarlyError
"""
"""No module, class, function or constant of the product has one of these names."""

OLD_TEXT = (
    r"anew|(un)?told|witness|strays?|astray|nobody's|files? of nobody|nobody tails|(un)?mend(s|ed|ing|er)?|rehears\w*"
    r"|heal(s|ed|ing|er)?|(new)?born|births?|brakes?|regroup\w*|surveyor|heedless|storeless|no longer so|by half"
    r"|looking again|second look|tries on|(held|holds?|holding) back|belongs? to no profile"
    r"|(can't|cannot|can not|can no longer) be understood"
)
OLD_PRODUCT_TEXT = (
    r"somebody|comes? back|came back|way out|(stands?|stood|standing) still|(is|are|was|were|goes|went) away"
)

KEPT = re.compile(
    r"\.signal-profiles-untold|\b(source_remade|rows_unreadable)\b|`(birth|healing|meaning|repaired)`"
    r"|'(birth|healing|meaning)'|\bbirth is the instance id\b|\bbirth, epoch, meaning, writes, folders, healing\b"
)
"""Names in Redis, on disk and of metrics; they may stand in any text."""

KEPT_STRINGS = frozenset({"birth", "healing", "meaning", "repaired", "again"})
"""The same, where they are a whole string of the code."""


def python_files(folders: tuple[str, ...]) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")) if path != Path(__file__)]


@cache
def tokens(path: Path) -> list[tokenize.TokenInfo]:
    return list(tokenize.generate_tokens(io.StringIO(path.read_text()).readline))


def at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def parts(name: str) -> list[str]:
    """The words of a name.

    `_StoreFellBack_again` gives store, fell, back, again.
    """
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def of_the_product(path: Path) -> bool:
    return path.relative_to(ROOT).parts[0] in PRODUCT


def old_in_names(path: Path) -> Iterator[str]:
    names = [(0, path.stem), *((token.start[0], token.string) for token in tokens(path) if token.type == tokenize.NAME)]
    for line, name in names:
        for part in parts(name):
            if OLD_WORDS.fullmatch(part) or (of_the_product(path) and OLD_PRODUCT_WORDS.fullmatch(part)):
                yield at(path, line, name)


def defined(path: Path) -> Iterator[tuple[int, str]]:
    """Modules, classes, functions and constants; not fields and local variables."""
    yield 0, path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.Module():
                yield from (
                    (target.lineno, target.id)
                    for line in node.body
                    if isinstance(line, ast.Assign | ast.AnnAssign)
                    for target in (line.targets if isinstance(line, ast.Assign) else [line.target])
                    if isinstance(target, ast.Name)
                )


def old_in_text(path: Path, line: int, text: str) -> Iterator[str]:
    old = OLD_TEXT if path.is_relative_to(ROOT / "tests") else f"{OLD_TEXT}|{OLD_PRODUCT_TEXT}"
    for found in re.finditer(rf"\b({old})\b", KEPT.sub("", text), re.IGNORECASE):
        yield at(path, line, f"“{found[0]}” in {text.strip()[:90]!r}")


def old_in_strings_and_comments(path: Path) -> Iterator[str]:
    for token in tokens(path):
        text = token.string.strip("rbfRBF\"'") if token.type == tokenize.STRING else token.string
        if token.type in (tokenize.STRING, tokenize.COMMENT) and text not in KEPT_STRINGS:
            yield from old_in_text(path, token.start[0], text)


def other_texts() -> list[Path]:
    patterns = ("*.md", "docs/**/*.md", "Makefile", "compose.yaml", "Dockerfile", ".ci/run", "deploy/**/*", "**/*.lua")
    return [
        path
        for pattern in patterns
        for path in sorted(ROOT.glob(pattern))
        if path.is_file() and ".venv" not in path.parts
    ]


def test_no_name_holds_a_word_that_was_replaced() -> None:
    assert [found for path in python_files(CODE) for found in old_in_names(path)] == []


def test_nothing_of_the_product_has_a_name_that_was_replaced() -> None:
    named = [(path, line, name) for path in python_files(PRODUCT) for line, name in defined(path)]
    assert [at(*found) for found in named if found[2] in OLD_NAMES.split()] == []


def test_no_text_holds_a_word_that_was_replaced() -> None:
    assert [found for path in python_files(CODE) for found in old_in_strings_and_comments(path)] == []
    lines = ((path, *line) for path in other_texts() for line in enumerate(path.read_text().splitlines(), 1))
    assert [found for line in lines for found in old_in_text(*line)] == []


def test_one_class_name_means_one_thing() -> None:
    classes = [
        (node.name, path)
        for path in python_files(PRODUCT)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    times = Counter(name for name, _path in classes)
    assert [at(path, 0, name) for name, path in classes if times[name] > 1] == []
