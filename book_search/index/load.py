"""The rows of the index: books, and the covers, embeddings and tags of a range, from Arrow tables into Postgres.

Knows which rows changed and writes only those, in one transaction: the result does not depend on what was there,
and no reader sees a part of it. Where so many embeddings change that a new index is cheaper than the live one's
repair, they go into the model's next table, which `build_index` puts in place. Knows nothing of files' places.
"""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from book_search.index.build import is_much
from book_search.index.checks import check_bounds, check_sources, check_vectors
from book_search.index.connection import Connection
from book_search.index.copying import copy_embeddings, copy_rows
from book_search.index.merging import (
    BATCH_ROWS,
    RowChanges,
    a_row_once,
    analyze,
    is_empty,
    is_same,
    missing_keys,
    one_at_a_time,
    remove_different,
    replace_rows,
    stage,
)
from book_search.index.models import EmbeddingModel, known_model
from book_search.index.swap import has_next, hold_embeddings, loaded_table, open_next

BOOK = {
    "edition_key": "text",
    "work_key": "text",
    "title": "text",
    "subtitle": "text",
    "authors": "text[]",
    "publish_year": "int2",
    "pages": "int4",
    "isbn13": "text",
    "publisher": "text",
    "subjects": "text[]",
    "description": "text",
    "languages": "text[]",
    "cover_id": "int8",
    "dump_date": "date",
    "content_hash": "text",
}
COVER = {
    "cover_id": "int8",
    "sha256": "text",
    "width": "int4",
    "height": "int4",
    "status": "text",
    "source_url": "text",
    "fetched_at": "timestamptz",
}
TAG = {
    "model": "int4",
    "cover_id": "int8",
    "facet": "text",
    "tag": "text",
    "probability": "float4",
    "template": "text",
}
# In what detail tables are analyzed (default_statistics_target, usually 100), which was a sixth of a first load: one
# that is asked for by its cover ids alone, and one whose commonest values are the tags of facets.toml, some fifty.
BY_ID, BY_TAG = 10, 50
BOOK_WORDS = ["book_words_in", "book_publisher_words"]  # the table's GIN indexes
FUNNEL = {"dump_date": "date", "position": "int2", "rule": "text", "rows_in": "int8", "rows_out": "int8"}

log = logging.getLogger(__name__)


def load_books(conn: Connection, books: pa.Table | Path) -> RowChanges:
    """Make the table `book` equal to `books`, whose columns are `schemas.BOOKS`.

    A row is rewritten only when its `content_hash` changed; books that are no longer there go.

    Args:
        conn: from `connect`.
        books: a table, or the path of a Parquet file, which is read in batches and never held whole.

    Raises:
        ValueError: an edition key occurs twice.
    """
    target = sql.Identifier("book")
    with conn.transaction():
        one_at_a_time(conn, "book", 0)
        if is_empty(conn, target, sql.SQL("true")):
            with a_row_once():
                rows = copy_rows(conn, target, BOOK, _with_lists(_batches(books, list(BOOK))))
            changes = RowChanges(rows, 0, 0, 0)
        else:
            changes = _replace_books(conn, books)
    analyze(conn, target, changes.changed)
    if changes.changed:
        # New rows wait in a list that each search reads to its end: a search for words took 12 ms, and 1.7 after this.
        conn.execute("SELECT gin_clean_pending_list(name::regclass) FROM unnest(%s::text[]) name", [BOOK_WORDS])
    return changes


def load_range(
    conn: Connection, model: int, bounds: tuple[int, int], covers: pa.Table, embeddings: pa.Table, tags: pa.Table
) -> dict[str, RowChanges]:
    """Make the rows of the covers in `bounds` equal to the three tables, in one transaction.

    An embedding is rewritten only when its image's sha256 changed: within a model that is its identity. Covers that
    lost their picture lose what other models made of it, too.

    Args:
        conn: from `connect`.
        model: the number of the model that made `embeddings` and `tags`, from `register_model`.
        bounds: the first cover id of the range, and the first beyond it.
        covers: columns of `schemas.LEDGER`, a row a cover that was wanted.
        embeddings: columns of `schemas.embeddings(dim)`, unit vectors.
        tags: columns of `schemas.TAGS`.

    Returns:
        The changes by table: `cover`, `cover_embedding`, `cover_tag`.

    Raises:
        LookupError: the model is unknown.
        ValueError: a row lies outside the range or occurs twice, a vector is not of the model's size, not finite or
            not of unit length, or was made of other bytes than the ledger tells of. Nothing is written then.
    """
    known = known_model(conn, model)
    for name, rows in {"cover": covers, "embedding": embeddings, "tag": tags}.items():
        check_bounds(name, rows, bounds)
    check_vectors(embeddings, known)
    check_sources(embeddings, covers)
    while (changes := _load_range(conn, model, bounds, covers, embeddings, tags)) is None:
        open_next(conn, model)
    return changes


def load_funnel(conn: Connection, funnel: pa.Table) -> RowChanges:
    """Make the rows of the dump in `filter_funnel` equal to `funnel`, whose columns are `schemas.FUNNEL`."""
    dates = sql.SQL(", ").join(sql.Literal(date) for date in pc.unique(funnel.column("dump_date")).to_pylist())
    with conn.transaction():
        one_at_a_time(conn, "filter_funnel", 0)
        scope = sql.SQL("t.dump_date IN ({})").format(dates) if funnel.num_rows else sql.SQL("false")
        return replace_rows(conn, "filter_funnel", FUNNEL, ("dump_date", "position"), funnel, scope)


def _replace_books(conn: Connection, books: pa.Table | Path) -> RowChanges:
    """Compare by the digests, and send only what is missing."""
    target, identity = sql.Identifier("book"), {name: BOOK[name] for name in ("edition_key", "content_hash")}
    total = stage(conn, target, identity, ("edition_key",), _batches(books, list(identity)))
    updated, deleted = remove_different(conn, target, identity, ("edition_key",), sql.SQL("true"))
    missing = pa.array(missing_keys(conn, target, "edition_key"), pa.string())
    changed = (
        batch.filter(pc.is_in(batch.column("edition_key"), missing))
        for batch in _batches(books, list(BOOK))
        if len(missing)
    )
    written = copy_rows(conn, target, BOOK, _with_lists(changed))
    conn.execute("DROP TABLE wanted")
    return RowChanges(written - updated, updated, deleted, total - written)


def _load_range(
    conn: Connection, model: int, bounds: tuple[int, int], covers: pa.Table, embeddings: pa.Table, tags: pa.Table
) -> dict[str, RowChanges] | None:
    """The transaction of `load_range`; None, and nothing done, where the model needs its next table first."""
    low, high = sql.Literal(bounds[0]), sql.Literal(bounds[1])
    inside = sql.SQL("t.cover_id >= {} AND t.cover_id < {}").format(low, high)
    tagged = tags.append_column("model", pa.repeat(pa.scalar(model, pa.int32()), tags.num_rows))
    tag_key = ("model", "cover_id", "facet", "tag")
    of_model = sql.SQL("{} AND t.model = {}").format(inside, sql.Literal(model))
    changes: dict[str, RowChanges] | None = None
    with conn.transaction() as transaction:
        hold_embeddings(conn, alone=False)
        one_at_a_time(conn, "cover", bounds[0])
        known = known_model(conn, model)
        table = loaded_table(conn, known)
        embedded = _replace_embeddings(conn, known, table, embeddings, inside)
        if embedded is None:
            raise psycopg.Rollback(transaction)
        same = not embedded.changed  # other pictures have other rows in all three
        changes = {
            "cover": replace_rows(conn, "cover", COVER, ("cover_id",), covers, inside, likely_same=same),
            "cover_embedding": embedded,
            "cover_tag": replace_rows(conn, "cover_tag", TAG, tag_key, tagged, of_model, likely_same=same),
        }
        _forget_in_other_models(conn, model, inside)
        _count_changes(conn, model, embedded.changed)
    if changes:
        analyze(conn, sql.Identifier("cover"), changes["cover"].changed, BY_ID)
        analyze(conn, sql.Identifier("cover_tag"), changes["cover_tag"].changed, BY_TAG)
        if table == known.table:  # build_index does it with the next one
            analyze(conn, table, embedded.changed, BY_ID)
    return changes


def _replace_embeddings(
    conn: Connection, model: EmbeddingModel, table: sql.Identifier, embeddings: pa.Table, scope: sql.Composable
) -> RowChanges | None:
    """The same for embeddings, of which only the digests are compared and only the missing ones sent.

    A changed one is removed and written anew, never updated in place: an index built over rows that were moved
    within their page could not be used by its own transaction, which verifies it (pg_index.indcheckxmin).
    """
    if is_empty(conn, table, scope):
        if embeddings.num_rows and table == model.table and is_much(conn, model, writing=embeddings.num_rows):
            return None
        with a_row_once():
            return RowChanges(copy_embeddings(conn, table, embeddings), 0, 0, 0)
    identity = {"cover_id": "int8", "sha256": "text"}
    if table == model.table and is_same(conn, table, identity, ("cover_id",), embeddings.select(list(identity)), scope):
        return RowChanges(0, 0, 0, embeddings.num_rows)
    total = stage(conn, table, identity, ("cover_id",), embeddings.to_batches(BATCH_ROWS))
    updated, deleted = remove_different(conn, table, identity, ("cover_id",), scope)
    missing = pa.array(missing_keys(conn, table, "cover_id"), pa.int64())
    if table == model.table:
        if len(missing) and is_much(conn, model, writing=len(missing)):
            return None
    else:  # a cover that went is not found from now on, though the rest of what is searched waits for the swap
        forgotten = sql.SQL(
            "DELETE FROM {} t WHERE {} AND NOT EXISTS (SELECT FROM wanted w WHERE w.cover_id = t.cover_id)"
        )
        conn.execute(forgotten.format(model.table, scope))
    written = 0
    if len(missing):
        changed = embeddings.filter(pc.is_in(embeddings.column("cover_id"), missing))
        written = copy_embeddings(conn, table, changed)
    conn.execute("DROP TABLE wanted")
    return RowChanges(written - updated, updated, deleted, total - written)


def _forget_in_other_models(conn: Connection, model: int, scope: sql.Composable) -> None:
    """Remove the embeddings and tags of covers without a picture in `scope`: it may have had to be taken down."""
    gone = sql.SQL("{} AND NOT EXISTS (SELECT FROM cover c WHERE c.cover_id = t.cover_id AND c.sha256 IS NOT NULL)")
    others = conn.execute("SELECT model FROM embedding_model WHERE model <> %s", [model]).fetchall()
    for (other,) in others:
        known = known_model(conn, other)
        removed = 0
        for table in (known.table, known.next_table) if has_next(conn, known) else (known.table,):
            removed = conn.execute(sql.SQL("DELETE FROM {} t WHERE {}").format(table, gone.format(scope))).rowcount
        _count_changes(conn, other, removed)
    conn.execute(
        sql.SQL("DELETE FROM cover_tag t WHERE t.model <> {} AND {}").format(sql.Literal(model), gone.format(scope))
    )


def _count_changes(conn: Connection, model: int, changed: int) -> None:
    """Have a model's next build know of them; the last thing a load does, as other ranges wait for it to commit."""
    if changed:
        conn.execute("UPDATE embedding_model SET rows_changed = rows_changed + %s WHERE model = %s", [changed, model])


def _batches(source: pa.Table | Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    if isinstance(source, pa.Table):
        yield from source.select(columns).to_batches(BATCH_ROWS)
        return
    with pq.ParquetFile(source) as file:
        yield from file.iter_batches(BATCH_ROWS, columns=columns)


def _with_lists(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """An absent list is an empty one in the database, where it would otherwise need two ways of asking."""
    empty = pa.scalar([], pa.list_(pa.string()))
    for batch in batches:
        columns = {
            name: pc.coalesce(batch.column(name), empty) if BOOK[name].endswith("[]") else batch.column(name)
            for name in BOOK
        }
        yield pa.RecordBatch.from_pydict(columns)
