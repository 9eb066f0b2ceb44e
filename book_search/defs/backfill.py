"""Many ranges of covers in few runs: planned, run one after another, a bad range alone, and carried on when broken off.

Here, in this process, or handed to the daemon as the asset backfill that the UI would make of the same ranges.
"""

import time
import uuid
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import dagster as dg

from book_search.cover_ranges import CoverRange
from book_search.defs.in_process import FinishedAsset, bury_dead_runs, execute
from book_search.defs.jobs import embed_covers
from book_search.defs.partitions import many_ranges_a_run
from book_search.defs.range_runs import RANGE_END, RANGE_START, stretches

BACKFILL = "book_search/backfill"  # a run's tag: the backfill that it is a part of
RANGE_ASSETS = ("covers", "cover_embeddings", "cover_tags", "cover_vectors")
RANGES_A_RUN = many_ranges_a_run.max_partitions_per_run or 20
ALIKE = 3  # so many ranges that fail one after another, each alone, are no bad ranges: something else is wrong
PAGE = 1000  # events that are read at once

Span = tuple[str, ...]  # keys that one run takes: side by side in the order in which the ranges became known


class NotTriedError(RuntimeError):
    """A range's turn did not come, since those before it failed one after another."""


@dataclass(frozen=True)
class Outcome:
    """What came of a span of ranges: those finished, and those that failed, each with its error."""

    finished: Span
    failed: dict[str, Exception] = field(default_factory=dict)
    assets: tuple[FinishedAsset, ...] = ()
    seconds: float = 0.0


def plan_runs(known: Sequence[str], wanted: Collection[str], most: int = RANGES_A_RUN) -> list[Span]:
    """The `wanted` ranges as few runs: each a stretch of `known`, of `most` ranges at the most.

    Dagster runs a span by its first and its last key and takes all that lie between, so a gap ends a run.
    """
    ranges = [CoverRange.parse(key) for key in known]
    some = {each for each in ranges if each.key in wanted}
    return [tuple(each.key for each in stretch) for stretch in stretches(ranges, some, most)]


def run_spans(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    spans: Sequence[Span],
    *,
    assets: Sequence[str] = RANGE_ASSETS,
    backfill: str | None = None,
) -> Iterator[Outcome]:
    """Run each span in this process, one after another, and tell of it when it has ended.

    Where a range fails, the others of its run that are not finished by it are run once more without it, and it is
    run alone: what is wrong with one range costs the others nothing. Where `ALIKE` ranges fail alone one after
    another, what is left is not tried: a database that is away would fail three hundred runs.

    Args:
        assets: of `RANGE_ASSETS`, those to make.
        backfill: a name by which `finished_by` finds what was done.
    """
    bury_dead_runs(instance)
    waiting, in_a_row = deque(spans), 0
    while waiting:
        keys = waiting.popleft()
        outcome, rest = _run_span(definitions, instance, keys, assets, backfill)
        waiting.extendleft(reversed(rest))
        in_a_row = 0 if outcome.finished else in_a_row + len(outcome.failed)
        yield outcome
        if in_a_row >= ALIKE and waiting:
            last = next(iter(outcome.failed.values()))
            untried = NotTriedError(f"not tried, since {in_a_row} ranges before failed one after another: {last}")
            yield Outcome((), {key: untried for span in waiting for key in span})
            return


def hand_to_daemon(
    definitions: dg.Definitions, instance: dg.DagsterInstance, keys: Sequence[str], assets: Sequence[str]
) -> str:
    """Have the daemon make the `assets` of these ranges, by the assets' own backfill policy; returns the backfill's id.

    It is the record that the UI's "Materialize" leaves, made without a web server. Dagster offers it by GraphQL alone,
    which needs one: hence its own class, of the very release that is pinned.
    """
    from dagster._core.execution.backfill import PartitionBackfill

    backfill = PartitionBackfill.from_asset_partitions(
        backfill_id=uuid.uuid4().hex[:8],
        asset_graph=definitions.resolve_asset_graph(),
        partition_names=list(keys),
        asset_selection=[dg.AssetKey(name) for name in assets],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title="book-search backfill",
        description=None,
        run_config=None,
    )
    instance.add_backfill(backfill)
    return backfill.backfill_id


def daemon_is_there(instance: dg.DagsterInstance) -> bool:
    """Whether a daemon that takes backfills has been heard of lately."""
    from dagster._daemon.controller import get_daemon_statuses
    from dagster._daemon.daemon import BackfillDaemon

    daemon = BackfillDaemon.daemon_type()
    return bool(get_daemon_statuses(instance, [daemon])[daemon].healthy)


def missing_or_failed(instance: dg.DagsterInstance, keys: Sequence[str], assets: Sequence[str]) -> list[str]:
    """Those ranges of which one of the assets was never made, or was to be made since and was not."""
    missing: set[str] = set()
    for name in assets:
        planned, made = (
            instance.get_latest_storage_id_by_partition(dg.AssetKey(name), event, set(keys))
            for event in (dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED, dg.DagsterEventType.ASSET_MATERIALIZATION)
        )
        missing |= {key for key in keys if key not in made or planned.get(key, 0) > made[key]}
    return [key for key in keys if key in missing]


def last_backfill(instance: dg.DagsterInstance) -> str | None:
    """The name of the newest backfill that ran in some process, finished or not."""
    for run in instance.get_runs(dg.RunsFilter(job_name=embed_covers.name), limit=PAGE):
        if BACKFILL in run.tags:
            return run.tags[BACKFILL]
    return None


def finished_by(instance: dg.DagsterInstance, backfill: str, assets: Sequence[str]) -> set[str]:
    """The ranges of which runs of that backfill have made all the assets."""
    records = instance.get_run_records(dg.RunsFilter(tags={BACKFILL: backfill}))
    if not records:
        return set()
    runs = {record.dagster_run.run_id for record in records}
    since = min(record.create_timestamp for record in records).timestamp()
    return set.intersection(*(_made_since(instance, name, since, runs) for name in assets))


def _made_since(instance: dg.DagsterInstance, asset: str, since: float, runs: Collection[str]) -> set[str]:
    chosen = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), after_timestamp=since)
    made: set[str] = set()
    cursor, more = None, True
    while more:
        page = instance.fetch_materializations(chosen, limit=PAGE, cursor=cursor)
        made |= {each.partition_key for each in page.records if each.partition_key and each.run_id in runs}
        cursor, more = page.cursor, page.has_more
    return made


def _run_span(
    definitions: dg.Definitions,
    instance: dg.DagsterInstance,
    keys: Span,
    assets: Sequence[str],
    backfill: str | None,
) -> tuple[Outcome, list[Span]]:
    """Run one span; with what came of it, the spans that are to be run for its failing."""
    tags = {RANGE_START: keys[0], RANGE_END: keys[-1], **({BACKFILL: backfill} if backfill else {})}
    run_id, began = str(uuid.uuid4()), time.monotonic()
    try:
        some = None if set(assets) == set(RANGE_ASSETS) else assets
        done = execute(definitions, instance, embed_covers.name, tags, run_id=run_id, assets=some)
    except Exception as error:  # noqa: BLE001 - told with its range; the others have their turn
        if len(keys) == 1:
            return Outcome((), {keys[0]: error}, seconds=time.monotonic() - began), []
        made = _made_by(instance, run_id)
        finished = tuple(key for key in keys if all(key in made.get(name, ()) for name in assets))
        # The step that failed is the last that made anything: what it did not make is bad.
        good = set.intersection(*made.values()) if made else set()
        again = plan_runs(keys, good - set(finished), len(keys))
        alone = [(key,) for key in keys if key not in good]
        return Outcome(finished, seconds=time.monotonic() - began), [*again, *alone]
    return Outcome(keys, assets=tuple(done), seconds=time.monotonic() - began), []


def _made_by(instance: dg.DagsterInstance, run_id: str) -> dict[str, set[str]]:
    """The ranges that each asset of a run has made, of the assets that made any or failed."""
    made: dict[str, set[str]] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        if entry.step_key in RANGE_ASSETS:
            made[entry.step_key] = set()
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.get_dagster_event()
        if event.asset_key and event.partition:
            made.setdefault(event.asset_key.to_user_string(), set()).add(event.partition)
    return made
