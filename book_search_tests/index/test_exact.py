"""Exact neighbours, against pgvector's own distances."""

import numpy as np
import pytest
from pgvector import HalfVector
from psycopg import sql

from book_search.index import exact
from book_search.index.connection import Connection
from book_search.index.exact import draw_neighbours

TABLE = sql.Identifier("some_embeddings")


def fill(connection: Connection, vectors: np.ndarray) -> None:
    connection.execute(f"CREATE TABLE some_embeddings (cover_id bigint, embedding halfvec({vectors.shape[1]}))")
    with connection.cursor() as cursor:
        rows = [(number, HalfVector(vector)) for number, vector in enumerate(vectors)]
        cursor.executemany("INSERT INTO some_embeddings VALUES (%s, %s)", rows)


@pytest.mark.parametrize("rows", [1, 5, 64, 65, 200])
def test_the_farthest_of_ten_neighbours_is_the_one_that_pgvector_finds(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(exact, "BLOCK_ROWS", 64)  # one block, one and a row, several
    vectors = np.random.default_rng(rows).normal(size=(rows, 24))
    vectors[rows // 2 :: 3] = vectors[0]  # some are one picture
    fill(connection, vectors)

    drawn = draw_neighbours(connection, TABLE, 20, 10)

    assert len(set(drawn.cover_ids.tolist())) == len(drawn.cover_ids) == min(rows, 20)
    for cover_id, farthest, others in zip(drawn.cover_ids.tolist(), drawn.farthest, drawn.others, strict=True):
        found = connection.execute(
            """SELECT embedding <=> (SELECT embedding FROM some_embeddings WHERE cover_id = %(me)s)
               FROM some_embeddings WHERE cover_id <> %(me)s ORDER BY 1 LIMIT 10""",
            {"me": cover_id},
        ).fetchall()
        assert others == len(found)
        if found:
            assert farthest == pytest.approx(found[-1][0], abs=1e-6)


def test_of_an_empty_table_nothing_is_drawn(connection: Connection) -> None:
    connection.execute("CREATE TABLE some_embeddings (cover_id bigint, embedding halfvec(8))")

    assert len(draw_neighbours(connection, TABLE, 20, 10).cover_ids) == 0
