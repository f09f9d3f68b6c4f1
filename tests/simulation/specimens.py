"""Histories that a fault of issue 10 needs: plans in which it is likely, and seeds that met it before it was fixed."""

from collections.abc import Callable
from typing import NamedTuple

from simulation.plan import Plan, draw


class Specimen(NamedTuple):
    """`plan` gives the plan of a seed; each of the `seeds` met the fault."""

    plan: Callable[[int], Plan]
    seeds: tuple[int, ...]


def _unannounced_end(seed: int) -> Plan:
    """4: a store that lost what was announced, flushes that are done twice, and profiles that end."""
    plan = draw(seed)
    plan.users, plan.comments, plan.lost_commands, plan.faults = 2, 5, 0.05, 4
    plan.fault_weights = {"store_falls_back": 3.0, "kill": 1.0}
    plan.change_weights = {"leave": 3.0, "join": 3.0, "comment": 1.0}
    return plan


SPECIMENS = {4: Specimen(_unannounced_end, ())}
