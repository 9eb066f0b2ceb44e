"""How well the search finds."""

import dagster as dg

from book_search.defs.assets.search import search_index
from book_search.defs.metadata import OWNERS
from book_search.defs.resources import ClipResource, DatabaseResource
from book_search.evaluation.relevance import relevance_report as measure_relevance


@dg.asset(deps=[search_index], group_name="evaluation", kinds={"postgres", "pytorch"}, owners=OWNERS, pool="embedding")
def relevance_report(clip: ClipResource, postgres: DatabaseResource) -> dg.MaterializeResult[None]:
    """Recall of the index, covers that find themselves, titles that find their books: each with its interval."""
    with postgres.connection() as connection:
        report = measure_relevance(connection, clip.load())
    return dg.MaterializeResult(
        metadata={**report.as_metadata(), "report": dg.MetadataValue.md(report.as_markdown_with_plot())}
    )
