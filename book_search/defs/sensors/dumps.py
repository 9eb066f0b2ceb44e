"""The sensor that starts the catalogue when Open Library has published a newer month, whole."""

from datetime import date

import dagster as dg

from book_search.defs.attempts import next_attempt
from book_search.defs.range_runs import under_way
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.openlibrary.catalogue import catalogue_record
from book_search.openlibrary.dumps import DUMP_KINDS, DumpNotFoundError, current_dump
from book_search.openlibrary.published import latest_of, why_not_whole

FIRST, REST = DUMP_KINDS[0], DUMP_KINDS[1:]
SECONDS = 20.0  # for the first request, and for the others together: less than the 60 of a tick
CATALOGUE = frozenset(
    dg.AssetKey(name) for name in (*(f"{kind.removesuffix('s')}_dump" for kind in DUMP_KINDS), "books", "book_rows")
)


def new_dump(
    context: dg.SensorEvaluationContext, lake: LakeResource, open_library: OpenLibraryResource
) -> dg.SensorResult:
    """A run of refresh_catalogue for a month's dumps that are newer than the catalogue's, are all there, and are whole.

    One request where nothing is new, four where something is. The cursor is the date that was found last.

    Raises:
        DumpError: Open Library cannot be reached, or does not answer in time; the tick is shown as failed.
    """
    base_url, user_agent = open_library.settings.open_library_url, open_library.user_agent
    found = latest_of([FIRST], base_url, user_agent, SECONDS)
    newest = found[FIRST]
    if isinstance(newest, DumpNotFoundError):
        return dg.SensorResult(skip_reason=f"no dump is published, or it was withdrawn: {newest}")
    if isinstance(newest, Exception):
        raise newest
    cursor, files = newest.date.isoformat(), lake.open()
    ours, made = current_dump(files, FIRST), catalogue_record(files)
    if ours is not None and newest.date < ours.date:
        return _skipped(f"the newest dump is of {cursor}, older than ours of {ours.date}", newest.date)
    attempt = next_attempt(context.instance, f"dump-{cursor}")
    # A lake that another DAGSTER_HOME has filled is gone through once, and made known to this one.
    known = context.instance.get_latest_materialization_event(dg.AssetKey("book_rows")) is not None
    is_ours = known and made is not None and made.dump_date >= newest.date
    if is_ours and attempt.last in (None, dg.DagsterRunStatus.SUCCESS):
        return _skipped(f"the newest dump is of {cursor}, and its books are chosen", newest.date)
    if running := under_way(context.instance, context.repository_def, CATALOGUE):
        return _skipped(f"{running}; it takes what is published", newest.date)
    if attempt.why_not:
        return _skipped(f"dump of {cursor}: {attempt.why_not}", newest.date)
    found |= latest_of(REST, base_url, user_agent, SECONDS)
    if why := why_not_whole(found, newest.date):
        return _skipped(
            f"the dumps of {newest.date:%B %Y} are not all there: {why}; they are looked at again", newest.date
        )
    return dg.SensorResult(run_requests=[attempt.request(tags={"book_search/dump_date": cursor})], cursor=cursor)


def _skipped(reason: str, newest: date) -> dg.SensorResult:
    return dg.SensorResult(skip_reason=reason, cursor=newest.isoformat())
