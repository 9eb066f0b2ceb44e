"""The HNSW index of a model: built after the rows, verified against exact search, and only then searched.

Knows the order of the steps. A table that is searched is never built anew in place: its next one is (see `swap`), and
takes its place by names alone. Building, verifying and switching are one transaction: whatever goes wrong, the old
table, its index and the active model stay as they were, and no reader waits for a build or for a verification.
"""

import logging
import time

import psycopg
from psycopg import sql

from book_search.index.connection import Connection
from book_search.index.history import (
    IndexBuild,
    hnsw_indexes,
    index_builds,
    last_build,
    new_index_name,
    record,
)
from book_search.index.models import EmbeddingModel, activate_model, known_model
from book_search.index.server_settings import build_memory, look_before_building
from book_search.index.swap import (
    has_next,
    hold_embeddings,
    loaded_table,
    open_next,
    swap,
    wait_for_those_who_began_before,
)
from book_search.index.verification import (
    RECALL_FLOOR,
    SAMPLES,
    IndexRecallError,
    IndexVerificationError,
    check_complete,
    check_indexed,
    check_rows,
    recall_of,
)

__all__ = [
    "IndexBuild",
    "IndexRecallError",
    "IndexVerificationError",
    "build_index",
    "index_builds",
    "is_much",
]

# Of the table's rows, changed since its index was built: above this share a new table and a new index are cheaper.
# Measured by `make bench-index` (70,000 covers, halfvec(512), 2 cores), load and index together, live and beside:
# 1 % 5 and 14 s, 10 % 15 and 18 s, 15 % 23 and 16 s. Who comes to it bit by bit has paid twice the best at most.
# It is less than autovacuum's 20 %, which would repair the graph for longer than a new one takes (12 s after 1 %).
REBUILD_ABOVE = 0.1

# (m, ef_construction): pgvector's defaults, and a graph that is still one piece where many covers are the same picture
# (measured: 10 pictures 60 times each, recall@10 0.78 to 1.0 and 1.0), which takes four times as long to build.
DENSITIES = ((16, 64), (64, 200))

log = logging.getLogger(__name__)


def build_index(
    conn: Connection,
    model: int,
    *,
    recall_floor: float = RECALL_FLOOR,
    samples: int = SAMPLES,
    anew: bool = False,
) -> IndexBuild:
    """Have the model's embeddings indexed, verified and searched; does nothing when they are already.

    The index is built anew when there is none, or when more of the rows changed than `is_much`; smaller changes
    went into it as they were loaded, and it is only verified again.

    Args:
        conn: from `connect`, not inside a transaction.
        model: the number of the model, from `register_model`; it becomes the active one.
        recall_floor: the recall@10 that must be reached against exact search.
        samples: how many embeddings, drawn at random, are searched for.
        anew: whether to build it though it is current.

    Raises:
        LookupError: the model is unknown.
        IndexRecallError: the recall is under the floor.
        IndexVerificationError: there are no embeddings, some are not of unit length, or the model would take over
            from another while covers that the other knows are not embedded by it yet.
        ReadersInTheWayError: readers did not leave the old table for a minute.
    """
    with conn.transaction():
        hold_embeddings(conn, alone=True)  # who has waited for another build finds its work done
        if anew or is_much(conn, known_model(conn, model), writing=0):
            open_next(conn, model)
    try:
        return _build(conn, model, recall_floor, samples)
    except IndexRecallError as error:
        if error.rebuilt:
            raise
        log.warning("%s; it is built anew", error)
    open_next(conn, model)
    return _build(conn, model, recall_floor, samples)


def is_much(conn: Connection, model: EmbeddingModel, writing: int) -> bool:
    """Whether the searched table, with `writing` rows more, changed so much that a new one costs less.

    False where the table has no index: then it costs nothing to load into it.
    """
    if not hnsw_indexes(conn, model.table_name):
        return False
    last = last_build(conn, model)
    return last is None or model.rows_changed - last[1] + writing > REBUILD_ABOVE * last[0].rows


def _build(conn: Connection, model: int, recall_floor: float, samples: int) -> IndexBuild:
    started = time.monotonic()
    with conn.transaction():
        # From here to the end nobody loads embeddings, and everybody reads the searched ones.
        hold_embeddings(conn, alone=True)
        moment = conn.execute("SELECT clock_timestamp()").fetchone()
        assert moment is not None
        known = known_model(conn, model)
        beside = has_next(conn, known)
        table = loaded_table(conn, known)
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(table))  # nor by hand
        rows = check_rows(conn, known, table)
        check_complete(conn, known, table)
        last = None if beside else last_build(conn, known)
        if last is not None and last[1] == known.rows_changed and last[0].rows == rows:
            activate_model(conn, model)
            return last[0]
        if last is None:
            index_name = new_index_name(conn, known)
            recall = _create_good(conn, known, table, index_name, rows, recall_floor, samples)
        else:
            index_name = last[0].index_name
            recall = recall_of(conn, table, index_name, samples)
        if recall < recall_floor:
            raise IndexRecallError(known, recall, recall_floor, rows, rebuilt=last is None)
        if beside:
            conn.execute(sql.SQL("ANALYZE {}").format(table))
            wait_for_those_who_began_before(conn, moment[0])
        build = IndexBuild(model, index_name, last is None, rows, time.monotonic() - started, recall)
        record(conn, build, known.rows_changed)
        activate_model(conn, model)
        if beside:  # last, as from here on readers wait
            swap(conn, known)
    log.info(
        "%s %s: %d rows, recall@10 %.4f, %.1f s",
        *("Built" if build.rebuilt else "Verified", index_name, rows, recall, build.seconds),
    )
    return build


def _create_good(
    conn: Connection,
    model: EmbeddingModel,
    table: sql.Identifier,
    index_name: str,
    rows: int,
    recall_floor: float,
    samples: int,
) -> float:
    """Build the index, anew and denser if it finds too little; returns the recall@10 of the last."""
    for finding in look_before_building(conn, rows, model.dim):
        log.warning("%s: %s", finding.what, finding.says)
    recall = 0.0
    for density in DENSITIES:
        if recall:
            log.warning("%s has recall@10 %.4f, less than %s; it is built denser", index_name, recall, recall_floor)
            conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index_name)))
        _create(conn, model, table, index_name, rows, density)
        check_indexed(conn, index_name, rows)
        recall = recall_of(conn, table, index_name, samples)
        if recall >= recall_floor:
            break
    return recall


def _create(
    conn: Connection,
    model: EmbeddingModel,
    table: sql.Identifier,
    index_name: str,
    rows: int,
    density: tuple[int, int],
) -> None:
    """Build the index in memory if the graph fits (or it takes 2.5 times as long), in parallel if the server may."""
    memory, workers = build_memory(conn, rows, model.dim)
    for attempt in dict.fromkeys((workers, 0)):
        try:
            with conn.transaction():
                conn.execute(
                    """SELECT set_config('maintenance_work_mem', %s, true),
                              set_config('max_parallel_maintenance_workers', %s, true)""",
                    [f"{memory // 1024}kB", str(attempt)],
                )
                conn.execute(
                    sql.SQL(
                        "CREATE INDEX {} ON {} USING hnsw (embedding halfvec_cosine_ops) "
                        "WITH (m = {}, ef_construction = {})"
                    ).format(sql.Identifier(index_name), table, *map(sql.Literal, density))
                )
                comment = f"The covers nearest to a vector, by {model.model_id} at {model.revision}"
                conn.execute(
                    sql.SQL("COMMENT ON INDEX {} IS {}").format(sql.Identifier(index_name), sql.Literal(comment))
                )
                return
        except psycopg.errors.DiskFull as error:
            if attempt == 0:
                raise
            # The workers share the graph in /dev/shm, which is 64 MB in a container.
            log.warning("No room for a parallel build (%s); building with one process", error.diag.message_primary)
