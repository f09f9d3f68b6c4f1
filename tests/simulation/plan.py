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
    *("file_touched", "clock_step", "ends_when_caught_up", "rebuild", "rebuild_group", "rebuild_killed"),
)
BROKER_FAULTS = ("broker_away", "retention", "topic_made_again", "partitions_added", "rebalance")


MASS = ("half_restored", "members_gone", "titles_gone", "insights_gone")
LOSSES = frozenset({"store_falls_back", "store_lost"})
OF_A_GROUP = frozenset({"rebuild_group", "rebuild_killed"})
"""A run for one group sees one request renamed where another sees several."""
_MANY = 60


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
    page: int = 2_000
    mass: str | None = None
    """A change that takes much away at once, and which nobody confirms before the end."""
    restored: bool = False
    """Whether what it took is put back before."""
    drift_of_starts: bool = True
    """Whether a tail may call drift what it left out when it began; False in specimens only."""
    folders: tuple[str | None, ...] = (None,)
    """For each daemon the group that its folder is for; None: all."""


def draw(seed: int) -> Plan:
    """The plan of a seed, without what the product can't know."""
    plan = draw_all(seed)
    if plan.mass is not None:  # a store that is filled from half the rows has nothing to compare them with
        plan.comments, plan.users = _MANY, 4
        plan.fault_weights = {
            name: weight for name, weight in plan.fault_weights.items() if name not in LOSSES | OF_A_GROUP
        }
        plan.change_weights = {"analyse": 10.0, "comments": 3.0, "edit": 3.0}
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
        page=random.choice((3, 2_000, 2_000)),
        mass=random.choice(MASS) if random.random() < 0.15 else None,
        restored=random.random() < 0.5,
        folders=random.choice(((None,), (None,), (None, None), (None, "elm"))),
    )


def _swarm(random: Random, names: tuple[str, ...]) -> dict[str, float]:
    """Some of them, each with its weight; at least one."""
    chosen = {name: random.choice((1.0, 3.0, 10.0)) for name in names if random.random() < 0.6}
    return chosen or {random.choice(names): 1.0}
