"""The sensor that has the ranges of covers brought up to the books, and then the index up to the ranges.

One sensor for both, so that their order cannot be wrong: the index is asked for where a look at all ranges finds none
to start, and nothing on its way. Ranges that fail wait for their next attempt without holding it up.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import dagster as dg

from book_search.cover_ranges import CoverRange
from book_search.defs.attempts import Attempt, next_attempt
from book_search.defs.jobs import build_search_index, embed_covers
from book_search.defs.loaded import COVER_VECTORS, Maker, loaded_states
from book_search.defs.partitions import known_ranges, many_ranges_a_run
from book_search.defs.range_runs import COVER_ASSETS, span, stretches, under_way
from book_search.defs.resources import ClipResource, DatabaseResource, LakeResource, OpenLibraryResource
from book_search.lake import Lake
from book_search.openlibrary.catalogue import wanted_by_range
from book_search.openlibrary.cover_files import ranges_kept
from book_search.openlibrary.needs import Looked, Need, look_at, need_of

LOOKING = 20.0  # seconds of a tick; where the lake answers slowly, the next tick looks at the other ranges
TOLD = 5  # stretches of ranges that wait, in a tick's reason
LONG_AGO = datetime.min.replace(tzinfo=UTC)
BOOKS, BOOK_ROWS, INDEX = map(dg.AssetKey, ("books", "book_rows", "search_index"))


def after_books(
    context: dg.SensorEvaluationContext,
    lake: LakeResource,
    open_library: OpenLibraryResource,
    clip: ClipResource,
    postgres: DatabaseResource,
) -> dg.SensorResult:
    """Runs over stretches of ranges with work to do, of at most twenty ranges each; where there are none, the index.

    A run's key is what is to be done: the ranges and the state of their files, or the newest vectors. It is started
    again only where it failed (see `attempts`), or where files, books, model or database are others by then. The
    cursor is the range that was looked at last, and how many were since anything was started: where the lake answers
    slowly, several ticks make one look at all of them.
    """
    instance, now = context.instance, datetime.now(UTC)
    last, _, quiet = (context.cursor or "").partition(" ")
    if running := under_way(instance, context.repository_def, COVER_ASSETS | {BOOKS, BOOK_ROWS, INDEX}):
        return dg.SensorResult(skip_reason=running, cursor=last)
    newest = _newest(instance)
    if BOOK_ROWS not in newest or newest[BOOK_ROWS] < newest.get(BOOKS, LONG_AGO):
        return dg.SensorResult(skip_reason="no books are chosen, or their rows not yet loaded", cursor=last)
    files, known = lake.open(), known_ranges(instance)
    looked = _look(instance, files, known, last, Maker.of(clip, postgres), now)
    window = open_library.covers_limits.window
    is_open = window is None or window.contains(now)
    needs = {need.cover_range: need for need in looked.found if is_open or not need.asks}
    waiting = [] if len(needs) == len(looked.found) else ["covers are asked for in other hours"]
    requests = []
    for stretch in stretches(known, needs, many_ranges_a_run.max_partitions_per_run or len(known)):
        attempt = next_attempt(instance, _name([needs[each] for each in stretch]), now)
        if attempt.why_not:
            waiting.append(f"{stretch[0].key} to {stretch[-1].key}: {attempt.why_not}")
        else:
            requests.append(attempt.request(embed_covers.name, span(stretch)))
    last = looked.seen[-1].key if looked.seen else last
    if requests:
        return dg.SensorResult(run_requests=requests, cursor=last)
    seen = int(quiet or 0) + len(looked.seen)
    cursor = f"{last} {min(seen, len(known))}"
    if seen < len(known):
        return dg.SensorResult(skip_reason=f"looked at ranges up to {last}; the next tick goes on", cursor=cursor)
    index = _index_attempt(instance, files, known, newest, now)
    if index is not None and not index.why_not:
        return dg.SensorResult(run_requests=[index.request(build_search_index.name)], cursor=last)
    rest = [f"and {len(waiting) - TOLD} more"] if len(waiting) > TOLD else []
    told = [*waiting[:TOLD], *rest, *([f"index: {index.why_not}"] if index is not None else [])]
    return dg.SensorResult(skip_reason="; ".join(told) or "all ranges are finished and searched", cursor=cursor)


def _look(
    instance: dg.DagsterInstance, files: Lake, known: Sequence[CoverRange], last: str, maker: Maker, now: datetime
) -> Looked[Need]:
    """Who needs a run, beginning after the range where the last tick ended."""
    wanted, loaded = wanted_by_range(files), loaded_states(instance, known)

    def look(each: CoverRange) -> Need | None:
        return need_of(files, each, wanted.get(each, ()), maker.folders(each), maker.name, loaded.get(each), now)

    return look_at(sorted(known, key=lambda each: (each.key <= last, each)), look, LOOKING)


def _name(needs: Sequence[Need]) -> str:
    """What a run is started for: these ranges as they are now."""
    states = hashlib.sha256(" ".join(f"{need.state}{need.asks}" for need in needs).encode()).hexdigest()[:16]
    return f"covers-{needs[0].cover_range.key}-{needs[-1].cover_range.key}-{states}"


def _newest(instance: dg.DagsterInstance) -> Mapping[dg.AssetKey, datetime]:
    """When each asset was materialized last; of the index, when its step began.

    Vectors that a person loads while the index is built may not be in it, and their record comes before the index's.
    Times, not the records' numbers: those of a run's events are counted apart where Dagster keeps them in SQLite.
    """
    records = instance.get_asset_records([BOOKS, BOOK_ROWS, COVER_VECTORS, INDEX])
    entries = {each.asset_entry.asset_key: each.asset_entry.last_materialization_record for each in records}
    newest = {key: record.timestamp for key, record in entries.items() if record is not None}
    built = entries.get(INDEX)
    if built is not None and built.run_id:
        began = instance.get_records_for_run(built.run_id, of_type=dg.DagsterEventType.STEP_START).records
        steps = [each.timestamp for each in began if each.event_log_entry.step_key == INDEX.to_python_identifier()]
        newest[INDEX] = min([*steps, newest[INDEX]])
    return {key: datetime.fromtimestamp(at, UTC) for key, at in newest.items()}


def _index_attempt(
    instance: dg.DagsterInstance,
    files: Lake,
    known: Sequence[CoverRange],
    newest: Mapping[dg.AssetKey, datetime],
    now: datetime,
) -> Attempt | None:
    """The next attempt at the index; None where it is newer than all vectors, and nothing is left to be removed.

    Ranges that hold no wanted cover any more are removed by the index's run.
    """
    if COVER_VECTORS not in newest:
        return None
    gone = sorted(each.key for each in ranges_kept(files) if each not in set(known))
    if newest[COVER_VECTORS] < newest.get(INDEX, LONG_AGO) and not gone:
        return None
    return next_attempt(instance, "-".join(["index", f"{newest[COVER_VECTORS]:%Y%m%dT%H%M%S.%f}", *gone[:3]]), now)
