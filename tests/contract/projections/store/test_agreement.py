"""Both stores do the same, whatever is asked of them: random calls, held side by side.

Times are either now or never, so that the two clocks do not matter.
"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from projections.store.protocol import (
    ABSENT,
    Announced,
    BucketState,
    Claim,
    EpochError,
    FlushReading,
    Folder,
    InitialPositions,
    PositionGapError,
    Published,
    RecoveryGoal,
    Save,
    Settlement,
    Store,
)
from support.stores import ANN, BEN, BUCKET, CEM, NEVER, NOW, memory_bench, redis_bench, write

FOLDERS = (Folder("all", None), Folder("some", "lions"))
Call = Callable[[Store], object]
FUTURE = 9_000_000_000_000_000
"""An epoch that no clock has reached, so that the next one is the same in both stores."""

_folders = st.sampled_from([folder.id for folder in FOLDERS])
_keys = st.sampled_from([ANN, BEN])
_epochs = st.sampled_from([0, FUTURE + 1, FUTURE + 2])
_key_lists = st.lists(st.sampled_from([ANN, BEN, CEM]), max_size=3, unique=True)
_versions = st.sampled_from([ABSENT, b"1", b"2", b"3"])
_tokens = st.sampled_from([b"1", b"2", b"3"])
_who = st.sampled_from(["a", "b", "c"])
_times = st.sampled_from([NOW, NEVER])
_claims = st.builds(Claim, st.sampled_from([ANN, BEN, CEM]), st.booleans(), st.just(value=False)) | st.builds(
    Claim, st.sampled_from([ANN, BEN, CEM]), st.just(value=False), st.booleans()
)
_fields = st.dictionaries(st.sampled_from([b"h", b"c1", b"lx"]), st.binary(max_size=2), max_size=3)
_writes = st.builds(
    lambda key, expected, token, sets, deletes, dirty: write(key, expected, token, sets, deletes, dirty=dirty),
    _keys,
    _versions,
    _tokens,
    _fields,
    st.lists(st.sampled_from([b"c1", b"lx"]), max_size=2, unique=True),
    st.booleans(),
)
_saves = st.builds(
    Save,
    st.just(BUCKET),
    st.lists(_writes, max_size=2, unique_by=lambda one: one.key),
    st.sampled_from([None, None, 0, FUTURE + 1]),
    st.dictionaries(st.sampled_from(["p0", "p1"]), st.tuples(st.integers(0, 3), st.integers(3, 6)), max_size=2),
)
_origins = st.builds(
    InitialPositions,
    st.dictionaries(st.sampled_from(["p0", "p1"]), st.integers(0, 4)),
    st.dictionaries(st.sampled_from(["topic"]), _who),
    st.sampled_from(["1", "2"]),
)
_healings = st.builds(RecoveryGoal, st.just({"p0": 5}), st.booleans(), _who)
_announced = st.none() | st.builds(Announced, _who, st.integers(0, 3))
_readings = st.builds(FlushReading, _versions, st.none(), st.none(), _announced, st.integers(0, 3))
_settlements = st.builds(Settlement, _claims, _readings, st.just("") | _who, st.sampled_from(Published))


def _described(name: str, call: Callable[..., object], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(*arguments).map(lambda given: (name, given, lambda store: call(store, *given)))


CALLS = st.one_of(
    _described("save", lambda store, one: store.save([one]), _saves),
    _described("save", lambda store, one: store.save([one]), _saves),
    _described("remove", lambda store, key, version: store.remove(key, version), _keys, _versions),
    _described("add_folder", lambda store, folder: store.add_folder(folder), st.sampled_from(FOLDERS)),
    _described("claim", lambda s, f, d, w: sorted(s.claim(f, range(64), 9, d, w)), _folders, _times, _who),
    _described("claim", lambda s, f, d, w: sorted(s.claim(f, range(64), 9, d, w)), _folders, _times, _who),
    _described("settle", lambda s, f, w, o, d: s.settle(f, w, [o], d), _folders, _who, _settlements, _times),
    _described("defer", lambda s, f, w, c, d: s.defer(f, w, [c], d), _folders, _who, _claims, _times),
    _described("force", lambda store, folder, keys: store.force(folder, keys), _folders, _key_lists),
    _described("recheck", lambda store, folder, keys: store.recheck(folder, keys), _folders, _key_lists),
    _described("initialize", lambda store, origin: store.initialize(origin), _origins),
    _described(
        "raise_epoch",
        lambda store, seen, recovery, origin: store.raise_epoch(BUCKET, seen, recovery, origin, FUTURE),
        st.sampled_from([None, 0, FUTURE + 1]),
        _healings,
        _origins,
    ),
    _described(
        "recover",
        lambda s, e, h, left: s.recover(BUCKET, BucketState("", e, "", 0, {}, {}, h), left),
        _epochs,
        st.none() | _healings,
        st.none() | _healings,
    ),
    _described("lease", lambda store, who: store.lease("relay", who, NEVER), _who),
    _described("release", lambda store, who: store.release("relay", who), _who),
    _described("put_document", lambda store, who: store.put_document("relay", who, who.encode()), _who),
)


def answer(store: Store, call: Call) -> object:
    try:
        return call(store)
    except (EpochError, PositionGapError) as error:
        return type(error), error.args


def seen(store: Store) -> object:
    """All that can be seen of a store, but for the times, the instance id and the count of writes."""
    state = store.bucket_states()[BUCKET]
    now = store.clock()
    everybody = [Claim(key, forced=False, taken_over=False) for key in (ANN, BEN, CEM)]
    return (
        {key: (store.load({key: ()})[key].version, dict(store.scan(key))) for key in (ANN, BEN)},
        store.profiles(0, 100),
        state and (state.epoch, state.rules_version, state.positions, state.topic_ids, state.recovery),
        [[at and at <= now for at in store.next_due(folder.id)] for folder in FOLDERS],
        [store.settled(folder.id, [ANN, BEN, CEM]) for folder in FOLDERS],
        [(one.version, one.head, one.announced and one.announced.hash) for one in store.read(FOLDERS[0].id, everybody)],
        store.leased("relay"),
        store.document("relay"),
    )


@pytest.fixture
def pair(redis_url: str) -> Callable[[], tuple[Store, Store]]:
    memory, real = memory_bench(), redis_bench(redis_url)

    def fresh() -> tuple[Store, Store]:
        made = memory.fresh(), real.fresh()
        for store in made:
            for folder in FOLDERS:
                store.add_folder(folder)
        return made

    return fresh


def test_both_stores_agree(pair: Callable[[], tuple[Store, Store]]) -> None:
    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(CALLS, min_size=4, max_size=40))
    def holds(calls: list[tuple[str, object, Call]]) -> None:
        memory, real = pair()
        for name, given_, call in calls:
            assert answer(memory, call) == answer(real, call), (name, given_)
            assert seen(memory) == seen(real), (name, given_)

    holds()
