"""Postgres with pgvector, as the search benchmark asks it: our function, and the plain query on three kinds of index.

    python -m book_search_tests.benchmarks.postgres_contenders NAME FOLDER DSN [kept]

With `kept`, a table of as many rows from an earlier run is searched as it is.

Each client is a process with a connection; statements are prepared, vectors and results go over the wire in binary.
"""

import sys
from pathlib import Path

import numpy as np
from pgvector import Bit, HalfVector, Vector
from psycopg import sql

from book_search.index.connection import Connection, connect
from book_search.index.models import active_model
from book_search_tests.benchmarks.filtered_books import draw_books, load_filtered
from book_search_tests.benchmarks.search_contest import Contender, K, Search, run_and_print

WIDTHS = (10, 20, 40, 80, 120, 160, 200, 280, 400, 800)


class Postgres:
    """What all of them share: a table of its own, filled by COPY, and an index built after the rows."""

    settings: tuple[int, ...] = WIDTHS
    processes = True
    column, operators = "halfvec", "halfvec_cosine_ops"
    query = "SELECT id FROM {table} ORDER BY embedding <=> %s LIMIT {k}"

    def __init__(self, dsn: str, name: str, kept: bool = False) -> None:
        self.dsn = dsn
        self.kept = kept
        self.table = "contest_" + name.replace("-", "_")

    def build(self, vectors: np.ndarray) -> bool | None:
        kind, table = sql.SQL(self.column), sql.Identifier(self.table)
        with connect(self.dsn) as conn:
            if self.kept and self._holds(conn, len(vectors)):
                return False
            conn.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))
            conn.execute(
                sql.SQL("CREATE TABLE {} (id int, embedding {}({})) WITH (toast_tuple_target = 8160)").format(
                    table, kind, sql.Literal(vectors.shape[1])
                )
            )
            with conn.cursor().copy(sql.SQL("COPY {} FROM STDIN (FORMAT BINARY)").format(table)) as copy:
                copy.set_types(["int4", self.column])
                for row, vector in enumerate(vectors):
                    copy.write_row((row, self.value(vector)))
            memory = f"{max(1024, len(vectors) * 4096 // 2**20)}MB"  # more than the graph of float32 takes
            conn.execute(sql.SQL("SET maintenance_work_mem = {}").format(sql.Literal(memory)))
            self.index(conn.execute, vectors.shape[1])
            conn.execute(sql.SQL("VACUUM ANALYZE {}").format(table))
        return None

    def _holds(self, conn: Connection, rows: int) -> bool:
        if conn.execute("SELECT to_regclass(%s)", [self.table]).fetchone() == (None,):
            return False
        return conn.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(self.table))).fetchone() == (rows,)

    def index(self, execute: object, dim: int) -> None:
        assert callable(execute)
        statement = sql.SQL("CREATE INDEX ON {} USING hnsw (embedding {})")
        execute(statement.format(sql.Identifier(self.table), sql.SQL(self.operators)))

    def value(self, vector: np.ndarray) -> HalfVector | Vector:
        return HalfVector(vector)

    def client(self, setting: int) -> Search:
        conn = connect(self.dsn)
        if setting:
            conn.execute(sql.SQL("SET hnsw.ef_search = {}").format(sql.Literal(setting)))
        statement = sql.SQL(self.query).format(
            table=sql.Identifier(self.table), k=sql.Literal(K), width=sql.Literal(setting)
        )
        cursor = conn.cursor(binary=True)

        def search(query: np.ndarray) -> list[int]:
            rows = cursor.execute(statement, self.parameters(query), prepare=True).fetchall()
            return [row[0] for row in rows]

        return search

    def parameters(self, query: np.ndarray) -> list[object]:
        return [self.value(query)]


class Floats(Postgres):
    """`vector`: float32, kept in its row."""

    column, operators = "vector", "vector_cosine_ops"

    def value(self, vector: np.ndarray) -> Vector:
        return Vector(vector)


class Bits(Postgres):
    """One bit a number in the index, and as many candidates as the search is wide compared in full."""

    query = (
        "SELECT id FROM (SELECT id, embedding FROM {table} "
        "ORDER BY binary_quantize(embedding)::bit({dim}) <~> %s LIMIT {width}) AS near "
        "ORDER BY embedding <=> %s LIMIT {k}"
    )

    def index(self, execute: object, dim: int) -> None:
        assert callable(execute)
        statement = sql.SQL("CREATE INDEX ON {} USING hnsw ((binary_quantize(embedding)::bit({})) bit_hamming_ops)")
        execute(statement.format(sql.Identifier(self.table), sql.Literal(dim)))

    def client(self, setting: int) -> Search:
        with connect(self.dsn) as conn:
            row = conn.execute(
                sql.SQL("SELECT vector_dims(embedding) FROM {} LIMIT 1").format(sql.Identifier(self.table))
            ).fetchone()
        assert row is not None
        self.query = Bits.query.replace("{dim}", str(row[0]))
        return super().client(setting)

    def parameters(self, query: np.ndarray) -> list[object]:
        return [Bit(query > 0), self.value(query)]


class Exact(Postgres):
    """No index: every halfvec is compared."""

    settings = (0,)

    def index(self, execute: object, dim: int) -> None:
        """There is none."""


class Ours(Postgres):
    """nearest_covers, on our tables with their books; the width is set on the function."""

    def build(self, vectors: np.ndarray) -> bool | None:
        with connect(self.dsn) as conn:
            if active_model(conn) is not None:
                return False
            load_filtered(conn, draw_books(np.asarray(vectors)))
        return None

    def client(self, setting: int) -> Search:
        with connect(self.dsn) as conn:
            model = active_model(conn)
            assert model is not None
            statement = sql.SQL("ALTER FUNCTION nearest_covers SET hnsw.ef_search = {}")
            conn.execute("SELECT '[1]'::vector")
            with conn.transaction():  # sixteen clients may want to alter it at once
                conn.execute("SELECT pg_advisory_xact_lock(1)")
                conn.execute(statement.format(sql.Literal(setting)))
        self.query = f"SELECT cover_id FROM nearest_covers({model.model}, %s, {{k}})"  # noqa: S608 - ours
        return super().client(0)


POSTGRES: dict[str, type[Postgres]] = {
    "nearest_covers": Ours,
    "pgvector-halfvec": Postgres,
    "pgvector-vector": Floats,
    "pgvector-bit": Bits,
    "pgvector-exact": Exact,
}


if __name__ == "__main__":
    name, folder, dsn, *kept = sys.argv[1:]
    contender: Contender = POSTGRES[name](dsn, name, bool(kept))
    run_and_print(contender, Path(folder))
