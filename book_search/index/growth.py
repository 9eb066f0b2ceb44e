"""How the library grew, as the database remembers it: books by dump, index builds, and what they take on disk."""

from dataclasses import dataclass
from datetime import date, datetime

from book_search.index.connection import SCHEMA, Connection
from book_search.index.history import IndexBuild
from book_search.index.models import known_model


@dataclass(frozen=True)
class BuildPoint:
    """One index build or verification: when, over how many embeddings, how long it took, and what it found."""

    at: datetime
    rows: int
    seconds: float
    recall: float


def books_by_dump(conn: Connection) -> list[tuple[date, int]]:
    """How many books each dump gave, oldest first: what its last rule let through."""
    return conn.execute(
        """SELECT DISTINCT ON (dump_date) dump_date, rows_out FROM filter_funnel
           ORDER BY dump_date, position DESC"""
    ).fetchall()


def builds_of(conn: Connection, model: int) -> list[BuildPoint]:
    """The builds of a model's index, oldest first."""
    found = conn.execute(
        "SELECT built_at, rows, seconds, recall FROM index_build WHERE model = %s ORDER BY build", [model]
    ).fetchall()
    return [BuildPoint(*row) for row in found]


@dataclass(frozen=True)
class TableSize:
    """What a model's embeddings and their index take on disk, in bytes; 0 for what is not there."""

    table: int
    index: int


def size_of(conn: Connection, build: IndexBuild) -> TableSize:
    """What a build's index takes now, and its embeddings."""
    known = known_model(conn, build.model)
    row = conn.execute(
        """SELECT coalesce(pg_table_size(to_regclass(%s)), 0), coalesce(pg_relation_size(to_regclass(%s)), 0)""",
        [f"{SCHEMA}.{known.table_name}", f"{SCHEMA}.{build.index_name}"],
    ).fetchone()
    assert row is not None
    return TableSize(int(row[0]), int(row[1]))
