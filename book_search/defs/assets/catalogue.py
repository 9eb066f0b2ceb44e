"""The books chosen from the dumps."""

import time
from collections.abc import Iterator

import dagster as dg

from book_search.defs.assets.open_library import author_dump, edition_dump, redirect_dump, work_dump
from book_search.defs.automation import on_new_data
from book_search.defs.checks import BOOKS_CHECKS, judge_books
from book_search.defs.history import earlier
from book_search.defs.metadata import OWNERS, columns, funnel_table
from book_search.defs.partitions import register_ranges
from book_search.defs.resources import LakeResource, OpenLibraryResource
from book_search.defs.shown import shown_of_books
from book_search.openlibrary.catalogue import make_catalogue, wanted_ranges
from book_search.openlibrary.rules import NoBookError
from book_search.openlibrary.soundness import look_at_books
from book_search.progress import ProgressLog
from book_search.schemas import BOOKS


@dg.asset(
    deps=[edition_dump, work_dump, author_dump, redirect_dump],
    group_name="catalogue",
    kinds={"duckdb", "parquet"},
    owners=OWNERS,
    metadata={"dagster/column_schema": columns(BOOKS)},
    check_specs=BOOKS_CHECKS,
    automation_condition=on_new_data,
)
def books(
    context: dg.AssetExecutionContext, lake: LakeResource, open_library: OpenLibraryResource
) -> Iterator[dg.MaterializeResult[None]]:
    """The editions that pass the filter, one row each, with their work's subjects and their authors' names."""
    files, began = lake.open(), time.monotonic()
    try:
        made = make_catalogue(
            files,
            open_library.catalogue_filter,
            memory_limit=open_library.memory_limit,
            progress=ProgressLog("books", "editions"),
        )
    except NoBookError as error:
        raise dg.Failure(str(error), {"funnel": funnel_table(error.funnel)}, allow_retries=False) from error
    seconds = time.monotonic() - began
    look, before = look_at_books(files, made), earlier(context)
    for gone in register_ranges(context.instance, ranges := wanted_ranges(files)):
        context.log.info("cover range %s holds no wanted cover any more; search_index removes it", gone.key)
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(made.content_hash),
        metadata=shown_of_books(files, made, seconds, len(ranges)),
        check_results=judge_books(look, made, before),
    )
