"""What starts a stage when the one before has something new: a dump published, books chosen, vectors loaded.

All are off until someone switches them on. Each does little and answers fast: Dagster ends a sensor at 60 seconds
without saving its cursor.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

import dagster as dg

from book_search.cover_ranges import CoverRange
from book_search.defs.jobs import build_search_index, embed_covers, refresh_catalogue, whole_road
from book_search.defs.partitions import known_ranges, many_ranges_a_run
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.openlibrary.catalogue import wanted_by_range
from book_search.openlibrary.download import Retry
from book_search.openlibrary.dumps import find_latest
from book_search.openlibrary.left import left_of
from book_search.openlibrary.limits import OutsideWindowError

# A tick that takes a minute is killed; what fails now is asked again in six hours.
IN_A_SENSOR = Retry(attempts=2, first_wait=1, longest_wait=5)
LOOKING = 20.0  # seconds of a tick; where the lake answers slowly, the next tick looks at the other ranges
UNDER_WAY = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"


@dg.sensor(
    job=refresh_catalogue,
    minimum_interval_seconds=6 * 3600,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Asks Open Library for the date of its newest dump; a new date starts refresh_catalogue.",
)
def new_dump(context: dg.SensorEvaluationContext, open_library: OpenLibraryResource) -> dg.SensorResult:
    """One request, one date: the date is the cursor and the run's key, so that no dump starts two runs."""
    base_url, user_agent = open_library.settings.open_library_url, open_library.user_agent
    release = find_latest("editions", base_url, user_agent, IN_A_SENSOR)
    date = release.date.isoformat()
    if context.cursor and date <= context.cursor:
        return dg.SensorResult(skip_reason=f"the newest dump is of {date}, and was seen before")
    request = dg.RunRequest(run_key=f"dump-{date}", tags={"book_search/dump_date": date})
    return dg.SensorResult(run_requests=[request], cursor=date)


@dg.asset_sensor(
    asset_key=dg.AssetKey("book_rows"),
    job=embed_covers,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="After the books' rows: one run over all ranges of covers. Ranges that are complete cost little.",
)
def books_chosen(context: dg.SensorEvaluationContext, asset_event: dg.EventLogEntry) -> dg.RunRequest | dg.SkipReason:
    """A span from the first range to the last, in the order in which they became known."""
    keys = context.instance.get_dynamic_partitions("cover_range")
    if not keys:
        return dg.SkipReason("no book has a cover")
    return dg.RunRequest(run_key=asset_event.run_id, tags={RANGE_START: keys[0], RANGE_END: keys[-1]})


@dg.sensor(
    job=embed_covers,
    minimum_interval_seconds=30 * 60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Covers that a batch's time, the hours for asking or a failure left: asked for once they are due.",
)
def covers_due(
    context: dg.SensorEvaluationContext, lake: LakeResource, open_library: OpenLibraryResource
) -> dg.SensorResult:
    """Looks at the ledger alone. A run for each stretch of ranges with something to ask for, once an hour at most."""
    now = datetime.now(UTC)
    if run := _under_way(context.instance):
        return dg.SensorResult(skip_reason=f"the run {run.run_id} of {run.job_name} is under way")
    window = open_library.covers_limits.window
    try:
        if window is not None:
            window.require(now)
        wanted = wanted_by_range(lake.open())
    except OutsideWindowError as error:
        return dg.SensorResult(skip_reason=str(error))
    except FileNotFoundError:
        return dg.SensorResult(skip_reason="no books are chosen yet")
    known = known_ranges(context.instance)
    files, began, most = lake.open(), time.monotonic(), many_ranges_a_run.max_partitions_per_run or len(known)
    due: list[CoverRange] = []
    last = looked_at = context.cursor or ""
    for cover_range in sorted(known, key=lambda each: (each.key <= last, each)):
        if len(due) == most or time.monotonic() - began > LOOKING:
            break
        if left_of(files, cover_range, wanted.get(cover_range, ()), now).now:
            due.append(cover_range)
        looked_at = cover_range.key
    if not due:
        return dg.SensorResult(skip_reason="no cover is due", cursor=looked_at)
    spans = [
        dg.RunRequest(
            run_key=f"covers-{first.key}-{end.key}-{now:%Y-%m-%dT%H}", tags={RANGE_START: first.key, RANGE_END: end.key}
        )
        for first, end in _stretches(known, due)
    ]
    return dg.SensorResult(run_requests=spans, cursor=looked_at)


@dg.run_status_sensor(
    run_status=dg.DagsterRunStatus.SUCCESS,
    monitored_jobs=[embed_covers],
    request_job=build_search_index,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="After a run of embed_covers: the index is built and verified.",
)
def vectors_loaded(context: dg.RunStatusSensorContext) -> dg.RunRequest:
    """Keyed by the run that loaded them."""
    return dg.RunRequest(run_key=context.dagster_run.run_id)


def _under_way(instance: dg.DagsterInstance) -> dg.DagsterRun | None:
    """A run that asks for covers, or will."""
    for run in instance.get_runs(dg.RunsFilter(statuses=UNDER_WAY)):
        if run.job_name in (embed_covers.name, whole_road.name) or dg.AssetKey("covers") in (run.asset_selection or ()):
            return run
    return None


def _stretches(known: Sequence[CoverRange], some: Sequence[CoverRange]) -> list[tuple[CoverRange, CoverRange]]:
    """The first and the last of each stretch of `some` that lie side by side in the order in which they are known."""
    places = sorted(known.index(each) for each in some)
    found = []
    for _, stretch in groupby(enumerate(places), lambda pair: pair[1] - pair[0]):
        numbers = [place for _, place in stretch]
        found.append((known[numbers[0]], known[numbers[-1]]))
    return found


sensors = [new_dump, books_chosen, covers_due, vectors_loaded]
