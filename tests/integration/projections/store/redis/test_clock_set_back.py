"""In Redis, what was due or claimed before its clock was set back does not wait until it comes there."""

from projections.store.protocol import ABSENT
from projections.store.redis.store import RedisStore, connect
from support.stores import ANN, BEN, FOLDER, NOW, claim, keys, save, write

HOURS = 3 * 3600.0


def test_times_hours_ahead_are_over(redis_url: str) -> None:
    client = connect(redis_url)
    before, store = RedisStore(client, HOURS, redis_url), RedisStore(client, NOW, redis_url)
    store.add_folder(FOLDER)
    save(before, write(ANN, ABSENT, b"one"))
    assert keys(claim(store, FOLDER, 12, "dead")) == {ANN}
    save(store, write(BEN, ABSENT, b"one"))
    assert keys(claim(before, FOLDER, HOURS, "dead too")) == {BEN}
    (taken,) = claim(store, FOLDER, 12)
    assert (taken.key, taken.taken_over) == (BEN, True)
    assert claim(store, FOLDER, 12, "another") == []
    store.close()
