"""What a seed draws for its history: how large the world is, what changes, what fails, and how often.

Each history has a subset of its own of all changes and faults, with weights of its own ("swarm testing"): what is left
out can't hide what the others do.
"""

from dataclasses import dataclass, field
from random import Random

CHANGES = (
    *("comment", "comments", "edit", "delete", "restore", "hard_delete", "move", "analyse", "analyse_again"),
    *("unanalyse", "join", "leave", "rename_group", "rename_request", "below_the_head"),
)
FAULTS = (
    *("stop", "zombie", "kill", "store_away", "store_falls_back", "store_lost", "database_away", "disk_fails"),
    *("file_touched", "rebuild", "rebuild_group", "rebuild_killed"),
)
BROKER_FAULTS = ("broker_away", "retention", "topic_made_again", "partitions_added", "rebalance")


@dataclass
class Plan:
    """Seconds, counts, weights and probabilities of one history."""

    seed: int
    one_writer: bool = False
    users: int = 3
    requests: int = 3
    comments: int = 12
    changes: int = 30
    faults: int = 4
    busy_seconds: float = 20.0
    change_weights: dict[str, float] = field(default_factory=dict)
    fault_weights: dict[str, float] = field(default_factory=dict)
    slowness: float = 100.0
    late_commit: float = 0.2
    rolled_back: float = 0.1
    lost_commands: float = 0.0
    lost_announcements: float = 0.0
    lost_events: float = 0.0
    batch: int = 5
    relays: int = 0
    """None: the tail works in the daemons."""
    partitions: int = 2
    folders: tuple[str | None, ...] = (None,)
    """For each daemon the group that its folder is for; None: all."""


def draw(seed: int) -> Plan:
    """The plan of a seed, without what the product can't know.

    Where both the store and a file are lost, nothing tells that the profile was announced.
    """
    plan = draw_all(seed)
    if {"store_falls_back", "store_lost"} & plan.fault_weights.keys():
        plan.fault_weights.pop("file_touched", None)
    return plan


def draw_all(seed: int) -> Plan:
    """The plan of a seed, whatever may come of it."""
    random = Random(f"plan {seed}")  # noqa: S311 - nothing secret is drawn
    relays = random.choice((0, 0, 1, 2))
    return Plan(
        seed,
        one_writer=random.random() < 0.4,
        users=random.choice((1, 2, 3, 4)),
        requests=random.choice((2, 3, 4)),
        comments=random.choice((0, 5, 12, 25)),
        changes=random.choice((5, 15, 30, 50)),
        faults=random.choice((0, 1, 2, 4, 6)),
        busy_seconds=random.choice((8.0, 15.0, 25.0)),
        change_weights=_swarm(random, CHANGES),
        fault_weights=_swarm(random, FAULTS + (BROKER_FAULTS if relays else ())),
        slowness=random.choice((20.0, 100.0, 500.0)),
        late_commit=random.choice((0.0, 0.2, 0.5)),
        rolled_back=random.choice((0.0, 0.1, 0.3)),
        lost_commands=random.choice((0.0, 0.0, 0.01, 0.05)),
        lost_announcements=random.choice((0.0, 0.0, 0.1)),
        lost_events=random.choice((0.0, 0.02, 0.2)) if relays else 0.0,
        batch=random.choice((2, 5, 100)),
        relays=relays,
        partitions=random.choice((1, 2, 4)),
        folders=random.choice(((None,), (None,), (None, None), (None, "elm"))),
    )


def _swarm(random: Random, names: tuple[str, ...]) -> dict[str, float]:
    """Some of them, each with its weight; at least one."""
    chosen = {name: random.choice((1.0, 3.0, 10.0)) for name in names if random.random() < 0.6}
    return chosen or {random.choice(names): 1.0}
