"""A dead letter as a message of its topic, and back."""

from consumer.dead_letters.dead_letters import DeadLetter
from consumer.dead_letters.kafka import as_message, read_message
from consumer.source import Invalid


def test_headers_that_pass_for_ours_change_nothing() -> None:
    """A message that came with `dead-letter-truncated` could once never be replayed."""
    theirs = [("dead-letter-truncated", b"9"), ("dead-letter-topic", b"x"), ("ce_type", b"\xff"), ("ce_type", b"")]
    letter = DeadLetter(
        Invalid("comment-created", 2, 7, b"1", b"{}", theirs, "no user_id"), "2026-01-02T03:04:05+00:00"
    )
    sent = as_message(letter)
    found = read_message(Invalid(sent.topic, 0, 0, sent.key, sent.value, sent.headers, "unknown"))
    assert found == letter._replace(message=letter.message._replace(headers=theirs[2:]))
