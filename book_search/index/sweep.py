"""Rows of covers that nobody wants any more: gone with their range, whatever model they belong to."""

import pyarrow as pa

from book_search.cover_ranges import COVERS_PER_RANGE, CoverRange
from book_search.index.connection import Connection
from book_search.index.load import load_range
from book_search.schemas import LEDGER, TAGS, embeddings


def remove_unwanted_ranges(conn: Connection) -> list[CoverRange]:
    """Empty every range that has rows of covers, but no cover of any book; returns these ranges.

    Inside a range that is still wanted, loading the range removes what is gone; a range that left the road is
    loaded no more, and its rows would be found for ever.
    """
    unwanted = conn.execute(
        """SELECT DISTINCT c.cover_id / %(size)s FROM cover c
           WHERE c.cover_id / %(size)s NOT IN (SELECT b.cover_id / %(size)s FROM book b WHERE b.cover_id IS NOT NULL)
           ORDER BY 1""",
        {"size": COVERS_PER_RANGE},
    ).fetchall()
    models = conn.execute("SELECT model, dim FROM embedding_model").fetchall()
    ranges = [CoverRange(number) for (number,) in unwanted]
    for each in ranges:
        for model, dim in models:
            nothing = (LEDGER.empty_table(), _no_vectors(dim), TAGS.empty_table())
            load_range(conn, model, (each.first, each.end), *nothing)
    return ranges


def _no_vectors(dim: int) -> pa.Table:
    return embeddings(dim).empty_table()
