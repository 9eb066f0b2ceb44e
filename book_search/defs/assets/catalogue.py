"""The books chosen from the dumps."""

import dagster as dg

from book_search.defs.assets.open_library import author_dump, edition_dump, redirect_dump, work_dump
from book_search.defs.metadata import OWNERS, columns, counts, table
from book_search.defs.partitions import register_ranges
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.openlibrary.catalogue import make_catalogue, wanted_ranges
from book_search.progress import ProgressLog
from book_search.schemas import BOOKS


@dg.asset(
    deps=[edition_dump, work_dump, author_dump, redirect_dump],
    group_name="catalogue",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    metadata={"dagster/column_schema": columns(BOOKS)},
)
def books(
    context: dg.AssetExecutionContext, lake: LakeResource, open_library: OpenLibraryResource
) -> dg.MaterializeResult[None]:
    """The editions that pass the filter, one row each, with their work's subjects and their authors' names."""
    files = lake.open()
    made = make_catalogue(
        files,
        open_library.catalogue_filter,
        memory_limit=open_library.memory_limit,
        progress=ProgressLog("books", "editions"),
    )
    if not made.books:
        raise dg.Failure(
            "no book passes the filter: look at the funnel in catalogue/funnel.parquet, and at BOOK_SEARCH_SUBJECT, "
            "LANGUAGES, YEARS and PAGES_OVER. Covers and tables stay as they are.",
            metadata={"funnel": table(made.funnel, ("rule", "rows_in", "rows_out"))},
            allow_retries=False,
        )
    for gone in register_ranges(context.instance, wanted_ranges(files)):
        context.log.info("cover range %s holds no wanted cover any more; search_index removes it", gone.key)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(made.content_hash),
        metadata={
            "dagster/row_count": made.books,
            "dagster/uri": files.uri(made.path),
            "dump_date": str(made.dump_date),
            "filter": dg.MetadataValue.json(made.filter),
            "funnel": table(made.funnel, ("rule", "rows_in", "rows_out")),
            **counts(made.changes, "books_"),
            **counts(made.rejects, "rejected_"),
        },
    )
