"""What must hold before bad data goes on. The index's recall is checked where it is built, in `assets.search`."""

import dagster as dg
import pyarrow.compute as pc

from book_search.defs.assets.catalogue import books
from book_search.defs.assets.covers import covers
from book_search.defs.partitions import known_ranges
from book_search.defs.resources import LakeResource
from book_search.openlibrary.catalogue import BOOKS_PATH
from book_search.openlibrary.covers import read_ledger

# Of real covers a few in a hundred are missing; where a third is, the server or the network has a bad day.
LEAST_FOUND = 0.66


@dg.asset_check(asset=books, blocking=True, description="There are books, and no edition occurs twice.")
def books_are_there_once(lake: LakeResource) -> dg.AssetCheckResult:
    """An empty or doubled catalogue would empty or break the tables after it."""
    keys = lake.open().read_table(BOOKS_PATH, ["edition_key"])["edition_key"]
    doubled = len(keys) - pc.count_distinct(keys).as_py()
    return dg.AssetCheckResult(
        passed=len(keys) > 0 and doubled == 0, metadata={"books": len(keys), "doubled": int(doubled)}
    )


@dg.asset_check(asset=covers, description=f"At least {LEAST_FOUND:.0%} of the covers asked for were had.")
def covers_are_found(context: dg.AssetCheckExecutionContext, lake: LakeResource) -> dg.AssetCheckResult:
    """A warning, not a stop: what was had is good, and the rest is tried again later."""
    files, wanted, found = lake.open(), 0, 0
    for cover_range in known_ranges(context.instance):
        statuses = read_ledger(files, cover_range)["status"]
        wanted += len(statuses)
        found += pc.sum(pc.equal(statuses, "ok")).as_py() or 0
    return dg.AssetCheckResult(
        passed=wanted == 0 or found / wanted >= LEAST_FOUND,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"wanted": wanted, "found": found},
    )


checks = [books_are_there_once, covers_are_found]
