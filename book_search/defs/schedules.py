"""What comes with the clock: a look for a dump each month, covers that failed each night, a report each week.

All by the clock of BOOK_SEARCH_TIME_ZONE. Each looks first whether there is anything to do.
"""

from datetime import UTC, datetime

import dagster as dg

from book_search.cover_ranges import CoverRange
from book_search.defs.jobs import embed_covers, measure_search, refresh_catalogue
from book_search.defs.partitions import known_ranges, many_ranges_a_run
from book_search.defs.range_runs import COVER_ASSETS, span, stretches, under_way
from book_search.defs.resources import LakeResource
from book_search.defs.sensors.dumps import CATALOGUE
from book_search.openlibrary.catalogue import wanted_by_range
from book_search.openlibrary.limits import Window
from book_search.openlibrary.needs import is_due, look_at
from book_search.settings import Settings

LOOKING = 40.0  # seconds of a tick, which has 60
# Dumps are made at the beginning of a month and take some days to appear; the run does nothing if none is new.
EIGHTH_OF_THE_MONTH = "0 3 8 * *"
AT_NIGHT = "30 3 * * *"  # an hour that no change of clocks leaves out
ON_MONDAYS = "0 6 * * 1"


def build_schedules(settings: Settings) -> list[dg.ScheduleDefinition]:
    """All schedules, by the settings' time zone and hours; on from the start or off, as the settings say."""
    status = dg.DefaultScheduleStatus.RUNNING if settings.automation else dg.DefaultScheduleStatus.STOPPED
    zone = settings.time_zone
    return [
        dg.schedule(
            name="monthly_refresh",
            job=refresh_catalogue,
            cron_schedule=EIGHTH_OF_THE_MONTH,
            execution_timezone=zone,
            default_status=status,
            description="On the eighth: the newest dumps and their books, should new_dump be off, or have given up.",
        )(monthly_refresh),
        dg.schedule(
            name="nightly_covers",
            job=embed_covers,
            cron_schedule=nightly(settings),
            execution_timezone=zone,
            default_status=status,
            description="When the hours for asking begin, or at 3:30: ranges with covers whose next_try has come.",
        )(nightly_covers),
        dg.schedule(
            name="weekly_report",
            job=measure_search,
            cron_schedule=ON_MONDAYS,
            execution_timezone=zone,
            default_status=status,
            description="On Mondays at six: recall of the index, covers and titles that find themselves.",
        )(weekly_report),
    ]


def nightly(settings: Settings) -> str:
    """When the night's work begins, as cron writes it: with OFF_PEAK, where that is set."""
    if settings.off_peak is None:
        return AT_NIGHT
    start = Window.parse(settings.off_peak, settings.time_zone).start
    return f"{start.minute} {start.hour} * * *"


def monthly_refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run whatever is published: it looks by itself, and leaves off where nothing is new."""
    if running := under_way(context.instance, context.repository_def, CATALOGUE):
        return dg.SkipReason(running)
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%Y-%m}")


def nightly_covers(context: dg.ScheduleEvaluationContext, lake: LakeResource) -> list[dg.RunRequest] | dg.SkipReason:
    """A run for each stretch of ranges with covers that failed and may be asked for again.

    Where the lake answers slowly not all ranges are looked at in one night; another night begins with others.
    """
    if running := under_way(context.instance, context.repository_def, COVER_ASSETS):
        return dg.SkipReason(running)
    files, known, now = lake.open(), known_ranges(context.instance), datetime.now(UTC)
    try:
        wanted = wanted_by_range(files)
    except FileNotFoundError:
        return dg.SkipReason("no books are chosen yet")
    night = context.scheduled_execution_time
    first = night.toordinal() % len(known) if known else 0

    def look(each: CoverRange) -> CoverRange | None:
        return each if is_due(files, each, wanted.get(each, ()), now) else None

    due = look_at([*known[first:], *known[:first]], look, LOOKING).found
    spans = stretches(known, due, many_ranges_a_run.max_partitions_per_run or len(known))
    if not spans:
        return dg.SkipReason("no cover's next_try has come")
    return [dg.RunRequest(run_key=f"{night:%Y-%m-%d}-{each[0].key}", tags=span(each)) for each in spans]


def weekly_report(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """A run where there is an index."""
    if context.instance.get_latest_materialization_event(dg.AssetKey("search_index")) is None:
        return dg.SkipReason("there is no index to measure yet")
    return dg.RunRequest(run_key=f"{context.scheduled_execution_time:%G-W%V}")
