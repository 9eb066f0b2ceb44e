"""The next table of a model's embeddings: filled beside the searched one (green beside blue), then put in its place.

Knows tables, names and locks; nothing of what is loaded, indexed or found good. A model whose next table is there is
loaded into that; whoever is killed leaves the searched one as it was, and the next run goes on where it stopped.
"""

import logging
import time
from datetime import datetime

import psycopg
from psycopg import sql

from book_search.index.connection import SCHEMA, Connection
from book_search.index.models import EmbeddingModel, known_model

# How long the swap waits for readers who are in the table, before it lets others through: less than Postgres'
# deadlock_timeout (1 s), so that it is never a reader whose statement ends where the two wait for each other.
LOCK_SECONDS = 0.5
ATTEMPTS = 60

log = logging.getLogger(__name__)


class ReadersInTheWayError(TimeoutError):
    """Readers held the searched table, or an old view of the database, for a minute; nothing was swapped."""


def hold_embeddings(conn: Connection, *, alone: bool) -> None:
    """Until the transaction ends: loads hold the embeddings' tables together; who opens or swaps one, alone."""
    shared = sql.SQL("" if alone else "_shared")
    conn.execute(
        sql.SQL("SELECT pg_advisory_xact_lock{}(hashtextextended('book_search.embeddings', 0))").format(shared)
    )


def loaded_table(conn: Connection, model: EmbeddingModel) -> sql.Identifier:
    """The table that is made equal to the lake: the next one where there is one, else the one that is searched."""
    return model.next_table if has_next(conn, model) else model.table


def has_next(conn: Connection, model: EmbeddingModel) -> bool:
    """Whether the model's next table is there."""
    row = conn.execute("SELECT to_regclass(%s) IS NOT NULL", [f"{SCHEMA}.{model.next_name}"]).fetchone()
    assert row is not None
    return bool(row[0])


def open_next(conn: Connection, model: int) -> None:
    """Make the model's next table, equal to the one that is searched but without an HNSW index, if it is not there.

    It is committed before anything is swapped: a table's rows are seen by those alone who began after they were.

    Args:
        conn: from `connect`, not inside a transaction.
        model: the number of the model.
    """
    with conn.transaction():
        hold_embeddings(conn, alone=True)
        known = known_model(conn, model)
        if has_next(conn, known):
            return
        log.info("Loading %s beside the table that is searched", known.next_name)
        options = conn.execute(
            "SELECT array_to_string(reloptions, ', ') FROM pg_class WHERE oid = %s::regclass", [known.table_name]
        ).fetchone()
        assert options is not None
        conn.execute(
            sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES) {}").format(
                known.next_table, known.table, sql.SQL(f"WITH ({options[0]})" if options[0] else "")
            )
        )
        # What LIKE leaves out: see register_embedding_model() in sql/.
        conn.execute(sql.SQL("ALTER TABLE {} ALTER COLUMN embedding SET STATISTICS 0").format(known.next_table))
        comment = f"What {known.table_name} will be: loaded beside it, searched once search_index found it good"
        conn.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(known.next_table, sql.Literal(comment)))
        conn.execute(sql.SQL("INSERT INTO {} SELECT * FROM {}").format(known.next_table, known.table))
        conn.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} PRIMARY KEY (cover_id)").format(
                known.next_table, sql.Identifier(f"{known.next_name}_pkey")
            )
        )
        conn.execute(sql.SQL("ANALYZE {}").format(known.next_table))


def swap(conn: Connection, model: EmbeddingModel) -> None:
    """Put the next table in the place of the searched one, which goes.

    Waits for readers a little at a time, so that no queue forms behind it. The lock that keeps them out is held from
    here to the end of the caller's transaction.

    Args:
        conn: a connection inside a transaction that holds the embeddings alone.
        model: whose next table is there.

    Raises:
        ReadersInTheWayError: a reader did not leave the table for a minute.
        psycopg.errors.DependentObjectsStillExist: somebody made a view of the table; the error names it.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with conn.transaction():
                conn.execute("SELECT set_config('lock_timeout', %s, true)", [f"{LOCK_SECONDS}s"])
                # Renewed as it is, which locks it: who reads the view takes it first and the tables then, and so do we.
                conn.execute("SELECT show_embeddings()")
                conn.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(model.table))
                _swap_names(conn, model)
                return
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            log.info("Readers hold %s; waiting (%d)", model.table_name, attempt)
            time.sleep(LOCK_SECONDS)
    raise ReadersInTheWayError(f"readers held {model.table_name} for a minute; materialize search_index again")


def wait_for_those_who_began_before(conn: Connection, moment: datetime) -> None:
    """Wait until nobody looks at this database as it was before a moment of the server's clock.

    To them the next table's rows do not exist yet: who found it in place of the searched one would find nothing.
    (CREATE INDEX CONCURRENTLY waits in the same way.) Other roles' sessions are seen with pg_read_all_stats alone;
    without, only a statement that began before the last load and outlasts the whole build could be in the way.

    Raises:
        ReadersInTheWayError: they did not end for a minute.
    """
    for _ in range(ATTEMPTS * 10):
        row = conn.execute(
            """SELECT count(*) FROM pg_stat_activity
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                   AND backend_xmin IS NOT NULL AND xact_start < %s
                   AND wait_event IS DISTINCT FROM 'advisory'  -- a load that waits for us""",
            [moment],
        ).fetchone()
        assert row is not None
        if not row[0]:
            return
        conn.execute("SELECT pg_stat_clear_snapshot()")  # or this transaction would be shown the same again
        time.sleep(LOCK_SECONDS / 5)
    raise ReadersInTheWayError(
        "sessions have looked at one state of the database for longer than a minute (a dump, or REPEATABLE READ): "
        "see pg_stat_activity, and materialize search_index again when they have ended"
    )


def _swap_names(conn: Connection, model: EmbeddingModel) -> None:
    """Give the next table the searched one's name, comment and rights; renew the view over all models; drop the old."""
    old = sql.Identifier(f"{model.table_name}_old")
    row = conn.execute("SELECT obj_description(%s::regclass, 'pg_class')", [model.table_name]).fetchone()
    rights = conn.execute(
        """SELECT a.privilege_type, CASE WHEN a.grantee > 0 THEN a.grantee::regrole::text END
           FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner""",
        [model.table_name],
    ).fetchall()
    key, next_key = (sql.Identifier(f"{name}_pkey") for name in (model.table_name, model.next_name))
    rename = sql.SQL("ALTER TABLE {} RENAME TO {}")
    conn.execute(rename.format(model.table, old))
    conn.execute(rename.format(model.next_table, model.table))
    conn.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(model.table, sql.Literal(row and row[0])))
    for privilege, role in rights:
        to = sql.SQL(role) if role else sql.SQL("PUBLIC")  # regrole's text is quoted where it must be
        conn.execute(sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(privilege), model.table, to))
    conn.execute("SELECT show_embeddings()")
    conn.execute(sql.SQL("DROP TABLE {}").format(old))
    conn.execute(sql.SQL("ALTER TABLE {} RENAME CONSTRAINT {} TO {}").format(model.table, next_key, key))
