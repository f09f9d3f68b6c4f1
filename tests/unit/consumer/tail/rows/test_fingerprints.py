"""What the tail remembers, against a plain dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.tail.rows.fingerprints import Fingerprint, RowFingerprints, fingerprint_of
from projections.comments.rows import AnalysisRow, CommentRow

IDS = st.integers(0, 5_000) | st.integers(2**62, 2**63 - 1)
ENTRIES = st.builds(Fingerprint, st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(0, 1))
MAPS = st.dictionaries(IDS, ENTRIES, max_size=300)


def filled(known: dict[int, Fingerprint]) -> RowFingerprints:
    memory = RowFingerprints()
    memory.put(known)
    return memory


@given(MAPS, MAPS, MAPS, st.sets(IDS))
def test_remembers_what_a_dictionary_would(
    first: dict[int, Fingerprint], later: dict[int, Fingerprint], unseen: dict[int, Fingerprint], ended: set[int]
) -> None:
    memory = filled(first)
    for part in (dict(list(later.items())[:3]), later):  # few at a time are put otherwise than many
        memory.put(part)
    memory.fill(unseen)
    memory.forget(ended)
    expected = {key: one for key, one in {**unseen, **first, **later}.items() if key not in ended}
    everything = {*first, *later, *unseen, *ended}
    assert memory.get(everything) == expected
    assert len(memory) == len(expected)
    assert memory.highest == max(everything - ended | {*first, *later, *unseen}, default=0)
    columns = [entry for part in memory.columns() for entry in zip(*part, strict=True)]
    assert sorted(columns) == sorted(
        (key, one.user_id, one.help_request_id, one.analysis) for key, one in expected.items()
    )


@given(MAPS, MAPS, st.lists(IDS, max_size=5))
def test_compares_page_by_page(known: dict[int, Fingerprint], rows: dict[int, Fingerprint], cuts: list[int]) -> None:
    memory = filled(known)
    changed: list[int] = []
    missing: list[int] = []
    above = -1
    for high in [*sorted(cuts), 2**63 - 1]:
        page = {key: rows[key] for key in sorted(rows) if above < key <= high}
        found = memory.compare(above, high, page)
        changed += found.changed
        missing += found.missing
        above = high
    assert changed == sorted(key for key, one in rows.items() if known.get(key) != one)
    assert missing == sorted(known.keys() - rows.keys())


def test_each_column_that_events_carry_is_remembered() -> None:
    row = CommentRow(1, 2, 3, "hello", "2024-06-01 09:00:00", None)
    analysis = AnalysisRow(1, None, None, '["a"]', "2024-06-01")
    first = fingerprint_of(row, analysis)
    changed = [
        fingerprint_of(row._replace(user_id=9), analysis),
        fingerprint_of(row._replace(help_request_id=9), analysis),
        fingerprint_of(row._replace(body="other"), analysis),
        fingerprint_of(row._replace(created_at="2025"), analysis),
        fingerprint_of(row._replace(deleted_at="2025"), analysis),
        fingerprint_of(row, analysis._replace(resource_tags="b")),
        fingerprint_of(row, analysis._replace(request_tags="b")),
        fingerprint_of(row, analysis._replace(tags="b")),
        fingerprint_of(row, None),
    ]
    assert first not in changed
    assert fingerprint_of(row, None).analysis == 0
    assert fingerprint_of(row, AnalysisRow(1, None, None, None, None)).analysis != 0
