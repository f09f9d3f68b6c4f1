"""What the tail remembers, against a plain dictionary."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.tail.rows.contribution import digest_part
from consumer.tail.rows.fingerprints import Entry, Fingerprint, RowFingerprints, fingerprint_of
from projections.comments.rows import AnalysisRow, CommentRow

IDS = st.integers(1, 5_000) | st.integers(2**62, 2**63 - 1)
FINGERPRINTS = st.builds(Fingerprint, st.integers(1, 4), st.integers(1, 4), st.integers(0, 3), st.integers(0, 1))
ENTRIES = st.builds(Entry, FINGERPRINTS, st.integers(0, 40) | st.integers(2**64 - 40, 2**64 - 1))
MAPS = st.dictionaries(IDS, ENTRIES, max_size=300)


def filled(known: dict[int, Entry]) -> RowFingerprints:
    memory = RowFingerprints()
    memory.put(known)
    return memory


def sums(entries: dict[int, Entry]) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for fingerprint, contribution in entries.values():
        found[fingerprint[:2]] = found.get(fingerprint[:2], 0) + digest_part(contribution)
    return {place: total for place, total in found.items() if total}


@given(MAPS, MAPS, MAPS, st.sets(IDS))
def test_remembers_what_a_dictionary_would(
    first: dict[int, Entry], later: dict[int, Entry], unseen: dict[int, Entry], ended: set[int]
) -> None:
    memory = filled(first)
    for part in (dict(list(later.items())[:3]), later):  # few at a time are put otherwise than many
        memory.put(part)
    memory.fill(unseen)
    memory.forget(ended)
    expected = {key: one for key, one in {**unseen, **first, **later}.items() if key not in ended}
    everything = {*first, *later, *unseen, *ended}
    assert memory.entries(everything) == expected
    assert memory.get(everything) == {key: one.fingerprint for key, one in expected.items()}
    assert len(memory) == len(expected)
    assert memory.highest == max(everything - ended | {*first, *later, *unseen}, default=0)
    columns = [entry for part in memory.columns() for entry in zip(*part, strict=True)]
    assert sorted(columns) == sorted((key, *one.fingerprint[:2], one.contribution) for key, one in expected.items())
    assert memory.sums == sums(expected)


@given(MAPS, MAPS, st.lists(IDS, max_size=5))
def test_compares_page_by_page(known: dict[int, Entry], rows: dict[int, Entry], cuts: list[int]) -> None:
    memory = filled(known)
    changed: list[int] = []
    missing: list[int] = []
    above = 0
    for high in [*sorted(cuts), 2**63 - 1]:
        page = {key: rows[key].fingerprint for key in sorted(rows) if above < key <= high}
        found = memory.compare(above, high, page)
        changed += found.changed
        missing += found.missing
        above = high
    seen = {key: one.fingerprint for key, one in known.items()}
    assert changed == sorted(key for key, one in rows.items() if seen.get(key) != one.fingerprint)
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
