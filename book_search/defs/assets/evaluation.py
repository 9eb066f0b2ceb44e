"""How well the search finds."""

from collections.abc import Iterator

import dagster as dg

from book_search.defs.assets.search import search_index
from book_search.defs.checks import REPORT_CHECKS, judge_report
from book_search.defs.history import earlier
from book_search.defs.metadata import OWNERS
from book_search.defs.resources import ClipResource, DatabaseResource
from book_search.defs.shown import shown_of_report
from book_search.evaluation.relevance import relevance_report as measure_relevance


@dg.asset(
    deps=[search_index],
    group_name="evaluation",
    kinds={"postgres", "pytorch"},
    owners=OWNERS,
    pool="embedding",
    check_specs=REPORT_CHECKS,
)
def relevance_report(
    context: dg.AssetExecutionContext, clip: ClipResource, postgres: DatabaseResource
) -> Iterator[dg.MaterializeResult[None]]:
    """Recall of the index, covers that find themselves, titles that find their books: each with its interval."""
    before = earlier(context)
    with postgres.connection() as connection:
        report = measure_relevance(connection, clip.load())
    yield dg.MaterializeResult(
        metadata=shown_of_report(report, before),
        check_results=[judge_report(report.as_dict(), before)],
    )
