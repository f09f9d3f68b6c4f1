"""Histories that a fault needs: plans in which it is likely, and seeds that met it before it was fixed.

Faults have their numbers from issue 10; what the simulation found itself, the seed that first met it.
"""

from collections.abc import Callable
from typing import NamedTuple

from simulation.plan import Plan, draw_all


class Specimen(NamedTuple):
    """`plan` gives the plan of a seed; each of the `seeds` met the fault."""

    plan: Callable[[int], Plan]
    seeds: tuple[int, ...]


def _quick(seed: int) -> Plan:
    """Nothing that others need: each specimen adds to it."""
    plan = draw_all(seed)
    plan.mass, plan.lost_commands, plan.lost_announcements, plan.lost_events = None, 0.0, 0.0, 0.0
    plan.folders, plan.relays, plan.page = (None,), 0, 2_000
    plan.slowness = 100.0
    return plan


def _drifting_check(seed: int) -> Plan:
    """1: relays that start again and again, while comments move and groups change."""
    plan = _quick(seed)
    plan.relays, plan.comments, plan.changes, plan.faults = 1, 12, 50, 6
    plan.slowness = 500.0
    plan.fault_weights, plan.drift_of_starts = {"kill": 1.0}, False
    plan.change_weights = {"move": 5.0, "rename_request": 3.0, "join": 1.0, "leave": 1.0}
    return plan


def _older_announcement(seed: int) -> Plan:
    """3: two folders that announce the same profiles, and calls that are slow."""
    plan = _quick(seed)
    plan.folders, plan.slowness, plan.changes, plan.faults = (None, "elm"), 4_000.0, 50, 8
    plan.fault_weights = {"stop": 1.0, "rebuild_group": 1.0}
    plan.busy_seconds = 15.0
    plan.change_weights = {"edit": 1.0, "comment": 1.0}
    return plan


def _unannounced_end(seed: int) -> Plan:
    """4: flushes that are done twice, and profiles that end."""
    plan = _quick(seed)
    plan.users, plan.comments, plan.lost_commands, plan.faults = 2, 5, 0.05, 4
    plan.fault_weights = {"store_falls_back": 3.0, "kill": 1.0, "store_lost": 1.0}
    plan.change_weights = {"leave": 3.0, "join": 3.0, "comment": 1.0}
    return plan


def _pruned_for_others(seed: int) -> Plan:
    """5: a run for one group prunes what the folder of all groups has still to remove."""
    plan = _quick(seed)
    plan.users, plan.comments, plan.faults, plan.changes = 2, 5, 6, 50
    plan.fault_weights = {"rebuild_group": 5.0, "kill": 2.0, "zombie": 1.0}
    plan.change_weights = {"hard_delete": 3.0, "leave": 1.0, "join": 1.0, "comment": 1.0}
    return plan


def _mass_deletion(seed: int) -> Plan:
    """6: most memberships vanish at once."""
    plan = _quick(seed)
    plan.mass, plan.restored, plan.comments, plan.users = "members_gone", False, 60, 4
    plan.fault_weights, plan.change_weights = {"stop": 1.0}, {"edit": 1.0}
    return plan


def _half_built(seed: int) -> Plan:
    """7: a store that is lost while no process runs."""
    plan = _quick(seed)
    plan.comments, plan.batch, plan.page, plan.slowness = 25, 2, 3, 500.0
    plan.fault_weights = {"store_lost": 1.0}
    plan.change_weights = {"comment": 1.0, "edit": 1.0}
    return plan


def _clock_back(seed: int) -> Plan:
    """11: the database's clock is set, and runs end when they have caught up."""
    plan = _quick(seed)
    plan.faults, plan.changes, plan.batch = 6, 50, 5
    plan.fault_weights = {"clock_step": 2.0, "ends_when_caught_up": 2.0, "rebuild": 3.0}
    plan.change_weights = {"comment": 3.0, "edit": 1.0, "delete": 1.0}
    plan.busy_seconds = 15.0
    return plan


def _seen_by_another(seed: int) -> Plan:
    """1500: the store falls back below what another process of the same folder saw of it."""
    plan = _quick(seed)
    plan.folders, plan.comments, plan.batch, plan.slowness = (None, None), 25, 2, 500.0
    plan.faults, plan.changes = 6, 50
    plan.fault_weights = {"store_falls_back": 3.0, "kill": 1.0}
    plan.change_weights = {"move": 1.0, "comment": 1.0, "join": 1.0}
    return plan


def _announced_elsewhere(seed: int) -> Plan:
    """35 (of the chaos suite): a run with a folder of its own announces what the store, lost soon after, forgets."""
    plan = _quick(seed)
    plan.users, plan.comments, plan.changes, plan.faults = 2, 5, 50, 12
    plan.busy_seconds, plan.slowness = 15.0, 2_000.0
    plan.fault_weights = {"rebuild_group": 3.0, "store_lost": 2.0, "stop": 1.0}
    plan.change_weights = {"leave": 2.0, "join": 2.0, "comment": 1.0, "hard_delete": 2.0}
    return plan


# Found with the fix taken out: 1 `unseen` and the fingerprints in `StoreCheck`; 3 `overtaken` and its sibling in
# `MemoryStore.settle`; 4 `MemoryStore._read` notes that nothing was announced; 5 `MemoryStore.remove` drops what is
# due; 6 the guard lets groups pass; 7 `recover_lost`; 11 `time_of_reading` in a rebuild, and `LeaseTerm.begin_poll`;
# 1500 the flusher's and the flush worker's comparison with the folder's record; 35 the scrub isn't given what is
# announced.
SPECIMENS = {
    1: Specimen(_drifting_check, (13, 17, 18)),
    3: Specimen(_older_announcement, (67,)),
    4: Specimen(_unannounced_end, (15, 20, 36)),
    5: Specimen(_pruned_for_others, (38, 87)),
    6: Specimen(_mass_deletion, (0, 2)),
    7: Specimen(_half_built, (3, 6, 30)),
    11: Specimen(_clock_back, (2, 7, 18)),
    1500: Specimen(_seen_by_another, (126, 360, 367)),
    35: Specimen(_announced_elsewhere, (266, 303, 394)),
}

LATER: dict[int | None, tuple[int, ...]] = {
    None: (5218, 5821, 6269, 6395, 6639, 7016, 14791, 15333),
    1: (717, 1051, 1890),
    3: (381, 1763),
    4: (24, 257, 602, 2190, 2920),
    5: (1312,),
    35: (355, 903, 2059, 2426),
}
"""Seeds of any plan, and of specimens' plans, that met another fault.

Any: memberships that vanish between the two passes of a rebuild (5821, 6269); a comment that the first comparison left
to the sweep, and that was as before again when the sweep looked (14791); a damaged file of a profile that had ended
when the store was lost, so that its end was never announced (5218, 6395); a rebuild that saw a part of what vanished,
so that the rest passed the guard (6639); a store that fell back to before a member had joined its recovery, which never
ended then (7016); one that was lost in the first second of a process, beside a first rebuild (15333).

1: a comment that came and went unseen by the tail, while the store held it of a killed one (717, 1051); a row that was
elsewhere when the first comparison looked, and back when the sweep did (1890). 3: drift was said of what a rebuild
repaired before the first tail had read everything (381), and of what was published while a part was compared (1763).
4: a store that lost that an end was flushed, and the profile back as it had been. 5: what a rebuild's last step
repaired from rows that no poll saw (1312). 35: a store lost while a rebuild for one group ran (903, 2059, 2426), or
while no folder held anything though profiles were announced (355)."""
