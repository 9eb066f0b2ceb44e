"""The tables and the index that answer questions: book rows, cover rows with their vectors, the HNSW index."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import dagster as dg
import pyarrow as pa
from pydantic import Field

from book_search.clip.embeddings import embeddings_folder
from book_search.clip.embeddings import forget_range as forget_embeddings
from book_search.clip.model import ModelDescription
from book_search.clip.templates import TEMPLATES
from book_search.clip.zero_shot import tags_folder
from book_search.cover_ranges import CoverRange
from book_search.defs.assets.catalogue import books
from book_search.defs.assets.covers import cover_embeddings, cover_tags, covers
from book_search.defs.automation import on_new_data
from book_search.defs.checks import PUBLISHED_EVERY
from book_search.defs.loaded import LOADED_FROM, UNFINISHED, Maker
from book_search.defs.metadata import OWNERS
from book_search.defs.partitions import (
    Metadata,
    cover_ranges,
    for_each_range,
    known_ranges,
    many_ranges_a_run,
)
from book_search.defs.resources import ClipResource, DatabaseResource, LakeResource
from book_search.defs.shown import shown_of_book_rows, shown_of_cover_rows, shown_of_index
from book_search.index.build import IndexRecallError, IndexVerificationError, build_index
from book_search.index.connection import Connection
from book_search.index.growth import books_by_dump, builds_of, size_of
from book_search.index.load import load_books, load_funnel, load_range
from book_search.index.models import register_model
from book_search.index.schema import apply_sql
from book_search.index.side_by_side import AT_ONCE, side_by_side
from book_search.index.sweep import remove_unwanted_ranges
from book_search.lake import Lake
from book_search.openlibrary.catalogue import BOOKS_PATH, FUNNEL_PATH, wanted_by_range
from book_search.openlibrary.cover_files import forget_range as forget_covers
from book_search.openlibrary.cover_files import ranges_kept, read_ledger
from book_search.openlibrary.needs import state_of
from book_search.schemas import TAGS, embeddings


@dg.asset(
    deps=[books],
    group_name="search",
    kinds={"postgres"},
    owners=OWNERS,
    pool="postgres",
    automation_condition=on_new_data,
)
def book_rows(lake: LakeResource, postgres: DatabaseResource) -> dg.MaterializeResult[None]:
    """The table `book`: changed rows written, rows gone from the dump removed, in one transaction."""
    files, began = lake.open(), time.monotonic()
    with postgres.connection() as connection, files.local(BOOKS_PATH) as path:
        apply_sql(connection)
        changes = load_books(connection, path)
        load_funnel(connection, files.read_table(FUNNEL_PATH))
        by_dump = books_by_dump(connection)
    return dg.MaterializeResult(metadata=shown_of_book_rows(changes, by_dump, time.monotonic() - began))


@dg.asset(
    deps=[covers, cover_embeddings, cover_tags],
    partitions_def=cover_ranges,
    backfill_policy=many_ranges_a_run,
    group_name="search",
    kinds={"postgres"},
    owners=OWNERS,
    pool="postgres",
)
def cover_vectors(
    context: dg.AssetExecutionContext, lake: LakeResource, clip: ClipResource, postgres: DatabaseResource
) -> dg.MaterializeResult[None]:
    """The tables `cover`, `cover_embedding` and `cover_tag`: changed rows only, one transaction a range."""
    files, description, maker = lake.open(), clip.describe(), Maker.of(clip, postgres)
    wanted = wanted_by_range(files)
    with postgres.connection() as connection:
        apply_sql(connection)
        model = _registered(connection, description)
        ranges = [CoverRange.parse(key) for key in context.partition_keys]

        def load(conn: Connection, cover_range: CoverRange) -> Metadata:
            state = state_of(files, cover_range, wanted.get(cover_range, ()), maker.folders(cover_range), maker.name)
            began = time.monotonic()
            changes = load_range(
                conn,
                model,
                (cover_range.first, cover_range.end),
                read_ledger(files, cover_range),
                _whole_range(files, embeddings_folder(description.identity, cover_range), embeddings(description.dim)),
                _whole_range(files, tags_folder(description, cover_range), TAGS),
            )
            return {
                LOADED_FROM: state if maker.has_finished(files, cover_range) else UNFINISHED,
                **shown_of_cover_rows(cover_range, changes, time.monotonic() - began),
            }

        with ExitStack() as others:
            more = range(min(AT_ONCE, len(ranges)) - 1)
            connections = [connection, *(others.enter_context(postgres.connection()) for _ in more)]
            loaded = others.enter_context(side_by_side(connections, ranges, load))
            return for_each_range(context, loaded, asset_key=context.asset_key)


class IndexConfig(dg.Config):
    """What a run of `search_index` may be told."""

    rebuild: bool = Field(default=False, description="Whether the index is built anew though it is current.")


@dg.asset(
    deps=[book_rows, cover_vectors],
    group_name="search",
    kinds={"postgres"},
    owners=OWNERS,
    pool="postgres",
    freshness_policy=PUBLISHED_EVERY,
    check_specs=[
        dg.AssetCheckSpec(
            "vectors",
            asset="search_index",
            blocking=True,
            description="all there, all of unit length, all in the index",
        ),
        dg.AssetCheckSpec(
            "recall",
            asset="search_index",
            blocking=True,
            description="recall@10 of the index against exact search",
        ),
    ],
)
def search_index(
    context: dg.AssetExecutionContext,
    config: IndexConfig,
    lake: LakeResource,
    clip: ClipResource,
    postgres: DatabaseResource,
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """The HNSW index over the vectors: built after the rows, verified against exact search, then switched to."""
    with postgres.connection() as connection:
        apply_sql(connection)
        for each in remove_unwanted_ranges(connection):
            context.log.info("cover range %s holds no wanted cover any more: its rows are removed", each.key)
        for each in _remove_unwanted_files(lake.open(), known_ranges(context.instance)):
            context.log.info("cover range %s holds no wanted cover any more: its files are removed", each.key)
        floor = postgres.recall_floor
        try:
            model = _registered(connection, clip.describe())
            build = build_index(connection, model, recall_floor=floor, anew=config.rebuild)
        except IndexVerificationError as error:
            # What was found is told, then the run fails; what was searched before is searched still.
            if isinstance(error, IndexRecallError):
                yield dg.AssetCheckResult(check_name="vectors", passed=True, metadata={"rows": error.rows})
            failed = "recall" if isinstance(error, IndexRecallError) else "vectors"
            yield dg.AssetCheckResult(check_name=failed, passed=False, metadata=error.figures)
            raise
        shown = shown_of_index(build, builds_of(connection, build.model), size_of(connection, build))
    yield dg.AssetCheckResult(check_name="vectors", passed=True, metadata={"rows": build.rows})
    yield dg.AssetCheckResult(check_name="recall", passed=True, metadata={"recall_at_10": build.recall, "floor": floor})
    yield dg.MaterializeResult(metadata=shown)


def _registered(connection: Connection, description: ModelDescription) -> int:
    identity = description.identity
    return register_model(
        connection,
        identity.model_id,
        identity.revision,
        identity.preprocessing,
        description.dim,
        json.dumps(TEMPLATES),
    )


def _remove_unwanted_files(lake: Lake, wanted: list[CoverRange]) -> list[CoverRange]:
    """Remove the pictures, embeddings and tags of every range but the wanted ones; returns those that had any."""
    gone = [each for each in ranges_kept(lake) if each not in wanted]
    for each in gone:
        forget_embeddings(lake, each)
        forget_covers(lake, each)  # last: killed before it, the next run finds the range again
    return gone


def _whole_range(lake: Lake, folder: str, schema: pa.Schema) -> pa.Table:
    files = lake.names(folder)
    with ThreadPoolExecutor() as pool:
        return pa.concat_tables(pool.map(lake.read_table, files)) if files else schema.empty_table()
