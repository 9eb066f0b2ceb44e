"""What starts work when something is new: a dump published, books chosen, ranges finished; and what tells of failures.

One file a sensor. Each answers fast, since Dagster ends a tick at 60 seconds without saving its cursor, and each may
be asked again and again: a run is started once for one thing, and a few times more where it failed (`attempts`). Why
these are sensors, and what is a condition on an asset instead, stands in `automation`.
"""

import dagster as dg

from book_search.defs.automation import catalogue_follows
from book_search.defs.jobs import build_search_index, embed_covers, refresh_catalogue
from book_search.defs.sensors.dumps import new_dump
from book_search.defs.sensors.failures import failed_runs
from book_search.defs.sensors.ranges import after_books


def build_sensors(automation: bool) -> list[dg.SensorDefinition]:
    """All sensors, on from the start or off; what someone switches in the UI counts more."""
    status = dg.DefaultSensorStatus.RUNNING if automation else dg.DefaultSensorStatus.STOPPED
    return [
        dg.sensor(
            name="new_dump",
            job=refresh_catalogue,
            minimum_interval_seconds=3600,
            default_status=status,
            description="Asks Open Library each hour for the date of its newest dump, without its body. A newer one "
            "than ours, whole, starts refresh_catalogue; a failed run is tried again, later each time.",
        )(new_dump),
        dg.sensor(
            name="after_books",
            jobs=[embed_covers, build_search_index],
            minimum_interval_seconds=10 * 60,
            default_status=status,
            description="After the books: runs over just the ranges with covers never asked for, or with vectors that "
            "are not loaded from what is there by the model that is set. When none is left to start: the index.",
        )(after_books),
        dg.run_failure_sensor(
            name="failed_runs",
            minimum_interval_seconds=30,
            default_status=status,
            description="Tells of each run that failed or was lost, in the log and to BOOK_SEARCH_WEBHOOK.",
        )(failed_runs),
        catalogue_follows(status),
    ]
