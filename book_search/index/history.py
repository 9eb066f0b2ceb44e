"""The table `index_build`: what was built or verified, when, and how good it was; nothing of how."""

from dataclasses import dataclass

from book_search.index.connection import SCHEMA, Connection
from book_search.index.models import EmbeddingModel


@dataclass(frozen=True)
class IndexBuild:
    """What `build_index` found or did: a row of `index_build`."""

    model: int
    index_name: str
    rebuilt: bool
    rows: int
    seconds: float
    recall: float


def index_builds(conn: Connection) -> list[IndexBuild]:
    """The history, oldest first."""
    found = conn.execute(
        "SELECT model, index_name, rebuilt, rows, seconds, recall FROM index_build ORDER BY build"
    ).fetchall()
    return [IndexBuild(*row) for row in found]


def last_build(conn: Connection, model: EmbeddingModel) -> tuple[IndexBuild, int] | None:
    """The last build, if its index is still there, and the model's `rows_changed` at that time."""
    row = conn.execute(
        """SELECT model, index_name, rebuilt, rows, seconds, recall, rows_changed FROM index_build
           WHERE model = %s ORDER BY build DESC LIMIT 1""",
        [model.model],
    ).fetchone()
    if row is None or row[1] not in hnsw_indexes(conn, model.table_name):
        return None
    return IndexBuild(*row[:-1]), row[-1]


def record(conn: Connection, build: IndexBuild, rows_changed: int) -> None:
    """Add a build to the history."""
    conn.execute(
        """INSERT INTO index_build (model, index_name, rebuilt, rows, rows_changed, seconds, recall)
           VALUES (%s, %s, %s, %s, %s, %s, %s)""",
        [
            *(build.model, build.index_name, build.rebuilt, build.rows, rows_changed),
            *(build.seconds, build.recall),
        ],
    )


def new_index_name(conn: Connection, model: EmbeddingModel) -> str:
    """A name that no index of the history has."""
    row = conn.execute("SELECT coalesce(max(build), 0) + 1 FROM index_build").fetchone()
    assert row is not None
    return f"{model.table_name}_hnsw_{row[0]}"


def hnsw_indexes(conn: Connection, table_name: str) -> list[str]:
    """The names of the HNSW indexes that a table has."""
    found = conn.execute(
        """SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
           WHERE i.indrelid = to_regclass(%s) AND a.amname = 'hnsw' AND i.indisvalid""",
        [f"{SCHEMA}.{table_name}"],
    )
    return [row[0] for row in found.fetchall()]
