"""One run of a job in this process, without Dagster's daemon, and what is done about runs whose process is gone.

Knows runs; nothing of their order (`run`) or of which ranges they are for (`backfill`).
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from book_search.defs.history import why_blocked
from book_search.defs.processes import dead_processes, mark_of_this_process

PROCESS = "book_search/process"  # a run's tag: the process that it lives in, see `processes`
NOT_ENDED = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
# Who broke a run off at the terminal does not want a daemon that is started some day to run it again.
NOT_BY_DAGSTER = {"dagster/max_retries": "0"}
# What fails is raised, and told once by the command line.
QUIETER = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BadDataError(RuntimeError):
    """A blocking check failed, and what comes after it did not run. The message says what it saw, and the way out."""


@dataclass(frozen=True)
class FinishedAsset:
    """An asset of a finished run, with the seconds that its step took."""

    name: str
    seconds: float


def execute(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    job: str,
    tags: Mapping[str, str],
    *,
    run_id: str | None = None,
    assets: Sequence[str] | None = None,
    config: Mapping[str, Any] | None = None,
) -> list[FinishedAsset]:
    """Run a job, or those of its `assets` alone; returns the assets with their times.

    Raises:
        BadDataError: a blocking check failed.
        Exception: what a step raised.
    """
    run_id = run_id or str(uuid.uuid4())
    known = {spec.key.to_python_identifier() for spec in definitions.resolve_all_asset_specs()}
    try:
        result = definitions.resolve_job_def(job).execute_in_process(
            run_config={**QUIETER, **(config or {})},
            instance=instance,
            tags={**tags, **NOT_BY_DAGSTER, PROCESS: mark_of_this_process(instance)},
            run_id=run_id,
            asset_selection=None if assets is None else [dg.AssetKey(name) for name in assets],
        )
    except dg.DagsterError as error:
        if (why := why_blocked(instance, run_id)) is None:
            raise
        raise BadDataError(why) from error
    return [
        FinishedAsset(event.step_key, event.step_success_data.duration_ms / 1000)
        for event in result.all_events
        if event.is_step_success and event.step_key in known
    ]


def bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """End the runs of this kind whose process was killed; the pools' slots that they held would be held for ever.

    Runs of a daemon are left to its run monitoring: their process is on another machine, for all that is known here.
    """
    for process in dead_processes(instance):
        for run in instance.get_runs(dg.RunsFilter(tags={PROCESS: process}, statuses=NOT_ENDED)):
            instance.report_run_failed(run, "its process ended without a word")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
