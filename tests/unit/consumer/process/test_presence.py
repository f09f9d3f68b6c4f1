"""What a process says of itself: every few seconds, with rates, until it ends."""

import msgspec

from consumer.process.presence import SECONDS, Activity, Presence, ProcessDescription, first_failures
from projections.store.memory import MemoryStore


def test_it_is_said_again_every_few_seconds_and_taken_back_at_the_end() -> None:
    store, clock, done = MemoryStore(lambda: 1), [100.0], Activity(events=10)
    presence = Presence(store, "snapshot-relay", lambda: done, lambda: clock[0])

    def said() -> list[ProcessDescription]:
        return [msgspec.json.decode(one.value, type=ProcessDescription) for one in store.processes().values()]

    presence.renew()
    first = said()
    assert [(one.program, one.events, one.events_per_second) for one in first] == [("snapshot-relay", 10, 0.0)]
    done = Activity(events=40, flushes=5, troubles=["no disk"], blocked={"sweep": "20 of 40 comments"})
    clock[0] += SECONDS - 0.1
    presence.renew()
    assert said() == first
    clock[0] += 4.9 + 0.2
    presence.renew()
    (again,) = said()
    assert (again.events_per_second, again.flushes_per_second) == (3.0, 0.5)
    assert (again.troubles, again.blocked, again.since) == (["no disk"], {"sweep": "20 of 40 comments"}, first[0].since)
    presence.close()
    assert said() == []


def test_only_the_first_failures_are_named() -> None:
    assert len(first_failures({f"{user}:elm": "no disk" for user in range(100)})) == 20
