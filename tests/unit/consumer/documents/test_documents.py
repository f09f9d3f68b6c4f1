"""The generated documents in docs/ are those that the code gives."""

from pathlib import Path

import pytest

from consumer.documents.documents import documents

DOCS = Path(__file__).resolve().parents[4] / "docs"


@pytest.mark.parametrize(("name", "text"), sorted(documents().items()))
def test_a_committed_document_is_up_to_date(name: str, text: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == text, "run make docs"
