"""Whether a table of embeddings and its HNSW index are fit to be searched: its rows, its vectors, what the index finds.

Knows what is measured and what must hold; nothing of building or of switching.
"""

from pgvector import HalfVector
from psycopg import sql

from book_search.index.connection import Connection
from book_search.index.exact import draw_neighbours
from book_search.index.models import EmbeddingModel, active_model

RECALL_FLOOR = 0.98
SAMPLES = 100
NEIGHBOURS = 10
FLOAT4 = 1e-6  # pg_class.reltuples is a real: above 16 million it is no exact number
TIES = 2e-6  # distances closer than this are one distance: byte-identical covers, and sums in another order


class IndexVerificationError(RuntimeError):
    """The rows or the index are not fit to be searched; nothing was switched. `figures` are what was found."""

    def __init__(self, message: str, **figures: float) -> None:
        super().__init__(message)
        self.figures = figures


class IndexRecallError(IndexVerificationError):
    """The index finds too few of the true neighbours; the old one stays, and so does the active model."""

    def __init__(self, model: EmbeddingModel, recall: float, floor: float, rows: int, rebuilt: bool) -> None:
        super().__init__(
            f"the index over {rows} embeddings of {model.model_id} has recall@{NEIGHBOURS} {recall:.4f}, "
            f"less than {floor}; what was searched before stays",
            recall_at_10=recall,
            floor=floor,
            rows=rows,
        )
        self.recall = recall
        self.floor = floor
        self.rows = rows
        self.rebuilt = rebuilt


def check_rows(conn: Connection, model: EmbeddingModel, table: sql.Identifier) -> int:
    """How many embeddings there are, all of them fit for a cosine index (which leaves out zero vectors in silence).

    halfvec takes no NaN and no infinity; should one come by another way, it is counted as not of unit length.
    """
    statement = sql.SQL("SELECT count(*), count(*) FILTER (WHERE abs(l2_norm(embedding) - 1) > 1e-3) FROM {}")
    row = conn.execute(statement.format(table)).fetchone()
    assert row is not None
    rows, wrong = row
    if wrong:
        message = f"{wrong} of {rows} embeddings of {model.model_id} are not of unit length"
        raise IndexVerificationError(message, rows=rows, not_of_unit_length=wrong)
    if not rows:
        raise IndexVerificationError(
            f"there are no embeddings of {model.model_id}; materialize cover_vectors, then search_index", rows=0
        )
    return int(rows)


def check_complete(conn: Connection, model: EmbeddingModel, table: sql.Identifier) -> None:
    """Nothing takes over from what is searched while it lacks covers that are there and found today."""
    active = active_model(conn)
    if active is None or active.table == table:
        return
    statement = sql.SQL(
        """SELECT count(*) FROM {} a JOIN cover c USING (cover_id)
           WHERE c.status = 'ok' AND NOT EXISTS (SELECT FROM {} e WHERE e.cover_id = a.cover_id)"""
    )
    row = conn.execute(statement.format(active.table, table)).fetchone()
    assert row is not None
    if row[0]:
        raise IndexVerificationError(
            f"{row[0]} covers that {active.model_id} has embedded are not embedded by {model.model_id} yet; "
            "materialize cover_vectors for every range, then search_index",
            covers_lacking=row[0],
        )


def check_indexed(conn: Connection, index_name: str, rows: int) -> None:
    """A new index holds every row (and those removed that somebody may still see)."""
    row = conn.execute("SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [index_name]).fetchone()
    assert row is not None
    if row[0] < rows * (1 - FLOAT4):
        raise IndexVerificationError(f"{index_name} holds {row[0]} of {rows} rows", rows=rows, rows_indexed=row[0])


def recall_of(conn: Connection, table: sql.Identifier, index_name: str, samples: int) -> float:
    """recall@10 of the index against exact search, for embeddings of the table drawn at random.

    It is the graph itself that is asked, whatever the table's size, with the settings of `nearest_covers` (which
    reads small tables from end to end instead). A neighbour counts by its distance, not by its id: where the 10th
    and the 11th are equally far, either is right.

    Args:
        conn: a connection inside a transaction.
        table: the embeddings.
        index_name: its only HNSW index.
        samples: how many are drawn.

    Raises:
        IndexVerificationError: Postgres does not use the index.
    """
    _draw(conn, table, samples)
    measured = sql.SQL(
        """SELECT coalesce(sum(found)::float8 / nullif(sum(others), 0), 1) FROM (
               SELECT d.others, (
                   SELECT count(*) FROM (
                       SELECT FROM (
                           SELECT e.cover_id, e.embedding <=> d.embedding AS distance FROM {table} e
                           ORDER BY e.embedding <=> d.embedding LIMIT {k} + 1) near
                       WHERE near.cover_id <> d.cover_id AND near.distance <= d.farthest + {ties} LIMIT {k}) right_ones
               ) AS found
               FROM drawn d) each"""
    ).format(table=table, k=sql.Literal(NEIGHBOURS), ties=sql.Literal(TIES))
    with conn.transaction():
        was = _set_local(conn, _as_searched(conn) | {"enable_seqscan": "off", "enable_sort": "off"})
        plan = conn.execute(sql.SQL("EXPLAIN {}").format(measured)).fetchall()
        if not any(index_name in line for (line,) in plan):
            raise IndexVerificationError(f"Postgres does not use the index {index_name}: {plan}")
        row = conn.execute(measured).fetchone()
        assert row is not None
        _set_local(conn, was)
    conn.execute("DROP TABLE drawn")
    return float(row[0])


def _draw(conn: Connection, table: sql.Identifier, samples: int) -> None:
    """Put random embeddings, and the exact distance of their 10th neighbour, into the temporary table `drawn`."""
    drawn = draw_neighbours(conn, table, samples, NEIGHBOURS)
    conn.execute(
        "CREATE TEMPORARY TABLE drawn (cover_id bigint, embedding halfvec, farthest float8, others bigint) "
        "ON COMMIT DROP"
    )
    rows = zip(
        drawn.cover_ids.tolist(),
        map(HalfVector, drawn.vectors),
        drawn.farthest.tolist(),
        drawn.others.tolist(),
        strict=True,
    )
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO drawn VALUES (%s, %s, %s, %s)", list(rows))


def _as_searched(conn: Connection) -> dict[str, str]:
    """pgvector's settings of the function that searches."""
    found = conn.execute(
        """SELECT split_part(setting, '=', 1), split_part(setting, '=', 2)
           FROM pg_proc, unnest(proconfig) AS setting
           WHERE proname = 'nearest_covers' AND pronamespace = 'book_search'::regnamespace AND setting LIKE 'hnsw.%'"""
    )
    return dict(found.fetchall())


def _set_local(conn: Connection, settings: dict[str, str]) -> dict[str, str]:
    """Set parameters until the transaction ends; returns what they were."""
    was = {}
    for name, value in settings.items():
        row = conn.execute("SELECT current_setting(%s, true), set_config(%s, %s, true)", [name, name, value]).fetchone()
        assert row is not None
        was[name] = str(row[0])
    return was
