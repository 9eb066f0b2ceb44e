"""What starts a stage when the one before has something new: a dump published, books chosen, vectors loaded.

All are off until someone switches them on. Each does little and answers fast: Dagster ends a sensor at 60 seconds
without saving its cursor.
"""

import dagster as dg

from book_search.defs.jobs import build_search_index, embed_covers, refresh_catalogue
from book_search.defs.resources import OpenLibraryResource
from book_search.openlibrary.download import Retry
from book_search.openlibrary.dumps import find_latest

# A tick that takes a minute is killed; what fails now is asked again in six hours.
IN_A_SENSOR = Retry(attempts=2, first_wait=1, longest_wait=5)
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


sensors = [new_dump, books_chosen, vectors_loaded]
