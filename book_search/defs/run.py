"""The whole road in one process, without Dagster's daemon: each job in its order, over every range of covers.

For the demo, `book-search run` and tests. The UI, the schedule and the sensors run the same jobs.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from book_search.defs.backfill import plan_runs, run_spans
from book_search.defs.in_process import FinishedAsset, bury_dead_runs, execute
from book_search.defs.jobs import build_search_index, embed_covers, refresh_catalogue
from book_search.defs.range_runs import RANGE_END, RANGE_START


def run_road(definitions: dg.Definitions, instance: dg.DagsterInstance) -> Iterator[FinishedAsset]:
    """Run every job, and tell of each asset when its job has ended.

    Where a range of covers fails, the others of its run are run once more without it, and the road goes on to its
    end with what there is, before the failure is raised.

    Raises:
        Exception: what a step raised; everything finished before it stays, and the next call carries on from there.
    """
    bury_dead_runs(instance)
    yield from execute(definitions, instance, refresh_catalogue.name, {})
    keys = instance.get_dynamic_partitions("cover_range")
    failed: dict[str, Exception] = {}
    for outcome in run_spans(definitions, instance, plan_runs(keys, keys)):
        yield from outcome.assets
        failed |= outcome.failed
    if len(failed) < len(keys) or not keys:
        yield from execute(definitions, instance, build_search_index.name, {})
    if failed:
        raise next(iter(failed.values()))


def retry_covers(
    definitions: dg.Definitions, instance: dg.DagsterInstance, keys: Sequence[str], statuses: Sequence[str]
) -> Iterator[FinishedAsset]:
    """Run `covers` alone on some ranges, asking again for the covers of these statuses; a run a range.

    Raises:
        Exception: what a range raised; those before it stay, and those after it are not tried.
    """
    bury_dead_runs(instance)
    if unknown := sorted(set(keys) - set(instance.get_dynamic_partitions("cover_range"))):
        instance.add_dynamic_partitions("cover_range", unknown)  # a lake that another DAGSTER_HOME has filled
    config = {"ops": {"covers": {"config": {"retry_statuses": list(statuses)}}}}
    for key in keys:
        tags = {RANGE_START: key, RANGE_END: key}
        done = execute(definitions, instance, embed_covers.name, tags, assets=["covers"], config=config)
        yield from (FinishedAsset(f"{asset.name} {key}", asset.seconds) for asset in done)
