"""When the road runs by itself without a sensor: once a month. Off until someone switches it on."""

import dagster as dg

from book_search.defs.jobs import refresh_catalogue

# Dumps are made at the beginning of a month and take some days to appear; the run does nothing if none is new.
monthly_refresh = dg.ScheduleDefinition(
    name="monthly_refresh",
    job=refresh_catalogue,
    cron_schedule="0 3 8 * *",
    execution_timezone="UTC",
    description="On the eighth of each month: the newest dumps and the books chosen from them.",
    default_status=dg.DefaultScheduleStatus.STOPPED,
)

schedules = [monthly_refresh]
