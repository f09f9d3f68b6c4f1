"""What operators can see in the log is explained, and nothing else is."""

import re
from pathlib import Path

from consumer.documents.messages import error_messages, log_messages
from projections.database.connection import EXAMPLES
from projections.masking import mask_urls

PAGE = Path(__file__).parents[4] / "docs" / "operations" / "troubleshooting.md"


def test_the_page_explains_each_warning_of_the_code_and_no_other() -> None:
    explained = re.findall(r"^\| `([^`]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(explained) == len(set(explained))
    assert set(explained) == log_messages()


def test_the_urls_that_messages_give_as_examples_are_printed_as_they_are() -> None:
    """All that is printed is masked: what looks like a password, and a user alone."""
    assert [text for text in {*error_messages(), EXAMPLES} if mask_urls(text) != text] == []


def test_messages_are_found_however_they_are_written() -> None:
    found = log_messages()
    assert "invalid row" in found  # of a log's warning
    assert "waiting for a server" in found  # of a condition that lasts
    assert "the database can't be read; trying again" in found  # by a constant's name
    assert "orphaned files; removing them" in found  # by a method that logs
    errors = error_messages()
    assert "Kafka can't be reached (…): start it, or correct KAFKA_BOOTSTRAP_SERVERS=…" in errors
    assert "Redis at … is loading its data; wait" in errors
