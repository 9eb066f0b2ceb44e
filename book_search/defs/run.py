"""The whole road in one process, without Dagster's daemon: each job in its order, over every range of covers.

For the demo, `book-search run` and tests. The UI, the schedule and the sensors run the same jobs.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import dagster as dg

from book_search.defs.jobs import build_search_index, embed_covers, refresh_catalogue
from book_search.defs.partitions import many_ranges_a_run
from book_search.defs.sensors import RANGE_END, RANGE_START

PROCESS = "book_search/process"  # a run's tag: the process that it lives in
# What fails is raised, and told once by the command line.
QUIETER = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class FinishedAsset:
    """An asset of a finished run, with the seconds that its step took."""

    name: str
    seconds: float


def run_road(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Iterator[FinishedAsset]:
    """Run every job, and tell of each asset when its job has ended.

    Where a range of covers fails, the others of its run are run once more without it, and the road goes on to its
    end with what there is, before the failure is raised.

    Raises:
        Exception: what a step raised; everything finished before it stays, and the next call carries on from there.
    """
    _bury_dead_runs(instance)
    yield from _run(definitions, instance, refresh_catalogue.name, {})
    keys = instance.get_dynamic_partitions("cover_range")
    step = many_ranges_a_run.max_partitions_per_run or len(keys)
    failed: dict[str, Exception] = {}
    for some in (keys[start : start + step] for start in range(0, len(keys), step)):
        try:
            yield from _run(definitions, instance, embed_covers.name, {RANGE_START: some[0], RANGE_END: some[-1]})
        except Exception:  # noqa: BLE001 - which of the ranges it was comes out, and is raised, below
            for key in some:
                try:
                    yield from _run(definitions, instance, embed_covers.name, {RANGE_START: key, RANGE_END: key})
                except Exception as error:  # noqa: BLE001 - raised when the others have had their turn
                    failed[key] = error
    if len(failed) < len(keys) or not keys:
        yield from _run(definitions, instance, build_search_index.name, {})
    if failed:
        raise next(iter(failed.values()))


def retry_covers(
    definitions: dg.Definitions, instance: dg.DagsterInstance, keys: Sequence[str], statuses: Sequence[str]
) -> Iterator[FinishedAsset]:
    """Run `covers` alone on some ranges, asking again for the covers of these statuses; a run a range.

    Raises:
        Exception: what a range raised; those before it stay, and those after it are not tried.
    """
    _bury_dead_runs(instance)
    if unknown := sorted(set(keys) - set(instance.get_dynamic_partitions("cover_range"))):
        instance.add_dynamic_partitions("cover_range", unknown)  # a lake that another DAGSTER_HOME has filled
    job = definitions.resolve_job_def(embed_covers.name)
    config = QUIETER | {"ops": {"covers": {"config": {"retry_statuses": list(statuses)}}}}
    for key in keys:
        tags = {RANGE_START: key, RANGE_END: key, PROCESS: str(os.getpid())}
        result = job.execute_in_process(
            run_config=config, instance=instance, tags=tags, asset_selection=[dg.AssetKey("covers")]
        )
        for event in result.all_events:
            if event.is_step_success and event.step_key == "covers":
                yield FinishedAsset(f"covers {key}", event.step_success_data.duration_ms / 1000)


def _bury_dead_runs(instance: dg.DagsterInstance) -> None:
    """End the runs of this kind whose process was killed; the pools' slots that they held would be held for ever."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        pid = run.tags.get(PROCESS)
        if pid is not None and not _is_alive(int(pid)):
            instance.report_run_failed(run, "its process ended without a word")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _run(
    definitions: dg.Definitions, instance: dg.DagsterInstance, job: str, tags: dict[str, str]
) -> Iterator[FinishedAsset]:
    assets = {spec.key.to_python_identifier() for spec in definitions.resolve_all_asset_specs()}
    result = definitions.resolve_job_def(job).execute_in_process(
        run_config=QUIETER, instance=instance, tags=tags | {PROCESS: str(os.getpid())}
    )
    for event in result.all_events:
        if event.is_step_success and event.step_key in assets:
            yield FinishedAsset(event.step_key, event.step_success_data.duration_ms / 1000)
