"""Runs over ranges of covers: which stretches of ranges they take, and whether one is under way.

Knows Dagster's tags for a span of partitions, its runs and its backfills; nothing of why a range needs a run.
"""

from collections.abc import Collection, Sequence
from itertools import groupby

import dagster as dg

from book_search.cover_ranges import CoverRange
from book_search.defs.in_process import bury_dead_runs

RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
COVER_ASSETS = frozenset(map(dg.AssetKey, ("covers", "cover_embeddings", "cover_tags", "cover_vectors")))
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def stretches(known: Sequence[CoverRange], some: Collection[CoverRange], most: int) -> list[tuple[CoverRange, ...]]:
    """The stretches of `some` that lie side by side in `known`, cut where one is longer than `most`.

    Dagster takes a span of partitions in the order in which they became known, which `known` is.
    """
    places = [place for place, each in enumerate(known) if each in some]
    found: list[tuple[CoverRange, ...]] = []
    for _, group in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        stretch = [known[place] for _, place in group]
        found += [tuple(stretch[start : start + most]) for start in range(0, len(stretch), most)]
    return found


def span(stretch: Sequence[CoverRange]) -> dict[str, str]:
    """The tags by which a run takes a stretch of ranges."""
    return {RANGE_START: stretch[0].key, RANGE_END: stretch[-1].key}


def under_way(
    instance: dg.DagsterInstance, repository: dg.RepositoryDefinition | None, assets: Collection[dg.AssetKey]
) -> str | None:
    """What is making any of these assets, or waits to: a run, or a backfill with runs to come; None where nothing is.

    A `book-search run` that was killed is ended first, as nobody else would for hours. Without the repository, a run
    of a job counts whatever it makes.
    """
    bury_dead_runs(instance)
    for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        makes = set(run.asset_selection or ())
        if not makes and repository is not None and repository.has_job(run.job_name):
            makes = set(repository.get_job(run.job_name).asset_layer.executable_asset_keys)
        if not makes or not makes.isdisjoint(assets):
            return f"the run {run.run_id} of {run.job_name} is under way"
    for backfill in instance.get_backfills(limit=20):
        if backfill.status.name == "REQUESTED" and not set(backfill.asset_selection or ()).isdisjoint(assets):
            return f"the backfill {backfill.backfill_id} has runs to come"
    return None
