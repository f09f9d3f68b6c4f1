"""The documents name what is there: modules, rooms, files and headings."""

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("projections", "snapshot", "consumer")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PLACES = (*PACKAGES, "tests", "benchmarks", "docs", "deploy", "examples")


def rows(page: str) -> list[list[str]]:
    """The cells of all tables of a page but for their heads."""
    lines = (ROOT / page).read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    heads = [index for index, line in enumerate(lines) if line.startswith("|---")]
    names = {lines[index - 1].strip("|").split("|")[0].strip() for index in heads}
    return [row for row in cells if row[0] not in names]


def text_of(page: Path) -> str:
    """What a page says outside its blocks of code."""
    return re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    found = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def test_each_term_of_the_glossary_stands_once() -> None:
    terms = Counter(term.lower() for term, *_ in rows("docs/glossary.md"))
    assert len(terms) > 50
    assert [term for term, times in terms.items() if times > 1] == []


@pytest.mark.parametrize("row", rows("docs/glossary.md"), ids=lambda row: row[0])
def test_the_glossary_names_the_module_of_a_term(row: list[str]) -> None:
    _term, meaning, module = row
    source = (ROOT / module.strip("`")).read_text()
    names = [name for group in re.findall(r"\((.*?)\)", meaning) for name in re.findall(r"`(\w+)`", group)]
    assert [name for name in names if not re.search(rf"\b{name}\b", source)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_the_documents_name_are_there(page: Path) -> None:
    named = {name for name in re.findall(r"`([\w./@-]+/[\w./@-]*)`", text_of(page)) if name.split("/")[0] in PLACES}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_the_documents_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#:]*(?:#[\w-]+)?)\)", text_of(page)):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target), link


def test_the_architecture_lists_every_room_and_says_where_to_change_things() -> None:
    listed = {row[0].strip("`") for row in rows("docs/architecture.md") if row[0].startswith("`")}
    rooms = {f"{package}/{init.parent.name}/" for package in PACKAGES for init in ROOT.glob(f"{package}/*/__init__.py")}
    assert rooms - listed == set()
    assert sum(name.startswith(PACKAGES) for name in listed) == len(rooms)
    answers = [row for row in rows("docs/architecture.md") if len(row) == 3]
    assert len(answers) == 10
    assert [what for what, where, _further in answers if not re.search(r"`\w+/.+\.py`", where)] == []
