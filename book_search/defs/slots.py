"""Who holds the pools' slots, and whether anybody is still there to give them back.

A slot is taken by a step and given back by the process that runs it. Where that process is killed, Dagster's run
monitoring gives it back, in a minute or in days; without a daemon nobody does.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg

from book_search.defs.in_process import PROCESS, bury_dead_runs
from book_search.defs.processes import has_ended


@dataclass(frozen=True)
class HeldSlot:
    """One of a pool's slots. `run` says whose, for a person; `gone` is whether it is known that nobody uses it."""

    pool: str
    limit: int
    run_id: str
    run: str
    gone: bool


def held_slots(instance: dg.DagsterInstance) -> Iterator[HeldSlot]:
    """Every slot that is taken, by pool."""
    storage = instance.event_log_storage
    for pool in sorted(storage.get_concurrency_keys()):
        info = storage.get_concurrency_info(pool)
        for slot in info.claimed_slots:
            run = instance.get_run_by_id(slot.run_id)
            if run is None:
                told, gone = f"the run {slot.run_id}, which was deleted", True
            else:
                process = run.tags.get(PROCESS)
                gone = run.is_finished or (process is not None and has_ended(instance, process))
                told = f"{slot.step_key} of the run {run.run_id} ({run.job_name}, {run.status.value})"
            yield HeldSlot(pool, info.slot_count, slot.run_id, told, gone)


def free_slots(instance: dg.DagsterInstance) -> list[HeldSlot]:
    """Give back the slots that nobody uses, and end the runs whose process is gone; returns those slots."""
    gone = [slot for slot in held_slots(instance) if slot.gone]
    bury_dead_runs(instance)
    for slot in gone:
        instance.event_log_storage.free_concurrency_slots_for_run(slot.run_id)
    return gone
