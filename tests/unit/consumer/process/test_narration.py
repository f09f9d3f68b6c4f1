"""What a process says: what it runs on, progress, that it has caught up, figures now and then, and what it did."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from consumer.process.narration import Narration


class Scene:
    def __init__(self) -> None:
        self.now, self.done, self.caught_up, self.asked = 100.0, {"events": 0, "written": 0}, False, 0
        self.narration = Narration("snapshot-relay", lambda: dict(self.done), self.ask, lambda: self.now)

    def ask(self) -> bool:
        self.asked += 1
        return self.caught_up

    def said_after(self, seconds: float, **done: int) -> list[dict[str, Any]]:
        """What it says in so many seconds, in each of which it is asked ten times."""
        self.done |= done
        with capture_logs() as said:
            for _ in range(round(10 * seconds)):
                self.now += 0.1
                self.narration.step()
        return [{name: value for name, value in line.items() if name != "log_level"} for line in said]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_says_first_what_it_runs_on(scene: Scene) -> None:
    with capture_logs() as said:
        scene.narration.begin(database="sqlite:///x.db", scope=None)
    assert (said[0]["event"], said[0]["program"]) == ("started", "snapshot-relay")
    assert said[0]["database"] == "sqlite:///x.db"
    assert "version" in said[0]
    assert "scope" not in said[0]


def test_progress_while_it_catches_up_and_then_once_that_it_has(scene: Scene) -> None:
    assert scene.said_after(9) == []
    assert scene.said_after(2, events=500) == [{"event": "catching up", "events": 500}]
    assert scene.said_after(40) == [], "nothing happened"
    assert scene.said_after(10, events=600) == [{"event": "catching up", "events": 600}]
    scene.caught_up = True
    said = scene.said_after(2, events=900, written=7)
    assert [(line["event"], line["events"], line["written"]) for line in said] == [("caught up", 900, 7)]
    assert 61 < said[0]["seconds"] < 63.5
    asked = scene.asked
    assert asked < 65, "a question may cost something"
    assert scene.said_after(20) == []
    assert scene.asked == asked


def test_figures_of_five_minutes_in_which_anything_happened(scene: Scene) -> None:
    scene.caught_up = True
    scene.said_after(2, events=10)
    assert scene.said_after(301, events=15, written=3) == [
        {"event": "in the last five minutes", "events": 5, "written": 3}
    ]
    assert scene.said_after(601) == []
    assert scene.said_after(301, written=4) == [{"event": "in the last five minutes", "written": 1}]


def test_at_the_end_it_says_what_it_did_in_all(scene: Scene) -> None:
    scene.said_after(5, events=3, written=2)
    with capture_logs() as said:
        scene.narration.end()
    assert said == [
        {
            "event": "ended",
            "log_level": "info",
            "program": "snapshot-relay",
            "seconds": 5.0,
            "events": 3,
            "written": 2,
        }
    ]
