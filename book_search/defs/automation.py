"""What runs by itself, and by which of Dagster's means: conditions on assets here, sensors and schedules beside.

A declarative condition says of an asset when it is to follow its parents. It is the shortest and safest means where
that is all there is to say, and where one asset is one piece of work: `books` follows the dumps, and `book_rows`
follows `books`, after a dump taken by hand as after a repaired one, once nothing before them is under way, and only
where the parent's data version, a digest of its content, is another, and its blocking checks passed. That is
`on_new_data`.

Everything else asks something that no asset record knows, and is a sensor:

- `new_dump`: whether Open Library has published a month, whole; that lies outside of Dagster. It runs the whole
  catalogue as one run, so that the condition, which looks away from parents updated by the same run, adds none.
- `after_books`: which ranges have work to do. The ledger says so (covers never asked for), and the files (another
  model, other books), range by range. A condition would have every range follow `books`, as its records say that all
  of them came before it; a month touches the last one or two.
- the index, by the same sensor: it lies below all ranges. `eager` on an asset without partitions below partitioned
  ones runs once after each range, loses an update that comes in the tick after a request, and waits for ever where one
  range fails. It is to run once, when no range is on its way, with what there is.
- `failed_runs`: a run is no asset.

Schedules are for what comes with the clock alone. `on_cron` does not do here: it waits until every parent was updated
since the last tick, and the weekly report is to be made of an index that did not change, too.

All are off until BOOK_SEARCH_AUTOMATION=on, or until someone switches one on in the UI, which then counts.
"""

from typing import Any

import dagster as dg

AC = dg.AutomationCondition

# `since_last_handled` keeps what arrives while something is under way; no bare `execution_failed`, which would fire at
# every tick: what failed is tried again by `new_dump` and by people.
newer: dg.AutomationCondition[Any] = AC.any_deps_updated().replace("newly_updated", AC.data_version_changed())
on_new_data = (
    newer.since_last_handled()
    & ~AC.any_deps_missing()
    & ~AC.any_deps_in_progress()
    & ~AC.in_progress()
    & AC.all_deps_blocking_checks_passed()  # a blocking check stops its own run alone; this would be another
).with_label("on new data")


def catalogue_follows(status: dg.DefaultSensorStatus) -> dg.AutomationConditionSensorDefinition:
    """The sensor that looks at the conditions."""
    return dg.AutomationConditionSensorDefinition(
        "catalogue_follows",
        target=dg.AssetSelection.assets("books", "book_rows"),
        default_status=status,
        minimum_interval_seconds=60,
        description="After a dump with new content, however it came: the books, and after other books: their rows.",
    )
