"""The HNSW index of a model: built after the rows, verified against exact search, and only then searched.

Knows the index and its history. Building, verifying and switching are one transaction: whatever goes wrong, the old
index and the old active model stay as they were, and readers wait for the verification alone, not for the build.
"""

import logging
import time
from dataclasses import dataclass

import psycopg
from psycopg import sql

from book_search.index.connection import Connection
from book_search.index.models import EmbeddingModel, activate_model, active_model, known_model

RECALL_FLOOR = 0.98
SAMPLES = 100
NEIGHBOURS = 10
REBUILD_ABOVE = 0.1  # of the rows changed since the build: repairing the graph then costs more than a new one
GRAPH_BYTES = 800  # of a row in the graph beside its vector, while it is built (measured: 1.8 kB for halfvec(512))
BUFFERS_SHARE = 2  # maintenance_work_mem at most, in shared_buffers: servers give those a quarter of their memory
LOCK_SECONDS = 5.0  # how long the switch waits for readers who are in the table, before it lets others through
TIES = 1e-6  # distances closer than this are one distance: byte-identical covers have the same vector

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class IndexBuild:
    """What `build_index` found or did: a row of `index_build`."""

    model: int
    index_name: str
    rebuilt: bool
    rows: int
    seconds: float
    recall: float


class IndexVerificationError(RuntimeError):
    """The rows or the index are not fit to be searched; nothing was switched."""


class IndexRecallError(IndexVerificationError):
    """The index finds too few of the true neighbours; the old one stays, and so does the active model."""

    def __init__(self, model: EmbeddingModel, recall: float, floor: float, rows: int, rebuilt: bool) -> None:
        super().__init__(
            f"the index over {rows} embeddings of {model.model_id} has recall@{NEIGHBOURS} {recall:.4f}, "
            f"less than {floor}; what was searched before stays"
        )
        self.recall = recall
        self.floor = floor
        self.rows = rows
        self.rebuilt = rebuilt


def build_index(
    conn: Connection, model: int, *, recall_floor: float = RECALL_FLOOR, samples: int = SAMPLES
) -> IndexBuild:
    """Have the model's embeddings indexed, verified and searched; does nothing when they are already.

    The index is built anew when there is none, or when more than a tenth of the rows changed since; smaller changes
    went into it as they were loaded, and it is only verified again.

    Args:
        conn: from `connect`, not inside a transaction.
        model: the number of the model, from `register_model`; it becomes the active one.
        recall_floor: the recall@10 that must be reached against exact search.
        samples: how many embeddings, drawn at random, are searched for.

    Raises:
        LookupError: the model is unknown.
        IndexRecallError: the recall is under the floor.
        IndexVerificationError: there are no embeddings, some are not of unit length, or the model would take over
            from another while covers that the other knows are not embedded by it yet.
    """
    try:
        return _build(conn, model, recall_floor, samples, anew=False)
    except IndexRecallError as error:
        if error.rebuilt:
            raise
        log.warning("%s; it is built anew", error)
        return _build(conn, model, recall_floor, samples, anew=True)


def _build(conn: Connection, model: int, recall_floor: float, samples: int, anew: bool) -> IndexBuild:
    started = time.monotonic()
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(hashtextextended('book_search.index', 0))")
        # From here to the end nobody writes to the table, and everybody reads it.
        known = known_model(conn, model)
        conn.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(known.table))
        known = known_model(conn, model)
        rows = _checked_rows(conn, known)
        _check_complete(conn, known)
        present = _indexes(conn, known)
        last = _last_build(conn, known, present)
        if last is not None and last[1] == known.rows_changed and last[0].rows == rows:
            activate_model(conn, model)
            return last[0]
        rebuild = anew or last is None or known.rows_changed - last[1] > REBUILD_ABOVE * rows
        if rebuild or last is None:
            index_name = _new_name(conn, known)
            _create(conn, known, index_name, rows)
        else:
            index_name = last[0].index_name
        _draw(conn, known, samples)
        _switch(conn, known, [name for name in present if name != index_name])
        recall = _recall(conn, known, index_name)
        if recall < recall_floor:
            raise IndexRecallError(known, recall, recall_floor, rows, rebuild)
        build = IndexBuild(model, index_name, rebuild, rows, time.monotonic() - started, recall)
        _record(conn, build, known.rows_changed)
        activate_model(conn, model)
    log.info(
        "%s %s: %d rows, recall@%d %.4f, %.1f s",
        *("Built" if build.rebuilt else "Verified", index_name, rows, NEIGHBOURS, recall, build.seconds),
    )
    return build


def index_builds(conn: Connection) -> list[IndexBuild]:
    """The history, oldest first."""
    found = conn.execute(
        "SELECT model, index_name, rebuilt, rows, seconds, recall FROM index_build ORDER BY build"
    ).fetchall()
    return [IndexBuild(*row) for row in found]


def _checked_rows(conn: Connection, model: EmbeddingModel) -> int:
    """How many embeddings there are, all of them fit for a cosine index (which leaves out zero vectors in silence)."""
    statement = sql.SQL("SELECT count(*), count(*) FILTER (WHERE abs(l2_norm(embedding) - 1) > 1e-3) FROM {}")
    row = conn.execute(statement.format(model.table)).fetchone()
    assert row is not None
    rows, wrong = row
    if wrong:
        raise IndexVerificationError(f"{wrong} of {rows} embeddings of {model.model_id} are not of unit length")
    if not rows:
        raise IndexVerificationError(
            f"there are no embeddings of {model.model_id}; materialize cover_vectors, then search_index"
        )
    return int(rows)


def _check_complete(conn: Connection, model: EmbeddingModel) -> None:
    """A model does not take over from the active one while it has embedded fewer of the covers that are there."""
    active = active_model(conn)
    if active is None or active.model == model.model:
        return
    statement = sql.SQL(
        """SELECT count(*) FROM {} a JOIN cover c USING (cover_id)
           WHERE c.status = 'ok' AND NOT EXISTS (SELECT FROM {} e WHERE e.cover_id = a.cover_id)"""
    )
    row = conn.execute(statement.format(active.table, model.table)).fetchone()
    assert row is not None
    if row[0]:
        raise IndexVerificationError(
            f"{row[0]} covers that {active.model_id} has embedded are not embedded by {model.model_id} yet; "
            "materialize cover_vectors for every range, then search_index"
        )


def _indexes(conn: Connection, model: EmbeddingModel) -> list[str]:
    """The names of the HNSW indexes that the model's table has."""
    found = conn.execute(
        """SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
           WHERE i.indrelid = to_regclass(%s) AND a.amname = 'hnsw' AND i.indisvalid""",
        [f"book_search.{model.table_name}"],
    )
    return [row[0] for row in found.fetchall()]


def _last_build(conn: Connection, model: EmbeddingModel, present: list[str]) -> tuple[IndexBuild, int] | None:
    """The last build, if its index is still there, and the model's `rows_changed` at that time."""
    row = conn.execute(
        """SELECT model, index_name, rebuilt, rows, seconds, recall, rows_changed FROM index_build
           WHERE model = %s ORDER BY build DESC LIMIT 1""",
        [model.model],
    ).fetchone()
    if row is None or row[1] not in present:
        return None
    return IndexBuild(*row[:-1]), row[-1]


def _new_name(conn: Connection, model: EmbeddingModel) -> str:
    row = conn.execute("SELECT coalesce(max(build), 0) + 1 FROM index_build").fetchone()
    assert row is not None
    return f"{model.table_name}_hnsw_{row[0]}"


def _create(conn: Connection, model: EmbeddingModel, index_name: str, rows: int) -> None:
    """Build the index in memory if the graph fits (or it takes 2.5 times as long), in parallel if the server may."""
    sizes = conn.execute(
        """SELECT pg_size_bytes(current_setting('maintenance_work_mem')),
                  pg_size_bytes(current_setting('shared_buffers')),
                  current_setting('max_parallel_maintenance_workers')::int"""
    ).fetchone()
    assert sizes is not None
    usual, buffers, workers = sizes
    memory = max(usual, min(rows * (2 * model.dim + GRAPH_BYTES) * 12 // 10, BUFFERS_SHARE * buffers))
    for attempt in dict.fromkeys((workers, 0)):
        try:
            with conn.transaction():
                _set_local(conn, maintenance_work_mem=f"{memory // 1024}kB", max_parallel_maintenance_workers=attempt)
                conn.execute(
                    sql.SQL("CREATE INDEX {} ON {} USING hnsw (embedding halfvec_cosine_ops)").format(
                        sql.Identifier(index_name), model.table
                    )
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


def _draw(conn: Connection, model: EmbeddingModel, samples: int) -> None:
    """Put random embeddings, and the exact distance of their 10th neighbour, into the temporary table `drawn`."""
    conn.execute(
        sql.SQL(
            """CREATE TEMPORARY TABLE drawn ON COMMIT DROP AS
               SELECT q.cover_id, q.embedding,
                   (SELECT max(distance) FROM (
                       SELECT (e.embedding <=> q.embedding) + 0 AS distance FROM {0} e
                       WHERE e.cover_id <> q.cover_id ORDER BY distance LIMIT {1}) exact) AS farthest,
                   (SELECT count(*) FROM (SELECT FROM {0} e WHERE e.cover_id <> q.cover_id LIMIT {1}) others) AS others
               FROM (SELECT * FROM {0} ORDER BY random() LIMIT {2}) q"""
        ).format(model.table, sql.Literal(NEIGHBOURS), sql.Literal(samples))
    )


def _switch(conn: Connection, model: EmbeddingModel, others: list[str]) -> None:
    """Drop the other indexes, waiting for readers a little at a time so that no queue forms behind us."""
    for other in others:
        for attempt in range(1, 13):
            try:
                with conn.transaction():
                    _set_local(conn, lock_timeout=f"{LOCK_SECONDS}s")
                    conn.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(other)))
                break
            except psycopg.errors.LockNotAvailable:
                log.info("Readers hold %s; waiting (%d)", model.table_name, attempt)
                if attempt == 12:
                    raise
                time.sleep(LOCK_SECONDS)


def _recall(conn: Connection, model: EmbeddingModel, index_name: str) -> float:
    """recall@10 of the index on the drawn embeddings, through the very function that searches use.

    A neighbour counts by its distance, not its id: where the 10th and 11th are equally far, either is right.
    """
    with conn.transaction():
        _set_local(conn, enable_seqscan="off")  # or the planner would read a small table from end to end
        plan = conn.execute(
            sql.SQL(
                "EXPLAIN SELECT cover_id FROM {0} ORDER BY embedding <=> (SELECT embedding FROM drawn LIMIT 1) LIMIT 10"
            ).format(model.table)
        ).fetchall()
        if not any(index_name in line for (line,) in plan):
            raise IndexVerificationError(f"Postgres does not use the index {index_name}: {plan}")
        row = conn.execute(
            """SELECT coalesce(sum(found)::float8 / nullif(sum(others), 0), 1) FROM (
                   SELECT d.others, (
                       SELECT count(*) FROM (
                           SELECT FROM nearest_covers(%(model)s, d.embedding, %(k)s + 1) n
                           WHERE n.cover_id <> d.cover_id AND 1 - n.cosine <= d.farthest + %(ties)s LIMIT %(k)s
                       ) right_ones) AS found
                   FROM drawn d) each""",
            {"model": model.model, "k": NEIGHBOURS, "ties": TIES},
        ).fetchone()
        assert row is not None
        _set_local(conn, enable_seqscan="on")
    return float(row[0])


def _record(conn: Connection, build: IndexBuild, rows_changed: int) -> None:
    conn.execute(
        """INSERT INTO index_build (model, index_name, rebuilt, rows, rows_changed, seconds, recall)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        [
            *(build.model, build.index_name, build.rebuilt, build.rows, rows_changed),
            *(build.seconds, build.recall),
        ],
    )


def _set_local(conn: Connection, **settings: object) -> None:
    """Set parameters until the transaction ends."""
    for name, value in settings.items():
        conn.execute("SELECT set_config(%s, %s, true)", [name, str(value)])
